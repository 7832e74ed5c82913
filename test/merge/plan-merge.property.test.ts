import * as fc from "fast-check";
import { expect, test } from "vitest";

import { JobBuilder, WINDOW_BYTES, type MergeJob, type MergeLimits } from "../../src/merge/job-builder.ts";
import { planMerge } from "../../src/merge/plan-merge.ts";
import { SimulatedShard } from "./simulated-shard.ts";

const KIB = 1024;
const LIMITS: MergeLimits = { segmentBytes: 1024 * KIB, memoryBytes: 512 * KIB, extentsMax: 60 };
const PARTITIONS = 5;
/** No extent is larger: the first of a job may exceed a limit by so much. */
const EXTENT_BYTES_MAX = 700 * KIB;

/** What a job must be whatever the state: whole extents side by side, within its limits. */
function checkJob(shard: SimulatedShard, job: MergeJob): void {
  const sources = new Map<number, number>();
  let bytes = 0;
  let count = 0;
  const names = new Set<number>();
  for (const range of job.ranges) {
    const list = shard.parts[range.partition]?.list;
    if (list === undefined) throw new Error("a range of no partition");
    const at = list.find(range.baseOffset);
    expect(list.at(at).baseOffset).toBe(range.baseOffset);
    expect(list.at(at + range.count - 1).nextOffset).toBe(range.nextOffset);
    expect(range.count).toBeGreaterThan(0);
    names.add(range.partition);
    for (let i = at; i < at + range.count; i++) {
      const { object, lengthBytes } = list.at(i);
      sources.set(object, (sources.get(object) ?? 0) + lengthBytes);
      bytes += lengthBytes;
    }
    count += range.count;
  }
  expect(names.size).toBe(job.ranges.length);
  expect([...names]).toEqual([...names].toSorted((a, b) => a - b));
  expect({ bytes, count, sources: sources.size }).toEqual({
    bytes: job.bytes,
    count: job.count,
    sources: job.sources,
  });
  expect(bytes <= LIMITS.segmentBytes || count === 1).toBe(true);
  expect(count).toBeLessThanOrEqual(LIMITS.extentsMax);
  const held = [...sources.values()].reduce((sum, read) => sum + Math.min(read, WINDOW_BYTES), 0);
  expect(held <= LIMITS.memoryBytes || count === 1).toBe(true);
}

const size = fc.oneof(
  fc.integer({ min: 70, max: 500 }),
  fc.integer({ min: 500, max: 40 * KIB }),
  fc.integer({ min: 40 * KIB, max: EXTENT_BYTES_MAX }),
);
const step = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant("flush" as const),
      bytes: fc.uniqueArray(fc.tuple(fc.nat(PARTITIONS - 1), size), { minLength: 1, selector: ([at]) => at }),
      where: fc.constantFrom("inline" as const, "object" as const),
      times: fc.integer({ min: 1, max: 20 }),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ kind: "epoch" as const }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("trim" as const),
      partition: fc.nat(PARTITIONS - 1),
      share: fc.double({ min: 0, max: 1, noNaN: true }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant("merge" as const), isOverdue: fc.boolean() }),
  },
);

test("whatever the flushes, trims and turns: jobs keep their limits, end, and leave no overdue inline extent", () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 40 }), (steps) => {
      const shard = new SimulatedShard(PARTITIONS, LIMITS);
      for (const one of steps) {
        switch (one.kind) {
          case "flush":
            for (let i = 0; i < one.times; i++) shard.flush(new Map(one.bytes), one.where);
            break;
          case "epoch":
            shard.epoch++;
            break;
          case "trim": {
            const list = shard.parts[one.partition]?.list;
            if (list !== undefined) shard.trim(one.partition, Math.floor(list.nextOffset * one.share));
            break;
          }
          case "merge": {
            const before = shard.extents;
            const jobs = shard.jobs;
            shard.merge(shard.seq, one.isOverdue ? shard.seq : 0, (job) => {
              checkJob(shard, job);
              // Each job takes an inline extent, or leaves fewer extents, or empties an object.
              if (shard.jobs - jobs > 3 * before + 10) throw new Error("merging does not end");
            });
            if (one.isOverdue && shard.objects().inline > 0) throw new Error("an overdue inline extent stayed");
            break;
          }
        }
      }
      // Nothing due is nothing due: the plan of the same state is the same.
      shard.merge(shard.seq, shard.seq);
      expect(planMerge(shard.view(shard.seq, shard.seq), LIMITS)).toBeUndefined();
    }),
    { numRuns: 300 },
  );
});

test("a data object with less than half of its bytes alive is rewritten, and its successor is not", () => {
  const shard = new SimulatedShard(2, LIMITS);
  shard.flush(
    new Map([
      [0, 500 * KIB],
      [1, 100 * KIB],
    ]),
    "object",
  );
  shard.merge(shard.seq, shard.seq);
  expect(shard.jobs).toBe(0);
  shard.trim(0, 1);
  const reasons: string[] = [];
  shard.merge(shard.seq, shard.seq, (job) => reasons.push(job.reason));
  expect(reasons).toEqual(["dead"]);
  expect(shard.objects().dataBytes).toBeLessThan(101 * KIB);
});

test("extents that were found damaged are left out, and what surrounds them is merged all the same", () => {
  const shard = new SimulatedShard(1, LIMITS);
  for (let i = 0; i < 20; i++) shard.flush(new Map([[0, 100]]));
  const isBlocked = (_: unknown, baseOffset: number): boolean => baseOffset === 7;
  const plan = (): MergeJob | undefined => planMerge({ ...shard.view(20, 20), isBlocked }, LIMITS);
  const ranges: [number, number][] = [];
  for (let job = plan(); job !== undefined; job = plan()) {
    ranges.push(...job.ranges.map((range): [number, number] => [range.baseOffset, range.nextOffset]));
    shard.apply(job);
  }
  expect(ranges).toEqual([
    [0, 7],
    [8, 20],
  ]);
});

test("a partition whose extents come to a segment gets an object of its own, whatever else is due", () => {
  const shard = new SimulatedShard(3, { ...LIMITS, memoryBytes: 4096 * KIB });
  for (let i = 0; i < 8; i++)
    shard.flush(
      new Map([
        [0, 100],
        [1, 100 * KIB],
        [2, 100],
      ]),
      "object",
    );
  const jobs: (readonly [string, readonly number[]])[] = [];
  shard.merge(shard.seq, 0, (job) => jobs.push([job.reason, job.ranges.map(({ partition }) => partition)]));
  expect(jobs[0]).toEqual(["segment", [1]]);
  expect(jobs[1]).toEqual(["tiers", [0, 2]]);
  expect(shard.objects().data).toBe(2);
});

test("between extents of another epoch there is nothing to merge", () => {
  const shard = new SimulatedShard(1, LIMITS);
  for (let i = 0; i < 100; i++) {
    shard.flush(new Map([[0, 100]]), "object");
    shard.epoch++;
  }
  shard.merge(shard.seq, shard.seq);
  expect(shard.jobs).toBe(0);
});

test("what does not fit into a job is not begun", () => {
  const shard = new SimulatedShard(1, LIMITS);
  for (const bytes of [600 * KIB, 600 * KIB]) shard.flush(new Map([[0, bytes]]), "object");
  const [partition] = shard.view().partitions;
  if (partition === undefined) throw new Error("no partition");
  const job = new JobBuilder("tiers", LIMITS);
  expect(job.add(partition, { from: 0, to: 2 }, 2)).toBe(0);
  expect(job.build()).toBeUndefined();
  expect(job.add(partition, { from: 0, to: 2 }, 1)).toBe(1);
});
