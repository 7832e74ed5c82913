import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";

import type { PartitionApi } from "../../src/engine/api.ts";
import type { Engine } from "../../src/engine/engine.ts";
import type { ObjectStore } from "../../src/object-store/object-store.ts";
import { decodeRecords } from "../../src/record/batch.ts";
import { Cluster, testConfig, values } from "../support/engine.ts";

const KIB = 1024;
const RECORDS = 120;
const VALUE_BYTES = 100 * KIB;
/** The window of one reader is a quarter: ten records. */
const CACHE_BYTES = 4 * 1024 * KIB;

let cluster: Cluster;
let engine: Engine;
let partition: PartitionApi;
/** Bytes of bodies asked for below "data/" or "index/" beyond what a fold reads. */
let fetchedBytes: number;
let inFlight: number;
let inFlightMax: number;
let refused: boolean;

beforeAll(async () => {
  cluster = new Cluster();
  const writer = await cluster.open();
  await writer.createTopic("events", { partitions: 2 });
  const topic = await writer.topic("events");
  // Each record a flush and an object of its own.
  for (let i = 0; i < RECORDS; i++) await topic.partition(0).append(values(String(i).padEnd(VALUE_BYTES, ".")));
});

afterAll(() => cluster.close());

beforeEach(async () => {
  await engine?.close();
  fetchedBytes = 0;
  inFlight = 0;
  inFlightMax = 0;
  refused = false;
  const slow: ObjectStore = {
    ...cluster.store,
    async get(key, options) {
      const range = options?.range;
      const bytes = range !== undefined && "end" in range ? (range.end ?? 0) - range.start : 0;
      if (bytes < VALUE_BYTES) return cluster.store.get(key, options);
      if (refused) throw new Error("refused");
      fetchedBytes += bytes;
      inFlightMax = Math.max(inFlightMax, ++inFlight);
      await new Promise((resolve) => setTimeout(resolve, 5));
      inFlight--;
      return cluster.store.get(key, options);
    },
  };
  const config = testConfig({ cache: { sizeBytes: CACHE_BYTES } });
  engine = await cluster.open(config, { readOnly: true, objectStore: slow });
  partition = (await engine.topic("events")).partition(0);
  await partition.watermarks();
});

const settled = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 60));

/** One record at `from`, whose number it is. */
async function readAt(from: number): Promise<void> {
  const { batches, nextOffset } = await partition.read({ from, maxBytes: 1 });
  const [record] = batches.flatMap((batch) => decodeRecords(batch, { key: "read", position: 0 }));
  expect([nextOffset, Number.parseInt(Buffer.from(record?.value ?? []).toString(), 10)]).toEqual([from + 1, from]);
}

test("who reads in order waits for the first two, has the next in flight together, and fetches nothing twice", async () => {
  for (let offset = 0; offset < RECORDS; offset++) await readAt(offset);
  const { misses, readAheads } = engine.metrics().cache;
  expect(misses + readAheads).toBe(RECORDS);
  expect(misses).toBeLessThanOrEqual(3);
  expect(inFlightMax).toBeGreaterThan(1);
  expect(fetchedBytes).toBeLessThan(RECORDS * (VALUE_BYTES + KIB));
});

test("who jumps about is read ahead of nothing, and who reads once neither", async () => {
  for (const offset of [7, 3, 90, 40, 41 + 20, 0]) await readAt(offset);
  await settled();
  expect(engine.metrics().cache).toMatchObject({ misses: 6, readAheads: 0 });
});

test("F46: who stops reading costs no more than a window, and reads on later from where it was", async () => {
  for (let offset = 0; offset < 10; offset++) await readAt(offset);
  await settled();
  const { readAheads } = engine.metrics().cache;
  expect(readAheads).toBeLessThanOrEqual(10 + 11);
  await settled();
  expect(engine.metrics().cache.readAheads).toBe(readAheads);
  await readAt(10);
  await readAt(11);
  expect(engine.metrics().cache.misses).toBeLessThanOrEqual(3);
});

test("many readers at once share half the cache, and all read everything right", async () => {
  const readers = Array.from({ length: 12 }, (_, i) => i * 8);
  for (let step = 0; step < 8; step++) await Promise.all(readers.map((from) => readAt(from + step)));
  const { bytes } = engine.metrics().cache;
  expect(bytes).toBeLessThanOrEqual(CACHE_BYTES);
  expect(inFlightMax).toBeLessThanOrEqual(16 + 8);
});

test("what cannot be fetched ahead is told to who reads it, and to nobody else", async () => {
  for (const offset of [0, 1]) await readAt(offset);
  await settled();
  refused = true;
  const before = engine.metrics().cache.readAheads;
  // From the cache; what is begun behind it fails.
  await readAt(2);
  await settled();
  expect(engine.metrics().cache.readAheads).toBeGreaterThan(before);
  await expect(partition.read({ from: 100, maxBytes: 1 })).rejects.toThrow("refused");
  refused = false;
  for (let offset = 3; offset < 30; offset++) await readAt(offset);
});

test("two readers side by side, and any number at the end of the log, cost a third nothing", async () => {
  for (let i = 0; i < 40; i++) await partition.read({ from: RECORDS });
  for (let offset = 0; offset < RECORDS; offset++) await Promise.all([readAt(offset), readAt(offset)]);
  const { misses, readAheads } = engine.metrics().cache;
  expect(misses + readAheads).toBe(RECORDS);
  expect(misses).toBeLessThanOrEqual(3);
});

test("readers of all the partitions in one object pay two GETs for it, as without reading ahead", async () => {
  const PARTITIONS = 40;
  const OBJECTS = 12;
  const shared = new Cluster();
  const writer = await shared.open(testConfig({ flush: { lingerMs: 60_000 } }));
  await writer.createTopic("shared", { partitions: PARTITIONS });
  const topic = await writer.topic("shared");
  const numbers = Array.from({ length: PARTITIONS }, (_, i) => i);
  for (let i = 0; i < OBJECTS; i++) {
    const acks = numbers.map((number) => topic.partition(number).append(values("x".repeat(2000))));
    await writer.flush();
    await Promise.all(acks);
  }
  const late: ObjectStore = {
    ...shared.store,
    async get(key, options) {
      await new Promise((resolve) => setTimeout(resolve, 2));
      return shared.store.get(key, options);
    },
  };
  const reader = await shared.open(testConfig(), { readOnly: true, objectStore: late });
  const read = await reader.topic("shared");
  await Promise.all(
    numbers.map(async (number) => {
      for (let from = 0; from < OBJECTS; from++) await read.partition(number).read({ from, maxBytes: 1 });
    }),
  );
  const { misses, readAheads } = reader.metrics().cache;
  expect(readAheads).toBeGreaterThan(0);
  expect(misses + readAheads).toBeLessThanOrEqual(2 * OBJECTS + 1);
  await shared.close();
});

test("a store that does not answer to reading ahead keeps the engine open no longer than shutdown_timeout", async () => {
  let answered = 0;
  const hanging: ObjectStore = {
    ...cluster.store,
    get(key, options) {
      const range = options?.range;
      const isPayload = range !== undefined && "end" in range && (range.end ?? 0) - range.start >= VALUE_BYTES;
      return isPayload && ++answered > 2 ? new Promise(() => undefined) : cluster.store.get(key, options);
    },
  };
  const config = testConfig({ cache: { sizeBytes: CACHE_BYTES }, shutdownTimeoutMs: 100 });
  const stuck = await cluster.open(config, { readOnly: true, objectStore: hanging });
  const reads = (await stuck.topic("events")).partition(0);
  for (const from of [0, 1]) await reads.read({ from, maxBytes: 1 });
  expect(stuck.metrics().cache.readAheads).toBeGreaterThan(0);
  await stuck.close();
  await expect(reads.read({ from: 2 })).rejects.toMatchObject({ code: "TIERLOG_CLOSED" });
});

test("at the end of the log there is nothing to fetch, and a log of one small extent costs one GET", async () => {
  for (let offset = RECORDS - 3; offset < RECORDS; offset++) await readAt(offset);
  for (let i = 0; i < 3; i++) expect((await partition.read({ from: RECORDS })).batches).toEqual([]);
  await settled();
  const { misses, readAheads } = engine.metrics().cache;
  expect(misses + readAheads).toBe(3);
});
