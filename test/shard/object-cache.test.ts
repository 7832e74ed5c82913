import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

import { beforeEach, describe, expect, test } from "vitest";

import type { ObjectKey } from "../../src/domain.ts";
import { AbortedError, ObjectStoreError } from "../../src/errors.ts";
import { createMemoryStore } from "../../src/object-store/memory-store.ts";
import type { ObjectStore } from "../../src/object-store/object-store.ts";
import { decodeRecords } from "../../src/record/batch.ts";
import { takeMemory } from "../../src/record/spare-buffers.ts";
import { ObjectCache } from "../../src/shard/object-cache.ts";
import { Cluster, readAll, testConfig, values } from "../support/engine.ts";

const KEY = "index/0000/object" as ObjectKey;
const OTHER = "index/0000/other" as ObjectKey;

/** Ranges asked of the store, as in "object 0-10". */
let asked: string[];
let failing: boolean;
let store: ObjectStore;

/** Byte `i` of an object is `i % 251`. */
const content = (sizeBytes: number): Uint8Array => Uint8Array.from({ length: sizeBytes }, (_, i) => i % 251);

beforeEach(async () => {
  const inner = createMemoryStore();
  asked = [];
  failing = false;
  store = {
    ...inner,
    get(key, options) {
      const range = options?.range;
      asked.push(
        `${key.split("/")[2]} ${range !== undefined && "start" in range ? `${range.start}-${range.end}` : ""}`,
      );
      if (failing) throw new ObjectStoreError("injected", { operation: "get", key, retryable: false });
      return inner.get(key, options);
    },
  };
  for (const key of [KEY, OTHER]) await store.put(key, content(1000), { condition: { kind: "none" } });
});

/** Blocks of 100 bytes. */
function open(options: { tailBytes?: number; cacheBytes?: number } = {}): ObjectCache {
  return new ObjectCache({ store, tailBytes: options.tailBytes ?? 0, cacheBytes: options.cacheBytes ?? 400 });
}

async function expectBytes(cache: ObjectCache, key: ObjectKey, start: number, end: number): Promise<void> {
  expect(Buffer.from(await cache.read(key, start, end))).toEqual(Buffer.from(content(1000).subarray(start, end)));
}

describe("fetched bytes", () => {
  test("the first miss in a block fetches its range, the second the block, later ones nothing", async () => {
    const cache = open();
    await expectBytes(cache, KEY, 210, 220);
    await expectBytes(cache, KEY, 212, 218);
    await expectBytes(cache, KEY, 230, 240);
    await expectBytes(cache, KEY, 200, 300);
    expect(asked).toEqual(["object 210-220", "object 200-300"]);
    expect(cache.metrics()).toEqual({ tailHits: 0, hits: 2, misses: 2, readAheads: 0, refetched: 0, bytes: 110 });
  });

  test("a range over a border of blocks fetches both, one larger than a block itself and no more", async () => {
    const cache = open();
    await expectBytes(cache, KEY, 0, 1);
    await expectBytes(cache, KEY, 90, 110);
    await expectBytes(cache, KEY, 350, 550);
    await expectBytes(cache, OTHER, 0, 100);
    expect(asked).toEqual(["object 0-1", "object 1-200", "object 350-550", "other 0-100"]);
  });

  test("who goes on in order fetches nothing twice, also over the borders of blocks", async () => {
    const cache = open();
    for (const start of [0, 30, 60, 90, 120, 150, 180]) await expectBytes(cache, KEY, start, start + 30);
    expect(asked).toEqual(["object 0-30", "object 30-100", "object 100-120", "object 120-200", "object 200-210"]);
  });

  test("what a reader was given stays as it was when the memory of its block takes another one", async () => {
    const size = 40_000;
    const keys = ["a", "b", "c", "d"].map((name) => `index/0000/${name}` as ObjectKey);
    for (const [i, key] of keys.entries())
      await store.put(key, new Uint8Array(size).fill(i + 1), { condition: { kind: "none" } });
    const memory: ArrayBufferLike[] = [];
    const watching: ObjectStore = {
      ...store,
      async get(key, options) {
        const found = await store.get(key, options);
        if (found !== undefined) memory.push(found.body.buffer);
        return found;
      },
    };
    const cache = new ObjectCache({ store: watching, tailBytes: 0, cacheBytes: 60_000 });
    const given: Uint8Array[] = [];
    for (const key of keys) given.push(await cache.read(key, 0, size));
    expect(given.map((bytes) => [bytes[0], bytes.every((byte) => byte === bytes[0])])).toEqual(
      keys.map((_, i) => [i + 1, true]),
    );
    expect(new Set(memory).size).toBeLessThan(keys.length);
    // Evicted while others still wait to copy from it.
    const together = await Promise.all([...keys, ...keys].map((key) => cache.read(key, 0, size)));
    expect(together.map((bytes) => bytes.every((byte) => byte === bytes[0]) && bytes[0])).toEqual([
      1, 2, 3, 4, 1, 2, 3, 4,
    ]);
  });

  test("what is fetched ahead serves the reader who comes, and an error of it is nobody's", async () => {
    const cache = open();
    cache.readAhead(KEY, 0, 100);
    cache.readAhead(KEY, 50, 100);
    await expectBytes(cache, KEY, 20, 80);
    expect(asked).toEqual(["object 0-100"]);
    failing = true;
    cache.readAhead(OTHER, 0, 10);
    await cache.close();
    failing = false;
    expect([cache.metrics().readAheads, cache.canReadAhead]).toEqual([2, false]);
    await expectBytes(cache, OTHER, 0, 10);
    expect(asked).toEqual(["object 0-100", "other 0-10", "other 0-100"]);
  });

  test("close ends what is fetched ahead; who waits for it hears that it is closed", async () => {
    const signals: (AbortSignal | undefined)[] = [];
    const hanging: ObjectStore = {
      ...store,
      get: (_, options) =>
        new Promise((__, reject) => {
          signals.push(options?.signal);
          options?.signal?.addEventListener("abort", () => reject(new AbortedError("get")));
        }),
    };
    const cache = new ObjectCache({ store: hanging, tailBytes: 0, cacheBytes: 400 });
    cache.readAhead(KEY, 0, 100);
    const read = cache.read(KEY, 0, 50);
    const [, outcome] = await Promise.allSettled([cache.close(), read]);
    expect(signals.map((signal) => signal?.aborted)).toEqual([true]);
    expect(outcome).toMatchObject({ reason: { code: "TIERLOG_CLOSED" } });
  });

  test("the last block ends with the object", async () => {
    const cache = open({ cacheBytes: 1600 });
    await expectBytes(cache, KEY, 990, 995);
    await expectBytes(cache, KEY, 980, 1000);
    expect(asked[1]).toBe("object 800-1200");
    await expect(cache.read(KEY, 990, 1001)).rejects.toMatchObject({ code: "TIERLOG_CORRUPTION", position: 1000 });
  });

  test("misses at the same time share one fetch", async () => {
    const cache = open();
    await Promise.all([1, 2, 3].map(() => expectBytes(cache, KEY, 0, 100)));
    expect(asked).toEqual(["object 0-100"]);
  });

  test("the least recently used goes first, and what is held never exceeds the limit", async () => {
    const cache = open();
    for (const start of [0, 100, 200, 300]) await expectBytes(cache, KEY, start, start + 100);
    await expectBytes(cache, KEY, 0, 100);
    await expectBytes(cache, KEY, 400, 500);
    expect(cache.metrics().bytes).toBe(400);
    await expectBytes(cache, KEY, 0, 100);
    for (const start of [200, 300, 400]) await expectBytes(cache, KEY, start, start + 100);
    expect(asked).toHaveLength(5);
    await expectBytes(cache, KEY, 100, 200);
    expect(asked).toHaveLength(6);
    for (let start = 0; start < 900; start += 7) await expectBytes(cache, OTHER, start, start + 20);
    expect(cache.metrics().bytes).toBeLessThanOrEqual(400);
  });

  test("what was used again is let go in its turn too", async () => {
    const cache = open();
    for (let start = 0; start < 1000; start += 100) {
      for (let i = 0; i < 3; i++) await expectBytes(cache, KEY, start, start + 100);
    }
    expect(cache.metrics()).toMatchObject({ misses: 10, hits: 20, bytes: 400 });
  });

  test("an error reaches its readers and is not kept; a missing object is named", async () => {
    const cache = open();
    failing = true;
    const reads = [cache.read(KEY, 0, 10), cache.read(KEY, 0, 10)];
    for (const read of reads) await expect(read).rejects.toMatchObject({ code: "TIERLOG_OBJECT_STORE" });
    failing = false;
    await expectBytes(cache, KEY, 0, 10);
    const missing = "index/0000/missing" as ObjectKey;
    await expect(cache.read(missing, 0, 10)).rejects.toMatchObject({ code: "TIERLOG_MISSING_OBJECT", key: missing });
  });

  test("no room at all: everything is served, nothing is kept", async () => {
    const cache = open({ cacheBytes: 0 });
    for (let i = 0; i < 3; i++) await expectBytes(cache, KEY, 10, 20);
    expect(asked).toHaveLength(3);
    expect(cache.metrics().bytes).toBe(0);
  });
});

describe("the tail", () => {
  test("keeps the youngest objects up to its limit, and serves them without a request", async () => {
    const cache = open({ tailBytes: 2000 });
    const third = "index/0000/third" as ObjectKey;
    cache.keepTail(KEY, [{ position: 0, bytes: content(1000) }]);
    cache.keepTail(OTHER, [{ position: 0, bytes: content(1000) }]);
    expect(cache.metrics().bytes).toBe(2000);
    await expectBytes(cache, KEY, 5, 500);
    expect(asked).toEqual([]);
    cache.keepTail(third, [{ position: 0, bytes: content(500) }]);
    expect(cache.metrics().bytes).toBe(1500);
    await expectBytes(cache, OTHER, 5, 50);
    await expectBytes(cache, third, 0, 500);
    expect(asked).toEqual([]);
    await expectBytes(cache, KEY, 0, 10);
    expect(asked).toEqual(["object 0-10"]);
    expect(cache.metrics()).toMatchObject({ tailHits: 3, misses: 1 });
  });

  test("one as large as the limit is kept, a larger one is not and drives nothing out", () => {
    const cache = open({ tailBytes: 1000 });
    cache.keepTail(KEY, [{ position: 0, bytes: content(1000) }]);
    cache.keepTail(OTHER, [{ position: 0, bytes: content(1001) }]);
    expect(cache.metrics().bytes).toBe(1000);
  });

  test("the memory of what leaves it unread serves the next batch; what was read stays as it was", async () => {
    const cache = open({ tailBytes: 50_000 });
    const chunks = [0, 1].map((i) => ({ position: i * 20_000, bytes: takeMemory(20_000).fill(i + 1) }));
    cache.keepTail(KEY, chunks);
    // What they hold counts, not what they show.
    expect(cache.metrics().bytes).toBe(2 * 24_576);
    const read = await cache.read(KEY, 20_005, 20_010);
    const none = takeMemory(20_000);
    cache.keepTail(OTHER, [{ position: 0, bytes: new Uint8Array(50_000) }]);
    const next = [takeMemory(20_000).fill(9), takeMemory(20_000).fill(9)];
    const usedAgain = chunks.map(({ bytes }) => [none, ...next].findIndex(({ buffer }) => buffer === bytes.buffer));
    expect(usedAgain).toEqual([1, -1]);
    expect([...read]).toEqual([2, 2, 2, 2, 2]);
  });

  test("what leaves it is held by nobody", () => {
    const collect = (): number => {
      setFlagsFromString("--expose-gc");
      (runInNewContext("gc") as () => void)();
      return process.memoryUsage().arrayBuffers;
    };
    const cache = open({ tailBytes: 4_000_000 });
    const before = collect();
    for (let i = 0; i < 200; i++)
      cache.keepTail(`index/0000/${i}` as ObjectKey, [{ position: 0, bytes: new Uint8Array(1_000_000) }]);
    expect(collect() - before).toBeLessThan(40_000_000);
    expect(cache.metrics().bytes).toBe(4_000_000);
  });

  test("an object kept in chunks is served across them; where a chunk was dropped or never kept, the store is asked", async () => {
    const cache = open({ tailBytes: 900 });
    const whole = content(1000);
    const chunks = [0, 300, 600].map((position) => ({ position, bytes: whole.subarray(position, position + 300) }));
    cache.keepTail(KEY, chunks);
    await expectBytes(cache, KEY, 250, 650);
    await expectBytes(cache, KEY, 300, 600);
    expect(asked).toEqual([]);
    // The last 100 bytes, a footer say, are not among the chunks.
    await expectBytes(cache, KEY, 850, 950);
    expect(asked).toEqual(["object 850-950"]);
    cache.keepTail(OTHER, [{ position: 0, bytes: content(100) }]);
    await expectBytes(cache, KEY, 310, 890);
    expect(asked).toHaveLength(1);
    await expectBytes(cache, KEY, 0, 10);
    expect(asked).toEqual(["object 850-950", "object 0-10"]);
  });
});

test.each([
  ["inline in a link", 10, 30_000, 512 * 1024],
  ["of a data object", 150, 100_000, 4 * 1024 * 1024],
])(
  "what a reader got at the tail stays as it was, whatever is appended behind it: %s",
  async (_, records, size, tail) => {
    const cluster = new Cluster();
    const config = testConfig({
      cache: { tailSizeBytes: tail },
      flush: { lingerMs: 1 },
      storage: { object: { multipartPartSizeBytes: 5 * 1024 * 1024 } },
    });
    const engine = await cluster.open(config);
    await engine.createTopic("events", { partitions: 1 });
    const partition = (await engine.topic("events")).partition(0);
    const textsOf = (round: number): string[] =>
      Array.from({ length: records }, (__, i) => `${round} ${i} `.repeat(size / 6));
    const kept: { round: number; batches: readonly Uint8Array[] }[] = [];
    for (let round = 0; round < 6; round++) {
      const { nextOffset } = await partition.append(values(...textsOf(round)));
      kept.push({ round, batches: (await partition.read({ from: nextOffset - 1 })).batches });
    }
    for (const { round, batches } of kept) {
      const found = batches.flatMap((batch) => decodeRecords(batch, { key: "read", position: 0 }));
      expect(found.length).toBeGreaterThan(0);
      const expected = new Set(textsOf(round));
      expect(found.every(({ value }) => expected.has(Buffer.from(value ?? []).toString()))).toBe(true);
    }
    expect(engine.metrics().cache.tailHits).toBeGreaterThan(0);
    await cluster.close();
  },
);

test.each([
  ["kept", 64 * 1024 * 1024],
  ["too large to keep", 64 * 1024],
])("bytes that were damaged on their way are fetched once more: %s", async (_, sizeBytes) => {
  const cluster = new Cluster();
  const engine = await cluster.open();
  await engine.createTopic("events", { partitions: 1 });
  const text = "x".repeat(100_000);
  await (await engine.topic("events")).partition(0).append(values(text));
  let flips = 0;
  const flipping: ObjectStore = {
    ...cluster.store,
    async get(key, options) {
      const found = await cluster.store.get(key, options);
      const range = options?.range;
      const isPayload = range !== undefined && "start" in range && range.start > 0;
      if (found === undefined || !isPayload || flips > 0) return found;
      flips++;
      const body = Uint8Array.from(found.body);
      body[50_000] = (body[50_000] ?? 0) ^ 1;
      return { ...found, body };
    },
  };
  const reader = await cluster.open(testConfig({ cache: { sizeBytes } }), { readOnly: true, objectStore: flipping });
  expect(await readAll((await reader.topic("events")).partition(0))).toEqual([text]);
  expect(flips).toBe(1);
  expect(reader.metrics().cache.refetched).toBe(1);
  await cluster.close();
});

test("a reader fetches what it was asked for, not the whole log", async () => {
  const cluster = new Cluster();
  const engine = await cluster.open();
  await engine.createTopic("events", { partitions: 1 });
  const partition = (await engine.topic("events")).partition(0);
  for (let i = 0; i < 10; i++) await partition.append(values("x".repeat(100)));
  const [batch] = (await partition.read({ from: 0, maxBytes: 1 })).batches;
  const size = batch?.length ?? 0;
  const reader = await cluster.open(testConfig(), { readOnly: true });
  const read = (await reader.topic("events")).partition(0);
  expect(await read.read({ from: 0, maxBytes: 1 })).toMatchObject({ nextOffset: 1 });
  expect(reader.metrics().cache.misses).toBe(1);
  expect(await read.read({ from: 4, maxBytes: 2 * size })).toMatchObject({ nextOffset: 6 });
  expect(reader.metrics().cache.misses).toBe(3);
  expect(await read.read({ from: 4, maxBytes: 2 * size + 1 })).toMatchObject({ nextOffset: 7 });
  await cluster.close();
});
