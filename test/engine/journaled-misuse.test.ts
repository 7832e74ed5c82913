import * as fc from "fast-check";
import { compressFrameSync } from "lz4-napi";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

import type { Epoch, ObjectKey, Offset } from "../../src/domain.ts";
import type { PartitionApi } from "../../src/engine/api.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { isTierlogError } from "../../src/errors.ts";
import { BatchBuilder } from "../../src/record/batch-builder.ts";
import type { LogRecord, StoredRecord } from "../../src/record/record.ts";
import { reframe } from "../record/reframe.ts";
import { readAll, values, type Overrides } from "../support/engine.ts";
import { Machine } from "../support/machine.ts";
import { quiet, VirtualClock } from "../support/virtual-clock.ts";

const MIB = 1024 * 1024;

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

async function owner(overrides: Overrides = {}): Promise<{ engine: Engine; partition: PartitionApi }> {
  const engine = await open(overrides);
  await clock.run(engine.createTopic("events", { partitions: 2 }));
  const partition = await partitionOf(engine);
  await clock.run(partition.append(values("warm")));
  return { engine, partition };
}

async function partitionOf(engine: Engine, number = 0): Promise<PartitionApi> {
  return (await clock.run(engine.topic("events"))).partition(number);
}

/** What a call that is refused may not change. */
function traces(engine: Engine): unknown {
  const { journal, pendingBytes, appendedRecords } = engine.metrics();
  const puts = machine.requests.filter(({ operation }) => operation === "put").length;
  return { puts, changes: machine.disk.calls.length, frames: journal?.framesWritten, pendingBytes, appendedRecords };
}

describe("F47 bad-names", () => {
  test.each([
    "../x",
    "a/../../b",
    "a\0b",
    "CON",
    "x".repeat(300),
    ".",
    "..",
    "",
    "events\n",
    "../journal/LOCK",
    "ä",
    "😀",
    "EVENTS",
  ])("%j touches neither a file nor a key", async (name) => {
    const { engine } = await owner();
    const before = traces(engine);
    await expect(clock.run(engine.createTopic(name, { partitions: 1 }))).rejects.toMatchObject({
      code: "TIERLOG_INVALID_ARGUMENT",
      argument: "topic",
    });
    expect(traces(engine)).toEqual(before);
  });

  test.each([-1, 2, 0.5, Number.NaN, 2 ** 53, "0" as unknown as number, "../0" as unknown as number])(
    "partition %j neither",
    async (number) => {
      const { engine } = await owner();
      const before = traces(engine);
      const topic = await clock.run(engine.topic("events"));
      expect(() => topic.partition(number)).toThrow("partitions 0 … 1");
      expect(traces(engine)).toEqual(before);
    },
  );
});

describe("F48 bad-records, journaled: all of an append or nothing", () => {
  const good: LogRecord = { value: Buffer.from("good") };
  const bad: [string, unknown, string][] = [
    ["no value", {}, "TIERLOG_INVALID_ARGUMENT"],
    ["a value that is a string", { value: "text" }, "TIERLOG_INVALID_ARGUMENT"],
    ["a key that is a number", { key: 1, value: null }, "TIERLOG_INVALID_ARGUMENT"],
    ["a negative timestamp", { value: null, timestampMs: -1 }, "TIERLOG_INVALID_ARGUMENT"],
    ["a timestamp that is none", { value: null, timestampMs: Number.NaN }, "TIERLOG_INVALID_ARGUMENT"],
    ["a timestamp of 2^53", { value: null, timestampMs: 2 ** 53 }, "TIERLOG_INVALID_ARGUMENT"],
    ["headers that are no list", { value: null, headers: { a: 1 } }, "TIERLOG_INVALID_ARGUMENT"],
    ["more than batch.max_bytes", { value: Buffer.alloc(70 * 1024) }, "TIERLOG_RECORD_TOO_LARGE"],
    ["null", null, "TIERLOG_INVALID_ARGUMENT"],
  ];

  test.each(bad)("%s: the good ones beside it are not taken either", async (_, record, code) => {
    const { engine, partition } = await owner({ batch: { maxBytes: 64 * 1024 } });
    const before = traces(engine);
    for (const ack of ["buffered", "journaled", "uploaded"] as const) {
      const append = partition.append([good, record as LogRecord, good], { ack });
      await expect(append).rejects.toMatchObject({ code, effect: "none" });
    }
    expect(traces(engine)).toEqual(before);
    await expect(clock.run(partition.append([good]))).resolves.toMatchObject({ firstOffset: 1 });
    machine.kill();
    expect(await clock.run(readAll(await partitionOf(await open({}, machine.restarted()))))).toEqual(["warm", "good"]);
  });

  test("odd but legal: empty value, null value, empty key, a header named __proto__, timestamp 0: as they were, after a crash too", async () => {
    const { partition } = await owner();
    const records: LogRecord[] = [
      { value: Buffer.alloc(0) },
      { value: null },
      { key: Buffer.alloc(0), value: Buffer.from("k"), timestampMs: 0 },
      {
        value: Buffer.from("h"),
        headers: [
          { key: "__proto__", value: Buffer.from("x") },
          { key: "", value: null },
        ],
      },
    ];
    await clock.run(partition.append(records));
    machine.kill();
    const again = await partitionOf(await open({}, machine.restarted()));
    const found: StoredRecord[] = [];
    const reading = (async (): Promise<void> => {
      for await (const record of again.records({ from: 1 })) found.push(record);
    })();
    await clock.run(reading);
    expect(found).toMatchObject([
      { offset: 1, value: Buffer.alloc(0) },
      { offset: 2, value: null },
      { offset: 3, key: Buffer.alloc(0), value: Buffer.from("k"), timestampMs: 0 },
      {
        offset: 4,
        headers: [
          { key: "__proto__", value: Buffer.from("x") },
          { key: "", value: null },
        ],
      },
    ]);
  });

  test("no records, and an append across partitions with one bad record", async () => {
    const { engine, partition } = await owner();
    const before = traces(engine);
    await expect(partition.append([])).rejects.toMatchObject({ argument: "records" });
    const topic = await clock.run(engine.topic("events"));
    const keyed = [1, 2, 3, 4].map((n) => ({ key: Buffer.from([n]), value: Buffer.from("v") }));
    await expect(topic.append([...keyed, { value: 1 as never }])).rejects.toMatchObject({
      code: "TIERLOG_INVALID_ARGUMENT",
    });
    expect(traces(engine)).toEqual(before);
  });
});

describe("F45 lz4-bomb", () => {
  test("an encoded batch that would decompress to 160 MiB is refused before the journal sees it", async () => {
    const { engine, partition } = await owner();
    const builder = new BatchBuilder({ baseOffset: 0 as Offset, epoch: 0 as Epoch, maxBytes: MIB });
    builder.appendSome(values("x"), 0, 0);
    const { bytes } = await builder.seal("none");
    const one = compressFrameSync(Buffer.alloc(4 * MIB));
    const block = one.subarray(7, one.length - 4);
    const bomb = Buffer.concat([one.subarray(0, 7), ...Array.from({ length: 40 }, () => block), Buffer.alloc(4)]);
    const before = traces(engine);
    const memory = process.memoryUsage();
    const encodedBatch = reframe(bytes, bomb);
    await expect(partition.append({ encodedBatch })).rejects.toMatchObject({
      code: expect.stringMatching(/TIERLOG_(INVALID_ARGUMENT|RECORD_TOO_LARGE)/) as string,
      effect: "none",
    });
    expect(process.memoryUsage().arrayBuffers - memory.arrayBuffers).toBeLessThan(20 * MIB);
    expect(traces(engine)).toEqual(before);
    // The same at a size that fits is taken.
    await expect(clock.run(partition.append({ encodedBatch: new Uint8Array(bytes) }))).resolves.toMatchObject({
      firstOffset: 1,
    });
  });
});

describe("F49 append-after-close, close-during-append", () => {
  test("closed: every call says so, at once", async () => {
    const { engine, partition } = await owner();
    await clock.run(engine.close());
    for (const ack of ["buffered", "journaled", "uploaded"] as const) {
      await expect(partition.append(values("x"), { ack })).rejects.toMatchObject({
        code: "TIERLOG_CLOSED",
        effect: "none",
      });
    }
    await expect(engine.flush()).rejects.toMatchObject({ code: "TIERLOG_CLOSED" });
    await expect(engine.recover()).rejects.toMatchObject({ code: "TIERLOG_CLOSED" });
    await expect(partition.read({ from: 0 })).rejects.toMatchObject({ code: "TIERLOG_CLOSED" });
    await expect(clock.run(engine.close())).resolves.toEqual({ journaled: [] });
    expect(machine.disk.openFiles).toBe(0);
    expect(clock.pending).toBe(0);
  });

  test("close and appends race: each append is settled; what was acked is there for the next start, what was refused is not", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.scheduler(),
        fc.array(fc.constantFrom("buffered", "journaled", "uploaded"), { minLength: 3, maxLength: 8 }),
        fc.boolean(),
        async (scheduler, acks, away) => {
          clock = new VirtualClock();
          machine = new Machine({ clock });
          const { engine, partition } = await owner({ shutdownTimeoutMs: 2000, flush: { lingerMs: 0 } });
          // Every write of the disk and every request waits for its turn.
          machine.diskGate = scheduler.scheduleFunction(async () => undefined);
          machine.weather = scheduler.scheduleFunction(async () => (away ? ("away" as const) : ("fine" as const)));
          const outcomes: Promise<unknown>[] = acks.map((ack, i) =>
            scheduler
              .schedule(Promise.resolve(i), `append ${i}`)
              .then(() => partition.append(values(`r${i}`), { ack }))
              .catch((error: unknown) => error),
          );
          const closing = scheduler.schedule(Promise.resolve(), "close").then(() => engine.close());
          const all = Promise.all([...outcomes, closing]);
          let done = false;
          all.then(
            () => (done = true),
            () => (done = true),
          );
          const isDone = (): boolean => done;
          for (let step = 0; !isDone(); step++) {
            await quiet();
            if (scheduler.count() > 0) await scheduler.waitOne();
            else if (!clock.runNext() && !isDone()) throw new Error("nothing more happens, and something is pending");
            expect(step).toBeLessThan(5000);
          }
          const settled = await all;
          const report = settled.pop() as { journaled: readonly { records: number }[] };
          machine.kill();
          const next = machine.restarted();
          const texts = await clock.run(readAll(await partitionOf(await open({}, next))));
          let refused = 0;
          for (const [i, outcome] of settled.entries()) {
            const found = texts.indexOf(`r${i}`);
            if (isTierlogError(outcome)) {
              refused++;
              if (outcome.effect === "none" && found >= 0) throw new Error(`r${i} was refused and is there`);
              continue;
            }
            const { firstOffset, level } = outcome as { firstOffset: number; level: string };
            // Buffered is a promise of this process only, and the engine says in its metrics what it broke.
            if (found !== firstOffset && (level !== "buffered" || found >= 0)) {
              throw new Error(`r${i} was acked ${level} at ${firstOffset} and is at ${found}`);
            }
          }
          expect(new Set(texts).size).toBe(texts.length);
          const lost = engine.metrics().bufferedLost;
          expect(texts.length).toBeGreaterThanOrEqual(1 + acks.length - refused - lost);
          // What the report leaves out is in the store.
          expect(report.journaled.reduce((sum, { records }) => sum + records, 0)).toBeLessThanOrEqual(texts.length);
          next.kill();
          engines = [];
        },
      ),
      { numRuns: 60, seed: 7 },
    );
  });
});

describe("F16 bitflip-in-object", () => {
  /** Flips a bit of the inline bytes of the newest link. */
  function flip(): ObjectKey {
    const key = [...machine.bucket.keys()].filter((name) => name.startsWith("index/")).at(-1) as ObjectKey;
    const bytes = machine.bucket.read(key)?.bytes as Uint8Array;
    bytes[bytes.length - 3] = (bytes.at(-3) ?? 0) ^ 1;
    return key;
  }

  test("behind the commit the journal holds no copy: this process has its tail cache, others get an error that names the place", async () => {
    const { engine, partition } = await owner();
    const other = await partitionOf(engine, 1);
    await clock.run(other.append(values("elsewhere")));
    await clock.run(engine.flush());
    await clock.run(partition.append(values("hit")));
    await clock.run(engine.flush());
    expect(engine.metrics().journal).toMatchObject({ liveFrames: 0 });
    const key = flip();
    expect(await clock.run(readAll(partition))).toEqual(["warm", "hit"]);
    const reader = await clock.run(machine.other().open({}, { readOnly: true }));
    engines.push(reader);
    const read = partitionOf(reader).then((damaged) => damaged.read({ from: 1 }));
    await expect(clock.run(read)).rejects.toMatchObject({ code: "TIERLOG_CORRUPTION", key });
    const before = await clock.run((await partitionOf(reader)).read({ from: 0, maxBytes: 1 }));
    expect(before.nextOffset).toBe(1);
    expect(await clock.run(readAll(await partitionOf(reader, 1)))).toEqual(["elsewhere"]);
  });

  test("before the journal was freed, its frame is the good copy: set aside with its offsets, and the shard goes on", async () => {
    const { partition } = await owner();
    await clock.run(partition.append(values("hit")));
    // The link lands; the process is gone before it hears of it.
    machine.lateAnswer = ({ operation, key }) =>
      operation === "put" && key.startsWith("index/") ? new Promise(() => undefined) : Promise.resolve();
    await clock.advance(11_000);
    machine.kill();
    flip();
    const next = machine.restarted();
    const engine = await open({}, next);
    const [report] = engine.recoveryReports();
    expect(report).toMatchObject({ outcome: "set-aside", setAside: { partitions: [{ nextOffset: 2, epochs: [1] }] } });
    expect(await next.disk.kind(report?.setAside?.file ?? "")).toBe("file");
    await expect(clock.run((await partitionOf(engine)).append(values("on")))).resolves.toMatchObject({
      firstOffset: 2,
    });
    const damaged = (await partitionOf(engine)).read({ from: 1 });
    await expect(clock.run(damaged)).rejects.toMatchObject({ code: "TIERLOG_CORRUPTION" });
    await expect(clock.run((await partitionOf(engine)).read({ from: 2 }))).resolves.toMatchObject({ nextOffset: 3 });
  });
});
