import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

import type { TopicApi } from "../../src/engine/api.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { createFsStore } from "../../src/object-store/fs-store.ts";
import { createMemoryStore } from "../../src/object-store/memory-store.ts";
import type { ObjectStore } from "../../src/object-store/object-store.ts";
import type { TimestampedOffset } from "../../src/record/record.ts";
import { seededRandom } from "../../src/runtime/random.ts";
import { systemRuntime } from "../../src/runtime/runtime.ts";
import { resealed } from "../record/reframe.ts";
import { batchOf } from "../record/support.ts";
import { Cluster, testConfig } from "../support/engine.ts";
import { expectAsScanned, timesOf } from "../support/naive-times.ts";

const KIB = 1024;
const MIB = 1024 * KIB;
const NOW_MS = 1_700_000_000_000;
const PARTITIONS = 2;

/** Small batches; flushes above 5 MiB go into data objects; nothing is sent before it is asked for. */
function config(path: string, journaled = false): ReturnType<typeof testConfig> {
  return testConfig({
    path,
    storage: { object: { multipartPartSizeBytes: 5 * MIB, ackAfterUpload: !journaled } },
    flush: { lingerMs: 60_000 },
    journal: { uploadIntervalMs: 3_600_000 },
    batch: { maxBytes: 128 * KIB },
  });
}

async function claiming(times: readonly number[], claimedMs: number, lz4: boolean): Promise<Uint8Array> {
  const records = times.map((timestampMs) => ({ value: Buffer.alloc(20, "x"), timestampMs }));
  const { bytes } = await batchOf(records, { compression: lz4 ? "lz4" : "none" });
  const stated = Buffer.from(bytes);
  stated.writeBigInt64BE(BigInt(claimedMs), 35);
  return resealed(stated);
}

interface Step {
  readonly kind: "records" | "encoded" | "large";
  readonly partition: number;
  readonly times: readonly number[];
  readonly claimedMs: number;
  /** Everything so far goes to the store behind this step. */
  readonly flush: boolean;
}

const time = fc.oneof(
  { weight: 5, arbitrary: fc.integer({ min: NOW_MS, max: NOW_MS + 30 }) },
  { weight: 1, arbitrary: fc.constantFrom(0, 1, NOW_MS - 1_000_000, NOW_MS + 1_000_000, Number.MAX_SAFE_INTEGER) },
);

function steps(large: boolean): fc.Arbitrary<Step[]> {
  return fc.array(
    fc.record({
      kind: large ? fc.constantFrom("records", "encoded", "large") : fc.constantFrom("records", "encoded"),
      partition: fc.nat({ max: PARTITIONS - 1 }),
      times: fc.array(time, { minLength: 1, maxLength: 12 }),
      claimedMs: time,
      flush: fc.boolean(),
    }),
    { minLength: 1, maxLength: large ? 5 : 12 },
  );
}

async function run(engine: Engine, topic: TopicApi, plan: readonly Step[]): Promise<void> {
  const random = seededRandom(plan.length);
  const appends: Promise<unknown>[] = [];
  for (const { kind, partition, times, claimedMs, flush } of plan) {
    const to = topic.partition(partition);
    if (kind === "encoded") {
      appends.push(to.append({ encodedBatch: await claiming(times, claimedMs, times.length % 2 === 0) }));
    } else if (kind === "records") {
      appends.push(to.append(times.map((timestampMs) => ({ value: null, timestampMs }))));
    } else {
      // 6 MiB that do not compress, one record a batch: an extent with about 24 blocks.
      for (let i = 0; i < 60; i++) {
        const timestampMs = times[Math.floor(random.float() * times.length)] ?? 0;
        appends.push(to.append([{ value: random.bytes(100 * KIB), timestampMs }]));
      }
    }
    if (flush) await engine.flush();
  }
  // What is journaled stays in the journal.
  if (engine.metrics().journal === undefined) await engine.flush();
  await Promise.all(appends);
}

async function makeTopic(engine: Engine, compression: "none" | "lz4"): Promise<TopicApi> {
  await engine.createTopic("events", { partitions: PARTITIONS, compression });
  return engine.topic("events");
}

const STORES: readonly (readonly [string, number, (path: string) => ObjectStore])[] = [
  ["memory", 24, () => createMemoryStore()],
  ["fs", 8, (path) => createFsStore({ root: join(path, "store"), ...systemRuntime })],
];

describe.each(STORES)("as a scan of all records finds, in %s", (_, numRuns, makeStore) => {
  test.each([
    ["inline", false, false],
    ["inline, and a journaled tail", false, true],
    ["data objects with large extents", true, false],
    ["data objects, and a journaled tail", true, true],
  ] as const)(
    "%s",
    async (__, large, journaled) => {
      const codec = fc.constantFrom("none" as const, "lz4" as const);
      const property = fc.asyncProperty(steps(large), codec, async (plan, compression) => {
        const path = await mkdtemp(join(tmpdir(), "tierlog-times-"));
        const cluster = new Cluster(makeStore(path));
        try {
          const engine = await cluster.open(config(path, journaled));
          const topic = await makeTopic(engine, compression);
          await run(engine, topic, plan);
          const uploaded: TimestampedOffset[][] = [];
          for (let i = 0; i < PARTITIONS; i++) {
            const partition = topic.partition(i);
            const scanned = await timesOf(partition);
            const watermarks = await partition.watermarks();
            expect(scanned).toHaveLength(watermarks.end);
            await expectAsScanned(partition, scanned, 20);
            uploaded.push(scanned.slice(0, watermarks.uploaded));
          }
          // Another process sees what is in the store, with nothing in its caches.
          const reader = await (await cluster.open(config(path), { readOnly: true })).topic("events");
          for (const [i, scanned] of uploaded.entries()) await expectAsScanned(reader.partition(i), scanned, 20);
        } finally {
          await cluster.close();
          await rm(path, { recursive: true });
        }
      });
      await fc.assert(property, { numRuns: large ? numRuns / 4 : numRuns });
    },
    120_000,
  );
});
