import { createReadStream, openSync, closeSync, readSync, writeFileSync } from "node:fs";

import { crc32c } from "@node-rs/crc32";

import { createMemoryStore, Engine, loadConfig } from "../../dist/index.js";
import { openEngine } from "../contestants/tierlog.mjs";
import { addRow, compare } from "../harness/compare.mjs";
import { Histogram } from "../load/histogram.mjs";
import { payloads } from "../load/payload.mjs";

const KIB = 1024;
const MIB = 1024 * KIB;
const READ_BYTES = 4 * MIB;
/** What `read()` and `records()` read at a time unless they are told. */
const DEFAULT_READ_BYTES = MIB;
const STORE_DELAY_MS = 50;

export const read = {
  name: "read",
  mode:
    "stores in a directory, in the page cache: read back in order (1 partition, flushes of 8 MiB, cold engine; from a store 50 ms away, in " +
    "memory, 1 MiB at a time), tail, restart, an idle engine",
  blindSpots: ["nothing is read from a disk or over a network: what is timed is finding, copying and checking"],
  async run(run) {
    await readBack(run);
    await readFar(run);
    await tail(run);
    await restart(run);
    await idle(run);
  },
};

/** Fills a store with `mib` MiB of records, and closes it. */
async function filled(run, mib, path, objectStore) {
  const flags = {
    "system.path": path,
    "system.flush.linger": "1m",
    "system.flush.max_bytes": "8 MiB",
    "system.cache.size": "64 MiB",
  };
  const engine = await openEngine(run.workspace, { store: objectStore ?? "fs", flags });
  await engine.createTopic("bench", { partitions: 1 });
  const partition = (await engine.topic("bench")).partition(0);
  const records = payloads(KIB, 1024).map((value) => ({ value }));
  for (let i = 0; i < mib; i += 8) {
    const acks = Array.from({ length: 8 }, () => partition.append(records));
    await engine.flush();
    await Promise.all(acks);
  }
  await engine.close();
}

async function opened(run, path, objectStore) {
  const { config } = await loadConfig({
    env: {},
    cwd: run.workspace.directory,
    flags: { "system.path": path, "system.storage.kind": "fs" },
  });
  return Engine.open(config, { readOnly: true, ...(objectStore && { objectStore }) });
}

async function readBack(run) {
  const mib = run.full ? 512 : 64;
  const path = run.workspace.path("filled");
  await filled(run, mib, path);
  const file = run.workspace.path("plain");
  for (let at = 0; at < mib; at += 8) writeFileSync(file, payloads(8 * MIB, 1)[0], { flag: "a" });
  const result = await compare(run, {
    name: "read back",
    turnMs: run.turnMs,
    contestants: {
      tierlog: { open: async () => ({ turn: () => timed(() => readAll(run, path)) }) },
      scan: { open: async () => ({ turn: () => timed(async () => scan(file)) }) },
      stream: { open: async () => ({ turn: () => timed(() => stream(file)) }) },
    },
  });
  const row = { what: `read back ${mib} MiB, in order`, unit: "B/s", own: ["tierlog", "bytesPerSecond"] };
  addRow(run, result, { ...row, id: "read.scan", other: ["scan", "bytesPerSecond", "readSync of 1 MiB and CRC-32C"] });
  addRow(run, result, { ...row, id: "read.stream", other: ["stream", "bytesPerSecond", "createReadStream"] });
}

async function timed(act) {
  const began = performance.now();
  const bytes = await act();
  return { bytesPerSecond: bytes / ((performance.now() - began) / 1000) };
}

async function readAll(run, path, maxBytes = READ_BYTES, objectStore) {
  const engine = await opened(run, path, objectStore);
  try {
    const partition = (await engine.topic("bench")).partition(0);
    let bytes = 0;
    for (let from = 0; ;) {
      const { batches, nextOffset } = await partition.read({ from, maxBytes });
      if (batches.length === 0) return bytes;
      for (const batch of batches) bytes += batch.length;
      from = nextOffset;
    }
  } finally {
    await engine.close();
  }
}

function scan(file) {
  const fd = openSync(file);
  const block = Buffer.alloc(MIB);
  let bytes = 0;
  let crc = 0;
  for (let n = readSync(fd, block); n > 0; n = readSync(fd, block)) {
    crc ^= crc32c(block.subarray(0, n));
    bytes += n;
  }
  closeSync(fd);
  if (crc === 1) throw new Error("never, but the compiler cannot know");
  return bytes;
}

async function stream(file) {
  let bytes = 0;
  for await (const chunk of createReadStream(file, { highWaterMark: MIB })) bytes += chunk.length;
  return bytes;
}

/** A consumer of a store that answers every get late: against one get of as much after the other. */
async function readFar(run) {
  const mib = run.full ? 64 : 16;
  const store = createMemoryStore();
  const late = {
    ...store,
    async get(key, options) {
      await new Promise((resolve) => setTimeout(resolve, STORE_DELAY_MS));
      return store.get(key, options);
    },
  };
  const path = run.workspace.path("far");
  await filled(run, mib, path, store);
  const bare = async () => {
    await store.put("bare", payloads(mib * MIB, 1)[0], { condition: { kind: "none" } });
    return {
      turn: () =>
        timed(async () => {
          for (let start = 0; start < mib * MIB; start += DEFAULT_READ_BYTES)
            await late.get("bare", { range: { start, end: start + DEFAULT_READ_BYTES } });
          return mib * MIB;
        }),
    };
  };
  const result = await compare(run, {
    name: "read back from afar",
    turnMs: run.turnMs,
    contestants: {
      tierlog: { open: async () => ({ turn: () => timed(() => readAll(run, path, DEFAULT_READ_BYTES, late)) }) },
      bare: { open: bare },
    },
  });
  addRow(run, result, {
    id: "read.far",
    what: `read back ${mib} MiB, in order, store ${STORE_DELAY_MS} ms away`,
    unit: "B/s",
    own: ["tierlog", "bytesPerSecond"],
    other: ["bare", "bytesPerSecond", "one get of 1 MiB at a time"],
  });
}

/** What was just appended, by the engine that appended it. */
async function tail(run) {
  const engine = await openEngine(run.workspace, { flags: { "system.flush.linger": "0ms" } });
  try {
    await engine.createTopic("bench", { partitions: 1 });
    const partition = (await engine.topic("bench")).partition(0);
    const records = [{ value: payloads(KIB, 1)[0] }];
    const result = await compare(run, {
      name: "tail read",
      turnMs: run.turnMs,
      contestants: {
        tierlog: {
          open: async () => ({
            async turn(ms) {
              const histogram = new Histogram();
              const { firstOffset } = await partition.append(records);
              for (const end = performance.now() + ms; performance.now() < end;) {
                const began = performance.now();
                await partition.read({ from: firstOffset });
                histogram.record(performance.now() - began);
              }
              return { p50: histogram.at(0.5), p99: histogram.at(0.99) };
            },
          }),
        },
      },
    });
    addRow(run, result, {
      id: "read.tail.p50",
      what: "read of the last record, p50",
      unit: "ms",
      own: ["tierlog", "p50"],
    });
    addRow(run, result, {
      id: "read.tail.p99",
      what: "read of the last record, p99",
      unit: "ms",
      own: ["tierlog", "p99"],
    });
  } finally {
    await engine.close();
  }
}

/** From `open` to the watermarks, with ten times as many index files: checkpoints should make them equal. */
async function restart(run) {
  const few = run.full ? 300 : 50;
  const contestants = {};
  for (const count of [few, 10 * few]) {
    const path = run.workspace.path("chain");
    const flags = { "system.path": path, "system.flush.linger": "0ms", "system.index.checkpoint_every": "64" };
    const engine = await openEngine(run.workspace, { store: "fs", flags });
    await engine.createTopic("bench", { partitions: 1 });
    const partition = (await engine.topic("bench")).partition(0);
    const records = [{ value: payloads(KIB, 1)[0] }];
    for (let i = 0; i < count; i++) await partition.append(records);
    await engine.close();
    contestants[count] = {
      open: async () => ({
        async turn() {
          const began = performance.now();
          const reader = await opened(run, path);
          await (await reader.topic("bench")).partition(0).watermarks();
          const ms = performance.now() - began;
          await reader.close();
          return { ms };
        },
      }),
    };
  }
  const result = await compare(run, { name: "restart", turnMs: run.turnMs, contestants });
  addRow(run, result, {
    id: "read.restart",
    what: `open, to the watermarks, ${(10 * few).toLocaleString("en")} index files`,
    unit: "ms",
    own: [String(10 * few), "ms"],
    other: [String(few), "ms", `${few} index files`],
  });
}

/** An engine that owns a shard and has nothing to do. */
async function idle(run) {
  const engine = await openEngine(run.workspace, {
    store: "fs",
    flags: { "system.merge.enabled": "true", "system.gc.enabled": "true" },
  });
  try {
    await engine.createTopic("bench", { partitions: 100 });
    await (await engine.topic("bench")).partition(0).append([{ value: Buffer.alloc(10) }]);
    const requests = () => Object.values(engine.metrics().store).reduce((sum, one) => sum + (one?.requests ?? 0), 0);
    const idling = {
      async turn(ms) {
        const [before, cpu, began] = [requests(), process.cpuUsage(), performance.now()];
        await new Promise((resolve) => setTimeout(resolve, ms));
        const seconds = (performance.now() - began) / 1000;
        const { user, system } = process.cpuUsage(cpu);
        return { cpu: (user + system) / 1e4 / seconds, requests: ((requests() - before) / seconds) * 3600 };
      },
    };
    const result = await compare(run, {
      name: "idle",
      turnMs: run.full ? 10_000 : 500,
      contestants: { tierlog: { open: async () => idling } },
    });
    addRow(run, result, {
      id: "read.idle.cpu",
      what: "an idle engine, CPU",
      unit: "% of a core",
      own: ["tierlog", "cpu"],
    });
    addRow(run, result, {
      id: "read.idle.requests",
      what: "an idle engine, requests",
      unit: "requests/h",
      own: ["tierlog", "requests"],
    });
  } finally {
    await engine.close();
  }
}
