import { expect } from "vitest";

import type { Config } from "../../src/config/config.ts";
import type { Epoch, ObjectKey, Seq, ShardId } from "../../src/domain.ts";
import type { Engine, OpenOptions } from "../../src/engine/engine.ts";
import {
  catalogKey,
  checkpointKey,
  dataKey,
  indexKey,
  probeRecordKey,
  probeRunPrefix,
} from "../../src/object-store/object-names.ts";
import type { ObjectStore } from "../../src/object-store/object-store.ts";
import { testConfig, type Overrides } from "../support/engine.ts";
import { GRACE_MS, keysOf, openCollector, ROUND_MS } from "../support/gc-rig.ts";

export const MIB = 1024 * 1024;
export const SHARD = 0 as ShardId;
const ANY = { condition: { kind: "none" } } as const;

export function gcConfig(overrides: Overrides = {}): Config {
  return testConfig({
    checkpointEvery: 16,
    ...overrides,
    storage: { ...overrides.storage, object: { multipartPartSizeBytes: 5 * MIB, ...overrides.storage?.object } },
    gc: { graceMs: GRACE_MS, intervalMs: ROUND_MS, sweepIntervalMs: 10 * GRACE_MS, ...overrides.gc },
  });
}

export async function fill(engine: Engine, topic: string, flushes: number, name = topic): Promise<void> {
  const partition = (await engine.topic(topic)).partition(0);
  for (let i = 0; i < flushes; i++) await partition.append([{ value: Buffer.from(`${name} ${i}`) }]);
}

/** One flush that is too large for an index file. */
export async function fillObject(engine: Engine, topic: string, mark: number): Promise<void> {
  const records = Array.from({ length: 7 }, () => ({ value: Buffer.alloc(MIB - 512, mark) }));
  await (await engine.topic(topic)).partition(0).append(records);
}

/** Every value of a topic from the start of its only partition, long ones by their size and first byte. */
export async function contents(engine: Engine, topic: string): Promise<string[]> {
  const texts: string[] = [];
  for await (const { offset, value } of (await engine.topic(topic)).partition(0).records({ from: "earliest" })) {
    const text =
      value === null || value.length > 100 ? `${value?.length} × ${value?.[0]}` : Buffer.from(value).toString();
    texts.push(`${offset}: ${text}`);
  }
  return texts;
}

/**
 * Every kind of garbage, beside everything that must stay: found by the rounds of whoever owns the shard, deleted a grace after it was
 * seen and not before, and every record is read as before by a process that starts from what is left.
 */
export async function everyKind(
  store: ObjectStore,
  open: (options?: OpenOptions) => Promise<Engine>,
  hasUploads: boolean,
): Promise<void> {
  const crashed = await open();
  await crashed.createTopic("kept", { partitions: 1 });
  await crashed.createTopic("trimmed", { partitions: 1 });
  await crashed.createTopic("gone", { partitions: 1 });
  for (const topic of ["kept", "trimmed", "gone"]) await fillObject(crashed, topic, topic.length);
  for (const topic of ["trimmed", "gone"]) await fill(crashed, topic, 20);

  // Its turn is over: it is never heard of again.
  const { engine, clock, round } = await openCollector((options) => open(options));
  await fillObject(engine, "kept", 9);
  const trimmed = (await engine.topic("trimmed")).partition(0);
  await trimmed.trim({ before: (await trimmed.watermarks()).uploaded });
  await engine.deleteTopic("gone");
  for (let i = 0; i < 4; i++) await engine.alterTopic("kept", { retentionMs: 3_600_000 + i });
  await fill(engine, "trimmed", 40, "late");
  await trimmed.trim({ before: (await trimmed.watermarks()).uploaded });
  await fill(engine, "kept", 3);

  const bytes = Buffer.from("bytes that nobody names");
  const old = dataKey(SHARD, 1 as Epoch, 77, "00000000deadbeef");
  const own = dataKey(SHARD, 2 as Epoch, 78, "11111111deadbeef");
  const foreign = dataKey(9 as ShardId, 1 as Epoch, 79, "22222222deadbeef");
  const garbage = [
    old,
    checkpointKey(SHARD, 3 as Seq),
    `${probeRunPrefix("start", "0123456789abcdef")}race` as ObjectKey,
  ];
  for (let i = 0; i < 9; i++) await store.put(probeRecordKey(i, `000000000000000${i}`), bytes, ANY);
  garbage.push(probeRecordKey(0, "0000000000000000"));
  for (const key of [...garbage, own, foreign]) await store.put(key, bytes, ANY);
  const upload = hasUploads
    ? await store.createMultipart(dataKey(SHARD, 1 as Epoch, 80, "33333333deadbeef"))
    : undefined;
  await upload?.putPart(1, Buffer.alloc(5 * MIB));

  const before = await keysOf(store);
  await round();
  clock.aheadMs += GRACE_MS - 60_000;
  await round();
  // Links came (a trim, a boundary), checkpoints went as they always do; nothing else went.
  const early = new Set(await keysOf(store));
  expect(before.filter((key) => !early.has(key) && !key.startsWith("checkpoint/"))).toEqual([]);

  clock.aheadMs += 120_000;
  await round();
  const left = await keysOf(store);
  expect(left.filter((key) => garbage.includes(key))).toEqual([]);
  expect(left).toContain(own);
  expect(left).toContain(foreign);
  expect(left.filter((key) => key.startsWith("data/")).length).toBe(2 + 2);
  expect(left.filter((key) => key.startsWith("catalog/"))).toEqual([catalogKey(7), catalogKey(8)]);
  expect(left).not.toContain(indexKey(SHARD, 0 as Seq));
  expect(left.filter((key) => key.startsWith("index/")).length).toBeLessThan(40);
  if (upload !== undefined) expect(await upload.listParts()).toBeUndefined();
  expect(engine.metrics().gc).toMatchObject({
    uploadsAborted: hasUploads ? 1 : 0,
    // A bucket has a record of its own, which the engine made.
    othersDeleted: hasUploads ? 9 : 8,
    waiting: 0,
    refused: 0,
    lastError: undefined,
  });
  expect(engine.metrics().gc.objectsDeleted).toBe(3);
  expect(engine.metrics().gc.bytesDeleted).toBeGreaterThan(14 * MIB);

  // Late PUTs land in deleted slots for ever: nobody is deceived, and the next listing finds them.
  await store.put(indexKey(SHARD, 0 as Seq), bytes, ANY);
  await store.put(indexKey(SHARD, 5 as Seq), bytes, ANY);
  const expected = [`0: ${MIB - 512} × 4`, `6: ${MIB - 512} × 4`, `7: ${MIB - 512} × 9`, "14: kept 0", "16: kept 2"];
  const reader = await open({ readOnly: true });
  expect(await contents(reader, "kept")).toEqual(expect.arrayContaining(expected));
  expect(await contents(reader, "trimmed")).toEqual([]);
  clock.aheadMs += 11 * GRACE_MS;
  await round();
  const last = await keysOf(store, "index/");
  expect(last).not.toContain(indexKey(SHARD, 0 as Seq));
  expect(last).not.toContain(indexKey(SHARD, 5 as Seq));
  await fill(engine, "kept", 1, "on");
  expect(await contents(await open({ readOnly: true }), "kept")).toEqual([
    ...Array.from({ length: 7 }, (_, i) => `${i}: ${MIB - 512} × 4`),
    ...Array.from({ length: 7 }, (_, i) => `${i + 7}: ${MIB - 512} × 9`),
    "14: kept 0",
    "15: kept 1",
    "16: kept 2",
    "17: on 0",
  ]);
}
