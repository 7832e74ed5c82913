import { BufferedMultipartWriter } from "../../dist/object-store/buffered-multipart-writer.js";
import { PartBufferPool } from "../../dist/object-store/part-buffer-pool.js";
import { appender } from "../contestants/appender.mjs";
import {
  barePuts,
  defaultClient,
  libStorageUploads,
  putsBy,
  tierlogStore,
  undiciPuts,
} from "../contestants/s3-clients.mjs";
import { addRow, compare } from "../harness/compare.mjs";
import { payloads } from "../load/payload.mjs";
import { startSink } from "../sink/start-sink.mjs";

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;
const PUT_BYTES = 8 * MIB;
const PUTS_IN_FLIGHT = 4;
const OBJECT_BYTES = 64 * MIB;
const CHUNK_BYTES = MIB;
const PARTS_IN_FLIGHT = 4;
/** What a process may hold beside its parts. */
const SLACK_BYTES = 64 * MIB;

export const flush = {
  name: "flush",
  mode:
    "bytes to the null S3 sink: one PUT of 8 MiB, 4 at a time; multipart 64 MiB, 4 parts at a time. tierlog: payload unsigned, CRC-32C; " +
    "default clients: SHA-256 signed, CRC-32; tuned: neither, unless it says so",
  blindSpots: [
    "bodies are Buffers of the same bytes again and again: they are in the processor's cache more than real ones",
  ],
  async run(run) {
    const sink = await run.shared("sink", () => startSink(run.workspace));
    await singlePut(run, sink);
    await multipart(run, sink, 8 * MIB);
    if (run.full) await multipart(run, sink, 16 * MIB);
  },
};

/** Adds what the bytes cost: `cores` is CPU seconds per second. */
export function withCpu(contestant) {
  return {
    async open() {
      const opened = await contestant.open();
      if (opened.skipped !== undefined) return opened;
      return {
        ...opened,
        async turn(ms) {
          const found = await opened.turn(ms);
          return { ...found, cpuPerGib: (found.cores / found.bytesPerSecond) * GIB };
        },
      };
    },
  };
}

async function singlePut(run, sink) {
  const body = payloads(PUT_BYTES, 1)[0];
  const load = { producers: PUTS_IN_FLIGHT, bytes: PUT_BYTES };
  const own = (signing) => async () => {
    const store = tierlogStore(sink, signing);
    let n = 0;
    return {
      append: () => store.put(`data/own-${signing}-${++n}`, body, { condition: { kind: "if-absent" } }),
      close: () => store.close(),
    };
  };
  const result = await compare(run, {
    name: "flush, one PUT of 8 MiB",
    turnMs: Math.max(200, run.turnMs),
    contestants: {
      tierlog: withCpu(appender(own("unsigned"), load)),
      signed: withCpu(appender(own("signed"), load)),
      default: withCpu(appender(async () => putsBy(defaultClient(sink), body), load)),
      http: withCpu(appender(async () => barePuts(sink, body), load)),
      undici: withCpu(appender(() => undiciPuts(sink, body), load)),
    },
  });
  const row = { unit: "B/s", own: ["tierlog", "bytesPerSecond"], what: "one PUT of 8 MiB with CRC-32C" };
  addRow(run, result, {
    ...row,
    id: "flush.single.default",
    other: ["default", "bytesPerSecond", "client-s3 as it comes"],
  });
  addRow(run, result, { ...row, id: "flush.single.http", other: ["http", "bytesPerSecond", "bare node:http"] });
  addRow(run, result, { ...row, id: "flush.single.undici", other: ["undici", "bytesPerSecond", "bare undici"] });
  addRow(run, result, {
    ...row,
    id: "flush.single.signed",
    what: "one PUT of 8 MiB, payload signed",
    own: ["signed", "bytesPerSecond"],
    other: ["default", "bytesPerSecond", "client-s3 as it comes"],
  });
  addRow(run, result, {
    id: "flush.single.cpu",
    what: "CPU of one PUT of 8 MiB with CRC-32C",
    unit: "s/GiB",
    own: ["tierlog", "cpuPerGib"],
    other: ["default", "cpuPerGib", "client-s3 as it comes"],
  });
}

async function multipart(run, sink, partBytes) {
  const body = payloads(OBJECT_BYTES, 1)[0];
  const load = { producers: 1, bytes: OBJECT_BYTES };
  const isDefault = partBytes === 8 * MIB;
  const id = isDefault ? "flush.multipart" : `flush.multipart.${partBytes / MIB}MiB`;
  const limit = PARTS_IN_FLIGHT * partBytes + SLACK_BYTES;
  const tuned = { tuned: true, partSize: partBytes, queueSize: PARTS_IN_FLIGHT };
  const result = await compare(run, {
    name: `flush, multipart, parts of ${partBytes / MIB} MiB`,
    turnMs: Math.max(300, run.turnMs),
    contestants: {
      tierlog: withMemory(withCpu(appender(() => writerOf(sink, body, partBytes), load))),
      default: withMemory(withCpu(appender(() => libStorageUploads(sink, body, { tuned: false }), load))),
      tuned: withMemory(withCpu(appender(() => libStorageUploads(sink, body, tuned), load))),
      checked: withMemory(
        withCpu(appender(() => libStorageUploads(sink, body, { ...tuned, checksum: "CRC32" }), load)),
      ),
      limit: { open: async () => ({ turn: async () => ({ memory: limit }) }) },
    },
  });
  const what = `multipart, parts of ${partBytes / MIB} MiB`;
  const row = { what, unit: "B/s", own: ["tierlog", "bytesPerSecond"] };
  addRow(run, result, {
    ...row,
    id: `${id}.tuned`,
    other: ["tuned", "bytesPerSecond", "lib-storage tuned, same parts"],
  });
  addRow(run, result, {
    ...row,
    id: `${id}.checked`,
    other: ["checked", "bytesPerSecond", "lib-storage tuned, with a CRC-32 of each part"],
  });
  addRow(run, result, { ...row, id: `${id}.default`, other: ["default", "bytesPerSecond", "lib-storage as it comes"] });
  addRow(run, result, {
    id: `${id}.cpu`,
    what: `${what}, CPU`,
    unit: "s/GiB",
    own: ["tierlog", "cpuPerGib"],
    other: ["tuned", "cpuPerGib", "lib-storage tuned"],
  });
  addRow(run, result, {
    id: `${id}.memory`,
    what: `${what}, memory`,
    unit: "bytes",
    own: ["tierlog", "memory"],
    other: ["limit", "memory", "parts in flight × part size + 64 MiB"],
  });
}

async function writerOf(sink, body, partBytes) {
  const store = tierlogStore(sink);
  const pool = new PartBufferPool({ partSizeBytes: partBytes, buffersMax: PARTS_IN_FLIGHT + 1 });
  let n = 0;
  return {
    async append() {
      const writer = new BufferedMultipartWriter({
        store,
        key: `data/own-${++n}`,
        pool,
        partsInFlight: PARTS_IN_FLIGHT,
      });
      try {
        for (let at = 0; at < body.length; at += CHUNK_BYTES) await writer.write(body.subarray(at, at + CHUNK_BYTES));
        await writer.finish();
      } finally {
        await writer.abandon();
      }
    },
    close: () => store.close(),
  };
}

/** Adds the most memory outside the JavaScript heap during a turn, over what there was when the contestant was opened. */
function withMemory(contestant) {
  return {
    async open() {
      const before = process.memoryUsage().external;
      const opened = await contestant.open();
      if (opened.skipped !== undefined) return opened;
      return {
        ...opened,
        async turn(ms) {
          let most = 0;
          const timer = setInterval(() => (most = Math.max(most, process.memoryUsage().external - before)), 5);
          try {
            return { ...(await opened.turn(ms)), memory: most };
          } finally {
            clearInterval(timer);
          }
        },
      };
    },
  };
}
