import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import type { Epoch, ObjectKey } from "../../src/domain.ts";
import { ObjectStoreError } from "../../src/errors.ts";
import { createFsStore } from "../../src/object-store/fs-store.ts";
import { createMemoryStore } from "../../src/object-store/memory-store.ts";
import { catalogKey, dataKey } from "../../src/object-store/object-names.ts";
import type { ObjectStore } from "../../src/object-store/object-store.ts";
import { systemRuntime } from "../../src/runtime/runtime.ts";
import { FaultyStore } from "../shard/faulty-store.ts";
import { Cluster } from "../support/engine.ts";
import { GRACE_MS, keysOf, openCollector, type Collector } from "../support/gc-rig.ts";
import { contents, everyKind, fill, fillObject, gcConfig, MIB, SHARD } from "./gc-scenario.ts";

describe("I5: what nobody needs is deleted a grace after it was seen, and nothing else ever is", () => {
  let cluster: Cluster;

  afterEach(() => cluster.close());

  test("in memory", async () => {
    cluster = new Cluster(createMemoryStore());
    await expect(
      everyKind(cluster.store, (options) => cluster.open(gcConfig(), options), false),
    ).resolves.toBeUndefined();
  });

  test("in a directory", async () => {
    const root = mkdtempSync(join(tmpdir(), "tierlog-gc-"));
    const { fileSystem, random } = systemRuntime;
    cluster = new Cluster(createFsStore({ root, fileSystem, random }));
    try {
      await expect(
        everyKind(cluster.store, (options) => cluster.open(gcConfig(), options), false),
      ).resolves.toBeUndefined();
    } finally {
      rmSync(root, { recursive: true, force: true });
    }
  });
});

describe("a round", () => {
  let faulty: FaultyStore;
  let cluster: Cluster;
  let warnings: { readonly message: string; readonly fields: Record<string, unknown> | undefined }[];

  beforeEach(() => {
    warnings = [];
    faulty = new FaultyStore(createMemoryStore());
    cluster = new Cluster(faulty.store);
  });

  afterEach(async () => {
    faulty.release();
    await cluster.close();
  });

  const collector = (store?: ObjectStore, overrides = {}): Promise<Collector> =>
    openCollector(
      (options) =>
        cluster.open(gcConfig(overrides), { ...options, ...(store === undefined ? {} : { objectStore: store }) }),
      { info: () => undefined, warn: (message, fields) => warnings.push({ message, fields }) },
    );
  const dataKeys = (): Promise<ObjectKey[]> => keysOf(cluster.store, "data/");

  async function trimAll(from: Collector, topic: string): Promise<void> {
    const partition = (await from.engine.topic(topic)).partition(0);
    await partition.trim({ before: (await partition.watermarks()).uploaded });
  }

  test("C7: the grace of a link runs from its boundary, seen live by this process; neither its age nor a wall clock that jumps counts", async () => {
    const first = await collector();
    await first.engine.createTopic("t", { partitions: 1 });
    await fill(first.engine, "t", 60);
    await trimAll(first, "t");
    first.clock.aheadMs += 100 * GRACE_MS;
    await fill(first.engine, "t", 1);
    const links = await keysOf(cluster.store, "index/");
    await first.round();
    expect(first.engine.metrics().gc).toMatchObject({ waitingBoundaries: 1, linksDeleted: 0 });
    first.clock.wallAheadMs += 100 * GRACE_MS;
    await first.round();
    expect(await keysOf(cluster.store, "index/")).toEqual(expect.arrayContaining(links));

    // Who takes over sees the boundary for the first time, whenever it was written.
    first.clock.aheadMs += GRACE_MS - 1000;
    const second = await collector();
    await fill(second.engine, "t", 1);
    await second.round();
    second.clock.aheadMs += GRACE_MS - 1000;
    await second.round();
    expect(await keysOf(cluster.store, "index/")).toEqual(expect.arrayContaining(links));
    second.clock.aheadMs += 2000;
    await second.round();
    expect(second.engine.metrics().gc.linksDeleted).toBeGreaterThanOrEqual(32);
    // The old owner finds out when it looks, before it deletes anything.
    first.clock.aheadMs += GRACE_MS;
    await first.round();
    expect(first.engine.metrics().gc.linksDeleted).toBe(0);
    expect(await contents(await cluster.open(gcConfig(), { readOnly: true }), "t")).toEqual(["60: t 0", "61: t 0"]);
  });

  test("collecting at once frees what a boundary of an earlier process left, and what came behind it", async () => {
    const first = await collector();
    await first.engine.createTopic("t", { partitions: 1 });
    await fill(first.engine, "t", 60);
    await trimAll(first, "t");
    await fill(first.engine, "t", 1);
    await first.round();
    expect(first.engine.metrics().gc).toMatchObject({ waitingBoundaries: 1, linksDeleted: 0 });
    await fill(first.engine, "t", 60);
    await trimAll(first, "t");
    await first.engine.close();

    const second = await collector();
    const report = await second.engine.collectGarbage({
      onProgress: ({ doing }) => void (second.clock.aheadMs += doing === "waiting" ? GRACE_MS : 0),
    });
    expect(report).toMatchObject({ interrupted: false, waitingBoundaries: 0, problems: [] });
    const links = await keysOf(cluster.store, "index/");
    expect(report.deleted.linksDeleted).toBeGreaterThan(120);
    expect(links.length).toBeLessThan(10);
  });

  /** For requests that a test holds while hours pass. */
  const patient = { storage: { object: { deadlineMs: 100 * GRACE_MS, requestTimeoutMs: 100 * GRACE_MS } } };

  test("C15: an object whose link is long under way is not swept, by its owner or by who reads its shard", async () => {
    const { engine, clock, round } = await collector(undefined, patient);
    await engine.createTopic("t", { partitions: 1 });
    await fill(engine, "t", 1);
    await round();
    faulty.hold();
    const appending = fillObject(engine, "t", 1);
    while ((await dataKeys()).length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    const other = await collector();
    await contents(other.engine, "t");
    await other.round();
    other.clock.aheadMs += 3 * GRACE_MS;
    await other.round();
    clock.aheadMs += 30 * GRACE_MS;
    const rounding = round();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(await dataKeys()).toHaveLength(1);
    faulty.release();
    await Promise.all([appending, rounding]);
    clock.aheadMs += 30 * GRACE_MS;
    await round();
    expect(engine.metrics().gc).toMatchObject({ objectsDeleted: 0, waiting: 0 });
    expect(await contents(engine, "t")).toHaveLength(8);
  });

  test("C17: what is replaced or trimmed waits from when the link was seen live, not from when it was sent", async () => {
    const { engine, clock, round } = await collector(undefined, patient);
    await engine.createTopic("t", { partitions: 1 });
    await fillObject(engine, "t", 1);
    await round();
    faulty.hold();
    const trimming = trimAll({ engine, clock, round }, "t");
    await new Promise((resolve) => setTimeout(resolve, 20));
    clock.aheadMs += 30 * GRACE_MS;
    const rounding = round();
    await new Promise((resolve) => setTimeout(resolve, 20));
    faulty.release();
    await Promise.all([trimming, rounding]);
    expect(await dataKeys()).toHaveLength(1);
    await round();
    clock.aheadMs += GRACE_MS - 1000;
    await round();
    expect(await dataKeys()).toHaveLength(1);
    clock.aheadMs += 2000;
    await round();
    expect(await dataKeys()).toEqual([]);
  });

  test("F29 zombie-late-segment-put: an object of an older epoch that lands after the fence is seen by nobody, and swept", async () => {
    const dead = await collector();
    await dead.engine.createTopic("t", { partitions: 1 });
    await fill(dead.engine, "t", 1);
    const { engine, clock, round } = await collector();
    await fill(engine, "t", 1);
    await round();
    const late = dataKey(SHARD, 1 as Epoch, 0, "00000000deadbeef");
    await cluster.store.put(late, Buffer.alloc(1000), { condition: { kind: "none" } });
    clock.aheadMs += 11 * GRACE_MS;
    await round();
    expect(await dataKeys()).toEqual([late]);
    clock.aheadMs += GRACE_MS + 1000;
    await round();
    expect(await dataKeys()).toEqual([]);
    expect(await contents(engine, "t")).toEqual(["0: t 0", "1: t 0"]);
  });

  test("an object whose flush was given up is deleted by its own epoch, because its process knows", async () => {
    const { engine, clock, round } = await collector();
    await engine.createTopic("t", { partitions: 1 });
    await fill(engine, "t", 1);
    faulty.fate = () => "forbidden";
    await expect(fillObject(engine, "t", 1)).rejects.toMatchObject({ effect: "none" });
    faulty.fate = () => "pass";
    const epoch = (await (await engine.topic("t")).partition(0).inspect()).epoch;
    expect(await dataKeys()).toHaveLength(1);
    await round();
    clock.aheadMs += GRACE_MS + 1000;
    await round();
    expect(await dataKeys()).toEqual([]);
    expect((await (await engine.topic("t")).partition(0).inspect()).epoch).toBe(epoch);
  });

  test("F52: what the store will not let go is counted, warned of once a round, tried again; the rest goes", async () => {
    let denied: (key: ObjectKey) => boolean = (key) => key.startsWith("data/");
    const inner = cluster.store;
    let deletes = 0;
    const denying: ObjectStore = {
      ...inner,
      delete: async (keys, options) => {
        if (keys.some((key) => key.startsWith("data/"))) deletes++;
        const failedKeys = keys.filter(denied);
        await inner.delete(
          keys.filter((key) => !denied(key)),
          options,
        );
        if (failedKeys.length > 0)
          throw new ObjectStoreError("AccessDenied", {
            operation: "delete",
            key: failedKeys[0] ?? "",
            status: 403,
            retryable: false,
            failedKeys,
          });
      },
    };
    const { engine, clock, round } = await collector(denying);
    await engine.createTopic("t", { partitions: 1 });
    for (let i = 0; i < 3; i++) await fillObject(engine, "t", i);
    await fill(engine, "t", 40);
    await trimAll({ engine, clock, round }, "t");
    await round();
    clock.aheadMs += GRACE_MS + 1000;
    await round();
    expect(await dataKeys()).toHaveLength(3);
    expect(engine.metrics().gc).toMatchObject({ refused: 3, objectsDeleted: 0, waiting: 3 });
    expect(engine.metrics().gc.linksDeleted).toBeGreaterThanOrEqual(16);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]?.fields).toMatchObject({
      problems: 1,
      first: expect.stringContaining("AccessDenied") as string,
    });
    const before = deletes;
    await round();
    expect(deletes).toBe(before + 1);
    expect(warnings).toHaveLength(2);
    const [kept] = await dataKeys();
    denied = (key) => key === kept;
    await round();
    expect(await dataKeys()).toEqual([kept]);
    expect(engine.metrics().gc).toMatchObject({ refused: 7, objectsDeleted: 2, waiting: 1 });
    denied = () => false;
    await round();
    expect(await dataKeys()).toEqual([]);
    expect(engine.metrics().gc).toMatchObject({ waiting: 0, lastError: undefined });
  });

  test("an idle shard comes to rest: no PUT, and nothing but one listing of the catalog, until the next sweep", async () => {
    const { engine, clock, round } = await collector();
    await engine.createTopic("t", { partitions: 1 });
    await fill(engine, "t", 60);
    await trimAll({ engine, clock, round }, "t");
    await fill(engine, "t", 1);
    for (let i = 0; i < 6; i++) {
      await round();
      clock.aheadMs += GRACE_MS + 1000;
    }
    const requests = (): number[] =>
      Object.values(engine.metrics().store).map((operation: { readonly requests: number }) => operation.requests);
    expect((await keysOf(cluster.store, "index/")).length).toBeLessThan(20);
    clock.aheadMs += 1000;
    await round();
    const before = requests();
    const { put } = engine.metrics().store;
    for (let i = 0; i < 3; i++) {
      clock.aheadMs += GRACE_MS;
      await round();
    }
    expect(engine.metrics().store.put.requests).toBe(put.requests);
    expect(requests().reduce((a, b) => a + b) - before.reduce((a, b) => a + b)).toBe(3);
  });

  test("where the catalog cannot be read, or is gone, no topic counts as deleted", async () => {
    const { engine } = await collector();
    await engine.createTopic("t", { partitions: 1 });
    await fillObject(engine, "t", 1);
    await engine.close();
    const unlisted: ObjectStore = {
      ...cluster.store,
      list: (prefix, options) => {
        if (prefix === "catalog/" && broken)
          throw new ObjectStoreError("away", { operation: "list", key: prefix, retryable: false });
        return cluster.store.list(prefix, options);
      },
    };
    let broken = false;
    const second = await collector(unlisted);
    await fill(second.engine, "t", 1);
    broken = true;
    await second.round();
    expect(warnings.map(({ message }) => message)).toContain("what deleted topics left could not be trimmed");
    broken = false;

    const [catalog] = await keysOf(cluster.store, "catalog/");
    expect(catalog).toBe(catalogKey(1));
    await cluster.store.delete([catalogKey(1)]);
    const third = await collector();
    const report = await third.engine.findGarbage({ onFound: () => undefined }).catch((error: unknown) => error);
    expect(report).toMatchObject({ code: "TIERLOG_MISSING_OBJECT" });
    await second.engine.close();
    expect(await third.engine.collectGarbage({ signal: AbortSignal.timeout(300) })).toMatchObject({
      interrupted: true,
    });
    expect((await keysOf(cluster.store, "data/")).length).toBe(1);
    expect(warnings.at(-1)?.fields?.["error"]).toContain("catalog/");
  });

  test("an append under way to a topic that is being deleted costs nobody anything, and what it stored goes too", async () => {
    const { engine, clock, round } = await collector();
    await engine.createTopic("kept", { partitions: 1 });
    await engine.createTopic("gone", { partitions: 1 });
    await fillObject(engine, "gone", 1);
    const gone = (await engine.topic("gone")).partition(0);
    const admin = await cluster.open(gcConfig(), { appends: false });
    const first = engine.topic("gone").then((topic) => topic.partition(0).append([{ value: Buffer.from("before") }]));
    await admin.deleteTopic("gone");
    const behind = gone.append([{ value: Buffer.from("behind") }]);
    const rounding = round();
    await Promise.allSettled([first, behind, rounding, fill(engine, "kept", 3)]);
    await round();
    clock.aheadMs += GRACE_MS + 1000;
    await round();
    expect(await dataKeys()).toEqual([]);
    const reader = await cluster.open(gcConfig(), { readOnly: true });
    expect(await contents(reader, "kept")).toEqual(["0: kept 0", "1: kept 1", "2: kept 2"]);
  });

  test("retention, then GC: what the limit does not keep is gone, the rest is read", async () => {
    const { engine, clock, round } = await collector();
    await engine.createTopic("t", { partitions: 1 });
    for (let i = 0; i < 4; i++) await fillObject(engine, "t", i);
    const partition = (await engine.topic("t")).partition(0);
    await partition.trim({ before: 21 });
    await round();
    clock.aheadMs += GRACE_MS + 1000;
    await round();
    expect(await dataKeys()).toHaveLength(1);
    expect(await contents(await cluster.open(gcConfig(), { readOnly: true }), "t")).toEqual(
      Array.from({ length: 7 }, (_, i) => `${21 + i}: ${MIB - 512} × 3`),
    );
  });
});
