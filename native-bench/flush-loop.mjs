import { openSync, readSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
// Question: does a step of the flush path block the event loop for longer than 5 ms, at flushes of 32 MiB?
//   npm run build && node native-bench/flush-loop.mjs [memory|fs|object] [none|lz4] [FLUSHES]
// "object" takes its connection from the environment, as the command line does (TIERLOG_SYSTEM_STORAGE_OBJECT_BUCKET, AWS_…).
// "block" is wall time between two turns. "step" is the CPU time that the main thread spent in it (Linux: /proc schedstat), without
// garbage collection: what the path itself does in one go, whatever else the machine runs (with "object" the server shares the cores).
import { cpus } from "node:os";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PerformanceObserver } from "node:perf_hooks";

import { Engine, loadConfig } from "../dist/index.js";

const [kind = "memory", compression = "none", flushes = "20"] = process.argv.slice(2);
const MIB = 1024 * 1024;
const VALUE_BYTES = 16 * 1024;
const PARTITIONS = 100;
const TICK_MS = 1;

const collections = [];
new PerformanceObserver((list) => collections.push(...list.getEntries())).observe({ entryTypes: ["gc"] });

/** Kept open: to open and close it takes up to a millisecond, in the turn that is measured. */
const schedstat = openIfThere(`/proc/self/task/${process.pid}/schedstat`);
const schedstatText = Buffer.alloc(128);

function openIfThere(path) {
  try {
    return openSync(path);
  } catch {
    return undefined;
  }
}

/** Milliseconds that the main thread has run on a core; undefined where the system does not tell. */
function cpuMs() {
  if (schedstat === undefined) return undefined;
  const length = readSync(schedstat, schedstatText, 0, schedstatText.length, 0);
  return Number(schedstatText.toString("latin1", 0, length).split(" ")[0]) / 1e6;
}

/** Milliseconds of garbage collection between two moments. */
function collecting(from, to) {
  let ms = 0;
  for (const { startTime, duration } of collections) {
    ms += Math.max(0, Math.min(to, startTime + duration) - Math.max(from, startTime));
  }
  return ms;
}

/** Longest and typical time between two turns of the event loop while `act` runs: a timer every millisecond, how late it comes. */
async function delays(act) {
  const late = [];
  let last = performance.now();
  let lastCpu = cpuMs();
  const timer = setInterval(() => {
    const now = performance.now();
    const cpu = cpuMs();
    // The kernel books CPU time by the tick (up to 4 ms late), so a turn may seem to have used more than it lasted.
    const busy = Math.min(now - last, cpu === undefined || lastCpu === undefined ? Infinity : cpu - lastCpu);
    late.push({ from: last, to: now, ms: now - last - TICK_MS, busy });
    last = now;
    lastCpu = cpu;
  }, TICK_MS);
  await act();
  clearInterval(timer);
  // The observer is told of collections a turn later.
  await new Promise((resolve) => setTimeout(resolve, 5));
  const sorted = late.map(({ ms }) => ms).sort((a, b) => a - b);
  const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
  const steps = late.map(({ from, to, busy }) => busy - collecting(from, to));
  return {
    turns: late.length,
    p50: at(0.5),
    p99: at(0.99),
    max: at(1),
    over5: sorted.filter((ms) => ms > 5).length,
    step: Math.max(0, ...steps),
    stepsOver5: steps.filter((ms) => ms > 5).length,
  };
}

function print(name, { turns, p50, p99, max, over5 }) {
  const ms = (value) => `${value.toFixed(2)} ms`.padStart(10);
  console.log(`${name.padEnd(24)}${ms(p50)}${ms(p99)}${ms(max)}${String(over5).padStart(8)} of ${turns}`);
}

/** Values that compress about as far as logs do. */
function makeValue(i) {
  const text = Array.from(
    { length: 400 },
    (_, j) => `{"id":${i * 400 + j},"level":"info","took":${(i * j) % 977}}`,
  ).join("");
  return Buffer.from(text.padEnd(VALUE_BYTES, "x").slice(0, VALUE_BYTES));
}

const directory = await mkdtemp(join(tmpdir(), "tierlog-bench-"));
try {
  const { config } = await loadConfig({
    env: process.env,
    cwd: directory,
    flags: {
      "system.storage.kind": kind,
      "system.flush.linger": "1m",
      "system.flush.max_bytes": "1 GiB",
      "system.flush.max_pending": "4 GiB",
      ...(kind === "object" ? { "system.storage.object.prefix": `bench-${process.pid}` } : {}),
    },
  });
  console.log(
    `node ${process.version}, ${cpus().length} × ${cpus()[0]?.model}, store ${kind}, compression ${compression}`,
  );
  console.log(`${flushes} flushes of 32 MiB: ${PARTITIONS} partitions, values of ${VALUE_BYTES} B, parts of 8 MiB`);
  console.log(
    `${"lateness of the loop".padEnd(24)}${"p50".padStart(10)}${"p99".padStart(10)}${"max".padStart(10)}    > 5 ms`,
  );
  print("idle", await delays(() => new Promise((resolve) => setTimeout(resolve, 1000))));

  const engine = await Engine.open(config);
  await engine.createTopic("bench", { partitions: PARTITIONS, compression });
  const topic = await engine.topic("bench");
  const values = Array.from({ length: (32 * MIB) / VALUE_BYTES }, (_, i) => makeValue(i));
  const startedMs = performance.now();
  let flushing = 0;
  const perFlush = [];
  for (let i = 0; i < Number(flushes); i++) {
    const appends = [];
    for (const [j, value] of values.entries()) {
      appends.push(topic.partition(j % PARTITIONS).append([{ value }]));
      // The generator's own work is not what is measured.
      if (j % 64 === 63) await new Promise((resolve) => setImmediate(resolve));
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
    const flushedMs = performance.now();
    const found = await delays(async () => {
      await engine.flush();
      await Promise.all(appends);
    });
    flushing += performance.now() - flushedMs;
    if (i > 0) perFlush.push(found);
  }
  const all = perFlush.map(({ max }) => max).sort((a, b) => a - b);
  const turns = perFlush.reduce((sum, found) => sum + found.turns, 0);
  const mean = (name) => perFlush.reduce((sum, found) => sum + found[name], 0) / perFlush.length;
  print("flushing (means)", {
    turns,
    p50: mean("p50"),
    p99: mean("p99"),
    max: mean("max"),
    over5: perFlush.reduce((sum, found) => sum + found.over5, 0),
  });
  const steps = perFlush.map(({ step }) => step).sort((a, b) => a - b);
  console.log(
    `longest step per flush: median ${steps[steps.length >> 1]?.toFixed(2)} ms, worst ` +
      `${steps.at(-1)?.toFixed(2)} ms, ${perFlush.reduce((sum, found) => sum + found.stepsOver5, 0)} above 5 ms`,
  );
  console.log(
    `longest block per flush: median ${all[all.length >> 1]?.toFixed(2)} ms, worst ${all.at(-1)?.toFixed(2)} ms`,
  );
  console.log(
    `flushed at ${((32 * Number(flushes)) / (flushing / 1000)).toFixed(0)} MiB/s, whole run ${((performance.now() - startedMs) / 1000).toFixed(1)} s`,
  );
  console.log(JSON.stringify(engine.metrics().store, (_, value) => (value?.requests === 0 ? undefined : value)));
  await engine.close();
} finally {
  await rm(directory, { recursive: true, force: true });
}
