import { afterEach, beforeEach, describe, expect, test } from "vitest";

import type { Seq, ShardId } from "../../src/domain.ts";
import type { PartitionApi } from "../../src/engine/api.ts";
import { Engine } from "../../src/engine/engine.ts";
import { ConfigError, ObjectStoreError } from "../../src/errors.ts";
import { indexKey } from "../../src/object-store/object-names.ts";
import type { ObjectStore } from "../../src/object-store/object-store.ts";
import { systemClock } from "../../src/runtime/clock.ts";
import { Cluster, collect, readAll, testConfig, values } from "../support/engine.ts";

let cluster: Cluster;

beforeEach(() => {
  cluster = new Cluster();
});

afterEach(async () => {
  await cluster.close();
});

describe("append and read", () => {
  test.each(["none", "lz4"] as const)("records come back whole and in order, compressed by %s", async (compression) => {
    const engine = await cluster.open();
    await engine.createTopic("events", { partitions: 3, compression });
    const topic = await engine.topic("events");
    const partition = topic.partition(1);
    const record = {
      key: Buffer.from("key"),
      value: Buffer.from("v".repeat(500)),
      headers: [
        { key: "a", value: Buffer.from("1") },
        { key: "b", value: null },
      ],
      timestampMs: 1_700_000_000_000,
    };
    await expect(
      partition.append([record, { value: null }, { key: Buffer.alloc(0), value: Buffer.alloc(0) }]),
    ).resolves.toEqual({
      partition: 1,
      firstOffset: 0,
      nextOffset: 3,
      level: "uploaded",
      epoch: 1,
    });
    await expect(partition.append(values("more"))).resolves.toMatchObject({ firstOffset: 3, nextOffset: 4 });

    const reader = await cluster.open(testConfig(), { readOnly: true });
    for (const from of [engine, reader]) {
      const records = await collect((await from.topic("events")).partition(1).records({ from: 0 }));
      expect(records).toHaveLength(4);
      expect(records[0]).toMatchObject({ offset: 0, timestampMs: 1_700_000_000_000 });
      expect(Buffer.from(records[0]?.key ?? []).toString()).toBe("key");
      expect(records[0]?.headers.map((header) => header.key)).toEqual(["a", "b"]);
      expect(records[0]?.headers[1]?.value).toBeNull();
      expect(records[1]).toMatchObject({ key: null, value: null });
      expect(records[2]?.key).toHaveLength(0);
      expect(records[2]?.value).toHaveLength(0);
    }
  });

  test("appends of one turn share a flush, a batch and a link", async () => {
    const engine = await cluster.open();
    await engine.createTopic("events", { partitions: 1 });
    const partition = (await engine.topic("events")).partition(0);
    const receipts = await Promise.all(Array.from({ length: 100 }, (_, i) => partition.append(values(`r${i}`))));
    expect(receipts.map((receipt) => receipt.firstOffset)).toEqual(Array.from({ length: 100 }, (_, i) => i));
    expect(engine.metrics()).toMatchObject({ flushes: 1, committedLinks: 1, appendedRecords: 100 });
    const { batches } = await partition.read({ from: 0 });
    expect(batches).toHaveLength(1);
  });

  test("read begins with the batch that holds the offset, stops near maxBytes, and says where to go on", async () => {
    const engine = await cluster.open();
    await engine.createTopic("events", { partitions: 1 });
    const partition = (await engine.topic("events")).partition(0);
    for (let i = 0; i < 10; i++) await partition.append(values(`${i}a`, `${i}b`));
    const one = await partition.read({ from: 5, maxBytes: 1 });
    expect(one.batches).toHaveLength(1);
    expect(one.nextOffset).toBe(6);
    const all = await partition.read({ from: 5 });
    expect(all.batches).toHaveLength(8);
    expect(all.nextOffset).toBe(20);
    await expect(partition.read({ from: 20 })).resolves.toMatchObject({ batches: [], nextOffset: 20 });
    await expect(partition.read({ from: 21 })).rejects.toMatchObject({
      code: "TIERLOG_OFFSET_OUT_OF_RANGE",
      requested: 21,
      start: 0,
      end: 20,
    });
    for (const from of [-1, 0.5, Number.NaN, 2 ** 53]) {
      await expect(partition.read({ from })).rejects.toMatchObject({ code: "TIERLOG_INVALID_ARGUMENT" });
    }
  });

  test("an append larger than a batch is cut into batches and acknowledged once", async () => {
    const engine = await cluster.open(testConfig({ batch: { maxBytes: 4096 } }));
    await engine.createTopic("events", { partitions: 1 });
    const partition = (await engine.topic("events")).partition(0);
    const texts = Array.from({ length: 100 }, (_, i) => `${i}:${"y".repeat(200)}`);
    await partition.append(values("first"));
    await expect(partition.append(values(...texts))).resolves.toMatchObject({ firstOffset: 1, nextOffset: 101 });
    expect(await readAll(partition)).toEqual(["first", ...texts]);
  });

  test("an append that fits one batch is never split over two", async () => {
    const engine = await cluster.open(testConfig({ batch: { maxBytes: 4096 } }));
    await engine.createTopic("events", { partitions: 1 });
    const partition = (await engine.topic("events")).partition(0);
    const [, second] = await Promise.all([
      partition.append(values("a".repeat(2500))),
      partition.append(values("b".repeat(1500), "c".repeat(1500))),
    ]);
    const { batches } = await partition.read({ from: second?.firstOffset ?? 0 });
    expect(batches).toHaveLength(1);
    expect(second).toMatchObject({ firstOffset: 1, nextOffset: 3 });
  });

  test("encoded batches of another engine keep their bytes but for offset and epoch", async () => {
    const engine = await cluster.open();
    await engine.createTopic("from", { partitions: 1, compression: "lz4" });
    await engine.createTopic("to", { partitions: 1 });
    const from = (await engine.topic("from")).partition(0);
    await from.append(values("one ".repeat(50), "two ".repeat(50)));
    const [batch] = (await from.read({ from: 0 })).batches;
    if (batch === undefined) throw new Error("no batch");
    const to = (await engine.topic("to")).partition(0);
    await Promise.all([
      to.append(values("zero")),
      to.append({ encodedBatch: Uint8Array.from(batch) }),
      to.append(values("three")),
    ]);
    expect(await readAll(to)).toEqual(["zero", "one ".repeat(50), "two ".repeat(50), "three"]);
    const copy = (await to.read({ from: 1, maxBytes: 1 })).batches[0];
    expect(copy?.subarray(17)).toEqual(batch.subarray(17));
    const damaged = Uint8Array.from(batch);
    damaged[damaged.length - 1] = (damaged.at(-1) ?? 0) ^ 1;
    await expect(to.append({ encodedBatch: damaged })).rejects.toMatchObject({ code: "TIERLOG_INVALID_ARGUMENT" });
  });

  test("one encoded batch may be appended to several partitions, and twice to one, in the same flush", async () => {
    const engine = await cluster.open();
    await engine.createTopic("events", { partitions: 2 });
    const topic = await engine.topic("events");
    const [first, second] = [topic.partition(0), topic.partition(1)];
    await first.append(values("a"));
    await second.append(values("p", "q"));
    const encodedBatch = Uint8Array.from((await first.read({ from: 0 })).batches[0] ?? []);
    const sent = Uint8Array.from(encodedBatch);
    await Promise.all([
      first.append({ encodedBatch }),
      second.append({ encodedBatch }),
      first.append({ encodedBatch }),
    ]);
    expect(await readAll(first)).toEqual(["a", "a", "a"]);
    expect(await readAll(second)).toEqual(["p", "q", "a"]);
    expect(encodedBatch).toEqual(sent);
  });
});

describe("restart from the store alone", () => {
  test("every acked record is there, and offsets go on densely", async () => {
    const first = await cluster.open();
    await first.createTopic("events", { partitions: 2 });
    await (await first.topic("events")).partition(0).append(values("a", "b"));
    await first.close();
    const second = await cluster.open();
    const partition = (await second.topic("events")).partition(0);
    expect(await readAll(partition)).toEqual(["a", "b"]);
    await expect(partition.append(values("c"))).resolves.toMatchObject({ firstOffset: 2, nextOffset: 3, epoch: 2 });
    expect(await readAll(partition)).toEqual(["a", "b", "c"]);
    expect(second.storeId).toBe(first.storeId);
  });

  test("reading, inspecting and topics take nothing over", async () => {
    const owner = await cluster.open();
    await owner.createTopic("events", { partitions: 1 });
    const partition = (await owner.topic("events")).partition(0);
    await partition.append(values("a"));
    const other = await cluster.open();
    await other.createTopic("more", { partitions: 1 });
    const seen = (await other.topic("events")).partition(0);
    expect(await readAll(seen)).toEqual(["a"]);
    expect(await seen.inspect()).toMatchObject({ epoch: 1, links: 2, nextSeq: 2, extents: 1, objects: 1 });
    await expect(partition.append(values("b"))).resolves.toMatchObject({ epoch: 1, firstOffset: 1 });
    expect(await readAll(seen)).toEqual(["a", "b"]);
  });

  test("the next writer takes over; the one before is fenced with both epochs and nothing of it is stored", async () => {
    const a = await cluster.open();
    await a.createTopic("events", { partitions: 1 });
    const ofA = (await a.topic("events")).partition(0);
    await ofA.append(values("a"));
    const b = await cluster.open();
    const ofB = (await b.topic("events")).partition(0);
    await expect(ofB.append(values("b"))).resolves.toMatchObject({ epoch: 2, firstOffset: 1 });
    const fenced = {
      code: "TIERLOG_FENCED",
      kind: "fenced",
      effect: "none",
      localEpoch: 1,
      currentEpoch: 2,
      exitCode: 77,
    };
    await expect(ofA.append(values("lost"))).rejects.toMatchObject(fenced);
    await expect(ofA.append(values("lost too"))).rejects.toMatchObject(fenced);
    await ofB.append(values("c"));
    expect(await readAll(ofB)).toEqual(["a", "b", "c"]);
    // What A knows is old, but true.
    expect((await readAll(ofA))[0]).toBe("a");
  });
});

describe("many partitions, one flush", () => {
  test.each([1, 50, 500])("requests ÷ committed links = 1.00 with %i partitions", async (partitions) => {
    const engine = await cluster.open();
    await engine.createTopic("events", { partitions });
    const topic = await engine.topic("events");
    await topic.partition(0).append(values("warm: takes over"));
    const before = engine.metrics();
    for (let flush = 0; flush < 5; flush++) {
      await Promise.all(
        Array.from({ length: partitions }, (_, i) => topic.partition(i).append(values(`f${flush}p${i}`))),
      );
    }
    const after = engine.metrics();
    const links = after.committedLinks - before.committedLinks;
    const requests = Object.values(after.store).reduce((sum, operation) => sum + operation.requests, 0);
    const requestsBefore = Object.values(before.store).reduce((sum, operation) => sum + operation.requests, 0);
    expect(links).toBe(5);
    expect((requests - requestsBefore) / links).toBe(1);
    expect(after.flushes - before.flushes).toBe(5);
  });

  test("reading all 500 partitions back costs at most two GETs a link", async () => {
    const engine = await cluster.open();
    await engine.createTopic("events", { partitions: 500 });
    const topic = await engine.topic("events");
    for (let flush = 0; flush < 10; flush++) {
      await Promise.all(
        Array.from({ length: 500 }, (_, i) => topic.partition(i).append(values(`f${flush}p${i}${"z".repeat(200)}`))),
      );
    }
    for (const parallel of [false, true]) {
      const reader = await cluster.open(testConfig(), { readOnly: true });
      const read = await reader.topic("events");
      await read.partition(0).watermarks();
      const links = 10;
      const before = reader.metrics().store.get.requests;
      const check = async (i: number): Promise<void> => {
        const texts = await readAll(read.partition(i));
        if (texts.length !== 10 || !texts[9]?.startsWith(`f9p${i}z`))
          throw new Error(`partition ${i} reads ${texts.length} records`);
      };
      // The view is asked for once more at the end of each partition: those are GETs of the next seq, not of a link.
      if (parallel) await Promise.all(Array.from({ length: 500 }, (_, i) => check(i)));
      else for (let i = 0; i < 500; i++) await check(i);
      const metrics = reader.metrics();
      expect(metrics.cache.misses).toBeLessThanOrEqual(2 * links);
      expect(metrics.store.get.bytes).toBeLessThan(3 * engine.metrics().storedBytes);
      expect(metrics.store.get.requests - before).toBeLessThan(2000);
    }
  });

  test("readers of many partitions share their looks at the end of the chain, and each sees what was there when it asked", async () => {
    const engine = await cluster.open();
    await engine.createTopic("events", { partitions: 200 });
    const writer = (await engine.topic("events")).partition(0);
    const reader = await cluster.open(testConfig(), { readOnly: true });
    const topic = await reader.topic("events");
    const before = reader.metrics().store.get.requests;
    await Promise.all(Array.from({ length: 200 }, (_, i) => topic.partition(i).watermarks()));
    expect(reader.metrics().store.get.requests - before).toBeLessThanOrEqual(2);
    for (let i = 1; i <= 5; i++) {
      const early = topic.partition(1).watermarks();
      await writer.append(values("a"));
      await expect(topic.partition(0).watermarks()).resolves.toMatchObject({ uploaded: i });
      await early;
    }
  });

  test("partitions are spread over shards, and the catalog's assignment wins over config", async () => {
    const engine = await cluster.open(testConfig({ shards: 4 }));
    const { shards } = await engine.createTopic("events", { partitions: 8 });
    expect(new Set(shards).size).toBe(4);
    const topic = await engine.topic("events");
    await Promise.all(shards.map((_, i) => topic.partition(i).append(values(`p${i}`))));
    await engine.close();
    const other = await cluster.open(testConfig({ shards: 1 }));
    expect((await other.describeTopic("events")).shards).toEqual(shards);
    for (let i = 0; i < 8; i++) expect(await readAll((await other.topic("events")).partition(i))).toEqual([`p${i}`]);
  });

  test("keyed records go where Kafka's clients would send them, unkeyed ones stick to one partition a flush", async () => {
    const engine = await cluster.open();
    await engine.createTopic("events", { partitions: 10 });
    const topic = await engine.topic("events");
    const [receipt] = await topic.append([{ key: Buffer.from("foobar"), value: Buffer.from("v") }]);
    // murmur2("foobar") = -790332482 (Kafka's UtilsTest), & 0x7fffffff, % 10.
    expect(receipt?.partition).toBe((-790332482 & 0x7fffffff) % 10);
    const used = [];
    for (let flush = 0; flush < 3; flush++) {
      const receipts = await topic.append(values("a", "b", "c"));
      expect(receipts).toHaveLength(1);
      used.push(receipts[0]?.partition);
    }
    expect(new Set(used).size).toBe(3);
  });
});

describe("watermarks, follow and flush", () => {
  test("end runs ahead of uploaded while a flush gathers", async () => {
    const engine = await cluster.open(testConfig({ flush: { lingerMs: 60_000 } }));
    await engine.createTopic("events", { partitions: 1 });
    const partition = (await engine.topic("events")).partition(0);
    const ack = partition.append(values("a", "b"));
    expect(await partition.watermarks()).toEqual({ start: 0, uploaded: 0, durable: 0, end: 2 });
    await engine.flush();
    await ack;
    expect(await partition.watermarks()).toEqual({ start: 0, uploaded: 2, durable: 2, end: 2 });
  });

  test("flush.max_bytes starts a flush before the linger is over", async () => {
    const engine = await cluster.open(testConfig({ flush: { lingerMs: 60_000, maxBytes: 10_000 } }));
    await engine.createTopic("events", { partitions: 1 });
    const partition = (await engine.topic("events")).partition(0);
    const acks = Array.from({ length: 20 }, () => partition.append(values("x".repeat(1000))));
    await expect(acks[0]).resolves.toMatchObject({ firstOffset: 0 });
    expect(engine.metrics().flushes).toBeGreaterThan(0);
  });

  test.each([
    ["the writer", false],
    ["a read-only engine", true],
  ])("%s follows what is appended, and stops by its signal", async (_, readOnly) => {
    const engine = await cluster.open();
    await engine.createTopic("events", { partitions: 1 });
    const partition = (await engine.topic("events")).partition(0);
    const follower = readOnly ? await cluster.open(testConfig(), { readOnly }) : engine;
    const stop = new AbortController();
    const seen: string[] = [];
    const following = (async () => {
      const records = (await follower.topic("events"))
        .partition(0)
        .records({ from: "earliest", follow: true, signal: stop.signal });
      for await (const record of records) {
        seen.push(Buffer.from(record.value ?? []).toString());
        if (seen.length === 5) stop.abort();
      }
    })();
    for (let i = 0; i < 5; i++) await partition.append(values(`r${i}`));
    await expect(following).rejects.toMatchObject({ code: "TIERLOG_ABORTED", name: "AbortError" });
    expect(seen).toEqual(["r0", "r1", "r2", "r3", "r4"]);
  });

  test("a tail reader in the writing process costs no request", async () => {
    const engine = await cluster.open();
    await engine.createTopic("events", { partitions: 1 });
    const partition = (await engine.topic("events")).partition(0);
    await partition.append(values("a"));
    const before = engine.metrics().store.get.requests;
    expect(await readAll(partition)).toEqual(["a"]);
    expect(engine.metrics().store.get.requests).toBe(before);
    expect(engine.metrics().cache.tailHits).toBeGreaterThan(0);
  });
});

describe("a follower in a process that lost the shard and does not append any more", () => {
  let now: number;
  let engine: Engine;
  let partition: PartitionApi;

  beforeEach(async () => {
    now = 0;
    const clock = { ...systemClock, monotonic: () => now };
    engine = await cluster.open(testConfig(), { runtime: { clock } });
    await engine.createTopic("events", { partitions: 1 });
    partition = (await engine.topic("events")).partition(0);
    await partition.append(values("a"));
  });

  test("reads on in its successor's links", async () => {
    const successor = (await (await cluster.open()).topic("events")).partition(0);
    await successor.append(values("b"));
    expect(await readAll(partition)).toEqual(["a"]);
    now += 6000;
    const stop = new AbortController();
    const seen: string[] = [];
    for await (const record of partition.records({ from: 0, follow: true, signal: stop.signal })) {
      seen.push(Buffer.from(record.value ?? []).toString());
      if (seen.length === 2) await successor.append(values("c"));
      if (seen.length === 3) break;
    }
    expect(seen).toEqual(["a", "b", "c"]);
    await expect(partition.append(values("d"))).rejects.toMatchObject({ code: "TIERLOG_FENCED", effect: "none" });
    expect(await readAll(successor)).toEqual(["a", "b", "c"]);
  });

  test("one that still owns it looks once in five seconds, and its commits count as looks", async () => {
    now += 6000;
    const requests = (): number => engine.metrics().store.get.requests;
    const before = requests();
    for (let i = 0; i < 10; i++) await partition.watermarks();
    await new Promise((resolve) => setTimeout(resolve, 10));
    expect(requests() - before).toBe(1);
    now += 4000;
    await partition.append(values("b"));
    now += 4000;
    await partition.watermarks();
    await new Promise((resolve) => setTimeout(resolve, 10));
    expect(requests() - before).toBe(1);
    await expect(partition.append(values("c"))).resolves.toMatchObject({ epoch: 1, firstOffset: 2 });
  });

  test("a successor whose next link is damaged ends our turn all the same", async () => {
    const other = await cluster.open();
    const successor = (await other.topic("events")).partition(0);
    await successor.append(values("b"));
    const key = indexKey(0 as ShardId, 3 as Seq);
    const body = Uint8Array.from((await cluster.store.get(key))?.body ?? []);
    body[100] = (body[100] ?? 0) ^ 1;
    await cluster.store.put(key, body, { condition: { kind: "none" } });
    now += 6000;
    await partition.watermarks();
    await new Promise((resolve) => setTimeout(resolve, 10));
    await expect(partition.append(values("c"))).rejects.toMatchObject({ code: "TIERLOG_FENCED", effect: "none" });
  });
});

describe("back-pressure", () => {
  test("appends wait at flush.max_pending and fail with OverloadedError past flush.max_wait; nothing of them is stored", async () => {
    const engine = await cluster.open(
      testConfig({ flush: { lingerMs: 60_000, maxBytes: 20_000, maxPendingBytes: 20_000, maxWaitMs: 30 } }),
    );
    await engine.createTopic("events", { partitions: 1 });
    const partition = (await engine.topic("events")).partition(0);
    const first = partition.append(values("x".repeat(15_000)));
    await expect(partition.append(values("y".repeat(15_000)))).rejects.toMatchObject({
      code: "TIERLOG_OVERLOADED",
      effect: "none",
      queuedBytesMax: 20_000,
    });
    const third = partition.append(values("z".repeat(4000)));
    await engine.flush();
    await Promise.all([first, third]);
    expect((await readAll(partition)).map((text) => text[0])).toEqual(["x", "z"]);
    expect(engine.metrics().pendingBytes).toBe(0);
    await expect(partition.append(values("w".repeat(30_000)))).rejects.toMatchObject({
      code: "TIERLOG_INVALID_ARGUMENT",
    });
  });

  test("waiting appends go in order once there is room", async () => {
    const engine = await cluster.open(testConfig({ flush: { maxBytes: 4000, maxPendingBytes: 4000 } }));
    await engine.createTopic("events", { partitions: 1 });
    const partition = (await engine.topic("events")).partition(0);
    const texts = Array.from({ length: 50 }, (_, i) => `${i}:${"x".repeat(i % 3 === 0 ? 3000 : 100)}`);
    await Promise.all(texts.map((text) => partition.append(values(text))));
    expect(await readAll(partition)).toEqual(texts);
  });

  test("flush also waits for appends that wait for room", async () => {
    const engine = await cluster.open(
      testConfig({ flush: { lingerMs: 60_000, maxBytes: 4000, maxPendingBytes: 4000, maxWaitMs: 60_000 } }),
    );
    await engine.createTopic("events", { partitions: 1 });
    const partition = (await engine.topic("events")).partition(0);
    let acked = 0;
    for (let i = 0; i < 10; i++) {
      void partition.append(values("x".repeat(3000))).then(() => acked++);
    }
    await engine.flush();
    expect(acked).toBe(10);
    await engine.flush();
  });

  test("array and buffers may be reused while the append waits for room", async () => {
    const engine = await cluster.open(testConfig({ flush: { maxBytes: 4000, maxPendingBytes: 4000 } }));
    await engine.createTopic("events", { partitions: 1 });
    const partition = (await engine.topic("events")).partition(0);
    const first = partition.append(values("x".repeat(3950)));
    const value = Buffer.from("value");
    const records = [
      { key: Buffer.from("key"), value, headers: [{ key: "h", value }], timestampMs: 7 },
      { value: null },
      { key: null, value },
    ];
    const waiting = partition.append(records);
    const emptied = values("d", "e");
    const waitingToo = partition.append(emptied);
    value.fill("!");
    records.length = 1;
    emptied.length = 0;
    await Promise.all([first, waiting, waitingToo]);
    const stored = await collect(partition.records({ from: 1 }));
    expect(stored.map((record) => record.value && Buffer.from(record.value).toString())).toEqual([
      "value",
      null,
      "value",
      "d",
      "e",
    ]);
    expect(Buffer.from(stored[0]?.key ?? []).toString()).toBe("key");
    expect(Buffer.from(stored[0]?.headers[0]?.value ?? []).toString()).toBe("value");
    expect(stored[0]?.timestampMs).toBe(7);
    expect(stored[2]?.key).toBeNull();
  });

  test("a signal takes a waiting append out of the queue", async () => {
    const engine = await cluster.open(
      testConfig({ flush: { lingerMs: 60_000, maxBytes: 9999, maxPendingBytes: 9999 } }),
    );
    await engine.createTopic("events", { partitions: 1 });
    const partition = (await engine.topic("events")).partition(0);
    const first = partition.append(values("x".repeat(9000)));
    const stop = new AbortController();
    const waiting = partition.append(values("y".repeat(9000)), { signal: stop.signal });
    stop.abort();
    await expect(waiting).rejects.toMatchObject({ code: "TIERLOG_ABORTED", effect: "none" });
    await engine.flush();
    await first;
  });
});

describe("bad input", () => {
  test("records are refused before anything of the append is taken", async () => {
    const engine = await cluster.open(testConfig({ batch: { maxBytes: 4096 } }));
    await engine.createTopic("events", { partitions: 1 });
    const partition = (await engine.topic("events")).partition(0);
    const good = values("good")[0];
    if (good === undefined) throw new Error("no record");
    await expect(partition.append([])).rejects.toMatchObject({ code: "TIERLOG_INVALID_ARGUMENT" });
    await expect(partition.append([good, { value: "text" as unknown as Uint8Array }])).rejects.toMatchObject({
      code: "TIERLOG_INVALID_ARGUMENT",
    });
    await expect(partition.append([good, { value: Buffer.alloc(1), timestampMs: -1 }])).rejects.toMatchObject({
      code: "TIERLOG_INVALID_ARGUMENT",
    });
    await expect(partition.append([good, { value: Buffer.alloc(5000) }])).rejects.toMatchObject({
      code: "TIERLOG_RECORD_TOO_LARGE",
      sizeBytesMax: 4096,
    });
    expect(await partition.watermarks()).toMatchObject({ end: 0 });
    await partition.append([good]);
    expect(await readAll(partition)).toEqual(["good"]);
  });

  test("what is no array of records is refused, and a bad record keeps the good ones of other partitions out", async () => {
    const engine = await cluster.open();
    await engine.createTopic("events", { partitions: 3 });
    const topic = await engine.topic("events");
    const keyed = Array.from({ length: 20 }, (_, i) => ({ key: Buffer.from(`k${i}`), value: Buffer.from("v") }));
    for (const bad of [null, undefined, 1, "x", {}, [], [null], [1], [...keyed, null], [...keyed, { value: 1 }]]) {
      const refused = { code: "TIERLOG_INVALID_ARGUMENT", effect: "none" };
      await expect(topic.append(bad as never)).rejects.toMatchObject(refused);
      await expect(topic.partition(0).append(bad as never)).rejects.toMatchObject(refused);
    }
    await expect(topic.append([...keyed, { value: 1 as never }])).rejects.toThrow("records[20].value");
    for (const i of [0, 1, 2]) expect(await topic.partition(i).watermarks()).toMatchObject({ end: 0 });
  });

  test.each(["", "../x", "a/b", "a\0b", "CON", "x".repeat(250), ".", "..", "naïve", "😀", "-dash"])(
    "topic name %j is refused and no object is written",
    async (name) => {
      const engine = await cluster.open();
      await expect(engine.createTopic(name, { partitions: 1 })).rejects.toMatchObject({
        code: "TIERLOG_INVALID_ARGUMENT",
        argument: "topic",
      });
      const keys = [];
      for await (const info of cluster.store.list("")) keys.push(info.key);
      expect(keys).toEqual(["FORMAT"]);
    },
  );

  test("topics: twins, bad counts, unknown codecs and unknown names are refused with what to do", async () => {
    const engine = await cluster.open();
    await engine.createTopic("Orders", { partitions: 1 });
    await expect(engine.createTopic("Orders", { partitions: 1 })).rejects.toThrow("exists already");
    await expect(engine.createTopic("orders", { partitions: 1 })).rejects.toThrow('differs from "Orders" only in case');
    for (const partitions of [0, -1, 1.5, Number.NaN, 100_001]) {
      await expect(engine.createTopic("x", { partitions })).rejects.toMatchObject({ argument: "partitions" });
    }
    await expect(engine.createTopic("x", { partitions: 1, compression: "zstd" as "lz4" })).rejects.toMatchObject({
      argument: "compression",
    });
    await expect(engine.topic("nope")).rejects.toMatchObject({ code: "TIERLOG_NOT_FOUND", exitCode: 66 });
    await expect(engine.topic("nope")).rejects.toThrow("tierlog topics create nope");
    const topic = await engine.topic("Orders");
    for (const number of [-1, 1, 0.5]) expect(() => topic.partition(number)).toThrow("partitions 0 … 0");
  });

  test("ack_after_upload = false is a ConfigError until there is a journal", async () => {
    const config = testConfig({ storage: { object: { ackAfterUpload: false } } });
    await expect(Engine.open(config)).rejects.toBeInstanceOf(ConfigError);
  });
});

describe("closing", () => {
  test("close sends what is pending and acknowledges it", async () => {
    const engine = await cluster.open(testConfig({ flush: { lingerMs: 60_000 } }));
    await engine.createTopic("events", { partitions: 1 });
    const partition = (await engine.topic("events")).partition(0);
    const ack = partition.append(values("a"));
    await engine.close();
    await expect(ack).resolves.toMatchObject({ firstOffset: 0 });
    await expect(partition.append(values("b"))).rejects.toMatchObject({ code: "TIERLOG_CLOSED" });
    await expect(partition.read({ from: 0 })).rejects.toMatchObject({ code: "TIERLOG_CLOSED" });
    await engine.close();
    const reader = await cluster.open(testConfig(), { readOnly: true });
    expect(await (await reader.topic("events")).partition(0).inspect()).toMatchObject({ owner: "" });
  });

  test("a read-only engine writes nothing, and needs a store to be there", async () => {
    await expect(cluster.open(testConfig(), { readOnly: true })).rejects.toMatchObject({ code: "TIERLOG_NOT_FOUND" });
    const engine = await cluster.open();
    await engine.createTopic("events", { partitions: 1 });
    const reader = await cluster.open(testConfig(), { readOnly: true });
    await expect((await reader.topic("events")).partition(0).append(values("a"))).rejects.toMatchObject({
      code: "TIERLOG_INVALID_ARGUMENT",
    });
    await expect(reader.createTopic("x", { partitions: 1 })).rejects.toMatchObject({
      code: "TIERLOG_INVALID_ARGUMENT",
    });
  });
});

describe("the ack level of a topic", () => {
  test("is kept in the catalog, where it was asked for", async () => {
    const engine = await cluster.open();
    const created = await engine.createTopic("payments", { partitions: 1, ack: "uploaded" });
    expect(created.ack).toBe("uploaded");
    expect(Object.keys(await engine.createTopic("events", { partitions: 1 }))).not.toContain("ack");
    const reader = await cluster.open(testConfig(), { readOnly: true });
    expect((await reader.listTopics()).map(({ name, ack }) => [name, ack])).toEqual([
      ["events", undefined],
      ["payments", "uploaded"],
    ]);
    expect((await engine.topic("payments")).description).toEqual(created);
    await expect((await engine.topic("payments")).partition(0).append(values("x"))).resolves.toMatchObject({
      level: "uploaded",
    });
  });

  test.each(["buffered", "fsynced", "", 1])("%j is none", async (ack) => {
    const engine = await cluster.open();
    await expect(engine.createTopic("events", { partitions: 1, ack: ack as never })).rejects.toMatchObject({
      code: "TIERLOG_INVALID_ARGUMENT",
      argument: "ack",
      message: "ack: unknown level, possible are journaled, uploaded",
    });
    await expect(engine.listTopics()).resolves.toEqual([]);
  });

  test("journaled is refused where there is no journal, and the key that decides it is named", async () => {
    const engine = await cluster.open();
    await expect(engine.createTopic("events", { partitions: 1, ack: "journaled" })).rejects.toMatchObject({
      code: "TIERLOG_INVALID_ARGUMENT",
      argument: "ack",
      message: expect.stringContaining("system.storage.object.ack_after_upload = true") as string,
    });
    await expect(engine.listTopics()).resolves.toEqual([]);
  });
});

describe("the catalog", () => {
  test("a topic created elsewhere is found at once; one deleted elsewhere is refused within seconds, one created again is another", async () => {
    let now = 0;
    const clock = {
      now: () => now,
      monotonic: () => now,
      schedule: (delayMs: number, callback: () => void) => {
        const timer = setTimeout(callback, delayMs);
        return { cancel: () => clearTimeout(timer) };
      },
    };
    const a = await cluster.open();
    const b = await cluster.open(testConfig(), { runtime: { clock } });
    await a.createTopic("events", { partitions: 1 });
    const partition = (await b.topic("events")).partition(0);
    await partition.append(values("old"));
    await a.deleteTopic("events");
    await a.createTopic("events", { partitions: 1 });
    now += 11_000;
    await expect(partition.append(values("late"))).rejects.toMatchObject({ code: "TIERLOG_NOT_FOUND" });
    const fresh = (await b.topic("events")).partition(0);
    expect(await readAll(fresh)).toEqual([]);
    await expect(fresh.append(values("new"))).resolves.toMatchObject({ firstOffset: 0 });
    await expect(a.deleteTopic("nope")).rejects.toMatchObject({ code: "TIERLOG_NOT_FOUND" });
  });

  describe("a catalog that nobody has looked at for long", () => {
    let now: number;
    let engine: Engine;
    let partition: PartitionApi;
    /** The next listing waits for it. */
    let gate: Promise<void> | undefined;
    let listingFails: boolean;
    const warnings: string[] = [];

    beforeEach(async () => {
      now = 0;
      gate = undefined;
      listingFails = false;
      warnings.length = 0;
      const store: ObjectStore = {
        ...cluster.store,
        async *list(prefix, options) {
          const held = gate;
          gate = undefined;
          await held;
          if (listingFails)
            throw new ObjectStoreError("injected", { operation: "list", key: prefix, retryable: false });
          yield* cluster.store.list(prefix, options);
        },
      };
      engine = await cluster.open(testConfig(), {
        objectStore: store,
        runtime: {
          clock: { ...systemClock, now: () => now, monotonic: () => now },
          logger: { info: () => undefined, warn: (message) => warnings.push(message) },
        },
      });
      await engine.createTopic("events", { partitions: 1 });
      partition = (await engine.topic("events")).partition(0);
      await partition.append(values("0"));
    });

    test("appends that wait for the look are not overtaken by one that finds it fresh, and buffers may be reused", async () => {
      now += 11_000;
      gate = new Promise((resolve) => setTimeout(resolve, 100));
      const value = Buffer.from("1");
      const first = partition.append([{ value }]);
      value.fill("!");
      // Looks at the catalog too, and is answered sooner.
      await engine.createTopic("more", { partitions: 1 });
      const second = partition.append(values("2"));
      await Promise.all([first, second]);
      expect(await readAll(partition)).toEqual(["0", "1", "2"]);
    });

    test("flush waits for appends that wait for the look", async () => {
      now += 11_000;
      let acked = false;
      void partition.append(values("1")).then(() => {
        acked = true;
      });
      await engine.flush();
      expect(acked).toBe(true);
    });

    test("a producer that appends in every turn keeps its order", async () => {
      now += 11_000;
      const appends = [];
      for (let i = 1; i <= 100; i++) {
        appends.push(partition.append(values(String(i))));
        await Promise.resolve();
      }
      await Promise.all(appends);
      expect(await readAll(partition)).toEqual(Array.from({ length: 101 }, (_, i) => String(i)));
    });

    test("a look that fails in the background is reported once, not once per append", async () => {
      now += 6000;
      gate = new Promise((resolve) => setTimeout(resolve, 100));
      listingFails = true;
      const appends = Array.from({ length: 100 }, () => partition.append(values("x")));
      await Promise.all(appends);
      await new Promise((resolve) => setTimeout(resolve, 120));
      expect(warnings).toEqual(["the catalog could not be read"]);
    });

    test("a look that fails refuses those that wait for it, and no later ones", async () => {
      now += 11_000;
      listingFails = true;
      const refused = [partition.append(values("x")), partition.append(values("y"))];
      for (const append of refused) {
        await expect(append).rejects.toMatchObject({ code: "TIERLOG_OBJECT_STORE", effect: "none" });
      }
      listingFails = false;
      await partition.append(values("1"));
      expect(await readAll(partition)).toEqual(["0", "1"]);
    });
  });

  test("a change that was stored, but could not be looked at afterwards, fails with effect unknown", async () => {
    let stored = false;
    const store: ObjectStore = {
      ...cluster.store,
      put: async (key, body, options) => {
        const outcome = await cluster.store.put(key, body, options);
        if (key.startsWith("catalog/")) stored = true;
        return outcome;
      },
      async *list(prefix, options) {
        if (stored) throw new ObjectStoreError("injected", { operation: "list", key: prefix, retryable: false });
        yield* cluster.store.list(prefix, options);
      },
    };
    const engine = await cluster.open(testConfig(), { objectStore: store });
    await expect(engine.createTopic("events", { partitions: 1 })).rejects.toMatchObject({
      code: "TIERLOG_OBJECT_STORE",
      effect: "unknown",
    });
    const other = await cluster.open();
    expect(await other.listTopics()).toHaveLength(1);
  });

  test("a topic created while another look is under way is found", async () => {
    let delayMs = 0;
    const store: ObjectStore = {
      ...cluster.store,
      async *list(prefix, options) {
        const found = await collect(cluster.store.list(prefix, options));
        // Read before the wait: the answer is old when it comes.
        const waitMs = delayMs;
        delayMs = 0;
        await new Promise((resolve) => setTimeout(resolve, waitMs));
        yield* found;
      },
    };
    const a = await cluster.open();
    const b = await cluster.open(testConfig(), { objectStore: store });
    delayMs = 50;
    const early = b.topic("nope");
    await new Promise((resolve) => setTimeout(resolve, 10));
    await a.createTopic("events", { partitions: 1 });
    const [missing, found] = await Promise.allSettled([early, b.topic("events")]);
    expect(missing).toMatchObject({ status: "rejected", reason: { code: "TIERLOG_NOT_FOUND" } });
    expect(found).toMatchObject({ status: "fulfilled" });
  });

  test("20 engines create topics at once: all are there, one of each name", async () => {
    const engines = await Promise.all(Array.from({ length: 20 }, () => cluster.open()));
    const same = await Promise.allSettled(engines.map((engine) => engine.createTopic("same", { partitions: 1 })));
    expect(same.filter((outcome) => outcome.status === "fulfilled")).toHaveLength(1);
    await Promise.all(engines.map((engine, i) => engine.createTopic(`topic-${i}`, { partitions: 1 })));
    expect(await engines[0]?.listTopics()).toHaveLength(21);
  });
});
