import { afterEach, expect, test } from "vitest";

import type { Config } from "../../src/config/config.ts";
import { createMemoryStore } from "../../src/object-store/memory-store.ts";
import { FaultyStore } from "../shard/faulty-store.ts";
import { Cluster, readAll, testConfig, values } from "../support/engine.ts";
import { SimulatedDisk } from "../support/simulated-disk.ts";
import { VirtualClock } from "../support/virtual-clock.ts";

const TOPIC = "events";
let cluster = new Cluster();

afterEach(async () => {
  await cluster.close();
  cluster = new Cluster();
});

/** Journaled; nothing is uploaded that nobody waits for. */
function config(overrides: Partial<Config> = {}): Config {
  const journal = { uploadIntervalMs: 3_600_000, maxSizeBytes: 16 * 1024 * 1024 };
  return { ...testConfig({ storage: { object: { ackAfterUpload: false } }, journal }), ...overrides };
}

async function openOn(disk: SimulatedDisk, overrides: Partial<Config> = {}) {
  return await cluster.open(config(overrides), { runtime: { fileSystem: disk } });
}

/** The result of `work`, with virtual time running on. */
async function inTime<T>(clock: VirtualClock, work: Promise<T>): Promise<T> {
  let settled = false;
  const done = work.finally(() => {
    settled = true;
  });
  done.catch(() => undefined);
  for (let i = 0; i < 10_000; i++) {
    await clock.advance(20);
    if (settled) break;
  }
  return await done;
}

test("a journal is closed with its engine, however long the store does not answer", async () => {
  const faulty = new FaultyStore(createMemoryStore());
  cluster = new Cluster(faulty.store);
  const clock = new VirtualClock();
  const disk = new SimulatedDisk();
  const engine = await inTime(
    clock,
    cluster.open(config({ shutdownTimeoutMs: 50 }), { runtime: { clock, fileSystem: disk } }),
  );
  await inTime(clock, engine.createTopic(TOPIC, { partitions: 1 }));
  const partition = (await inTime(clock, engine.topic(TOPIC))).partition(0);
  await inTime(clock, partition.append(values("a"), { ack: "uploaded" }));
  faulty.fate = () => "lost-before";
  faulty.readsFail = true;
  const refused = partition.append(values("b"), { ack: "uploaded" });
  await expect(inTime(clock, refused)).rejects.toMatchObject({ effect: "unknown" });
  // By now it takes the shard over from itself, and the store says nothing.
  await clock.advance(10_000);

  await expect(inTime(clock, engine.close())).resolves.toMatchObject({ journaled: [{ records: 1 }] });
  expect(disk.openFiles).toBe(0);
  const calls = disk.calls.length;
  faulty.fate = () => "pass";
  faulty.readsFail = false;
  const next = await openOn(disk.afterKill());
  await next.recover();
  await clock.advance(120_000);
  expect(disk.calls.length).toBe(calls);
  expect(await readAll((await next.topic(TOPIC)).partition(0))).toEqual(["a", "b"]);
});

test("a fence of a process that died, landing beside the fence of the next one, costs no journaled record", async () => {
  const inner = createMemoryStore();
  let fate: "pass" | "hold" | "land" = "pass";
  let held: (() => Promise<unknown>) | undefined;
  cluster = new Cluster({
    ...inner,
    put: async (key, body, options) => {
      if (fate === "pass" || !key.startsWith("index/")) return await inner.put(key, body, options);
      if (fate === "hold") {
        const bytes = new Uint8Array(body);
        held = () => inner.put(key, bytes, { condition: options.condition });
        return await new Promise(() => undefined);
      }
      await held?.();
      held = undefined;
      return await inner.put(key, body, options);
    },
  });
  const disk = new SimulatedDisk();
  const first = await openOn(disk);
  await first.createTopic(TOPIC, { partitions: 1 });
  await (await first.topic(TOPIC)).partition(0).append(values("a"));
  disk.crash();

  fate = "hold";
  const second = disk.afterKill();
  void cluster.open(config(), { runtime: { clock: new VirtualClock(), fileSystem: second } });
  await expect.poll(() => held).toBeDefined();
  second.crash();

  fate = "land";
  const third = await openOn(second.afterKill());
  await third.recover();
  expect(third.recoveryReports()).toMatchObject([{ outcome: "replayed", replayed: { records: 1 } }]);
  expect(await readAll((await third.topic(TOPIC)).partition(0))).toEqual(["a"]);
});

test("what the chain holds already is not set aside, whoever came between", async () => {
  const disk = new SimulatedDisk();
  const first = await openOn(disk);
  await first.createTopic(TOPIC, { partitions: 1 });
  const partition = (await first.topic(TOPIC)).partition(0);
  await partition.append(values("a"), { ack: "uploaded" });
  await partition.append(values("b"), { ack: "uploaded" });
  disk.crash();

  const second = await openOn(new SimulatedDisk());
  await (await second.topic(TOPIC)).partition(0).append(values("x", "y"), { ack: "uploaded" });

  const again = await openOn(disk.afterKill());
  expect(again.recoveryReports()).toEqual([]);
  expect(await readAll((await second.topic(TOPIC)).partition(0))).toEqual(["a", "b", "x", "y"]);
});

test("nor is it by a process that loses the race for the shard as it starts", async () => {
  const inner = createMemoryStore();
  let rival: (() => Promise<unknown>) | undefined;
  cluster = new Cluster({
    ...inner,
    put: async (key, body, options) => {
      const first = key.startsWith("index/") ? rival : undefined;
      if (first !== undefined) rival = undefined;
      await first?.();
      return await inner.put(key, body, options);
    },
  });
  const disk = new SimulatedDisk();
  const first = await openOn(disk);
  await first.createTopic(TOPIC, { partitions: 1 });
  await (await first.topic(TOPIC)).partition(0).append(values("a"), { ack: "uploaded" });
  disk.crash();

  const other = await openOn(new SimulatedDisk());
  const theirs = (await other.topic(TOPIC)).partition(0);
  rival = () => theirs.append(values("x"), { ack: "uploaded" });
  const next = disk.afterKill();
  await expect(openOn(next)).rejects.toMatchObject({ kind: "fenced" });
  expect(await next.list(`${config().journal.path}/0000/aside`)).toEqual([]);
  expect(await readAll(theirs)).toEqual(["a", "x"]);
});
