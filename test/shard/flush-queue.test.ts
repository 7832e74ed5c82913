import { afterEach, beforeEach, describe, expect, test } from "vitest";

import type { PartitionApi } from "../../src/engine/api.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { createMemoryStore } from "../../src/object-store/memory-store.ts";
import { systemClock, type Clock } from "../../src/runtime/clock.ts";
import { Cluster, readAll, testConfig, values } from "../support/engine.ts";
import { FaultyStore } from "./faulty-store.ts";

/** When a flush goes out, and what waits for which timer. The linger is so long that no test waits for it. */

const LINGER_MS = 60_000;

let faulty: FaultyStore;
let cluster: Cluster;
let engine: Engine;
let partition: PartitionApi;
let lingers: { callback: () => void; cancelled: boolean }[];

beforeEach(async () => {
  faulty = new FaultyStore(createMemoryStore());
  cluster = new Cluster(faulty.store);
  lingers = [];
  const clock: Clock = {
    ...systemClock,
    schedule(delayMs, callback, options) {
      if (delayMs !== LINGER_MS) return systemClock.schedule(delayMs, callback, options);
      const linger = { callback, cancelled: false };
      lingers.push(linger);
      return { cancel: () => (linger.cancelled = true) };
    },
  };
  engine = await cluster.open(testConfig({ flush: { lingerMs: LINGER_MS, maxBytes: 10_000, maxWaitMs: 5000 } }), {
    runtime: { clock },
  });
  await engine.createTopic("events", { partitions: 1 });
  partition = (await engine.topic("events")).partition(0);
});

afterEach(async () => {
  faulty.release();
  await cluster.close();
});

describe("the linger", () => {
  test("one timer a flush, begun by its first append; when it fires, the flush goes", async () => {
    const appends = values("a", "b", "c").map((record) => partition.append([record]));
    expect(lingers).toHaveLength(1);
    expect(engine.metrics().flushes).toBe(0);
    lingers[0]?.callback();
    await Promise.all(appends);
    expect(engine.metrics()).toMatchObject({ flushes: 1, committedLinks: 1, appendedRecords: 3 });
    void partition.append(values("d")).catch(() => undefined);
    expect(lingers).toHaveLength(2);
    await engine.flush();
    expect(lingers[1]?.cancelled).toBe(true);
  });

  test("what gathers behind a flush in flight waits for its own linger, not for the end of that flush", async () => {
    await Promise.all([partition.append(values("a")), engine.flush()]);
    faulty.hold();
    const first = partition.append(values("b"));
    lingers.at(-1)?.callback();
    const second = partition.append(values("c"));
    faulty.release();
    await first;
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(engine.metrics().flushes).toBe(2);
    lingers.at(-1)?.callback();
    await second;
    expect(engine.metrics().flushes).toBe(3);
  });

  test("one that fires, or flush.max_bytes reached, during a flush sends the next right behind it", async () => {
    await Promise.all([partition.append(values("a")), engine.flush()]);
    await new Promise((resolve) => setTimeout(resolve, 5));
    for (const next of [() => lingers.at(-1)?.callback(), () => void partition.append(values("x".repeat(10_000)))]) {
      faulty.hold();
      const first = partition.append(values("b"));
      lingers.at(-1)?.callback();
      const second = partition.append(values("c"));
      next();
      faulty.release();
      await Promise.all([first, second]);
      // The acks come a little before the flush is over.
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    expect(engine.metrics().flushes).toBe(5);
  });

  test("exactly flush.max_bytes is enough", async () => {
    // 32 bytes are counted for a record beside its value.
    const append = partition.append(values("x".repeat(10_000 - 32)));
    await append;
    expect(lingers.every((linger) => linger.cancelled)).toBe(true);
  });
});

test("a linger of 0 waits for no timer; what is appended in one turn of the event loop goes together", async () => {
  const clock: Clock = {
    ...systemClock,
    schedule: (delayMs, callback, options) =>
      delayMs === 0 ? { cancel: () => undefined } : systemClock.schedule(delayMs, callback, options),
  };
  const eager = await cluster.open(testConfig({ flush: { lingerMs: 0, maxBytes: 10_000, maxWaitMs: 5000 } }), {
    runtime: { clock },
  });
  await eager.createTopic("eager", { partitions: 1 });
  const to = (await eager.topic("eager")).partition(0);
  await to.append(values("a"));
  const before = eager.metrics().flushes;
  const appends = values("b", "c").map((record) => to.append([record]));
  await Promise.resolve();
  appends.push(to.append(values("d")));
  await Promise.all(appends);
  expect(eager.metrics().flushes).toBe(before + 1);
});

describe("taking over", () => {
  test("the fence travels while the first flush gathers", async () => {
    const append = partition.append(values("a"));
    while ((await partition.inspect()).epoch === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    expect(engine.metrics().flushes).toBe(0);
    const puts = faulty.puts;
    await engine.flush();
    await append;
    expect(faulty.puts - puts).toBe(1);
  });

  test("a take-over that fails refuses what gathered at once, and the next append tries anew", async () => {
    faulty.fate = () => "forbidden";
    const appends = [partition.append(values("a")), partition.append(values("b"))];
    for (const append of appends) await expect(append).rejects.toMatchObject({ status: 403, effect: "none" });
    expect(lingers).toHaveLength(1);
    expect(lingers[0]?.cancelled).toBe(true);
    expect(engine.metrics()).toMatchObject({ flushes: 0, pendingBytes: 0 });
    faulty.fate = () => "pass";
    await Promise.all([partition.append(values("c")), engine.flush()]);
    expect(await readAll(partition)).toEqual(["c"]);
  });
});

describe("flush()", () => {
  test("waits for a flush that is under way", async () => {
    await Promise.all([partition.append(values("a")), engine.flush()]);
    faulty.hold();
    let acked = false;
    void partition.append(values("b")).then(() => {
      acked = true;
    });
    lingers.at(-1)?.callback();
    expect(await partition.watermarks()).toMatchObject({ uploaded: 1, end: 2 });
    const flushing = engine.flush();
    faulty.release();
    await flushing;
    expect(acked).toBe(true);
  });

  test("rejects when what it waits for fails behind another flush", async () => {
    await Promise.all([partition.append(values("a")), engine.flush()]);
    faulty.hold();
    const first = partition.append(values("b"));
    lingers.at(-1)?.callback();
    const second = partition.append(values("c"));
    const flushing = engine.flush();
    faulty.fate = () => "forbidden";
    faulty.release();
    const outcomes = await Promise.allSettled([first, second, flushing]);
    for (const outcome of outcomes) expect(outcome).toMatchObject({ status: "rejected", reason: { status: 403 } });
  });
});

describe("behind a flush that failed", () => {
  test("what gathered is refused even if the store answers again; what then comes in is stored under a new epoch", async () => {
    const small = await cluster.open(
      testConfig({
        flush: { maxBytes: 4000, maxPendingBytes: 4000, maxWaitMs: 5000 },
        storage: { object: { deadlineMs: 500, requestTimeoutMs: 400 } },
      }),
    );
    await small.createTopic("small", { partitions: 1 });
    const target = (await small.topic("small")).partition(0);
    await target.append(values("a"));
    faulty.fate = () => "lost-before";
    const puts = faulty.puts;
    const sent = target.append(values("b".repeat(2000)));
    while (faulty.puts === puts) await new Promise((resolve) => setTimeout(resolve, 1));
    const gathered = target.append(values("c".repeat(1500)));
    // Waits for room until the others are refused.
    const waiting = target.append(values("d".repeat(3900)));
    void sent.catch(() => {
      faulty.fate = () => "pass";
    });
    await expect(sent).rejects.toMatchObject({ effect: "unknown" });
    await expect(gathered).rejects.toMatchObject({ effect: "none" });
    await expect(waiting).resolves.toMatchObject({ firstOffset: 1, epoch: 2 });
    expect((await readAll(target)).map((text) => text[0])).toEqual(["a", "d"]);
    expect(small.metrics().pendingBytes).toBe(0);
  });
});

test("a reader that knows the view reads below its end without a request for it", async () => {
  await Promise.all([partition.append(values("a")), engine.flush()]);
  const reader = await cluster.open(testConfig(), { readOnly: true });
  const seen = (await reader.topic("events")).partition(0);
  await seen.read({ from: 0 });
  const before = reader.metrics().store.get.requests;
  await seen.read({ from: 0 });
  expect(reader.metrics().store.get.requests).toBe(before);
  expect(reader.metrics().cache.hits).toBe(1);
});

test("metrics count records and bytes of encoded batches too, and an append of exactly flush.max_pending passes", async () => {
  const small = await cluster.open(testConfig({ flush: { maxBytes: 5000, maxPendingBytes: 5000 } }));
  await small.createTopic("small", { partitions: 1 });
  const target = (await small.topic("small")).partition(0);
  await target.append(values("x".repeat(5000 - 32)));
  await expect(target.append(values("x".repeat(5001 - 32)))).rejects.toMatchObject({
    code: "TIERLOG_INVALID_ARGUMENT",
  });
  await target.append(values("y"));
  const encodedBatch = Uint8Array.from((await target.read({ from: 1 })).batches[0] ?? []);
  const pending = target.append({ encodedBatch });
  expect(await target.watermarks()).toMatchObject({ uploaded: 2, end: 3 });
  await pending;
  expect(small.metrics()).toMatchObject({
    appendedRecords: 3,
    appendedBytes: 5000 + 33 + encodedBatch.length,
    pendingBytes: 0,
  });
});

test("a full flush that gets its room from a take-over that failed is told by a take-over of its own, and does not hang", async () => {
  const full = await cluster.open(
    testConfig({ flush: { lingerMs: LINGER_MS, maxBytes: 10_000, maxPendingBytes: 10_000, maxWaitMs: 5000 } }),
  );
  await full.createTopic("full", { partitions: 1 });
  const to = (await full.topic("full")).partition(0);
  faulty.fate = () => "forbidden";
  // The second waits for the room of the first, and is as large as a flush may be.
  const outcomes = await Promise.allSettled([to.append(values("x".repeat(9000))), to.append(values("y".repeat(9968)))]);
  for (const outcome of outcomes) {
    expect(outcome).toMatchObject({
      status: "rejected",
      reason: { code: "TIERLOG_OBJECT_STORE", status: 403, effect: "none" },
    });
  }
  faulty.fate = () => "pass";
});
