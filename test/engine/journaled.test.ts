import { afterEach, beforeEach, describe, expect, test } from "vitest";

import type { Epoch, Offset } from "../../src/domain.ts";
import type { PartitionApi } from "../../src/engine/api.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { BatchBuilder } from "../../src/record/batch-builder.ts";
import { readAll, values, type Overrides } from "../support/engine.ts";
import { heldDisk, Machine } from "../support/machine.ts";
import { diskProblem } from "../support/simulated-disk.ts";
import { quiet, VirtualClock } from "../support/virtual-clock.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

let clock: VirtualClock;
let machine: Machine;
let engines: Engine[];

beforeEach(() => {
  clock = new VirtualClock();
  machine = new Machine({ clock });
  engines = [];
});

afterEach(async () => {
  machine.weather = () => "fine";
  await clock.run(Promise.allSettled(engines.map((engine) => engine.close())));
});

async function open(overrides: Overrides = {}, on = machine): Promise<Engine> {
  const engine = await clock.run(on.open(overrides));
  engines.push(engine);
  return engine;
}

async function topicOf(
  engine: Engine,
  options: { partitions?: number; ack?: "journaled" | "uploaded"; compression?: "lz4" } = {},
): Promise<PartitionApi> {
  await clock.run(engine.createTopic("events", { partitions: 1, ...options }));
  return (await clock.run(engine.topic("events"))).partition(0);
}

const links = (on = machine): number =>
  on.requests.filter(({ operation, key }) => operation === "put" && key.startsWith("index/")).length;

test("what was read before it was uploaded stays as it was, whatever is appended later", async () => {
  const engine = await open();
  const partition = await topicOf(engine);
  const fill = (text: string) => clock.run(partition.append(values(text.repeat(100 * KIB))));
  await fill("a");
  const { batches } = await clock.run(partition.read({ from: 0 }));
  const before = batches.map((batch) => Buffer.from(batch));
  await clock.run(engine.flush());
  for (const text of ["b", "c", "d"]) await fill(text);
  expect(batches).toHaveLength(1);
  expect(batches.map((batch, i) => Buffer.compare(batch, before[i] ?? batch))).toEqual([0]);
});

describe("levels", () => {
  test("journaled is the default: no request for the ack but the fence, and the receipt says what was reached", async () => {
    const partition = await topicOf(await open());
    await expect(clock.run(partition.append(values("a", "b")))).resolves.toEqual({
      partition: 0,
      firstOffset: 0,
      nextOffset: 2,
      level: "journaled",
      epoch: 1,
    });
    const requests = machine.requests.length;
    await expect(clock.run(partition.append(values("c")))).resolves.toMatchObject({ firstOffset: 2, epoch: 1 });
    expect(machine.requests.length).toBe(requests);
    expect(links()).toBe(1);
  });

  test("per append: buffered at once, journaled from the disk, uploaded from the store", async () => {
    const partition = await topicOf(await open());
    await clock.run(partition.append(values("warm")));
    const acks: string[] = [];
    const append = (text: string, ack: "buffered" | "journaled" | "uploaded"): Promise<unknown> =>
      partition.append(values(text), { ack }).then(({ level, firstOffset }) => acks.push(`${level}@${firstOffset}`));
    const all = Promise.all([append("a", "uploaded"), append("b", "buffered"), append("c", "journaled")]);
    await Promise.resolve();
    await Promise.resolve();
    expect(acks).toEqual(["buffered@2"]);
    await clock.run(all);
    expect(acks).toEqual(["buffered@2", "journaled@3", "uploaded@1"]);
  });

  test("an uploaded append takes the whole shard along, after flush.linger", async () => {
    const engine = await open({ flush: { lingerMs: 250 } });
    const partition = await topicOf(engine, { partitions: 2 });
    const other = (await clock.run(engine.topic("events"))).partition(1);
    await clock.run(partition.append(values("a")));
    await clock.advance(1000);
    expect(links()).toBe(1);
    const uploaded = other.append(values("b"), { ack: "uploaded" });
    await clock.advance(249);
    expect(links()).toBe(1);
    await clock.advance(1);
    await expect(uploaded).resolves.toMatchObject({ level: "uploaded", firstOffset: 0 });
    expect(links()).toBe(2);
    await expect(clock.run(partition.watermarks())).resolves.toEqual({ start: 0, uploaded: 1, durable: 1, end: 1 });
  });

  test("what is only journaled goes to the store after journal.upload_interval, all in one link", async () => {
    const partition = await topicOf(await open());
    await clock.run(partition.append(values("warm"), { ack: "uploaded" }));
    const before = links();
    for (let i = 0; i < 10; i++) {
      await clock.run(partition.append(values(`r${i}`)));
      await clock.advance(500);
    }
    expect(links()).toBe(before);
    await clock.advance(5000);
    expect(links()).toBe(before + 1);
    expect(await clock.run(partition.watermarks())).toEqual({ start: 0, uploaded: 11, durable: 11, end: 11 });
  });

  test("a topic's level is the default of its appends, and says when its readers see them", async () => {
    const engine = await open();
    await clock.run(engine.createTopic("safe", { partitions: 1, ack: "uploaded" }));
    const safe = (await clock.run(engine.topic("safe"))).partition(0);
    await clock.run(safe.append(values("a")));
    await expect(clock.run(safe.append(values("b")))).resolves.toMatchObject({ level: "uploaded" });
    // Journaled, at a caller's wish: not for readers yet.
    await expect(clock.run(safe.append(values("c"), { ack: "journaled" }))).resolves.toMatchObject({
      level: "journaled",
      firstOffset: 2,
    });
    expect(await clock.run(safe.watermarks())).toEqual({ start: 0, uploaded: 2, durable: 3, end: 3 });
    expect(await clock.run(readAll(safe))).toEqual(["a", "b"]);
    await expect(clock.run(safe.read({ from: 3 }))).rejects.toMatchObject({ code: "TIERLOG_OFFSET_OUT_OF_RANGE" });
    await clock.run(engine.flush());
    expect(await clock.run(readAll(safe))).toEqual(["a", "b", "c"]);
  });

  test("journaled is refused where there is no journal: by the append, and by a topic made elsewhere", async () => {
    const journaled = await open();
    await topicOf(journaled, { ack: "journaled" });
    const uploading = await open({ storage: { object: { ackAfterUpload: true } } }, machine.other());
    const partition = (await clock.run(uploading.topic("events"))).partition(0);
    await expect(partition.append(values("a"))).rejects.toMatchObject({
      code: "TIERLOG_INVALID_ARGUMENT",
      argument: "ack",
      message: expect.stringContaining("topic events asks for it") as string,
    });
    await expect(partition.append(values("a"), { ack: "journaled" })).rejects.toMatchObject({ argument: "ack" });
    await expect(partition.append(values("a"), { ack: "synced" as "journaled" })).rejects.toMatchObject({
      argument: "ack",
      message: expect.stringContaining("buffered, journaled, uploaded") as string,
    });
    await expect(clock.run(partition.append(values("a"), { ack: "uploaded" }))).resolves.toMatchObject({
      level: "uploaded",
    });
  });

  test("buffered acks hold flush.max_pending until their frame is in the journal", async () => {
    const engine = await open({ flush: { maxPendingBytes: 64 * KIB, maxWaitMs: 1000 } });
    const partition = await topicOf(engine);
    await clock.run(partition.append(values("warm")));
    const gate = heldDisk(machine);
    const big = [{ value: Buffer.alloc(30 * KIB, "x") }];
    await partition.append(big, { ack: "buffered" });
    await partition.append(big, { ack: "buffered" });
    expect(engine.metrics().pendingBytes).toBeGreaterThan(60 * KIB);
    const late = partition.append(big, { ack: "buffered" });
    late.catch(() => undefined);
    await clock.advance(1000);
    await expect(late).rejects.toMatchObject({ code: "TIERLOG_OVERLOADED", effect: "none" });
    gate.open();
    await quiet();
    expect(engine.metrics().pendingBytes).toBe(0);
    await expect(partition.append(big, { ack: "buffered" })).resolves.toMatchObject({ firstOffset: 3 });
    await clock.run(engine.flush());
    expect((await clock.run(readAll(partition))).length).toBe(4);
  });

  test("buffered records that the disk refuses are counted as lost, and their offsets go to others", async () => {
    const engine = await open();
    const partition = await topicOf(engine);
    await clock.run(partition.append(values("warm")));
    const gate = heldDisk(machine);
    await partition.append(values("x"), { ack: "buffered" });
    gate.fail(diskProblem("EIO"));
    await quiet();
    expect(engine.metrics().bufferedLost).toBe(1);
    gate.open();
    await expect(clock.run(partition.append(values("a")))).resolves.toMatchObject({ firstOffset: 1 });
    expect(await clock.run(readAll(partition))).toEqual(["warm", "a"]);
  });
});

describe("reading", () => {
  test("at the tail from memory: no request", async () => {
    const partition = await topicOf(await open());
    await clock.run(partition.append(values("a")));
    await clock.run(partition.append(values("b")));
    const requests = machine.requests.length;
    expect(await clock.run(readAll(partition))).toEqual(["a", "b"]);
    expect(machine.requests.length).toBe(requests);
  });

  test("of many frames, from memory, from the journal's files, and across the moment they are committed", async () => {
    const engine = await open({
      flush: { maxBytes: 64 * KIB },
      journal: { catchUpRateBytes: MIB },
    });
    const partition = await topicOf(engine);
    await clock.run(partition.append(values("0"), { ack: "uploaded" }));
    machine.weather = ({ operation }) => (operation === "get" ? "fine" : "away");
    const texts = ["0"];
    for (let i = 1; i <= 60; i++) {
      texts.push(`${i}`.padEnd(16 * KIB, "."));
      await clock.run(partition.append(values(texts[i] ?? "")));
    }
    // Of about 960 KiB only 128 KiB are kept in memory.
    expect(engine.metrics().journal?.lagBytes).toBeGreaterThan(900 * KIB);
    const { calls } = machine;
    expect(await clock.run(readAll(partition))).toEqual(texts);
    // A read at least for each frame that memory does not hold.
    expect(machine.calls - calls).toBeGreaterThan(50);

    // A reader that goes on while all of it moves from the journal to the chain.
    machine.weather = () => "fine";
    const seen: string[] = [];
    const reading = (async (): Promise<void> => {
      for await (const record of partition.records({ from: 0, follow: true })) {
        seen.push(Buffer.from(record.value ?? []).toString());
        await new Promise((resolve) => {
          clock.schedule(20, () => resolve(undefined));
        });
        if (seen.length === texts.length) return;
      }
    })();
    await clock.run(reading);
    expect(seen).toEqual(texts);
    await clock.run(engine.flush());
    expect(engine.metrics().journal).toMatchObject({ lagBytes: 0, liveFrames: 0 });
    expect(await clock.run(readAll(partition))).toEqual(texts);
  });

  test("a follower is woken by the journal, and by the store where its topic asks for that", async () => {
    const engine = await open();
    const partition = await topicOf(engine);
    await clock.run(engine.createTopic("safe", { partitions: 1, ack: "uploaded" }));
    const safe = (await clock.run(engine.topic("safe"))).partition(0);
    const seen: string[] = [];
    const stop = new AbortController();
    const follow = async (from: PartitionApi): Promise<void> => {
      for await (const { value } of from.records({ from: "earliest", follow: true, signal: stop.signal })) {
        seen.push(Buffer.from(value ?? []).toString());
      }
    };
    const followers = Promise.allSettled([follow(partition), follow(safe)]);
    await quiet();
    partition.append(values("journaled")).catch(() => undefined);
    safe.append(values("uploaded"), { ack: "journaled" }).catch(() => undefined);
    await clock.advance(300);
    expect(seen).toEqual(["journaled"]);
    await clock.advance(10_000);
    expect(seen).toEqual(["journaled", "uploaded"]);
    stop.abort();
    await clock.run(followers);
  });

  test("from: latest begins behind what is journaled", async () => {
    const partition = await topicOf(await open());
    await clock.run(partition.append(values("a", "b")));
    expect((await clock.run(partition.records({ from: "latest" })[Symbol.asyncIterator]().next())).done).toBe(true);
    await expect(clock.run(partition.read({ from: 2 }))).resolves.toMatchObject({ nextOffset: 2, batches: [] });
    await expect(clock.run(partition.read({ from: 3 }))).rejects.toMatchObject({
      code: "TIERLOG_OFFSET_OUT_OF_RANGE",
      start: 0,
      end: 2,
    });
  });
});

describe("watermarks and lag", () => {
  test("start ≤ uploaded ≤ durable ≤ end, and what lies between", async () => {
    const engine = await open();
    const partition = await topicOf(engine);
    await clock.run(partition.append(values("a"), { ack: "uploaded" }));
    await clock.run(partition.append(values("b", "c")));
    await clock.advance(1500);
    const gate = heldDisk(machine);
    const pending = partition.append(values("d", "e", "f"));
    await quiet();
    const inspection = await clock.run(partition.inspect());
    expect(inspection.watermarks).toEqual({ start: 0, uploaded: 1, durable: 3, end: 6 });
    expect(inspection.lag).toMatchObject({ records: 2, ms: 1500 });
    expect(inspection.lag?.bytes).toBeGreaterThan(60);
    expect(engine.metrics().journal).toMatchObject({
      lagRecords: 2,
      lagMs: 1500,
      lagBytes: inspection.lag?.bytes,
      liveFrames: 1,
      syncFailures: 0,
    });
    gate.open();
    await clock.run(pending);
    expect((await clock.run(partition.watermarks())).durable).toBe(6);
    await clock.run(engine.flush());
    const after = await clock.run(partition.inspect());
    expect(after.watermarks).toEqual({ start: 0, uploaded: 6, durable: 6, end: 6 });
    expect(after.lag).toEqual({ records: 0, bytes: 0, ms: 0 });
    expect(engine.metrics().journal).toMatchObject({ lagRecords: 0, lagBytes: 0, lagMs: 0, liveFrames: 0 });
  });

  test("without a journal there is no lag to speak of", async () => {
    const engine = await open({ storage: { object: { ackAfterUpload: true } } });
    const partition = await topicOf(engine);
    await clock.run(partition.append(values("a")));
    expect(Object.keys(await clock.run(partition.inspect()))).not.toContain("lag");
    expect(engine.metrics().journal).toBeUndefined();
    // Nothing was made on the disk either.
    expect(machine.disk.calls).toEqual([]);
  });
});

describe("flush and close", () => {
  test("flush means: in the store", async () => {
    const engine = await open();
    const partition = await topicOf(engine);
    const appends = Array.from({ length: 5 }, (_, i) => partition.append(values(`${i}`)));
    await clock.run(engine.flush());
    await expect(Promise.all(appends)).resolves.toHaveLength(5);
    expect(await clock.run(partition.watermarks())).toMatchObject({ uploaded: 5 });
    const reader = await open({}, machine.other());
    expect(await clock.run(readAll((await clock.run(reader.topic("events"))).partition(0)))).toEqual([
      "0",
      "1",
      "2",
      "3",
      "4",
    ]);
  });

  test("close uploads what is journaled and releases the shard", async () => {
    const engine = await open();
    const partition = await topicOf(engine);
    await clock.run(partition.append(values("a")));
    expect(await clock.run(engine.close())).toEqual({ journaled: [] });
    const next = machine.restarted();
    const reopened = await open({}, next);
    expect(reopened.recoveryReports()).toEqual([]);
    const again = (await clock.run(reopened.topic("events"))).partition(0);
    expect(await clock.run(again.inspect())).toMatchObject({ owner: "", watermarks: { uploaded: 1 } });
    await expect(clock.run(again.append(values("b")))).resolves.toMatchObject({ firstOffset: 1, epoch: 2 });
  });

  test("close with the store away: ends in shutdown_timeout, says what stays, does not release; the next start has it", async () => {
    const engine = await open({ shutdownTimeoutMs: 5000 });
    const partition = await topicOf(engine);
    await clock.run(partition.append(values("a"), { ack: "uploaded" }));
    machine.weather = () => "away";
    await clock.run(partition.append(values("b", "c")));
    const waiting = partition.append(values("d"), { ack: "uploaded" });
    waiting.catch(() => undefined);
    await quiet();
    const began = clock.monotonic();
    const report = await clock.run(engine.close());
    expect(clock.monotonic() - began).toBeLessThanOrEqual(7000);
    expect(report).toEqual({ journaled: [{ shard: 0, records: 3, bytes: expect.any(Number) as number }] });
    // It is in the journal, and the next start uploads it.
    await expect(waiting).rejects.toMatchObject({ effect: "unknown" });

    const next = machine.restarted();
    const reopened = await open({}, next);
    expect(reopened.recoveryReports()).toMatchObject([
      { shard: 0, outcome: "replayed", replayed: { frames: 2, records: 3 } },
    ]);
    const again = (await clock.run(reopened.topic("events"))).partition(0);
    expect(await clock.run(readAll(again))).toEqual(["a", "b", "c", "d"]);
    await clock.run(reopened.flush());
    expect(await clock.run(again.inspect())).toMatchObject({ watermarks: { uploaded: 4 }, epoch: 2 });
  });

  test("an append that waits for the journal while the engine closes is settled, and so is one that comes later", async () => {
    const engine = await open({ shutdownTimeoutMs: 1000 });
    const partition = await topicOf(engine);
    await clock.run(partition.append(values("a")));
    const gate = heldDisk(machine);
    const stuck = partition.append(values("b"));
    const outcome = stuck.then(
      () => "acked",
      (error: unknown) => error,
    );
    await quiet();
    const closing = engine.close();
    await expect(partition.append(values("c"))).rejects.toMatchObject({ code: "TIERLOG_CLOSED" });
    await clock.advance(500);
    gate.open();
    expect(await clock.run(outcome)).toBe("acked");
    expect(await clock.run(closing)).toEqual({ journaled: [] });
    const reopened = await open({}, machine.restarted());
    expect(await clock.run(readAll((await clock.run(reopened.topic("events"))).partition(0)))).toEqual(["a", "b"]);
  });
});

describe("what goes through", () => {
  test("many shards: each has a journal of its own, all are recovered", async () => {
    const engine = await open({ shards: 4 });
    await clock.run(engine.createTopic("many", { partitions: 8 }));
    const topic = await clock.run(engine.topic("many"));
    for (let i = 0; i < 8; i++) await clock.run(topic.partition(i).append(values(`p${i}`)));
    machine.kill();
    const reopened = await open({ shards: 4 }, machine.restarted());
    expect(reopened.recoveryReports().map(({ outcome, replayed }) => [outcome, replayed.records])).toEqual(
      Array.from({ length: 4 }, () => ["replayed", 2]),
    );
    const again = await clock.run(reopened.topic("many"));
    for (let i = 0; i < 8; i++) {
      expect(await clock.run(readAll(again.partition(i)))).toEqual([`p${i}`]);
      await expect(clock.run(again.partition(i).append(values("x")))).resolves.toMatchObject({ firstOffset: 1 });
    }
    await clock.run(reopened.flush());
    expect(reopened.metrics().journal).toMatchObject({ lagRecords: 0 });
  });

  test("LZ4 below the bound of what is compressed at once", async () => {
    const engine = await open();
    const partition = await topicOf(engine, { compression: "lz4" });
    const texts = Array.from({ length: 20 }, (_, i) => `${i}`.padEnd(500, "ab"));
    for (const text of texts) await clock.run(partition.append(values(text)));
    expect(engine.metrics().journal?.lagBytes).toBeLessThan(20 * 300);
    expect(await clock.run(readAll(partition))).toEqual(texts);
    machine.kill();
    const reopened = await open({}, machine.restarted());
    await clock.run(reopened.flush());
    expect(await clock.run(readAll((await clock.run(reopened.topic("events"))).partition(0)))).toEqual(texts);
  });

  test("an encoded batch keeps its records, gets offsets and epoch, and its buffer is the caller's after a buffered ack", async () => {
    const engine = await open();
    const partition = await topicOf(engine);
    await clock.run(partition.append(values("a")));
    const encodedBatch = await encoded("x", "y");
    await expect(clock.run(partition.append({ encodedBatch }))).resolves.toMatchObject({
      firstOffset: 1,
      nextOffset: 3,
      level: "journaled",
    });
    const reused = await encoded("z");
    await expect(partition.append({ encodedBatch: reused }, { ack: "buffered" })).resolves.toMatchObject({
      firstOffset: 3,
    });
    reused.fill(0);
    await clock.run(engine.flush());
    expect(await clock.run(readAll(partition))).toEqual(["a", "x", "y", "z"]);
  });

  test("an append that no file of the journal can hold is refused, with the limit, before anything is written", async () => {
    const engine = await open({ batch: { maxBytes: 64 * KIB } });
    const partition = await topicOf(engine);
    await clock.run(partition.append(values("a")));
    const before = engine.metrics().journal?.framesWritten;
    const big = Array.from({ length: 8 }, () => ({ value: Buffer.alloc(32 * KIB, "x") }));
    await expect(partition.append(big)).rejects.toMatchObject({
      code: "TIERLOG_INVALID_ARGUMENT",
      message: expect.stringContaining("journal.file_size") as string,
    });
    expect(engine.metrics()).toMatchObject({ pendingBytes: 0, journal: { framesWritten: before } });
    // As much as fits goes in one piece.
    await expect(clock.run(partition.append(big.slice(0, 5)))).resolves.toMatchObject({
      firstOffset: 1,
      nextOffset: 6,
    });
  });

  test("more than one frame holds is cut between appends, in order", async () => {
    const engine = await open({ batch: { maxBytes: 64 * KIB } });
    const partition = await topicOf(engine);
    await clock.run(partition.append(values("warm")));
    const texts = Array.from({ length: 16 }, (_, i) => `${i}`.padEnd(30 * KIB, "-"));
    const receipts = await clock.run(Promise.all(texts.map((text) => partition.append(values(text)))));
    expect(receipts.map(({ firstOffset }) => firstOffset)).toEqual(texts.map((_, i) => i + 1));
    expect(engine.metrics().journal?.framesWritten).toBeGreaterThan(2);
    machine.kill();
    const reopened = await open({}, machine.restarted());
    expect(await clock.run(readAll((await clock.run(reopened.topic("events"))).partition(0)))).toEqual([
      "warm",
      ...texts,
    ]);
  });
});

async function encoded(...texts: string[]): Promise<Uint8Array> {
  const builder = new BatchBuilder({ baseOffset: 0 as Offset, epoch: 0 as Epoch, maxBytes: MIB });
  builder.appendSome(values(...texts), 0, 0);
  return new Uint8Array((await builder.seal("none")).bytes);
}
