/**
 * What merging costs, and what it is good for: a store is filled by small flushes, read by one consumer, merged, and read again.
 *
 *   npm run bench:merge -- [fs|object] [MiB] [partitions] [KiB per flush] [directory]
 *
 * "object" takes its connection from the environment, as the command line does (TIERLOG_SYSTEM_STORAGE_OBJECT_BUCKET, AWS_…).
 * Merging starts with cold caches and looks every 100 ms. Blind spots: consumer, merge and store share the machine; with "fs" the
 * store's files are in the page cache.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";

import { Engine, loadConfig } from "../dist/index.js";

const [kind = "fs", mib = "256", partitions = "10", flushKib = "256", where = tmpdir()] = process.argv.slice(2);
const MIB = 1024 * 1024;
const VALUE_BYTES = 1024;
const directory = mkdtempSync(join(resolve(where), "tierlog-bench-"));
const seconds = (since) => (performance.now() - since) / 1000;
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

async function open(flags, options) {
  const { config } = await loadConfig({
    env: process.env,
    cwd: directory,
    flags: {
      "system.storage.kind": kind,
      "system.flush.linger": "20ms",
      "system.flush.max_bytes": `${flushKib} KiB`,
      "system.batch.max_bytes": "64 KiB",
      ...(kind === "object" ? { "system.storage.object.prefix": `bench-merge-${process.pid}` } : {}),
      ...flags,
    },
  });
  return await Engine.open(config, options);
}

const requestsOf = (engine) => {
  const { put, get, ...rest } = engine.metrics().store;
  const parts = Object.entries(rest).reduce(
    (sum, [name, one]) => sum + (/part|multipart/i.test(name) ? (one?.requests ?? 0) : 0),
    0,
  );
  return { puts: put.requests + parts, gets: get.requests };
};

/** One consumer, one partition, from the start, with nothing cached. */
async function consume(name) {
  const engine = await open({}, { readOnly: true });
  const partition = (await engine.topic("bench")).partition(0);
  const { extents, objects, bytes } = await partition.inspect();
  const before = requestsOf(engine);
  const began = performance.now();
  let read = 0;
  for (let from = 0; ;) {
    const { batches, nextOffset } = await partition.read({ from, maxBytes: 4 * MIB });
    if (batches.length === 0) break;
    for (const batch of batches) read += batch.length;
    from = nextOffset;
  }
  const took = seconds(began);
  const { gets } = requestsOf(engine);
  console.log(
    `${name}: partition 0 has ${extents} extents in ${objects} objects, ${(bytes / MIB).toFixed(0)} MiB; read at ` +
      `${(read / 1e6 / took).toFixed(0)} MB/s with ${gets - before.gets} GETs (${Math.round(((gets - before.gets) * 1024 * MIB) / read)} per GiB)`,
  );
  await engine.close();
}

try {
  console.log(`node ${process.version}, ${cpus().length} × ${cpus()[0]?.model}, store ${kind}`);
  console.log(`${mib} MiB of ${VALUE_BYTES} B records, ${partitions} partitions, flushes of ${flushKib} KiB`);
  const writer = await open({ "system.merge.enabled": "false" });
  await writer.createTopic("bench", { partitions: Number(partitions) });
  const topic = await writer.topic("bench");
  const perRound = Math.max(Number(partitions), Math.floor((Number(flushKib) * 1024) / VALUE_BYTES));
  const rounds = Math.ceil((Number(mib) * MIB) / VALUE_BYTES / perRound);
  const value = Buffer.alloc(VALUE_BYTES, "tierlog ");
  let began = performance.now();
  for (let round = 0; round < rounds; round++) {
    const each = Math.floor(perRound / Number(partitions));
    const records = Array.from({ length: each }, () => ({ value }));
    await Promise.all(Array.from({ length: Number(partitions) }, (_, i) => topic.partition(i).append(records)));
  }
  const written = writer.metrics();
  console.log(
    `written in ${seconds(began).toFixed(1)} s: ${written.committedLinks} index files, ` +
      `${Math.round((requestsOf(writer).puts * 1024) / Number(mib))} PUTs per GiB`,
  );
  await writer.close();
  await consume("unmerged");

  const engine = await open({
    "system.segment.max_age": "1s",
    "system.merge.check_interval": "100ms",
    "system.merge.max_bytes_per_second": "64 GiB",
  });
  // Whoever owns the shard merges.
  await (await engine.topic("bench")).partition(0).append([{ value }]);
  const before = requestsOf(engine);
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  globalThis.gc?.();
  const rssAtFirst = process.memoryUsage().rss;
  let rss = rssAtFirst;
  const sampling = setInterval(() => (rss = Math.max(rss, process.memoryUsage().rss)), 20);
  began = performance.now();
  let doneAt = began;
  for (let last = -1; performance.now() - doneAt < 3000;) {
    const { bytesOut } = engine.metrics().merge;
    if (bytesOut !== last) doneAt = performance.now();
    last = bytesOut;
    await pause(50);
  }
  clearInterval(sampling);
  delay.disable();
  const { merge } = engine.metrics();
  const after = requestsOf(engine);
  const took = Math.max(0.001, (doneAt - began) / 1000);
  const perGib = (n) => Math.round((n * 1024) / Number(mib));
  console.log(
    `merged in ${took.toFixed(1)} s: ${merge.merges} merges, ${merge.extentsIn} extents into ${merge.extentsOut}, ` +
      `${(merge.bytesOut / MIB).toFixed(0)} MiB written (${(merge.bytesOut / MIB / Number(mib)).toFixed(2)} times) at ` +
      `${(merge.bytesOut / 1e6 / took).toFixed(0)} MB/s; ${perGib(after.puts - before.puts)} PUTs and ` +
      `${perGib(after.gets - before.gets)} GETs per GiB`,
  );
  console.log(
    `peak RSS ${(rss / MIB).toFixed(0)} MiB (${(rssAtFirst / MIB).toFixed(0)} before); event loop late by p99 ` +
      `${(delay.percentile(99) / 1e6 - 1).toFixed(1)} ms, at most ${(delay.max / 1e6 - 1).toFixed(1)} ms`,
  );
  await engine.close();
  await consume("merged");
} finally {
  rmSync(directory, { recursive: true, force: true });
}
