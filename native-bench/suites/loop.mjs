import { openSync, readSync } from "node:fs";
import { PerformanceObserver } from "node:perf_hooks";

import { openEngine } from "../contestants/tierlog.mjs";
import { addRow, compare } from "../harness/compare.mjs";
import { payloads } from "../load/payload.mjs";

const KIB = 1024;
const MIB = 1024 * KIB;
const FLUSH_BYTES = 32 * MIB;
const VALUE_BYTES = 16 * KIB;
const PARTITIONS = 100;
const TICK_MS = 1;

export const loop = {
  name: "loop",
  onlyFull: true,
  mode: `how long a flush of 32 MiB (${PARTITIONS} partitions, values of 16 KiB, parts of 8 MiB) holds the event loop: wall time between turns, and CPU of the main thread in one (Linux), without garbage collection`,
  blindSpots: ["loop: the kernel books CPU time by the tick, up to 4 ms late"],
  async run(run) {
    const contestants = {};
    for (const compression of ["none", "lz4"]) contestants[compression] = flushes(run, compression);
    contestants.idle = {
      open: async () => ({ turn: (ms) => delays(() => new Promise((resolve) => setTimeout(resolve, ms))) }),
    };
    const result = await compare(run, { name: "flush of 32 MiB", turnMs: 300, contestants });
    for (const compression of ["none", "lz4"]) {
      const what = `flush of 32 MiB, ${compression}`;
      addRow(run, result, {
        id: `loop.${compression}.late`,
        what: `${what}, the loop is late by at most`,
        unit: "ms",
        own: [compression, "max"],
        other: ["idle", "max", "idle"],
      });
      addRow(run, result, {
        id: `loop.${compression}.step`,
        what: `${what}, longest step of the main thread, CPU`,
        unit: "ms",
        own: [compression, "step"],
      });
    }
  },
};

function flushes(run, compression) {
  return {
    async open() {
      const flags = {
        "system.flush.linger": "1m",
        "system.flush.max_bytes": "1 GiB",
        "system.flush.max_pending": "4 GiB",
      };
      const engine = await openEngine(run.workspace, { flags });
      await engine.createTopic("bench", { partitions: PARTITIONS, compression });
      const topic = await engine.topic("bench");
      const values = payloads(VALUE_BYTES, FLUSH_BYTES / VALUE_BYTES);
      return {
        async turn() {
          const appends = [];
          for (const [i, value] of values.entries()) {
            appends.push(topic.partition(i % PARTITIONS).append([{ value }]));
            // The generator's own work is not what is measured.
            if (i % 64 === 63) await new Promise((resolve) => setImmediate(resolve));
          }
          await new Promise((resolve) => setTimeout(resolve, 20));
          return delays(async () => {
            await engine.flush();
            await Promise.all(appends);
          });
        },
        close: () => engine.close(),
      };
    },
  };
}

/** Times between two turns of the event loop while `act` runs: a timer every millisecond, how late it comes. */
async function delays(act) {
  const collections = [];
  const observer = new PerformanceObserver((list) => collections.push(...list.getEntries()));
  observer.observe({ entryTypes: ["gc"] });
  const turns = [];
  let last = performance.now();
  let lastCpu = mainThreadMs();
  const timer = setInterval(() => {
    const now = performance.now();
    const cpu = mainThreadMs();
    turns.push({ from: last, to: now, busy: Math.min(now - last, (cpu ?? Number.NaN) - (lastCpu ?? Number.NaN)) });
    last = now;
    lastCpu = cpu;
  }, TICK_MS);
  await act();
  clearInterval(timer);
  // The observer is told of collections a turn later.
  await new Promise((resolve) => setTimeout(resolve, 5));
  observer.disconnect();
  const collecting = (from, to) =>
    collections.reduce(
      (sum, { startTime, duration }) =>
        sum + Math.max(0, Math.min(to, startTime + duration) - Math.max(from, startTime)),
      0,
    );
  const steps = turns.map(({ from, to, busy }) => busy - collecting(from, to));
  return {
    max: Math.max(0, ...turns.map(({ from, to }) => to - from - TICK_MS)),
    // Absent where the system does not tell.
    step: steps.some(Number.isNaN) ? undefined : Math.max(0, ...steps),
  };
}

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
function mainThreadMs() {
  if (schedstat === undefined) return undefined;
  const length = readSync(schedstat, schedstatText, 0, schedstatText.length, 0);
  return Number(schedstatText.toString("latin1", 0, length).split(" ")[0]) / 1e6;
}
