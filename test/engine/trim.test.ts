import { cp, mkdtemp, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import type { PartitionApi } from "../../src/engine/api.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { createFsStore } from "../../src/object-store/fs-store.ts";
import { createMemoryStore } from "../../src/object-store/memory-store.ts";
import type { ObjectStore } from "../../src/object-store/object-store.ts";
import { decodeRecords } from "../../src/record/batch.ts";
import { systemRuntime } from "../../src/runtime/runtime.ts";
import { FaultyStore } from "../shard/faulty-store.ts";
import { Cluster, collect, testConfig, values } from "../support/engine.ts";

let directory: string;
let cluster: Cluster;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "tierlog-trim-"));
});

afterEach(async () => {
  await cluster.close();
  await rm(directory, { recursive: true, force: true });
});

const words = (from: number, to: number): string[] => Array.from({ length: to - from }, (_, i) => `r${from + i}`);

async function offsets(partition: PartitionApi, from: number | "earliest" = "earliest"): Promise<string[]> {
  const records = await collect(partition.records({ from }));
  return records.map(({ offset, value }) => `${offset} ${Buffer.from(value ?? []).toString()}`);
}

/** What `offsets` gives for the records of `words`. */
const numbered = (from: number, to: number): string[] => words(from, to).map((word, i) => `${from + i} ${word}`);

describe.each([
  { kind: "memory", ackAfterUpload: true },
  { kind: "memory", ackAfterUpload: false },
  { kind: "fs", ackAfterUpload: true },
  { kind: "fs", ackAfterUpload: false },
])("on $kind, ack_after_upload = $ackAfterUpload", ({ kind, ackAfterUpload }) => {
  let faulty: FaultyStore;
  let engine: Engine;
  let partition: PartitionApi;

  function config(journal = "journal"): ReturnType<typeof testConfig> {
    return testConfig({
      path: directory,
      checkpointEvery: 16,
      storage: { object: { ackAfterUpload, deadlineMs: 300, requestTimeoutMs: 100 } },
      journal: { path: join(directory, journal), uploadIntervalMs: 60_000, maxSizeBytes: 8 * 1024 * 1024 },
    });
  }

  beforeEach(async () => {
    const store: ObjectStore =
      kind === "memory" ? createMemoryStore() : createFsStore({ ...systemRuntime, root: join(directory, "store") });
    faulty = new FaultyStore(store);
    cluster = new Cluster(faulty.store);
    engine = await cluster.open(config());
    await engine.createTopic("t", { partitions: 2 });
    partition = (await engine.topic("t")).partition(0);
  });

  const append = (from: number, to: number): Promise<unknown> =>
    partition.append(values(...words(from, to)), { ack: "uploaded" });

  test("the start moves to any offset, inside a batch too; readers begin there exactly, and appends go on", async () => {
    await append(0, 4);
    await append(4, 8);
    for (const [before, start] of [
      [1, 1],
      [1, 1],
      [0, 1],
      [4, 4],
      [6, 6],
      [8, 8],
      [3, 8],
    ] as const) {
      expect(await partition.trim({ before })).toBe(start);
      expect(await partition.watermarks()).toEqual({ start, uploaded: 8, durable: 8, end: 8 });
      expect(await offsets(partition)).toEqual(numbered(start, 8));
      await expect(partition.read({ from: start - 1 })).rejects.toMatchObject({
        code: "TIERLOG_OFFSET_OUT_OF_RANGE",
        start,
        end: 8,
      });
    }
    expect(await partition.inspect()).toMatchObject({ extents: 0, bytes: 0, objects: 0, watermarks: { start: 8 } });
    await append(8, 10);
    expect(await offsets(partition)).toEqual(numbered(8, 10));
    const [link] = (await partition.read({ from: 8 })).batches;
    expect(link).toBeDefined();
    await engine.close();

    const reader = await cluster.open(config("other"), { readOnly: true });
    expect(await offsets((await reader.topic("t")).partition(0))).toEqual(numbered(8, 10));
  });

  test("a trim that changes nothing, or cannot be, sends nothing and takes nothing over", async () => {
    await append(0, 3);
    await partition.trim({ before: 2 });
    await engine.close();
    const other = await cluster.open(config("other"));
    const same = (await other.topic("t")).partition(0);
    const { puts } = faulty;
    expect(await same.trim({ before: 2 })).toBe(2);
    expect(await same.trim({ before: 0 })).toBe(2);
    await expect(same.trim({ before: 4 })).rejects.toMatchObject({
      code: "TIERLOG_OFFSET_OUT_OF_RANGE",
      requested: 4,
      start: 2,
      end: 3,
      effect: "none",
    });
    await expect((await other.topic("t")).partition(1).trim({ before: 1 })).rejects.toMatchObject({ start: 0, end: 0 });
    for (const before of [-1, 0.5, Number.NaN, 2 ** 53])
      await expect(same.trim({ before })).rejects.toMatchObject({ code: "TIERLOG_INVALID_ARGUMENT" });
    expect(faulty.puts).toBe(puts);
    expect((await same.inspect()).epoch).toBe(1);
    expect(await same.trim({ before: 3 })).toBe(3);
    expect((await same.inspect()).epoch).toBe(2);
    for (const options of [{ readOnly: true }, { appends: false }]) {
      const reader = await cluster.open(config("reader"), options);
      await expect((await reader.topic("t")).partition(0).trim({ before: 3 })).rejects.toMatchObject({
        code: "TIERLOG_INVALID_ARGUMENT",
      });
    }
  });

  test("trims at once run one behind the other, beside appends that go on; other partitions stay as they are", async () => {
    const other = (await engine.topic("t")).partition(1);
    await append(0, 50);
    await other.append(values(...words(0, 5)), { ack: "uploaded" });
    const trims = [10, 30, 20, 40].map((before) => partition.trim({ before }));
    const appends = [append(50, 52), other.append(values(...words(5, 7)), { ack: "uploaded" })];
    expect(await Promise.all(trims)).toEqual([10, 30, 30, 40]);
    await Promise.all(appends);
    expect(await offsets(partition)).toEqual(numbered(40, 52));
    expect(await offsets(other)).toEqual(numbered(0, 7));
  });

  test("a follower that falls behind the start is told", async () => {
    await append(0, 2);
    const follower = partition.records({ from: 0, follow: true })[Symbol.asyncIterator]();
    expect((await follower.next()).value).toMatchObject({ offset: 0 });
    await append(2, 6);
    await partition.trim({ before: 5 });
    expect((await follower.next()).value).toMatchObject({ offset: 1 });
    await expect(follower.next()).rejects.toMatchObject({
      code: "TIERLOG_OFFSET_OUT_OF_RANGE",
      requested: 2,
      start: 5,
    });
  });

  test("a trim whose link fails is rejected with its effect; the next one takes the shard over anew", async () => {
    await append(0, 6);
    faulty.fate = () => "forbidden";
    await expect(partition.trim({ before: 2 })).rejects.toMatchObject({ effect: "none" });
    faulty.fate = () => "pass";
    expect((await partition.watermarks()).start).toBe(0);

    faulty.fate = () => "lost-after";
    faulty.readsFail = true;
    await expect(partition.trim({ before: 3 })).rejects.toMatchObject({ effect: "unknown" });
    faulty.fate = () => "pass";
    faulty.readsFail = false;
    expect(await partition.trim({ before: 4 })).toBe(4);
    await append(6, 8);
    expect(await offsets(partition)).toEqual(numbered(4, 8));
    expect((await partition.inspect()).epoch).toBe(2);
  });

  test("a writer that was fenced trims nothing", async () => {
    await append(0, 6);
    const taker = await cluster.open(config("other"));
    const theirs = (await taker.topic("t")).partition(0);
    await theirs.append(values("r6"), { ack: "uploaded" });
    await expect(partition.trim({ before: 5 })).rejects.toMatchObject({ code: "TIERLOG_FENCED", effect: "none" });
    expect(await theirs.trim({ before: 1 })).toBe(1);
    expect(await offsets(theirs)).toEqual(numbered(1, 7));
  });

  test("checkpoints keep the start: who opens from one begins where the trim said", async () => {
    for (let i = 0; i < 10; i++) await append(3 * i, 3 * i + 3);
    await partition.trim({ before: 16 });
    for (let i = 10; i < 20; i++) await append(3 * i, 3 * i + 3);
    await engine.close();
    expect(engine.metrics().checkpointsWritten).toBeGreaterThan(0);
    const later = await cluster.open(config("other"));
    expect(await offsets((await later.topic("t")).partition(0))).toEqual(numbered(16, 60));
    expect(await (await later.topic("t")).partition(0).trim({ before: 17 })).toBe(17);
    expect(later.metrics().checkpointFallbacks).toBe(0);
  });

  test("a closed engine trims nothing", async () => {
    await append(0, 3);
    const trim = partition.trim({ before: 2 });
    const closed = engine.close();
    await Promise.allSettled([trim, closed]);
    await expect(partition.trim({ before: 3 })).rejects.toMatchObject({ code: "TIERLOG_CLOSED" });
  });
});

describe("with a journal", () => {
  let faulty: FaultyStore;
  let engine: Engine;
  let partition: PartitionApi;

  const config = (): ReturnType<typeof testConfig> =>
    testConfig({
      path: directory,
      storage: { object: { ackAfterUpload: false, deadlineMs: 300, requestTimeoutMs: 100 } },
      journal: { uploadIntervalMs: 60_000, maxSizeBytes: 8 * 1024 * 1024 },
    });

  beforeEach(async () => {
    faulty = new FaultyStore(createMemoryStore());
    cluster = new Cluster(faulty.store);
    engine = await cluster.open(config());
    await engine.createTopic("t", { partitions: 1 });
    partition = (await engine.topic("t")).partition(0);
  });

  test("records that are only journaled cannot be trimmed, and it is said why", async () => {
    await partition.append(values(...words(0, 3)), { ack: "uploaded" });
    await partition.append(values(...words(3, 6)));
    expect(await partition.watermarks()).toEqual({ start: 0, uploaded: 3, durable: 6, end: 6 });
    await expect(partition.trim({ before: 4 })).rejects.toMatchObject({
      code: "TIERLOG_OFFSET_OUT_OF_RANGE",
      message: expect.stringContaining("journal"),
    });
    // All that is uploaded goes; the journaled ones are read on.
    expect(await partition.trim({ before: 3 })).toBe(3);
    expect(await offsets(partition)).toEqual(numbered(3, 6));
    await engine.flush();
    expect(await partition.trim({ before: 4 })).toBe(4);
    expect(await offsets(partition)).toEqual(numbered(4, 6));
  });

  test("frames whose upload fails beside a trim are uploaded later, the trim is not sent again", async () => {
    await partition.append(values(...words(0, 4)), { ack: "uploaded" });
    await partition.append(values(...words(4, 8)));
    faulty.fate = () => "lost-before";
    const [trim, flush] = await Promise.allSettled([partition.trim({ before: 2 }), engine.flush()]);
    expect([trim.status, flush.status]).toEqual(["rejected", "rejected"]);
    faulty.fate = () => "pass";
    await engine.flush();
    expect(await partition.watermarks()).toEqual({ start: 0, uploaded: 8, durable: 8, end: 8 });
    expect(await partition.trim({ before: 6 })).toBe(6);
    expect(await offsets(partition)).toEqual(numbered(6, 8));
  });

  test.each([2, 3, 5, 6])(
    "a crash after a trim to %i, before its frames were freed: they are in the chain, and no riddle",
    async (before) => {
      await partition.append(values(...words(0, 2)));
      await partition.append(values(...words(2, 6)));
      // As the disk is when the process dies before it can say that the frames are free.
      await cp(join(directory, "journal"), join(directory, "copy"), { recursive: true });
      await engine.flush();
      expect(await partition.trim({ before })).toBe(before);
      await engine.close();
      await rm(join(directory, "journal"), { recursive: true });
      await rename(join(directory, "copy"), join(directory, "journal"));

      const again = await cluster.open(config());
      expect(again.recoveryReports()).toEqual([]);
      const same = (await again.topic("t")).partition(0);
      expect(await same.watermarks()).toEqual({ start: before, uploaded: 6, durable: 6, end: 6 });
      await same.append(values("r6"), { ack: "uploaded" });
      expect(await offsets(same)).toEqual(numbered(before, 7));
    },
  );

  test("another process that trims a shard whose owner left a journal behind ends that journal, as any take-over does", async () => {
    await partition.append(values(...words(0, 2)), { ack: "uploaded" });
    await partition.append(values(...words(2, 6)));
    const other = await cluster.open(testConfig({ path: join(directory, "other") }));
    expect(await (await other.topic("t")).partition(0).trim({ before: 2 })).toBe(2);
    // It does not know of the other yet.
    await expect(partition.trim({ before: 2 })).rejects.toMatchObject({ code: "TIERLOG_FENCED" });
    await expect(engine.flush()).rejects.toMatchObject({ code: "TIERLOG_FENCED" });
    await expect(partition.trim({ before: 2 })).resolves.toBe(2);
    await engine.close();
    expect(engine.recoveryReports()).toMatchObject([{ outcome: "set-aside", setAside: { records: 4 } }]);
  });
});

test("a trim while a large extent is looked up leaves no gap in what a reader gets", async () => {
  const store = createMemoryStore();
  const held = { gate: Promise.resolve(), asked: 0 };
  cluster = new Cluster({
    ...store,
    get: async (key, options) => {
      if (key.startsWith("data/")) {
        held.asked++;
        await held.gate;
      }
      return store.get(key, options);
    },
  });
  const config = testConfig({
    batch: { maxBytes: 512 * 1024 },
    storage: { object: { multipartPartSizeBytes: 5 * 1024 * 1024 } },
  });
  const writer = await cluster.open(config);
  await writer.createTopic("t", { partitions: 1 });
  const texts = Array.from({ length: 80 }, (_, i) => `${i}:`.padEnd(300_000, "x"));
  for (let i = 0; i < 80; i += 20) {
    await (await writer.topic("t")).partition(0).append(values(...texts.slice(i, i + 20)));
  }
  await writer.close();

  const engine = await cluster.open(config);
  const partition = (await engine.topic("t")).partition(0);
  expect(await partition.trim({ before: 1 })).toBe(1);
  expect((await partition.inspect()).objects).toBe(4);
  let open: () => void = () => undefined;
  held.gate = new Promise((resolve) => {
    open = resolve;
  });
  const reading = partition.read({ from: 1, maxBytes: 20_000_000 });
  while (held.asked === 0) await new Promise((resolve) => setImmediate(resolve));
  expect(await partition.trim({ before: 45 })).toBe(45);
  open();
  const { batches, nextOffset } = await reading;
  let offset = 1;
  for (const batch of batches) {
    for (const record of decodeRecords(batch, { key: "t", position: 0 })) {
      if (record.offset < offset) continue;
      expect(record.offset).toBe(offset++);
    }
  }
  expect(nextOffset).toBe(offset);
  expect(offset).toBe(20);
  const rest = await collect(partition.records({ from: "earliest" }));
  expect(rest.map((record) => record.offset)).toEqual(Array.from({ length: 35 }, (_, i) => 45 + i));
});
