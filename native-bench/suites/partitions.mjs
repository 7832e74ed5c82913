import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

import { openEngine, openTierlog } from "../contestants/tierlog.mjs";
import { addRow, compare } from "../harness/compare.mjs";
import { median } from "../harness/statistics.mjs";
import { openLoop } from "../load/open-loop.mjs";
import { startSink } from "../sink/start-sink.mjs";

const KIB = 1024;
const GIB = KIB ** 3;
const RATE = 10_000;
const LINGER_MS = 50;
/** Of S3 Standard in us-east-1, November 2026. */
const DOLLARS_PER_PUT = 0.005 / 1000;

export const partitions = {
  name: "partitions",
  mode: `uploaded to the null S3 sink, linger ${LINGER_MS} ms, an open loop of ${RATE.toLocaleString("en")} × 1 KiB per second over all partitions in turn`,
  blindSpots: ["one shard, one process; a store that is far away would not change the number of PUTs"],
  async run(run) {
    // First: in a heap that others have filled and left the same partitions take a tenth more.
    await idle(run);
    await requests(run);
  },
};

async function requests(run) {
  const sink = await run.shared("sink", () => startSink(run.workspace));
  const counts = run.full ? [1, 10, 100, 500, 10_000] : [1, 10_000];
  const contestants = {};
  for (const count of counts) {
    contestants[count] = {
      async open() {
        const tierlog = await openTierlog(run.workspace, {
          store: sink,
          bytes: KIB,
          partitions: count,
          flags: { "system.flush.linger": `${LINGER_MS}ms` },
        });
        await tierlog.append(0);
        return { turn: (ms) => counted(tierlog, ms), close: () => tierlog.close() };
      },
    };
  }
  const result = await compare(run, { name: "PUTs over partitions", turnMs: run.full ? 5000 : 700, contestants });
  for (const count of counts) {
    const perGib = result.of(String(count), "putsPerGib");
    if (perGib === undefined) continue;
    const perRecord = median(result.of(String(count), "recordsPerFlush"));
    const puts = median(perGib);
    const each = puts * Math.max(1, Math.min(count, perRecord));
    run.addPoint("puts", "tierlog", count, puts);
    run.addPoint("puts", "one PUT per partition and flush (computed)", count, each);
    run.addPoint("dollars", "tierlog", count, puts * DOLLARS_PER_PUT);
    run.addPoint("dollars", "one PUT per partition and flush (computed)", count, each * DOLLARS_PER_PUT);
  }
  addRow(run, result, {
    id: "partitions.puts",
    what: "PUTs per hour with 10,000 partitions",
    unit: "PUTs/h",
    own: ["10000", "putsPerHour"],
    other: ["1", "putsPerHour", "with 1 partition"],
  });
  addRow(run, result, {
    id: "partitions.loop-delay",
    what: "10,000 partitions × 1 record/s, event-loop delay p99",
    unit: "ms",
    own: ["10000", "loopDelayP99"],
    other: ["1", "loopDelayP99", "with 1 partition"],
  });
}

async function counted({ engine, append }, ms) {
  const before = putsOf(engine);
  const began = performance.now();
  const found = await openLoop(append, RATE, ms);
  const hours = (performance.now() - began) / 3_600_000;
  const after = putsOf(engine);
  const puts = after.puts - before.puts;
  const records = after.records - before.records;
  return {
    ...found,
    putsPerHour: puts / hours,
    putsPerGib: (puts / (records * KIB)) * GIB,
    recordsPerFlush: records / Math.max(1, after.links - before.links),
  };
}

function putsOf(engine) {
  const { store, appendedRecords, committedLinks } = engine.metrics();
  const { put, createMultipart, uploadPart, completeMultipart } = store;
  const puts = [put, createMultipart, uploadPart, completeMultipart].reduce((sum, { requests: n }) => sum + n, 0);
  return { puts, records: appendedRecords, links: committedLinks };
}

/** Memory of partitions that were written to once. A smaller number in a quick run. */
async function idle(run) {
  const count = run.full ? 100_000 : 10_000;
  const result = await compare(run, {
    name: `${count.toLocaleString("en")} idle partitions`,
    turnMs: run.turnMs,
    contestants: { tierlog: { open: async () => ({ turn: async () => ({ bytes: await idleBytes(run, count) }) }) } },
  });
  addRow(run, result, {
    id: run.full ? "partitions.idle-bytes" : "partitions.idle-bytes.quick",
    what: `memory of an idle partition, one of ${count.toLocaleString("en")}`,
    unit: "bytes",
    own: ["tierlog", "bytes"],
  });
}

async function idleBytes(run, count) {
  const engine = await openEngine(run.workspace, { flags: { "system.flush.linger": "10ms" } });
  try {
    await engine.createTopic("warm", { partitions: 1 });
    const records = [{ value: Buffer.alloc(16, 7) }];
    await (await engine.topic("warm")).partition(0).append(records);
    const before = usedBytes();
    await engine.createTopic("idle", { partitions: count });
    const topic = await engine.topic("idle");
    for (let first = 0; first < count; first += 5000) {
      const length = Math.min(5000, count - first);
      await Promise.all(Array.from({ length }, (_, i) => topic.partition(first + i).append(records)));
    }
    return (usedBytes() - before) / count;
  } finally {
    await engine.close();
  }
}

let collect;

/** On and off the JavaScript heap, after a collection. */
function usedBytes() {
  if (collect === undefined) {
    setFlagsFromString("--expose-gc");
    collect = runInNewContext("gc");
  }
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
