import { afterEach, beforeEach, describe, expect, test } from "vitest";

import type { Engine } from "../../src/engine/engine.ts";
import { createMemoryStore } from "../../src/object-store/memory-store.ts";
import { systemClock, type Clock } from "../../src/runtime/clock.ts";
import { FaultyStore } from "../shard/faulty-store.ts";
import { Cluster, testConfig } from "../support/engine.ts";

const INTERVAL_MS = 300_000;
const DAY_MS = 86_400_000;

let faulty: FaultyStore;
let cluster: Cluster;
let lists: number;
/** What the wall clock is ahead by; and the timers of the retention. */
let aheadMs: number;
let timers: { readonly callback: () => void; readonly background: boolean; cancelled: boolean }[];

beforeEach(() => {
  lists = 0;
  aheadMs = 0;
  timers = [];
  faulty = new FaultyStore(createMemoryStore());
  const { store } = faulty;
  cluster = new Cluster({
    ...store,
    list: (prefix, options) => {
      lists++;
      return store.list(prefix, options);
    },
  });
});

afterEach(() => cluster.close());

const clock: Clock = {
  ...systemClock,
  now: () => systemClock.now() + aheadMs,
  schedule(delayMs, callback, options) {
    if (delayMs !== INTERVAL_MS) return systemClock.schedule(delayMs, callback, options);
    const timer = { callback, background: options?.background === true, cancelled: false };
    timers.push(timer);
    return { cancel: () => (timer.cancelled = true) };
  },
};

function open(retention: Partial<ReturnType<typeof testConfig>["retention"]> = {}): Promise<Engine> {
  return cluster.open(testConfig({ retention: { checkIntervalMs: INTERVAL_MS, ...retention } }), {
    runtime: { clock },
  });
}

/** Lets the newest timer fire, and waits for the look that it begins: it ends with the next timer. */
async function look(): Promise<void> {
  const count = timers.length;
  timers.at(-1)?.callback();
  while (timers.length === count) await new Promise((resolve) => setImmediate(resolve));
}

async function fill(engine: Engine, topic: string, flushes = 4): Promise<void> {
  for (let i = 0; i < flushes; i++)
    await (await engine.topic(topic)).partition(0).append([{ value: Buffer.alloc(1000, i), timestampMs: clock.now() }]);
}

const startOf = async (engine: Engine, topic: string): Promise<number> =>
  (await (await engine.topic(topic)).partition(0).watermarks()).start;

describe("the background look", () => {
  test("trims all partitions of a shard in one link, each by its topic's limits or those of the configuration", async () => {
    const engine = await open({ ms: DAY_MS });
    await engine.createTopic("common", { partitions: 1 });
    await engine.createTopic("long", { partitions: 1, retentionMs: 10 * DAY_MS });
    await engine.createTopic("ever", { partitions: 1, retentionMs: "off" });
    await engine.createTopic("small", { partitions: 1, retentionMs: "off", retentionBytes: 2000 });
    for (const topic of ["common", "long", "ever", "small"]) await fill(engine, topic);
    await look();
    expect(await startOf(engine, "small")).toBe(2);
    expect(await startOf(engine, "common")).toBe(0);

    aheadMs += DAY_MS + 1000;
    await fill(engine, "common", 1);
    await fill(engine, "small", 1);
    const before = faulty.puts;
    await look();
    expect(faulty.puts).toBe(before + 1);
    expect(await Promise.all(["common", "long", "ever", "small"].map((topic) => startOf(engine, topic)))).toEqual([
      4, 0, 0, 3,
    ]);
    aheadMs += DAY_MS + 1000;
    await look();
    expect((await (await engine.topic("common")).partition(0).inspect()).watermarks).toMatchObject({
      start: 5,
      uploaded: 5,
    });
  });

  test("sends nothing where there is nothing to trim, or the shard is not ours; its timer holds no process and ends with the engine", async () => {
    const engine = await open({ ms: DAY_MS });
    await engine.createTopic("t", { partitions: 1 });
    await fill(engine, "t");
    const sent = (): number =>
      Object.values(engine.metrics().store).reduce((sum, operation) => sum + operation.requests, 0);
    const [puts, listed, requests] = [faulty.puts, lists, sent()];
    await look();
    await look();
    expect([faulty.puts, lists]).toEqual([puts, listed]);
    expect(sent()).toBe(requests);
    expect(requests).toBeGreaterThan(0);
    aheadMs += 2 * DAY_MS;
    await engine.close();
    expect(timers.every(({ background }) => background)).toBe(true);
    expect(timers.at(-1)?.cancelled).toBe(true);

    const other = await open({ ms: DAY_MS });
    expect(await startOf(other, "t")).toBe(0);
    const left = faulty.puts;
    await look();
    expect(faulty.puts).toBe(left);
    const reader = timers.length;
    await cluster.open(testConfig({ retention: { checkIntervalMs: INTERVAL_MS } }), {
      runtime: { clock },
      readOnly: true,
    });
    expect(timers).toHaveLength(reader);
  });

  test("goes by the limits as they are now: one that was raised elsewhere costs no record", async () => {
    const engine = await open();
    await engine.createTopic("t", { partitions: 1, retentionMs: DAY_MS });
    await fill(engine, "t");
    const admin = await cluster.open(testConfig(), { appends: false });
    expect(await admin.alterTopic("t", { retentionMs: 9 * DAY_MS })).toMatchObject({ retentionMs: 9 * DAY_MS });
    aheadMs += 2 * DAY_MS;
    await look();
    expect(await startOf(engine, "t")).toBe(0);
    expect(await admin.alterTopic("t", { retentionMs: "default", retentionBytes: 1 })).not.toHaveProperty(
      "retentionMs",
    );
    await engine.listTopics();
    await look();
    expect(await startOf(engine, "t")).toBe(3);
  });

  test("what fails is tried again at the next look", async () => {
    const engine = await open();
    await engine.createTopic("t", { partitions: 1, retentionBytes: 1 });
    await fill(engine, "t");
    faulty.fate = () => "forbidden";
    await look();
    expect(await startOf(engine, "t")).toBe(0);
    faulty.fate = () => "pass";
    await look();
    expect(await startOf(engine, "t")).toBe(3);
  });
});

test.each([0, -1, 1.5, Number.NaN, "on", "7d", null])("a limit of %s is refused", async (limit) => {
  const engine = await open();
  await engine.createTopic("t", { partitions: 1 });
  for (const name of ["retentionMs", "retentionBytes"]) {
    const options = { [name]: limit } as { retentionMs: number };
    await expect(engine.createTopic("u", { partitions: 1, ...options })).rejects.toMatchObject({ argument: name });
    await expect(engine.alterTopic("t", options)).rejects.toMatchObject({ argument: name });
  }
  await expect(engine.createTopic("u", { partitions: 1, retentionMs: "default" as "off" })).rejects.toMatchObject({
    code: "TIERLOG_INVALID_ARGUMENT",
  });
  await expect(engine.alterTopic("none", { retentionMs: 1 })).rejects.toMatchObject({ code: "TIERLOG_NOT_FOUND" });
});
