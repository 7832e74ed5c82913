import { expect, test } from "vitest";

import { forecastFlush, objectRequests, requests, type ForecastLoad } from "../../src/bench/flush-forecast.ts";
import { forecastMerge } from "../../src/bench/merge-forecast.ts";
import { addRequests, putRequests, type RequestCounts } from "../../src/bench/request-counts.ts";
import type { ObjectKey } from "../../src/domain.ts";
import { planReads } from "../../src/merge/read-plan.ts";
import { SimulatedShard } from "../merge/simulated-shard.ts";
import { testConfig, type Overrides } from "../support/engine.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

interface Case {
  readonly name: string;
  readonly bytesPerSecond: number;
  readonly partitions: number;
  readonly seconds: number;
  readonly overrides: Overrides;
}

/** Loads that take too long to be appended in a test: extents without bytes, and the planner and the reads of the engine. */
const CASES: readonly Case[] = [
  {
    name: "10 MiB/s, 1,000 partitions",
    bytesPerSecond: 10 * MIB,
    partitions: 1000,
    seconds: 900,
    overrides: { flush: { lingerMs: 250 } },
  },
  {
    name: "10 MiB/s, 20 partitions",
    bytesPerSecond: 10 * MIB,
    partitions: 20,
    seconds: 2000,
    overrides: { flush: { lingerMs: 250 } },
  },
];

test.each(CASES)(
  "$name: merging as the planner has it",
  { timeout: 120_000 },
  ({ bytesPerSecond, partitions, seconds, overrides }) => {
    const config = testConfig(overrides);
    const load: ForecastLoad = {
      bytesPerSecond,
      partitions,
      recordBytes: KIB,
      compressedTo: 1,
      storeLatencyMs: 0,
      retentionMs: 0,
      readers: 0,
    };
    const flush = forecastFlush(config, load);
    const shard = new SimulatedShard(partitions, {
      segmentBytes: config.segment.sizeBytes,
      memoryBytes: 64 * MIB,
      extentsMax: 10_000,
    });
    let counted = requests({});
    let settled = 0;
    let next = 0;
    const extents = Math.round(flush.extents);
    const bytes = Math.round(flush.batchBytes / extents);
    let lookedMs = 0;
    for (let nowMs = 0; nowMs < seconds * 1000; nowMs += flush.intervalMs) {
      const batch = new Map<number, number>();
      for (let i = 0; i < extents; i++) batch.set(next++ % partitions, bytes);
      shard.flush(batch, flush.isInline ? "inline" : "object");
      if (nowMs - lookedMs < config.merge.checkIntervalMs) continue;
      lookedMs = nowMs;
      const kept = shard.seq - config.cache.tailSizeBytes / flush.objectBytes;
      shard.merge(settled, 0, (job) => {
        const { reads } = planReads(job, (object) => String(object) as ObjectKey, 64 * MIB);
        const get = reads.filter(({ key }) => Number(key) < kept).length;
        counted = addRequests(counted, addRequests(objectRequests(job.bytes, 8 * MIB), requests({ put: 1, get })));
      });
      settled = shard.seq;
    }
    const { requests: wanted } = forecastMerge(config, flush, seconds);
    // GETs alone may be off by more: how many sources a job reads is a mean. They cost a tenth.
    expect(Math.abs((putRequests(wanted) * seconds) / putRequests(counted) - 1)).toBeLessThan(0.05);
    const all = (of: RequestCounts): number => putRequests(of) + of.get;
    expect(Math.abs((all(wanted) * seconds) / all(counted) - 1)).toBeLessThan(0.05);
  },
);
