import { writeFile } from "node:fs/promises";

import { crc32c } from "@node-rs/crc32";
import { compressFrameSync } from "lz4-napi";

import { appender } from "../contestants/appender.mjs";
import { bareSync } from "../contestants/bare.mjs";
import { barePuts } from "../contestants/s3-clients.mjs";
import { program, task } from "../contestants/task.mjs";
import { addRow, compare } from "../harness/compare.mjs";
import { payloads } from "../load/payload.mjs";
import { startSink } from "../sink/start-sink.mjs";

const KIB = 1024;
const MIB = 1024 * KIB;

export const limits = {
  name: "limits",
  mode: "what this machine can do at most: C programs (compiled by cc -O2) beside the smallest Node loop; write+fdatasync of 256 KiB to a growing file and over one made of zeros",
  blindSpots: [
    "the C programs use one thread; CRC-32C is one stream of an instruction that three streams would use better",
  ],
  async run(run) {
    const text = run.workspace.path("text");
    await writeFile(text, payloads(MIB, 1)[0]);
    await disk(run);
    await memory(run, text);
    await loopback(run);
  },
};

async function disk(run) {
  const size = 256 * KIB;
  const at = (mode) => program(run, "sync-write", run.workspace.path("disk"), size, "MS", mode);
  const result = await compare(run, {
    name: "limits of the disk",
    turnMs: run.turnMs,
    contestants: {
      fresh: at("fresh"),
      recycled: at("recycled"),
      direct: at("direct-sync"),
      node: bareSync(run.workspace, size, 1),
    },
  });
  const row = { unit: "B/s", other: ["node", "bytesPerSecond", "Node, over a file of zeros"] };
  for (const [name, what] of [
    ["fresh", "write+fdatasync of 256 KiB, a growing file (C)"],
    ["recycled", "write+fdatasync of 256 KiB, over a file of zeros (C)"],
    ["direct", "O_DIRECT|O_DSYNC write of 256 KiB (C)"],
  ]) {
    addRow(run, result, { ...row, id: `limits.disk.${name}`, what, own: [name, "bytesPerSecond"] });
  }
}

async function memory(run, text) {
  const block = payloads(64 * KIB, 1)[0];
  const target = Buffer.alloc(block.length);
  const bytesPerCall = block.length;
  const result = await compare(run, {
    name: "limits of processor and memory",
    turnMs: run.turnMs,
    contestants: {
      memcpy: program(run, "memcpy", block.length, "MS"),
      copy: task(async () => () => target.set(block), { bytesPerCall }),
      crcC: program(run, "crc32c", block.length, "MS"),
      crc: task(async () => () => crc32c(block), { bytesPerCall }),
      lz4C: program(run, "lz4", text, block.length, "MS"),
      lz4: task(async () => () => compressFrameSync(block), { bytesPerCall }),
    },
  });
  const rows = [
    ["copy", "memcpy", "copy of 64 KiB by Node", "memcpy (C)"],
    ["crc", "crcC", "CRC-32C of 64 KiB by @node-rs/crc32", "SSE4.2 or ARM instruction (C)"],
    ["lz4", "lz4C", "LZ4 frame of 64 KiB by lz4-napi", "liblz4 block (C)"],
  ];
  for (const [own, other, what, title] of rows) {
    addRow(run, result, {
      id: `limits.${own}`,
      what,
      unit: "B/s",
      own: [own, "bytesPerSecond"],
      other: [other, "bytesPerSecond", title],
    });
  }
}

async function loopback(run) {
  const sink = await run.shared("sink", () => startSink(run.workspace));
  const contestants = {};
  for (const bytes of [4 * KIB, MIB, 8 * MIB]) {
    contestants[bytes] = appender(async () => barePuts(sink, payloads(bytes, 1)[0]), { producers: 4, bytes });
  }
  const result = await compare(run, { name: "loopback PUT", turnMs: run.turnMs, contestants });
  addRow(run, result, {
    id: "limits.put.4KiB",
    what: "PUT of 4 KiB to the null sink by node:http, 4 at a time",
    unit: "PUTs/s",
    own: [String(4 * KIB), "rate"],
  });
  addRow(run, result, {
    id: "limits.put.1MiB",
    what: "PUT of 1 MiB, 4 at a time",
    unit: "B/s",
    own: [String(MIB), "bytesPerSecond"],
  });
  addRow(run, result, {
    id: "limits.put.8MiB",
    what: "PUT of 8 MiB, 4 at a time",
    unit: "B/s",
    own: [String(8 * MIB), "bytesPerSecond"],
  });
}
