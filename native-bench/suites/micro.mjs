import { crc32c as nativeCrc32c } from "@node-rs/crc32";
import { compressFrameSync } from "lz4-napi";

import { decodeLink, decodeLinkHeader, encodeLink } from "../../dist/index-chain/index-file.js";
import { ShardState } from "../../dist/index-chain/shard-state.js";
import { BufferedMultipartWriter } from "../../dist/object-store/buffered-multipart-writer.js";
import { PartBufferPool } from "../../dist/object-store/part-buffer-pool.js";
import { checkEncodedBatch, decodeRecords, verifyBatch } from "../../dist/record/batch.js";
import { compressLz4 } from "../../dist/record/compression.js";
import { crc32c } from "../../dist/record/crc32c.js";
import { encode, encodeNaively, encodeOnAndOn, recordsOf } from "../contestants/batches.mjs";
import { makeChain } from "../contestants/links.mjs";
import { createNullStore } from "../contestants/null-store.mjs";
import { task } from "../contestants/task.mjs";
import { addRow, compare } from "../harness/compare.mjs";
import { payloads } from "../load/payload.mjs";

const KIB = 1024;
const MIB = 1024 * KIB;
const EXTENTS = 500;
const LINKS = 20;
const MANY = 100;

export const micro = {
  name: "micro",
  mode: "one function in a loop (tinybench), batches of 64 KiB; encode: one shape of records, header and CRC included, memory used again as the engine does",
  blindSpots: [
    "hot loops of one shape of data, in the cache: expect half of it, or less, in a process that does other things too",
  ],
  async run(run) {
    for (const bytes of [100, KIB]) await batches(run, bytes);
    await checksums(run);
    await compression(run);
    await links(run);
    await writer(run);
  },
};

/** Of calls of microseconds a quick run needs less time than of appends. */
const turnMs = ({ full, turnMs: ms }) => (full ? ms : 0.6 * ms);

async function batches(run, bytes) {
  const size = bytes === KIB ? "1KiB" : `${bytes}B`;
  const records = recordsOf(bytes);
  const { bytes: batch } = encode(records);
  if (Buffer.compare(batch, encodeNaively(records)) !== 0)
    throw new Error("the naive encoder makes other bytes: nothing to compare");
  const where = { key: "bench", position: 0 };
  const counts = { perCall: records.length, bytesPerCall: batch.length };
  const result = await compare(run, {
    name: `micro, batches of ${size}`,
    turnMs: turnMs(run),
    contestants: {
      encode: task(async () => () => encodeOnAndOn(records), counts),
      naive: task(async () => () => encodeNaively(records), counts),
      accept: task(async () => () => checkEncodedBatch(batch, MIB), counts),
      verify: task(async () => () => verifyBatch(batch, 0, where), counts),
      decode: task(async () => () => decodeRecords(batch, where), counts),
      crc: task(async () => () => nativeCrc32c(batch.subarray(21)), counts),
    },
  });
  const row = (name, what, own, other, metric, unit) =>
    addRow(run, result, {
      id: `micro.${name}.${size}`,
      what: `${what}, ${size}`,
      unit,
      own: [own, metric],
      other: [other[0], metric, other[1]],
    });
  row("encode", "encode and seal", "encode", ["naive", "naive concat"], "rate", "records/s");
  row("accept", "accept a pre-encoded batch", "accept", ["crc", "bare CRC-32C"], "bytesPerSecond", "B/s");
  row("verify", "verify a batch", "verify", ["crc", "bare CRC-32C"], "bytesPerSecond", "B/s");
  row("decode", "decode records", "decode", ["encode", "encode"], "rate", "records/s");
}

/** Of what takes less time than reading the clock does. */
function manyTimes(checksum, bytes) {
  let sum = 0;
  for (let i = 0; i < MANY; i++) sum ^= checksum(bytes);
  return sum;
}

async function checksums(run) {
  const [small, large] = [payloads(100, 1)[0], payloads(64 * KIB, 1)[0]];
  const one = { value: large };
  const result = await compare(run, {
    name: "micro, CRC-32C and seal",
    turnMs: turnMs(run),
    contestants: {
      small: task(async () => () => manyTimes(crc32c, small), { bytesPerCall: small.length * MANY }),
      smallNative: task(async () => () => manyTimes(nativeCrc32c, small), { bytesPerCall: small.length * MANY }),
      large: task(async () => () => crc32c(large), { bytesPerCall: large.length }),
      largeNative: task(async () => () => nativeCrc32c(large), { bytesPerCall: large.length }),
      seal: task(async () => () => encodeOnAndOn([one]), { bytesPerCall: large.length }),
    },
  });
  const row = { unit: "B/s" };
  addRow(run, result, {
    ...row,
    id: "micro.crc.100B",
    what: "CRC-32C of 100 B",
    own: ["small", "bytesPerSecond"],
    other: ["smallNative", "bytesPerSecond", "@node-rs/crc32"],
  });
  addRow(run, result, {
    ...row,
    id: "micro.crc.64KiB",
    what: "CRC-32C of 64 KiB",
    own: ["large", "bytesPerSecond"],
    other: ["largeNative", "bytesPerSecond", "@node-rs/crc32"],
  });
  addRow(run, result, {
    ...row,
    id: "micro.seal.64KiB",
    what: "seal a batch of one record of 64 KiB",
    own: ["seal", "bytesPerSecond"],
    other: ["largeNative", "bytesPerSecond", "bare CRC-32C"],
  });
}

async function compression(run) {
  const sizes = [16 * KIB, 64 * KIB, MIB];
  const contestants = {};
  for (const bytes of sizes) {
    const block = payloads(bytes, 1)[0];
    contestants[bytes] = task(async () => async () => void (await compressLz4(block)), { bytesPerCall: bytes });
    contestants[`sync${bytes}`] = task(async () => () => compressFrameSync(block), { bytesPerCall: bytes });
  }
  const result = await compare(run, { name: "micro, LZ4 frames", turnMs: turnMs(run), contestants });
  for (const bytes of sizes) {
    addRow(run, result, {
      id: `micro.lz4.${bytes / KIB}KiB`,
      what: `LZ4 frame of ${bytes / KIB} KiB, one at a time`,
      unit: "B/s",
      own: [String(bytes), "bytesPerSecond"],
      other: [`sync${bytes}`, "bytesPerSecond", "lz4-napi on the main thread"],
    });
  }
}

async function links(run) {
  const chain = await makeChain(LINKS, EXTENTS);
  const { bytes, key, draft, payload } = chain[1];
  const json = JSON.stringify(draft);
  const perCall = EXTENTS;
  const result = await compare(run, {
    name: "micro, index files and fold",
    turnMs: turnMs(run),
    contestants: {
      encode: task(async () => async () => void (await encodeLink(draft, payload)), { perCall }),
      stringify: task(async () => () => JSON.stringify(draft), { perCall }),
      decode: task(async () => () => decodeLink(bytes, decodeLinkHeader(bytes, key, 0, 1), bytes.length, key), {
        perCall,
      }),
      parse: task(async () => () => JSON.parse(json), { perCall }),
      fold: task(
        async () => () => {
          const state = new ShardState(0);
          for (const { link, key: name } of chain)
            if (state.apply(link, name) !== "live") throw new Error("a void link");
        },
        { perCall: EXTENTS * LINKS },
      ),
    },
  });
  const row = { unit: "extents/s" };
  addRow(run, result, {
    ...row,
    id: "micro.link.encode",
    what: `encode an index file of ${EXTENTS} extents`,
    own: ["encode", "rate"],
    other: ["stringify", "rate", "JSON.stringify"],
  });
  addRow(run, result, {
    ...row,
    id: "micro.link.decode",
    what: `decode an index file of ${EXTENTS} extents`,
    own: ["decode", "rate"],
    other: ["parse", "rate", "JSON.parse"],
  });
  addRow(run, result, {
    ...row,
    id: "micro.fold",
    what: `fold ${LINKS} links of ${EXTENTS} extents`,
    own: ["fold", "rate"],
    other: ["decode", "rate", "decoding them"],
  });
}

async function writer(run) {
  const object = 32 * MIB;
  const chunk = payloads(64 * KIB, 1)[0];
  const target = Buffer.alloc(8 * MIB);
  const pool = new PartBufferPool({ partSizeBytes: 8 * MIB, buffersMax: 5 });
  const store = createNullStore();
  let n = 0;
  const result = await compare(run, {
    name: "micro, multipart writer",
    turnMs: turnMs(run),
    contestants: {
      writer: task(
        async () => async () => {
          const one = new BufferedMultipartWriter({ store, key: `data/${++n}`, pool, partsInFlight: 4 });
          for (let at = 0; at < object; at += chunk.length) await one.write(chunk);
          await one.finish();
        },
        { bytesPerCall: object },
      ),
      copy: task(
        async () => () => {
          for (let at = 0; at < object; at += chunk.length) target.set(chunk, at % target.length);
        },
        { bytesPerCall: object },
      ),
    },
  });
  addRow(run, result, {
    id: "micro.writer",
    what: "BufferedMultipartWriter, 32 MiB in chunks of 64 KiB, to nowhere",
    unit: "B/s",
    own: ["writer", "bytesPerSecond"],
    other: ["copy", "bytesPerSecond", "one copy of them"],
  });
}
