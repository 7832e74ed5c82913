import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import type { ObjectKey } from "../../src/domain.ts";
import type { PartitionApi, TopicApi } from "../../src/engine/api.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { createMemoryStore } from "../../src/object-store/memory-store.ts";
import { totalRequests } from "../../src/object-store/metered.ts";
import type { LogRecord } from "../../src/record/record.ts";
import { seededRandom } from "../../src/runtime/random.ts";
import { FaultyStore } from "../shard/faulty-store.ts";
import { Cluster, collect, testConfig } from "../support/engine.ts";
import { expectAsScanned, timesOf } from "../support/naive-times.ts";
import { raiseMaxTimestamps } from "../support/raised-times.ts";

const KIB = 1024;
const MIB = 1024 * KIB;
const NOW_MS = 1_700_000_000_000;

let path: string;
let faulty: FaultyStore;
let cluster: Cluster;

beforeEach(async () => {
  path = await mkdtemp(join(tmpdir(), "tierlog-times-"));
  faulty = new FaultyStore(createMemoryStore());
  cluster = new Cluster(faulty.store);
});

afterEach(async () => {
  faulty.release();
  await cluster.close();
  await rm(path, { recursive: true });
});

function config(overrides: { journaled?: boolean; flushBytes?: number } = {}): ReturnType<typeof testConfig> {
  return testConfig({
    path,
    storage: { object: { multipartPartSizeBytes: 5 * MIB, ackAfterUpload: overrides.journaled !== true } },
    flush: { lingerMs: 60_000, ...(overrides.flushBytes === undefined ? {} : { maxBytes: overrides.flushBytes }) },
    journal: { uploadIntervalMs: 3_600_000 },
    batch: { maxBytes: 128 * KIB },
  });
}

async function open(overrides: Parameters<typeof config>[0] = {}): Promise<{ engine: Engine; topic: TopicApi }> {
  const engine = await cluster.open(config(overrides));
  await engine.createTopic("events", { partitions: 2 });
  return { engine, topic: await engine.topic("events") };
}

function at(...times: number[]): LogRecord[] {
  return times.map((timestampMs) => ({ value: Buffer.from("x"), timestampMs }));
}

async function append(engine: Engine, partition: PartitionApi, ...times: number[]): Promise<void> {
  const appended = partition.append(at(...times));
  await engine.flush();
  await appended;
}

/** How many requests `work` costs. */
async function spent(engine: Engine, work: () => Promise<unknown>): Promise<number> {
  const before = totalRequests(engine.metrics().store);
  await work();
  return totalRequests(engine.metrics().store) - before;
}

const RECORDS = 400;

/**
 * 400 records of 20 KiB in each partition, each 10 ms behind the one before and every eighth a second early: one data object, an
 * extent of 8 MiB for each.
 */
async function large(): Promise<{ engine: Engine; partition: PartitionApi; key: ObjectKey }> {
  const { engine, topic } = await open();
  const appends = Array.from({ length: 2 * RECORDS }, (_, i) => {
    const n = Math.floor(i / 2);
    const timestampMs = NOW_MS + 10 * n - (n % 8 === 0 ? 1000 : 0);
    return topic.partition(i % 2).append([{ value: Buffer.alloc(20 * KIB, String(n)), timestampMs }]);
  });
  await engine.flush();
  await Promise.all(appends);
  const [object] = await collect(cluster.store.list("data/"));
  if (object === undefined) throw new Error("no data object");
  return { engine, partition: topic.partition(1), key: object.key };
}

/** Another process that knows the chain, and nothing else yet. */
async function reader(number = 1): Promise<{ engine: Engine; partition: PartitionApi }> {
  const engine = await cluster.open(config(), { readOnly: true });
  const partition = (await engine.topic("events")).partition(number);
  await partition.watermarks();
  return { engine, partition };
}

describe("requests", () => {
  test("in a large extent: one for its footer and one for a block; then one for a block, or none", async () => {
    await large();
    const { engine, partition } = await reader();
    const { bytes } = engine.metrics().store.get;
    const first = { offset: 201, timestampMs: NOW_MS + 2010 };
    expect(await spent(engine, async () => expect(await partition.offsetAt(NOW_MS + 2005)).toEqual(first))).toBe(2);
    // 64 KiB for the footer; a block is at least 256 KiB and less than a batch more.
    expect(engine.metrics().store.get.bytes - bytes).toBeLessThan((64 + 256 + 128) * KIB);
    expect(await spent(engine, async () => expect(await partition.offsetAt(NOW_MS + 2010)).toEqual(first))).toBe(0);
    const other = { offset: 100, timestampMs: NOW_MS + 1000 };
    expect(await spent(engine, async () => expect(await partition.offsetAt(NOW_MS + 995)).toEqual(other))).toBe(1);
  });

  test("for the highest timestamp: a look for news, the footer, a block", async () => {
    await large();
    const { engine, partition } = await reader();
    const latest = { offset: RECORDS - 1, timestampMs: NOW_MS + 10 * (RECORDS - 1) };
    const ask = async (): Promise<void> => expect(await partition.offsetAt("max-timestamp")).toEqual(latest);
    expect(await spent(engine, ask)).toBe(3);
    expect(await spent(engine, ask)).toBe(1);
  });

  test("for what no record reaches: a look for news, and nothing of the data", async () => {
    await large();
    const { engine, partition } = await reader();
    const ask = async (): Promise<void> => expect(await partition.offsetAt(NOW_MS + 10 * RECORDS)).toBeUndefined();
    expect(await spent(engine, ask)).toBe(1);
  });

  test("none in the process that wrote it", async () => {
    const { engine, partition } = await large();
    const ask = async (): Promise<void> => {
      expect(await partition.offsetAt(NOW_MS + 2005)).toMatchObject({ offset: 201 });
      expect(await partition.offsetAt(NOW_MS + 10 * RECORDS)).toBeUndefined();
      expect(await partition.offsetAt("max-timestamp")).toMatchObject({ offset: RECORDS - 1 });
      expect(await partition.offsetAt("earliest")).toEqual({ offset: 0 });
      expect(await partition.offsetAt("latest")).toEqual({ offset: RECORDS });
    };
    expect(await spent(engine, ask)).toBe(0);
  });

  test("of many extents only the one that holds the record is read", async () => {
    const { engine, topic } = await open();
    for (let i = 0; i < 20; i++) await append(engine, topic.partition(0), NOW_MS + 10 * i, NOW_MS + 10 * i + 5);
    const cold = await reader(0);
    const ask = async (): Promise<void> =>
      expect(await cold.partition.offsetAt(NOW_MS + 91)).toEqual({ offset: 19, timestampMs: NOW_MS + 95 });
    expect(await spent(cold.engine, ask)).toBe(1);
    expect(await spent(cold.engine, ask)).toBe(0);
  });
});

describe("maxima that are too high", () => {
  test("lead to the next candidate, in extents of any size", async () => {
    const { engine, partition } = await large();
    const scanned = await timesOf(partition);
    const small = (await engine.topic("events")).partition(0);
    for (let i = 0; i < 10; i++) await append(engine, small, NOW_MS + 5000 + 10 * i, NOW_MS + 4000 - 10 * i);
    const scannedSmall = await timesOf(small);
    await engine.close();
    for (const seed of [1, 2, 3]) {
      await raiseMaxTimestamps(cluster.store, seededRandom(seed), 2000);
      expect(await timesOf((await reader()).partition)).toEqual(scanned);
      await expectAsScanned((await reader()).partition, scanned, 20);
      await expectAsScanned((await reader(0)).partition, scannedSmall, 20);
    }
  });
});

describe("the journaled tail", () => {
  test("is searched, also where its frames lie on the disk only, and while they go to the store", async () => {
    // No link lands; the queue keeps 8 KiB in memory.
    const { engine, topic } = await open({ journaled: true, flushBytes: 4 * KIB });
    const partition = topic.partition(0);
    await append(engine, partition, NOW_MS, NOW_MS + 500, NOW_MS + 100);
    faulty.hold();
    const random = seededRandom(1);
    for (let i = 0; i < 60; i++) {
      const timestampMs = NOW_MS + Math.floor(random.float() * 2000);
      await partition.append([{ value: random.bytes(KIB), timestampMs }]);
    }
    const scanned = await timesOf(partition);
    expect(await partition.watermarks()).toMatchObject({ uploaded: 3, durable: 63 });
    await expectAsScanned(partition, scanned);
    const before = await partition.offsetAt("max-timestamp");
    faulty.release();
    const flushed = engine.flush();
    while ((await partition.watermarks()).uploaded < 63) {
      expect(await partition.offsetAt("max-timestamp")).toEqual(before);
      await expectAsScanned(partition, scanned, 5);
      // All of that may be answered without leaving this turn of the event loop, in which nothing goes to the store.
      await new Promise((resolve) => setImmediate(resolve));
    }
    await flushed;
    await expectAsScanned(partition, scanned);
  });

  test("does not count for a topic whose records are seen when they are uploaded", async () => {
    const { engine, topic } = await open({ journaled: true });
    await engine.createTopic("careful", { partitions: 1, ack: "uploaded" });
    const careful = (await engine.topic("careful")).partition(0);
    const warm = careful.append(at(NOW_MS));
    await engine.flush();
    await warm;
    faulty.hold();
    await topic.partition(0).append(at(NOW_MS + 7));
    await careful.append(at(NOW_MS + 7), { ack: "journaled" });
    expect(await topic.partition(0).offsetAt(NOW_MS + 7)).toEqual({ offset: 0, timestampMs: NOW_MS + 7 });
    expect(await careful.offsetAt(NOW_MS + 7)).toBeUndefined();
    expect(await careful.offsetAt("max-timestamp")).toEqual({ offset: 0, timestampMs: NOW_MS });
    expect(await careful.offsetAt("latest")).toEqual({ offset: 1 });
    faulty.release();
    await engine.flush();
    expect(await careful.offsetAt(NOW_MS + 7)).toEqual({ offset: 1, timestampMs: NOW_MS + 7 });
  });

  test("is found again by the next process", async () => {
    const hasty = { ...config({ journaled: true }), shutdownTimeoutMs: 100 };
    const engine = await cluster.open(hasty);
    await engine.createTopic("events", { partitions: 1 });
    const partition = (await engine.topic("events")).partition(0);
    await append(engine, partition, NOW_MS + 3, NOW_MS + 9);
    // For good: a put that is tried again would take the place of the fence below.
    faulty.fate = () => "forbidden";
    await partition.append(at(NOW_MS + 50, NOW_MS + 20));
    await engine.close();
    // The fence lands, nothing behind it.
    let puts = 0;
    faulty.fate = () => (puts++ === 0 ? "pass" : "forbidden");
    const again = (await (await cluster.open(hasty)).topic("events")).partition(0);
    expect(await again.watermarks()).toMatchObject({ uploaded: 2, durable: 4 });
    expect(await again.offsetAt(NOW_MS + 10)).toEqual({ offset: 2, timestampMs: NOW_MS + 50 });
    expect(await again.offsetAt(NOW_MS + 51)).toBeUndefined();
    expect(await again.offsetAt("max-timestamp")).toEqual({ offset: 2, timestampMs: NOW_MS + 50 });
    faulty.fate = () => "pass";
  });
});

describe("damage", () => {
  test("a footer that cannot be read costs its rebuilding, no answer", async () => {
    const { partition, key } = await large();
    const scanned = await timesOf(partition);
    await change(key, (body) => body.subarray(0, -1));
    const cold = await reader();
    await expectAsScanned(cold.partition, scanned, 20);
    expect(cold.engine.metrics().footersRebuilt).toBe(1);
  });

  test("a footer that cannot be read beside a damaged batch: its records are not passed over, they are named", async () => {
    const { key } = await large();
    const stored = Buffer.from((await cluster.store.get(key))?.body ?? []);
    // The maximum in the header of the very first batch, of partition 0, becomes a small number.
    await change(key, (body) => {
      body.fill(0, 35, 43);
      return body.subarray(0, -1);
    });
    const { partition } = await reader(0);
    await expect(partition.offsetAt(NOW_MS)).rejects.toMatchObject({ code: "TIERLOG_CORRUPTION", key, position: 0 });
    await change(key, () => stored);
    expect(await partition.offsetAt(NOW_MS)).toEqual({ offset: 1, timestampMs: NOW_MS + 10 });
  });

  test("I3: a damaged block is named by the lookups that need it, others are answered", async () => {
    const { key } = await large();
    await change(key, (body) => {
      body[100 * KIB] = (body[100 * KIB] ?? 0) ^ 1;
      return body;
    });
    const { partition } = await reader(0);
    await expect(partition.offsetAt(NOW_MS)).rejects.toMatchObject({ code: "TIERLOG_CORRUPTION", key });
    expect(await partition.offsetAt(NOW_MS + 2005)).toMatchObject({ offset: 201 });
  });

  async function change(key: ObjectKey, make: (body: Buffer) => Uint8Array): Promise<void> {
    const stored = await cluster.store.get(key);
    await cluster.store.put(key, make(Buffer.from(stored?.body ?? [])), { condition: { kind: "none" } });
  }
});

describe("answers", () => {
  test("an empty partition, and one that nobody has written to", async () => {
    const { engine, topic } = await open();
    for (const partition of [topic.partition(0), (await reader(0)).partition]) {
      expect(await partition.offsetAt(0)).toBeUndefined();
      expect(await partition.offsetAt("max-timestamp")).toBeUndefined();
      expect(await partition.offsetAt("earliest")).toEqual({ offset: 0 });
      expect(await partition.offsetAt("latest")).toEqual({ offset: 0 });
    }
    expect(engine.metrics().appendedRecords).toBe(0);
  });

  test("a reader sees what was appended since it looked last", async () => {
    const { engine, topic } = await open();
    await append(engine, topic.partition(0), NOW_MS);
    const { partition } = await reader(0);
    expect(await partition.offsetAt(NOW_MS + 1)).toBeUndefined();
    await append(engine, topic.partition(0), NOW_MS + 5);
    expect(await partition.offsetAt(NOW_MS + 1)).toEqual({ offset: 1, timestampMs: NOW_MS + 5 });
    expect(await partition.offsetAt("max-timestamp")).toEqual({ offset: 1, timestampMs: NOW_MS + 5 });
  });

  test("records({ from: Date }): from the first that is that late on, or from the end", async () => {
    const { engine, topic } = await open();
    const partition = topic.partition(0);
    await append(engine, partition, NOW_MS, NOW_MS + 20, NOW_MS + 10, NOW_MS + 30);
    const offsets = async (timestampMs: number): Promise<number[]> =>
      (await collect(partition.records({ from: new Date(timestampMs) }))).map(({ offset }) => offset);
    expect(await offsets(NOW_MS + 15)).toEqual([1, 2, 3]);
    expect(await offsets(-5)).toEqual([0, 1, 2, 3]);
    expect(await offsets(NOW_MS + 31)).toEqual([]);

    const following = partition.records({ from: new Date(NOW_MS + 31), follow: true })[Symbol.asyncIterator]();
    const next = following.next();
    await partition.watermarks();
    await append(engine, partition, NOW_MS + 1);
    expect(await next).toMatchObject({ value: { offset: 4, timestampMs: NOW_MS + 1 } });
    await following.return?.();
  });

  test.each([Number.NaN, 1.5, Number.POSITIVE_INFINITY, 2 ** 53, new Date("no date"), "2026-11-20", undefined, 5n])(
    "%s is refused",
    async (wrong) => {
      const { topic } = await open();
      await expect(topic.partition(0).offsetAt(wrong as number)).rejects.toMatchObject({
        code: "TIERLOG_INVALID_ARGUMENT",
        argument: "at",
      });
    },
  );

  test("records({ from }) refuses a date that is none; a closed engine answers nothing", async () => {
    const { engine, topic } = await open();
    const partition = topic.partition(0);
    await expect(collect(partition.records({ from: new Date(Number.NaN) }))).rejects.toMatchObject({
      code: "TIERLOG_INVALID_ARGUMENT",
      argument: "from",
    });
    await engine.close();
    await expect(partition.offsetAt(0)).rejects.toMatchObject({ code: "TIERLOG_CLOSED" });
    await expect(collect(partition.records({ from: new Date(0) }))).rejects.toMatchObject({ code: "TIERLOG_CLOSED" });
  });
});
