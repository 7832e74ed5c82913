import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import type { ObjectKey } from "../../src/domain.ts";
import type { PartitionApi } from "../../src/engine/api.ts";
import { Engine, type OpenOptions } from "../../src/engine/engine.ts";
import type { ObjectStore } from "../../src/object-store/object-store.ts";
import { seededRandom } from "../../src/runtime/random.ts";
import { collect, testConfig, type Overrides } from "../support/engine.ts";
import { LOOK_MS, MAX_AGE_MS, MergeClock } from "../support/merge-clock.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

export interface Place {
  readonly store: ObjectStore;
  readonly close: () => Promise<void>;
}

/** What holds of merging on every kind of store. */
export function mergingCases(openPlace: () => Promise<Place>): void {
  let place: Place;
  let clock: MergeClock;
  let directory: string;
  let engines: Engine[];
  /** GETs that have begun; one that is held waits until it is let go. */
  let gets: ObjectKey[];
  let hold: ((key: ObjectKey) => Promise<void>) | undefined;
  const random = seededRandom(7);

  beforeEach(async () => {
    place = await openPlace();
    clock = new MergeClock();
    directory = await mkdtemp(join(tmpdir(), "tierlog-merging-"));
    engines = [];
    gets = [];
    hold = undefined;
  });

  afterEach(async () => {
    await Promise.allSettled(engines.map((engine) => engine.close()));
    await place.close();
    await rm(directory, { recursive: true, force: true });
  });

  async function open(overrides: Overrides = {}, options: OpenOptions = {}): Promise<Engine> {
    const { store } = place;
    const engine = await Engine.open(
      testConfig({
        path: directory,
        ...overrides,
        merge: { checkIntervalMs: LOOK_MS, maxBytesPerSecond: 1024 * MIB, ...overrides.merge },
        segment: { sizeBytes: 256 * MIB, maxAgeMs: MAX_AGE_MS, ...overrides.segment },
      }),
      {
        runtime: { clock },
        ...options,
        objectStore: {
          ...store,
          get: async (key, getOptions) => {
            gets.push(key);
            await hold?.(key);
            return await store.get(key, getOptions);
          },
          close: () => Promise.resolve(),
        },
      },
    );
    engines.push(engine);
    return engine;
  }

  async function topicOf(engine: Engine, partitions: number): Promise<PartitionApi[]> {
    await engine.createTopic("t", { partitions, retentionMs: "off" });
    const topic = await engine.topic("t");
    return Array.from({ length: partitions }, (_, i) => topic.partition(i));
  }

  const partitionOf = async (engine: Engine, number = 0): Promise<PartitionApi> =>
    (await engine.topic("t")).partition(number);

  let made = 0;
  const record = (bytes = 100): { key: Uint8Array; value: Uint8Array; timestampMs: number } => ({
    key: random.bytes(4),
    value: random.bytes(bytes),
    timestampMs: 1_700_000_000_000 + (made++ % 7) * 1000 + made,
  });

  async function dump(partition: PartitionApi): Promise<string[]> {
    const records = await collect(partition.records({ from: "earliest" }));
    return records.map(({ offset, key, value, timestampMs }) =>
      [offset, timestampMs, Buffer.from(key ?? []).toString("hex"), Buffer.from(value ?? []).toString("base64")].join(),
    );
  }

  const extentsOf = async (engine: Engine, number = 0): Promise<number> =>
    (await (await partitionOf(engine, number)).inspect()).extents;

  /** Of a reader that has folded the chain: the keys under which it reads a partition now. */
  async function dataKeys(): Promise<ObjectKey[]> {
    const keys: ObjectKey[] = [];
    for await (const { key } of place.store.list("data/")) keys.push(key);
    return keys;
  }

  for (const ackAfterUpload of [true, false]) {
    test(`ack_after_upload = ${ackAfterUpload}: the same records and answers by time, before and after, here and elsewhere, again and again`, async () => {
      const settings: Overrides = { storage: { object: { ackAfterUpload } }, flush: { lingerMs: 0 } };
      let engine = await open(settings);
      let partitions = await topicOf(engine, 3);
      const reader = await open(settings, { readOnly: true });
      for (let round = 0; round < 9; round++) {
        for (let i = 0; i < 3; i++) {
          const records = Array.from({ length: 1 + ((round + i) % 3) }, () => record(i === 0 ? 9000 : 60));
          await Promise.all(
            partitions.map((partition, p) => (p === 2 && i > 0 ? Promise.resolve() : partition.append(records))),
          );
          await engine.flush();
        }
        if (round === 4) {
          // Another turn: extents of two epochs are not one extent.
          await engine.close();
          engine = await open(settings);
          const topic = await engine.topic("t");
          partitions = [0, 1, 2].map((number) => topic.partition(number));
          await partitions[0]?.append([record()]);
          await engine.flush();
        }
        const before = await Promise.all(partitions.map(dump));
        const times = before[0]!.filter((_, i) => i % 5 === 0).map((text) => Number(text.split(",")[1]));
        const answers = await Promise.all(times.map((time) => partitions[0]!.offsetAt(time)));
        const merges = engine.metrics().merge.merges;
        await clock.mergeAll();
        expect(engine.metrics().merge.merges).toBeGreaterThan(merges);
        expect(await Promise.all(partitions.map(dump))).toEqual(before);
        expect(await Promise.all(times.map((time) => partitions[0]!.offsetAt(time)))).toEqual(answers);
        const elsewhere = await reader.topic("t");
        expect(await Promise.all([0, 1, 2].map((number) => dump(elsewhere.partition(number))))).toEqual(before);
      }
      // 27 flushes and more: at most seven of each tier, and turn.
      expect(await extentsOf(engine)).toBeLessThanOrEqual(14);
      expect(engine.metrics().merge).toMatchObject({ damaged: 0, voided: 0, failed: 0 });
      const before = await Promise.all(partitions.map(dump));
      await engine.close();
      const again = await open(settings, { readOnly: true });
      const topic = await again.topic("t");
      expect(await Promise.all([0, 1, 2].map((number) => dump(topic.partition(number))))).toEqual(before);
    });
  }

  test("what was written lately is merged without a GET; an idle shard costs no request", async () => {
    const engine = await open();
    const [partition] = await topicOf(engine, 1);
    for (let i = 0; i < 10; i++) await partition?.append([record()]);
    const before = engine.metrics().store;
    await clock.mergeAll();
    const { get, put } = engine.metrics().store;
    expect(get.requests).toBe(before.get.requests);
    // The object and its link.
    expect(put.requests).toBe(before.put.requests + 2);
    for (let i = 0; i < 3; i++) await clock.mergeAll();
    expect(engine.metrics().store).toEqual(expect.objectContaining({ get, put }));
    expect(await extentsOf(engine)).toBe(1);
  });

  test("nothing is merged in a shard that another process owns, nor by one that only reads", async () => {
    const writer = await open({ merge: { enabled: false } });
    const [partition] = await topicOf(writer, 1);
    for (let i = 0; i < 10; i++) await partition?.append([record()]);
    const other = await open();
    await dump(await partitionOf(other));
    await clock.mergeAll();
    expect(other.metrics().merge.merges).toBe(0);
    expect(await dataKeys()).toEqual([]);
  });

  test("a partition that comes to a segment gets an object of its own; what is a segment is left alone", async () => {
    const engine = await open({ segment: { sizeBytes: MIB }, flush: { lingerMs: 0 } });
    const [large, small] = await topicOf(engine, 2);
    for (let i = 0; i < 24; i++) await Promise.all([large?.append([record(100 * KIB)]), small?.append([record(10)])]);
    const before = [await dump(large!), await dump(small!)];
    await clock.mergeAll();
    await clock.mergeAll();
    expect([await dump(large!), await dump(small!)]).toEqual(before);
    const { extents, objects, bytes } = await large!.inspect();
    expect(extents).toBeLessThanOrEqual(2 * Math.ceil(bytes / MIB) + 7);
    expect(objects).toBe(extents);
    const { bytesOut } = engine.metrics().merge;
    await clock.mergeAll();
    expect(engine.metrics().merge.bytesOut).toBe(bytesOut);
  });

  test("an object that is mostly trimmed away is rewritten, and leaves the state", async () => {
    const engine = await open({ flush: { lingerMs: 0 } });
    const [large, small] = await topicOf(engine, 2);
    for (let i = 0; i < 8; i++) await Promise.all([large?.append([record(50 * KIB)]), small?.append([record(500)])]);
    await clock.mergeAll();
    const before = await dump(small!);
    const merged = await dataKeys();
    await large?.trim({ before: 8 });
    await clock.look();
    expect(await dump(small!)).toEqual(before);
    await place.store.delete(merged);
    const reader = await open({}, { readOnly: true });
    expect(await dump(await partitionOf(reader, 1))).toEqual(before);
  });

  test("a damaged source is told once and left where it is; everything else is merged and readable", async () => {
    const settings: Overrides = { flush: { lingerMs: 0 } };
    const first = await open({ ...settings, merge: { enabled: false } });
    const [damaged, whole] = await topicOf(first, 2);
    for (let i = 0; i < 10; i++) {
      await damaged?.append([record()]);
      await whole?.append([record()]);
    }
    const before = [await dump(damaged!), await dump(whole!)];
    await first.close();
    // The fifth append to the first partition: seq 0 is the fence, then they take turns.
    const key = `index/0000/${String(9).padStart(20, "0")}.idx` as ObjectKey;
    const body = Buffer.from((await place.store.get(key))?.body ?? []);
    body[body.length - 1]! ^= 1;
    await place.store.put(key, body, { condition: { kind: "none" } });

    const engine = await open(settings);
    await (await partitionOf(engine, 1)).append([record()]);
    await clock.mergeAll();
    await clock.mergeAll();
    const { merge } = engine.metrics();
    expect(merge).toMatchObject({ damaged: 1, failed: 0 });
    const { requests } = engine.metrics().store.get;
    await clock.mergeAll();
    expect(engine.metrics().store.get.requests).toBe(requests);
    expect((await dump(await partitionOf(engine, 1))).slice(0, 10)).toEqual(before[1]);
    // Before it, it, behind it.
    expect(await extentsOf(engine, 0)).toBe(3);
    await expect((await partitionOf(engine)).read({ from: 4 })).rejects.toMatchObject({ code: "TIERLOG_CORRUPTION" });
    const behind = await collect((await partitionOf(engine)).records({ from: 5 }));
    expect(behind.map(({ offset }) => offset)).toEqual([5, 6, 7, 8, 9]);
  });

  test("while appends go on, merging takes what is settled; no record is lost, none moves", async () => {
    const engine = await open({ flush: { lingerMs: 1 } });
    const partitions = await topicOf(engine, 4);
    const appended: string[][] = [[], [], [], []];
    const over = new AbortController();
    const producers = partitions.map(async (partition, p) => {
      for (let i = 0; i < 60; i++) {
        const one = record(20 + ((i * 37) % 400));
        await partition.append([one]);
        appended[p]?.push(Buffer.from(one.value).toString("base64"));
      }
    });
    const merging = (async () => {
      while (!over.signal.aborted) await clock.mergeAll();
    })();
    await Promise.all(producers);
    over.abort();
    await merging;
    await clock.mergeAll();
    for (const [p, partition] of partitions.entries()) {
      const found = await collect(partition.records({ from: "earliest" }));
      expect(found.map(({ offset }) => offset)).toEqual(found.map((_, i) => i));
      expect(found.map(({ value }) => Buffer.from(value ?? []).toString("base64"))).toEqual(appended[p]);
    }
    expect(engine.metrics().merge).toMatchObject({ voided: 0, failed: 0, damaged: 0 });
    expect(await extentsOf(engine)).toBeLessThan(60);
  });

  test("closed in the middle of a merge: the chain and its records are as they were", async () => {
    const engine = await open({ flush: { lingerMs: 0 }, cache: { tailSizeBytes: 64 * KIB } });
    const [partition] = await topicOf(engine, 1);
    for (let i = 0; i < 10; i++) await partition?.append([record(20 * KIB)]);
    const before = await dump(partition!);
    let begun: () => void = () => undefined;
    const first = new Promise<void>((resolve) => (begun = resolve));
    await clock.look();
    let letGo: () => void = () => undefined;
    const gate = new Promise<void>((resolve) => (letGo = resolve));
    hold = () => {
      begun();
      return gate;
    };
    const merging = clock.mergeAll().catch(() => undefined);
    await first;
    const closing = engine.close();
    letGo();
    await closing;
    hold = undefined;
    void merging;
    const reader = await open({}, { readOnly: true });
    expect(await dump(await partitionOf(reader))).toEqual(before);
    expect(await extentsOf(reader)).toBe(10);
  });

  describe("C18, F30: a reader whose object is gone", () => {
    /** Ten extents of one partition in as many data objects, and who reads them from the store. */
    async function tenObjects(): Promise<{ engine: Engine; reader: Engine; before: string[]; old: ObjectKey[] }> {
      const settings: Overrides = {
        flush: { lingerMs: 0 },
        storage: { object: { multipartPartSizeBytes: 5 * MIB } },
        batch: { maxBytes: 2 * MIB },
        cache: { tailSizeBytes: 64 * KIB, sizeBytes: 64 * KIB },
      };
      const engine = await open(settings);
      const [partition, other] = await topicOf(engine, 2);
      for (let i = 0; i < 8; i++) {
        await Promise.all([
          partition?.append([record(200 * KIB)]),
          ...Array.from({ length: 5 }, () => other?.append([record(1.2 * MIB)])),
        ]);
        await engine.flush();
      }
      const before = await dump(partition!);
      const reader = await open(settings, { readOnly: true });
      await (await partitionOf(reader)).watermarks();
      return { engine, reader, before, old: await dataKeys() };
    }

    test("goes on with a new fold, wherever it stands: a follower in another engine, and the owner itself", async () => {
      const { engine, reader, before, old } = await tenObjects();
      expect(old.length).toBeGreaterThanOrEqual(8);
      const partition = await partitionOf(reader);
      // It walks with an old view: the last objects are gone when it comes to them.
      const seen: number[] = [];
      for await (const { offset } of partition.records({ from: "earliest" })) {
        seen.push(offset);
        if (seen.length > 1) continue;
        await clock.mergeAll();
        expect(engine.metrics().merge.merges).toBeGreaterThan(0);
        const named = new Set(await namedKeys(engine));
        await place.store.delete(old.filter((key) => !named.has(key)));
      }
      expect(seen).toEqual(before.map((_, i) => i));
      expect(await dump(await partitionOf(engine))).toEqual(before);
    });

    test("a read that had begun when the object was replaced and deleted ends as if it began later", async () => {
      const { engine, before, old } = await tenObjects();
      const partition = await partitionOf(engine);
      let held: (() => void) | undefined;
      let isHeld: () => void = () => undefined;
      const waiting = new Promise<void>((resolve) => (isHeld = resolve));
      hold = (key) => {
        if (!old.includes(key) || held !== undefined) return Promise.resolve();
        return new Promise((resolve) => {
          held = resolve;
          isHeld();
        });
      };
      const reading = partition.read({ from: 2 });
      const looking = partition.offsetAt("max-timestamp");
      await waiting;
      await clock.mergeAll();
      const named = new Set(await namedKeys(engine));
      await place.store.delete(old.filter((key) => !named.has(key)));
      held?.();
      const { batches } = await reading;
      expect(batches.length).toBeGreaterThan(0);
      const times = before.map((text) => Number(text.split(",")[1]));
      expect((await looking)?.timestampMs).toBe(Math.max(...times));
    });

    test("an object that a new fold still names is loss: told with its name, after a bounded number of requests", async () => {
      const { reader, old } = await tenObjects();
      const partition = await partitionOf(reader);
      await place.store.delete(old);
      gets = [];
      await expect(partition.read({ from: 0 })).rejects.toMatchObject({ code: "TIERLOG_MISSING_OBJECT" });
      await expect(partition.offsetAt("max-timestamp")).rejects.toMatchObject({ code: "TIERLOG_MISSING_OBJECT" });
      expect(gets.length).toBeLessThan(30);
    });

    test("records that were trimmed with their object are out of range", async () => {
      const { engine, reader, old } = await tenObjects();
      const partition = await partitionOf(reader);
      await (await partitionOf(engine)).trim({ before: 8 });
      await (await partitionOf(engine, 1)).trim({ before: 40 });
      await place.store.delete(old);
      await expect(partition.read({ from: 0 })).rejects.toMatchObject({
        code: "TIERLOG_OFFSET_OUT_OF_RANGE",
        start: 8,
      });
      expect(await partition.offsetAt("max-timestamp")).toBeUndefined();
    });
  });

  /** Data objects that a fresh fold of the chain names. */
  async function namedKeys(engine: Engine): Promise<ObjectKey[]> {
    // A merge's object is the one that came last; whatever is read from elsewhere is found by reading all of it.
    const fresh = await open({}, { readOnly: true });
    const topic = await fresh.topic("t");
    const from = gets.length;
    for (const number of [0, 1]) await collect(topic.partition(number).records({ from: "earliest" }));
    const keys = new Set(gets.slice(from).filter((key) => key.startsWith("data/")));
    expect(engine.metrics().merge.damaged).toBe(0);
    return [...keys];
  }
}
