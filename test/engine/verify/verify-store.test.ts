import { randomBytes } from "node:crypto";

import { beforeAll, describe, expect, test } from "vitest";

import type { Epoch, ObjectKey, ShardId } from "../../../src/domain.ts";
import {
  verifyStore,
  type StoreVerification,
  type VerifyOptions,
  type WorkerPool,
} from "../../../src/engine/verify-store.ts";
import { startVerifyWorkers } from "../../../src/engine/verify-workers.ts";
import { createMemoryStore } from "../../../src/object-store/memory-store.ts";
import { dataKey } from "../../../src/object-store/object-names.ts";
import type { ObjectStore } from "../../../src/object-store/object-store.ts";
import { appendDraft, damage, flipped, keysBelow, land, listeningLogger, writeId } from "../../index-chain/links.ts";
import { Cluster, testConfig, values } from "../../support/engine.ts";
import { bytesOf, changeBatch, copyOf, dataObjects, filledStore, index, linkAt, put } from "./damaged-store.ts";
import { dyingPool } from "./worker-threads.ts";

const MIB = 1024 * 1024;

let whole: ObjectStore;
beforeAll(async () => {
  whole = await filledStore();
});

function verify(objectStore: ObjectStore, options: VerifyOptions = {}): Promise<StoreVerification> {
  return verifyStore(testConfig(), { objectStore, ...options });
}

/** `inner`, with something done before each read. */
function watched(inner: ObjectStore, before: (key: ObjectKey) => Promise<void> | void): ObjectStore {
  return {
    ...inner,
    async get(key, options) {
      await before(key);
      return inner.get(key, options);
    },
  };
}

/** Refuses whatever would change the store. */
function readOnly(inner: ObjectStore): ObjectStore {
  const refuse = (): Promise<never> => Promise.reject(new Error("verify has changed the store"));
  return { ...inner, put: refuse, delete: refuse, createMultipart: refuse };
}

describe("beside writers", () => {
  test("what a writer appends, checkpoints and uploads meanwhile is no finding", async () => {
    const store = await copyOf(whole);
    const cluster = new Cluster(store);
    const config = testConfig({
      checkpointEvery: 2,
      flush: { lingerMs: 60_000, maxBytes: 64 * MIB },
      storage: { object: { multipartPartSizeBytes: 5 * MIB } },
    });
    const engine = await cluster.open(config);
    const topic = await engine.topic("events");
    let appends = 0;
    const appendMore = async (): Promise<void> => {
      if (++appends % 3 !== 0 || appends > 60) return;
      const value = appends === 6 ? randomBytes(900 * 1024) : Buffer.from("x");
      const acks = Array.from({ length: appends === 6 ? 7 : 1 }, () => topic.partition(0).append([{ value }]));
      await engine.flush();
      await Promise.all(acks);
    };
    const { clean, findings, unreferenced } = await verify(watched(readOnly(store), appendMore), { deep: true });
    await cluster.close();
    expect([clean, findings, unreferenced?.objects]).toEqual([true, [], 0]);
    // The writer was not disturbed, and did write data objects and checkpoints.
    expect(appends).toBeGreaterThan(20);
    expect(await keysBelow(store, "data/")).toHaveLength(3);
    expect(await keysBelow(store, "checkpoint/")).not.toEqual(await keysBelow(whole, "checkpoint/"));
    expect((await verify(store, { deep: true })).findings).toEqual([]);
  });

  test("links that are void are counted and harm nobody", async () => {
    const store = await copyOf(whole);
    await land(store, appendDraft({ seq: 10, epoch: 1, id: "late", prev: writeId("never stored"), baseOffset: 7 }));
    const { clean, totals } = await verify(store);
    expect([clean, totals.liveLinks, totals.voidLinks]).toEqual([true, 10, 1]);
  });
});

describe("what no link names", () => {
  test("is counted and listed, and is no damage", async () => {
    const store = await copyOf(whole);
    const keys = [0, 1].map((n) => dataKey(0 as ShardId, 1 as Epoch, 90 + n, `${n}f00112233445566`));
    for (const key of keys) await put(store, key, Buffer.alloc(100));
    const other = dataKey(7 as ShardId, 1 as Epoch, 0, "aa00112233445566");
    await put(store, other, Buffer.alloc(50));
    const { clean, findings, unreferenced } = await verify(store);
    expect([clean, findings]).toEqual([true, []]);
    expect(unreferenced).toEqual({
      objects: 3,
      bytes: 250,
      listed: [
        { key: keys[0], sizeBytes: 100 },
        { key: keys[1], sizeBytes: 100 },
        { key: other, sizeBytes: 50 },
      ].sort((a, b) => ((a.key ?? "") < (b.key ?? "") ? -1 : 1)),
    });
    expect((await verify(store, { shard: 0 })).unreferenced?.objects).toBe(2);
  });

  test("objects of links behind a hole are not counted: a link does name them", async () => {
    const store = await copyOf(whole);
    await store.delete([index(4), ...(await keysBelow(store, "checkpoint/"))]);
    const { clean, unreferenced, totals } = await verify(store);
    expect([clean, unreferenced?.objects, totals.liveLinks, totals.unfoldedLinks]).toEqual([false, 0, 4, 5]);
  });
});

describe("choosing what to check", () => {
  let two: ObjectStore;
  beforeAll(async () => {
    two = await copyOf(whole);
    const cluster = new Cluster(two);
    const engine = await cluster.open(testConfig({ shards: 3 }));
    await engine.createTopic("other", { partitions: 3 });
    const topic = await engine.topic("other");
    for (const partition of [0, 1, 2]) await topic.partition(partition).append(values("a", "b"));
    await cluster.close();
  });

  test("a topic: its shards, and of them its extents", async () => {
    const { totals, unreferenced } = await verify(two, { topic: "other", deep: true });
    expect([totals.shards, totals.records, totals.checkedRecords, totals.dataObjects, unreferenced]).toEqual([
      3,
      6,
      6,
      0,
      undefined,
    ]);
    const events = await verify(two, { topic: "events" });
    expect([events.clean, events.totals.shards, events.totals.records]).toEqual([true, 1, 2 * (6 * 2 + 2 * 96)]);
  });

  test("a shard", async () => {
    const one = await verify(two, { shard: 2, deep: true });
    expect([one.clean, one.totals.shards, one.totals.checkedRecords]).toEqual([true, 1, 2]);
    const both = await verify(two, { shard: 0, topic: "other" });
    expect([both.clean, both.totals.shards, both.totals.records]).toEqual([true, 1, 2]);
  });

  test.each([
    [{ topic: "event" }, "TIERLOG_NOT_FOUND", 'topic "event"'],
    [{ shard: 9 }, "TIERLOG_INVALID_ARGUMENT", "shard 9: nothing was ever written to it"],
    [{ shard: 1, topic: "events" }, "TIERLOG_INVALID_ARGUMENT", "topic events does not use it"],
  ])("%j is refused", async (options, code, message) => {
    await expect(verify(two, options)).rejects.toMatchObject({
      code,
      message: expect.stringContaining(message) as string,
    });
  });

  test("nothing there, and memory, are errors", async () => {
    await expect(verify(createMemoryStore())).rejects.toMatchObject({ code: "TIERLOG_NOT_FOUND" });
    await expect(verifyStore(testConfig())).rejects.toMatchObject({ code: "TIERLOG_CONFIG" });
  });
});

describe("deep", () => {
  /** One extent of 20 MiB: larger than what is fetched at once. */
  async function largeExtent(): Promise<{ store: ObjectStore; key: ObjectKey }> {
    const store = createMemoryStore();
    const cluster = new Cluster(store);
    const engine = await cluster.open(
      testConfig({
        flush: { lingerMs: 60_000, maxBytes: 64 * MIB, maxPendingBytes: 256 * MIB },
        storage: { object: { multipartPartSizeBytes: 5 * MIB } },
      }),
    );
    await engine.createTopic("events", { partitions: 1 });
    const partition = (await engine.topic("events")).partition(0);
    const acks = Array.from({ length: 64 }, (_, i) => partition.append(values(String(i).padEnd(330 * 1024, "."))));
    await engine.flush();
    await Promise.all(acks);
    await cluster.close();
    const [key] = await keysBelow(store, "data/");
    if (key === undefined) throw new Error("no data object");
    return { store, key };
  }

  test("an extent that is fetched in several pieces: whole, then with two damaged batches", async () => {
    const { store, key } = await largeExtent();
    const { clean, totals } = await verify(store, { deep: true });
    expect([clean, totals.extents, totals.checkedRecords, totals.checkedBytes]).toEqual([true, 1, 64, totals.bytes]);
    await damage(store, key, flipped(9 * MIB));
    await damage(store, key, flipped(17 * MIB));
    const damaged = await verify(store, { deep: true });
    expect(damaged.findings.map(({ code, key: at }) => [code, at])).toEqual([
      ["damaged-batch", key],
      ["damaged-batch", key],
    ]);
    const spans = damaged.findings.flatMap(({ offsets }) =>
      offsets.map((range) => range.nextOffset - range.firstOffset),
    );
    // The batches before, between and behind them are checked all the same.
    expect(damaged.totals.checkedRecords).toBe(64);
    expect(spans).toEqual([3, 3]);
  });

  test("a length that is damaged ends the extent there, not the check", async () => {
    const { store, key } = await largeExtent();
    await damage(store, key, flipped(8));
    const { findings, totals } = await verify(store, { deep: true });
    expect(findings).toMatchObject([
      { code: "damaged-batch", key, position: 0, offsets: [{ firstOffset: 0, nextOffset: 64 }] },
    ]);
    expect(totals.checkedRecords).toBe(0);
  });

  test("a flipped bit in the magic byte is damage, and no newer format", async () => {
    const { store, key } = await largeExtent();
    await damage(store, key, flipped(16));
    const { findings } = await verify(store, { deep: true });
    expect(findings).toMatchObject([
      { code: "damaged-batch", position: 0, problem: expect.stringContaining("magic 3") as string },
    ]);
  });

  test("a codec that this version does not know, under a CRC that is right, is of a newer one", async () => {
    const store = await copyOf(whole);
    await changeBatch(store, 4, (batch) => batch.writeUInt16BE(4, 21), { resealed: true });
    const { findings } = await verify(store, { deep: true });
    expect(findings).toMatchObject([
      { code: "unsupported-version", key: index(4), offsets: [{ firstOffset: 6, nextOffset: 8 }] },
    ]);
  });

  test("what was damaged on its way is fetched again", async () => {
    const seen = new Map<string, number>();
    const flaky: ObjectStore = {
      ...whole,
      async get(key, options) {
        const stored = await whole.get(key, options);
        const name = `${key} ${JSON.stringify(options?.range ?? null)}`;
        const nth = (seen.get(name) ?? 0) + 1;
        seen.set(name, nth);
        if (stored === undefined || nth > 1) return stored;
        return { ...stored, body: flipped(Math.floor(stored.body.length / 2))(stored.body) };
      },
    };
    expect((await verify(flaky, { deep: true })).findings).toEqual([]);
  });

  test("in other threads, over shared memory: the same result", async () => {
    const store = await copyOf(whole);
    const [first] = await dataObjects(store);
    await damage(store, first, flipped(5000));
    await using workers = await startVerifyWorkers(2);
    const seen = { tasks: 0, shared: 0 };
    const counted: WorkerPool = {
      async run(task) {
        seen.tasks++;
        if (task.bytes.buffer instanceof SharedArrayBuffer) seen.shared++;
        return workers.run(task);
      },
    };
    const threaded = await verify(store, { deep: true, workers: counted });
    const inline = await verify(store, { deep: true });
    expect(threaded.findings).toEqual(inline.findings);
    expect(threaded.totals).toEqual({ ...inline.totals, elapsedMs: threaded.totals.elapsedMs });
    expect([threaded.findings.length, seen.shared]).toEqual([1, seen.tasks]);
    // The inline batches of six links, more where a flush fell apart; those of the data objects did not get smaller by lz4, and are
    // checked where they are.
    expect(seen.tasks).toBeGreaterThanOrEqual(6);
    expect(seen.tasks).toBeLessThanOrEqual((await keysBelow(store, "index/")).length);
  });

  test.each([
    ["F44 a worker dies while it checks: its task goes to another", 1, 1],
    ["F44 two workers die with one task: it is done in this thread", 2, 2],
    ["F44 all workers die: the rest is done in this thread", Number.POSITIVE_INFINITY, 6],
  ])("%s; nothing is skipped", async (_, deaths, warned) => {
    const store = await copyOf(whole);
    const [first] = await dataObjects(store);
    await damage(store, first, flipped(5000));
    const logger = listeningLogger();
    await using workers = await dyingPool(deaths);
    const { findings, totals } = await verify(store, { deep: true, workers, runtime: { logger } });
    expect(findings.map(({ code, key }) => [code, key])).toEqual([["damaged-batch", first]]);
    expect(totals.checkedBytes).toBe(totals.bytes);
    const deadly = logger.warnings.filter(({ message }) => message.startsWith("a worker did not finish"));
    expect(deadly.length).toBeGreaterThanOrEqual(warned);
  });
});

describe("a run that cannot be finished", () => {
  test("ends with the error of the store", async () => {
    const failing = watched(whole, (key) => {
      if (key === index(3)) throw new Error("no route to the store");
    });
    await expect(verify(failing)).rejects.toThrow("no route to the store");
  });

  test("ends when its signal fires, between two requests", async () => {
    const stop = new AbortController();
    const doing: string[] = [];
    const onProgress: VerifyOptions["onProgress"] = (progress) => {
      doing.push(progress.doing);
      if (progress.doing.startsWith("reading the chain") && progress.objects === 3) stop.abort(new Error("enough"));
    };
    await expect(verify(whole, { signal: stop.signal, onProgress })).rejects.toMatchObject({ code: "TIERLOG_ABORTED" });
    expect(doing.at(-1)).toBe("reading the chain of shard 0");
  });
});

test("progress: objects and bytes up to their totals", async () => {
  const last = new Map<string, readonly number[]>();
  await verify(whole, {
    deep: true,
    onProgress: ({ doing, objects, objectsTotal, bytes, bytesTotal }) =>
      last.set(doing, [objects, objectsTotal, bytes, bytesTotal]),
  });
  const { totals } = await verify(whole, { deep: true });
  expect(Object.fromEntries(last)).toEqual({
    "looking at the store": [0, 0, 0, 0],
    "reading the catalog": [3, 3, 0, 0],
    "reading the chain of shard 0": [10, 10, 0, 0],
    "checking what shard 0 names": [8, 8, totals.bytes, totals.bytes],
    "looking for objects that no link names": [2, 0, 0, 0],
  });
});

test("of a kind that is found often a thousand are kept, and all are counted", async () => {
  const store = await copyOf(whole);
  for (let i = 0; i < 1100; i++) await put(store, `catalog/x${i}` as ObjectKey, Buffer.from("x"));
  const { findings, counts, clean } = await verify(store);
  expect([findings.length, counts, clean]).toEqual([1000, { "foreign-object": 1100 }, true]);
});

test("the store that the cases start from is the one that its description says", async () => {
  expect((await linkAt(whole, 0)).entries[0]?.type).toBe("fence");
  expect((await linkAt(whole, 9)).entries[0]?.type).toBe("release");
  const [first, second] = await dataObjects(whole);
  expect((await bytesOf(whole, first)).length).toBe((await bytesOf(whole, second)).length);
});
