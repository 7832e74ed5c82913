import { afterEach, beforeEach, describe, expect, test } from "vitest";

import type { ObjectKey } from "../../src/domain.ts";
import type { EngineMetrics, TopicApi } from "../../src/engine/api.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { createMemoryStore } from "../../src/object-store/memory-store.ts";
import { seededRandom } from "../../src/runtime/random.ts";
import { Cluster, readAll, testConfig, values } from "../support/engine.ts";
import { FaultyStore } from "./faulty-store.ts";

/** Flushes larger than one part: the batches go into a data object, one link names it. */

const MIB = 1024 * 1024;
const PART_BYTES = 5 * MIB;

let faulty: FaultyStore;
let cluster: Cluster;

beforeEach(() => {
  faulty = new FaultyStore(createMemoryStore());
  cluster = new Cluster(faulty.store);
});

afterEach(async () => {
  faulty.fate = () => "pass";
  faulty.release();
  await cluster.close();
});

function config(): ReturnType<typeof testConfig> {
  return testConfig({
    storage: { object: { multipartPartSizeBytes: PART_BYTES, deadlineMs: 3000, requestTimeoutMs: 2000 } },
    flush: { lingerMs: 60_000, maxBytes: 64 * MIB, maxPendingBytes: 256 * MIB },
  });
}

async function open(partitions: number): Promise<{ engine: Engine; topic: TopicApi }> {
  const engine = await cluster.open(config());
  await engine.createTopic("events", { partitions });
  const topic = await engine.topic("events");
  const warm = topic.partition(0).append(values("warm"));
  await engine.flush();
  await warm;
  return { engine, topic };
}

/** `totalBytes` of values of 20 KiB, spread over the partitions in turn; texts say where they belong. */
function load(totalBytes: number, partitions: number, name = ""): { partition: number; text: string }[] {
  const size = 20 * 1024;
  return Array.from({ length: Math.ceil(totalBytes / size) }, (_, i) => ({
    partition: i % partitions,
    text: `${name}${i}:`.padEnd(size, String(i % 10)),
  }));
}

async function appendAll(
  engine: Engine,
  topic: TopicApi,
  items: readonly { partition: number; text: string }[],
): Promise<void> {
  const appends = items.map(({ partition, text }) => topic.partition(partition).append(values(text)));
  await engine.flush();
  await Promise.all(appends);
}

function requests(before: EngineMetrics, after: EngineMetrics): Record<string, number> {
  return Object.fromEntries(
    Object.entries(after.store)
      .map(
        ([name, metrics]) =>
          [name, metrics.requests - before.store[name as keyof typeof before.store].requests] as const,
      )
      .filter(([, count]) => count > 0),
  );
}

async function objects(prefix: string): Promise<{ key: ObjectKey; sizeBytes: number }[]> {
  const found: { key: ObjectKey; sizeBytes: number }[] = [];
  for await (const { key, sizeBytes } of cluster.store.list(prefix)) found.push({ key, sizeBytes });
  return found;
}

async function damage(key: ObjectKey, change: (body: Buffer) => Uint8Array): Promise<void> {
  const stored = await cluster.store.get(key);
  await cluster.store.put(key, change(Buffer.from(stored?.body ?? [])), { condition: { kind: "none" } });
}

describe("one flush of 20 MiB", () => {
  test.each([1, 50, 500])(
    "%i partitions: requests = parts + 2 + 1, and everything comes back in a new process",
    async (partitions) => {
      const { engine, topic } = await open(partitions);
      const items = load(20 * MIB, partitions);
      const before = engine.metrics();
      await appendAll(engine, topic, items);
      const after = engine.metrics();
      const [object] = await objects("data/");
      const parts = Math.ceil((object?.sizeBytes ?? 0) / PART_BYTES);
      expect(requests(before, after)).toEqual({ createMultipart: 1, uploadPart: parts, completeMultipart: 1, put: 1 });
      expect(after.committedLinks - before.committedLinks).toBe(1);
      expect(object?.key).toMatch(/^data\/[0-9a-f]{2}\/0000-0000000001-0000000000-[0-9a-f]{16}\.log$/);

      const reader = await (await cluster.open(config(), { readOnly: true })).topic("events");
      for (const i of new Set([0, 1, partitions - 1].filter((partition) => partition < partitions))) {
        const expected = items.filter(({ partition }) => partition === i).map(({ text }) => text);
        expect(await readAll(reader.partition(i))).toEqual(i === 0 ? ["warm", ...expected] : expected);
      }
    },
  );

  test("below one part it stays inline: one request", async () => {
    const { engine, topic } = await open(10);
    const before = engine.metrics();
    await appendAll(engine, topic, load(4.5 * MIB, 10));
    expect(requests(before, engine.metrics())).toEqual({ put: 1 });
    expect(await objects("data/")).toEqual([]);
  });

  test("a reader in the writing process needs no request for it", async () => {
    const { engine, topic } = await open(3);
    const items = load(12 * MIB, 3);
    await appendAll(engine, topic, items);
    const before = engine.metrics();
    expect(await readAll(topic.partition(1))).toHaveLength(items.filter(({ partition }) => partition === 1).length);
    expect(requests(before, engine.metrics())).toEqual({});
  });
});

describe("overlap", () => {
  test("uploads of the next flushes run while the first is committed; those that are ready ride in one link", async () => {
    const { engine, topic } = await open(2);
    const before = engine.metrics();
    faulty.hold();
    const flushes: Promise<unknown>[] = [];
    for (const [i, name] of ["a", "b", "c"].entries()) {
      const items = load(7 * MIB, 2, name);
      flushes.push(
        ...items.map(({ partition, text }) => topic.partition(partition).append(values(text))),
        engine.flush(),
      );
      await until(() => engine.metrics().flushes === before.flushes + i + 1);
    }
    // The first link is held; all three objects are complete meanwhile.
    await until(() => engine.metrics().store.completeMultipart.requests === 3);
    expect(engine.metrics().committedLinks).toBe(before.committedLinks);
    expect(await topic.partition(0).watermarks()).toMatchObject({ uploaded: 1 });
    faulty.release();
    await Promise.all(flushes);
    const after = engine.metrics();
    expect(after.committedLinks - before.committedLinks).toBe(2);
    expect(after.flushes - before.flushes).toBe(3);
    expect(requests(before, after)).toMatchObject({ put: 2, createMultipart: 3, completeMultipart: 3 });
    const reader = await (await cluster.open(config(), { readOnly: true })).topic("events");
    const texts = await readAll(reader.partition(1));
    const expected = ["a", "b", "c"].flatMap((name) =>
      load(7 * MIB, 2, name).filter(({ partition }) => partition === 1),
    );
    expect(texts).toEqual(expected.map(({ text }) => text));
  });

  test("never more than four flushes on their way; the others wait their turn, in order", async () => {
    const { engine, topic } = await open(1);
    faulty.hold();
    const names = ["a", "b", "c", "d", "e", "f"];
    const before = engine.metrics().flushes;
    const flushes: Promise<unknown>[] = [];
    for (const [i, name] of names.entries()) {
      flushes.push(
        ...load(6 * MIB, 1, name).map(({ text }) => topic.partition(0).append(values(text))),
        engine.flush(),
      );
      await until(() => engine.metrics().flushes === before + Math.min(i + 1, 4));
    }
    await until(() => engine.metrics().store.completeMultipart.requests === 4);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(engine.metrics().store.createMultipart.requests).toBe(4);
    faulty.release();
    await Promise.all(flushes);
    const texts = await readAll(topic.partition(0));
    expect(texts.slice(1)).toEqual(names.flatMap((name) => load(6 * MIB, 1, name).map(({ text }) => text)));
  });
});

describe("an upload that fails", () => {
  test("its appends fail with effect none, and all behind it; the upload is aborted; then offsets go on densely", async () => {
    const { engine, topic } = await open(2);
    faulty.partFate = (partNumber) => (partNumber === 2 ? "forbidden" : "pass");
    const big = load(12 * MIB, 2).map(({ partition, text }) => topic.partition(partition).append(values(text)));
    const flushed = engine.flush();
    const behind = topic.partition(1).append(values("behind"));
    const outcomes = await Promise.allSettled([...big, behind, flushed]);
    for (const outcome of outcomes) {
      expect(outcome).toMatchObject({
        status: "rejected",
        reason: { code: "TIERLOG_OBJECT_STORE", status: 403, effect: "none" },
      });
    }
    expect(engine.metrics().store.abortMultipart.requests).toBe(1);
    expect(engine.metrics().pendingBytes).toBe(0);
    faulty.partFate = () => "pass";
    const again = topic.partition(1).append(values("again"));
    await engine.flush();
    await expect(again).resolves.toMatchObject({ firstOffset: 0, epoch: 1 });
    expect(await objects("data/")).toEqual([]);
  });

  test("a flush that fails takes those behind it along, uploaded or not: their offsets build on it", async () => {
    const { engine, topic } = await open(1);
    const partition = topic.partition(0);
    faulty.hold();
    faulty.fate = () => "forbidden";
    const before = engine.metrics().flushes;
    const flights: Promise<unknown>[] = [];
    for (const [i, name] of ["a", "b"].entries()) {
      flights.push(...load(6 * MIB, 1, name).map(({ text }) => partition.append(values(text))), engine.flush());
      await until(() => engine.metrics().flushes === before + i + 1);
    }
    await until(() => engine.metrics().store.completeMultipart.requests === 2);
    faulty.release();
    for (const outcome of await Promise.allSettled(flights)) {
      expect(outcome).toMatchObject({ status: "rejected", reason: { status: 403, effect: "none" } });
    }
    faulty.fate = () => "pass";
    const next = partition.append(values("next"));
    await engine.flush();
    await expect(next).resolves.toMatchObject({ firstOffset: 1 });
    expect(await readAll(partition)).toEqual(["warm", "next"]);
  });

  test("a link of unknown outcome that names a data object: judged by the fold, the object is whole or nobody names it", async () => {
    const { engine, topic } = await open(1);
    const partition = topic.partition(0);
    for (const fate of ["lost-before", "lost-after"] as const) {
      faulty.fate = () => fate;
      faulty.readsFail = true;
      const appends = load(6 * MIB, 1, fate).map(({ text }) => partition.append(values(text)));
      const [flushed, ...outcomes] = await Promise.allSettled([engine.flush(), ...appends]);
      expect(
        [flushed, ...outcomes].every(
          (outcome) => outcome?.status === "rejected" && (outcome.reason as { effect: string }).effect === "unknown",
        ),
      ).toBe(true);
      faulty.fate = () => "pass";
      faulty.readsFail = false;
      const between = partition.append(values(`after ${fate}`));
      await engine.flush();
      await between;
    }
    const end = partition.append(values("end"));
    await engine.flush();
    await end;
    const texts = await readAll(
      (await (await cluster.open(config(), { readOnly: true })).topic("events")).partition(0),
    );
    expect(texts.map((text) => text.slice(0, 9))).toEqual([
      "warm",
      "after los",
      ...load(6 * MIB, 1, "lost-after").map(({ text }) => text.slice(0, 9)),
      "after los",
      "end",
    ]);
  });

  test("a writer that was fenced while it uploaded stores nothing that anybody sees", async () => {
    const { engine, topic } = await open(1);
    const other = await (await cluster.open(config())).topic("events");
    const theirs = other.partition(0).append(values("theirs"));
    await cluster.flushAll();
    await theirs;
    const appends = load(6 * MIB, 1).map(({ text }) => topic.partition(0).append(values(text)));
    const outcomes = await Promise.allSettled([engine.flush(), ...appends]);
    for (const outcome of outcomes) {
      expect(outcome).toMatchObject({ status: "rejected", reason: { code: "TIERLOG_FENCED", effect: "none" } });
    }
    expect(await readAll(other.partition(0))).toEqual(["warm", "theirs"]);
  });
});

describe("reading a large extent", () => {
  async function large(): Promise<{ key: ObjectKey; sizeBytes: number; texts: string[] }> {
    const { engine, topic } = await open(2);
    // Two partitions, 16 MiB: each has one extent of 8 MiB with about 32 blocks.
    const items = load(16 * MIB, 2);
    await appendAll(engine, topic, items);
    const [object] = await objects("data/");
    if (object === undefined) throw new Error("no data object");
    return { ...object, texts: items.filter(({ partition }) => partition === 1).map(({ text }) => text) };
  }

  test("a read in its middle fetches the footer and about what it returns, not the extent", async () => {
    const { texts } = await large();
    const reader = await cluster.open(config(), { readOnly: true });
    const partition = (await reader.topic("events")).partition(1);
    await partition.watermarks();
    const before = reader.metrics().store.get;
    const { batches, nextOffset } = await partition.read({ from: 200, maxBytes: 100_000 });
    const after = reader.metrics().store.get;
    expect(batches.length).toBeGreaterThan(0);
    expect(nextOffset).toBeGreaterThan(200);
    expect(after.requests - before.requests).toBe(2);
    expect(after.bytes - before.bytes).toBeLessThan(2 * MIB);
    expect(await readAll(partition)).toEqual(texts);
  });

  test.each([
    ["cut off", (body: Buffer) => body.subarray(0, body.length - 1)],
    ["damaged in the trailer", (body: Buffer) => flip(body, body.length - 20)],
    ["damaged in the directory", (body: Buffer) => flip(body, body.length - 100)],
  ])("a footer that is %s is rebuilt by scanning, counted and reported; every record is served", async (_, change) => {
    const { key, texts } = await large();
    await damage(key, change);
    const warnings: string[] = [];
    const logger = { info: () => undefined, warn: (message: string) => warnings.push(message) };
    const reader = await cluster.open(config(), { readOnly: true, runtime: { logger } });
    const partition = (await reader.topic("events")).partition(1);
    expect(await readAll(partition)).toEqual(texts);
    expect(reader.metrics().footersRebuilt).toBe(1);
    expect(warnings).toEqual([expect.stringContaining("footer")]);
  });

  test("I3: damaged batches are never served: object, position and the rest of the log are named and readable", async () => {
    const { key } = await large();
    const stored = await cluster.store.get(key);
    const body = Buffer.from(stored?.body ?? []);
    const random = seededRandom(7);
    for (let round = 0; round < 20; round++) {
      const at = Math.floor(random.float() * 15 * MIB);
      await damage(key, () => flip(Buffer.from(body), at));
      const reader = await (await cluster.open(config(), { readOnly: true })).topic("events");
      const outcomes = await Promise.allSettled([0, 1].map((i) => readAll(reader.partition(i))));
      const failed = outcomes.filter((outcome) => outcome.status === "rejected");
      expect(failed).toHaveLength(1);
      expect(failed[0]?.reason).toMatchObject({ code: "TIERLOG_CORRUPTION", key });
      const { position } = (failed[0]?.reason ?? {}) as { position?: number };
      expect(Math.abs((position ?? Number.NaN) - at)).toBeLessThan(MIB + 100);
    }
  });

  test("an object that is gone is named, with who names it; other extents stay readable", async () => {
    const { key } = await large();
    await cluster.store.delete([key]);
    const reader = await (await cluster.open(config(), { readOnly: true })).topic("events");
    await expect(readAll(reader.partition(1))).rejects.toMatchObject({ code: "TIERLOG_MISSING_OBJECT", key });
    const { batches } = await reader.partition(0).read({ from: 0, maxBytes: 1 });
    expect(batches).toHaveLength(1);
  });
});

test("copies of encoded batches: the caller may use its buffer again after the ack, readers at the tail still get the old bytes", async () => {
  const { engine, topic } = await open(1);
  await appendAll(engine, topic, load(1 * MIB, 1));
  const { batches } = await topic.partition(0).read({ from: 1, maxBytes: 1 });
  const encoded = Uint8Array.from(batches[0] ?? []);
  const appends = load(6 * MIB, 1).map(({ text }) => topic.partition(0).append(values(text)));
  const receipt = topic.partition(0).append({ encodedBatch: encoded });
  await engine.flush();
  await Promise.all(appends);
  const { firstOffset } = await receipt;
  encoded.fill(0);
  const read = await topic.partition(0).read({ from: firstOffset, maxBytes: 1 });
  expect(Buffer.from(read.batches[0] ?? []).subarray(17)).toEqual(Buffer.from(batches[0] ?? []).subarray(17));
});

function flip(body: Buffer, at: number): Buffer {
  body[at] = (body[at] ?? 0) ^ 0x10;
  return body;
}

async function until(condition: () => boolean): Promise<void> {
  for (const deadline = Date.now() + 20_000; !condition();) {
    if (Date.now() > deadline) throw new Error("not seen in time");
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}
