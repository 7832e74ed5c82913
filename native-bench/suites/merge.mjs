import { monitorEventLoopDelay } from "node:perf_hooks";

import { openEngine } from "../contestants/tierlog.mjs";
import { addRow, compare } from "../harness/compare.mjs";
import { payloads } from "../load/payload.mjs";

const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;
const PARTITIONS = 10;
const FLUSH_BYTES = 256 * KIB;
const READ_BYTES = 4 * MIB;
/** Merging is done when nothing was written for so long. */
const QUIET_MS = 1500;
const WAIT_MS = 120_000;

export const merge = {
  name: "merge",
  onlyFull: true,
  mode: `a directory filled by flushes of ${FLUSH_BYTES / KIB} KiB over ${PARTITIONS} partitions, read by one consumer, merged from cold caches, read again`,
  blindSpots: ["merge: consumer, merging and store share the machine; the store's files are in the page cache"],
  async run(run) {
    const mib = run.full ? 256 : 32;
    const result = await compare(run, {
      name: `merge, ${mib} MiB`,
      turnMs: run.turnMs,
      warmUp: run.full,
      contestants: { merge: { open: async () => ({ turn: () => oneStore(run, mib) }) } },
    });
    const row = (id, what, unit, metric, other) =>
      addRow(run, result, {
        id: `merge.${id}`,
        what,
        unit,
        own: ["merge", metric],
        ...(other === undefined ? {} : { other: ["merge", ...other] }),
      });
    row("rate", `merging ${mib} MiB`, "B/s", "mergedPerSecond");
    row("puts", "PUTs of merging", "PUTs/GiB", "puts", ["writtenPuts", "of writing"]);
    row("gets", "GETs of merging", "GETs/GiB", "gets");
    row("read", "one consumer, one partition, merged", "B/s", "readAfter", ["readBefore", "before"]);
    row("read-gets", "GETs of that consumer, merged", "GETs/GiB", "getsAfter", ["getsBefore", "before"]);
    row("delay", "event-loop delay while merging, p99", "ms", "delayP99");
    row("memory", "peak RSS over the start of merging", "bytes", "rss");
  },
};

async function oneStore(run, mib) {
  const path = run.workspace.path("merge");
  const flags = {
    "system.path": path,
    "system.flush.linger": "20ms",
    "system.flush.max_bytes": `${FLUSH_BYTES / KIB} KiB`,
    "system.batch.max_bytes": "64 KiB",
    "system.index.checkpoint_every": "256",
  };
  const writtenPuts = await fill(run, flags, mib);
  const before = await consume(run, flags);
  const merged = await mergeAll(run, flags);
  const after = await consume(run, flags);
  const perGib = (count) => (count * GIB) / (mib * MIB);
  return {
    ...merged,
    puts: perGib(merged.puts),
    gets: perGib(merged.gets),
    writtenPuts: perGib(writtenPuts),
    readBefore: before.rate,
    readAfter: after.rate,
    getsBefore: before.gets,
    getsAfter: after.gets,
  };
}

async function fill(run, flags, mib) {
  const engine = await openEngine(run.workspace, { store: "fs", flags });
  await engine.createTopic("bench", { partitions: PARTITIONS });
  const topic = await engine.topic("bench");
  const values = payloads(KIB, 64);
  const each = Math.floor(FLUSH_BYTES / KIB / PARTITIONS);
  const records = Array.from({ length: each }, (_, i) => ({ value: values[i % values.length] }));
  for (let round = 0; round < (mib * KIB) / (each * PARTITIONS); round++) {
    await Promise.all(Array.from({ length: PARTITIONS }, (_, i) => topic.partition(i).append(records)));
  }
  const { puts } = requestsOf(engine);
  await engine.close();
  return puts;
}

/** One consumer of one partition, from the start, with nothing cached. */
async function consume(run, flags) {
  const engine = await openEngine(run.workspace, { store: "fs", flags });
  try {
    const partition = (await engine.topic("bench")).partition(0);
    await partition.watermarks();
    const before = requestsOf(engine).gets;
    const began = performance.now();
    let bytes = 0;
    for (let from = 0; ;) {
      const { batches, nextOffset } = await partition.read({ from, maxBytes: READ_BYTES });
      if (batches.length === 0) break;
      for (const batch of batches) bytes += batch.length;
      from = nextOffset;
    }
    const seconds = (performance.now() - began) / 1000;
    return { rate: bytes / seconds, gets: ((requestsOf(engine).gets - before) * GIB) / bytes };
  } finally {
    await engine.close();
  }
}

async function mergeAll(run, flags) {
  const engine = await openEngine(run.workspace, {
    store: "fs",
    flags: {
      ...flags,
      "system.merge.enabled": "true",
      "system.segment.max_age": "1s",
      "system.merge.check_interval": "100ms",
      "system.merge.max_bytes_per_second": "64 GiB",
    },
  });
  const delay = monitorEventLoopDelay({ resolution: 1 });
  const rssBefore = process.memoryUsage().rss;
  let rss = rssBefore;
  const sampling = setInterval(() => (rss = Math.max(rss, process.memoryUsage().rss)), 20);
  try {
    // Whoever owns the shard merges.
    await (await engine.topic("bench")).partition(0).append([{ value: payloads(KIB, 1)[0] }]);
    const before = requestsOf(engine);
    const began = performance.now();
    delay.enable();
    let startedAt = began;
    let doneAt = began;
    for (let last = 0; last === 0 || performance.now() - doneAt < QUIET_MS;) {
      const { bytesOut, requests } = engine.metrics().merge;
      // Until then what there is was too young.
      if (requests === 0) startedAt = performance.now();
      if (bytesOut !== last) doneAt = performance.now();
      last = bytesOut;
      if (performance.now() - began > WAIT_MS) throw new Error(`merging does not end within ${WAIT_MS / 1000} s`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    delay.disable();
    const after = requestsOf(engine);
    const { bytesOut } = engine.metrics().merge;
    return {
      mergedPerSecond: bytesOut / ((doneAt - startedAt) / 1000),
      puts: after.puts - before.puts,
      gets: after.gets - before.gets,
      delayP99: Math.max(0, delay.percentile(99) / 1e6 - 1),
      rss: rss - rssBefore,
    };
  } finally {
    clearInterval(sampling);
    await engine.close();
  }
}

function requestsOf(engine) {
  const { put, get, createMultipart, uploadPart, completeMultipart } = engine.metrics().store;
  const puts = [put, createMultipart, uploadPart, completeMultipart].reduce((sum, { requests }) => sum + requests, 0);
  return { puts, gets: get.requests };
}
