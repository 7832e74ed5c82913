import { afterEach, beforeEach, describe, expect, test } from "vitest";

import type { PartitionApi } from "../../src/engine/api.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { readBatchHeader } from "../../src/record/batch.ts";
import { collect, readAll, values, type Overrides } from "../support/engine.ts";
import { Machine, type Weather } from "../support/machine.ts";
import { quiet, VirtualClock } from "../support/virtual-clock.ts";

const KIB = 1024;
const MIB = 1024 * KIB;
const MINUTE = 60_000;

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

/** An engine that owns its shard, with one record in the store. */
async function owner(overrides: Overrides = {}): Promise<{ engine: Engine; partition: PartitionApi }> {
  const engine = await open(overrides);
  await clock.run(engine.createTopic("events", { partitions: 1 }));
  const partition = (await clock.run(engine.topic("events"))).partition(0);
  await clock.run(partition.append(values("warm"), { ack: "uploaded" }));
  return { engine, partition };
}

async function partitionOf(engine: Engine): Promise<PartitionApi> {
  return (await clock.run(engine.topic("events"))).partition(0);
}

/** What another machine finds in the store. */
async function stored(): Promise<string[]> {
  const reader = await clock.run(machine.other().open({}, { readOnly: true }));
  engines.push(reader);
  return await clock.run(readAll(await partitionOf(reader)));
}

function links(): number {
  return machine.requests.filter(({ operation, key }) => operation === "put" && key.startsWith("index/")).length;
}

/** The outcome of an append, without waiting: undefined while it has none. */
function outcomeOf(append: Promise<unknown>): { readonly value: () => unknown } {
  let outcome: unknown;
  append.then(
    (receipt) => {
      outcome = receipt;
    },
    (error: unknown) => {
      outcome = error;
    },
  );
  return { value: () => outcome };
}

describe("the store is away", () => {
  test("F10 slowdown-storm: journaled acks go on, uploaded ones wait, all is stored without a restart", async () => {
    const { engine, partition } = await owner();
    machine.weather = ({ operation }) => (operation === "put" || operation === "multipart" ? "away" : "fine");
    const uploaded = outcomeOf(partition.append(values("u"), { ack: "uploaded" }));
    const began = clock.monotonic();
    const texts = ["warm", "u"];
    while (clock.monotonic() - began < MINUTE - 5000) {
      texts.push(`at ${clock.monotonic()}`);
      await expect(clock.run(partition.append(values(texts.at(-1) ?? "")))).resolves.toMatchObject({
        level: "journaled",
      });
      await clock.advance(500);
    }
    expect(uploaded.value()).toBeUndefined();
    expect(await clock.run(readAll(partition))).toEqual(texts);
    machine.weather = () => "fine";
    await clock.advance(15_000);
    expect(uploaded.value()).toMatchObject({ level: "uploaded", firstOffset: 1, epoch: 1 });
    expect(engine.metrics().journal).toMatchObject({ lagRecords: 0, liveFrames: 0 });
    expect(await stored()).toEqual(texts);
  });

  test("F11 total-outage-10-min: acks until journal.max_size, then back-pressure that names it, then all is caught up", async () => {
    const { engine, partition } = await owner({ flush: { maxWaitMs: 5000 }, journal: { maxSizeBytes: MIB } });
    machine.weather = () => "away";
    const texts = ["warm"];
    const began = clock.monotonic();
    let refusal: unknown;
    while (refusal === undefined) {
      const text = `${texts.length}`.padEnd(32 * KIB, ".");
      const append = outcomeOf(partition.append(values(text)));
      await clock.advance(6000);
      const outcome = append.value();
      expect(outcome).toBeDefined();
      if (outcome instanceof Error) refusal = outcome;
      else texts.push(text);
    }
    expect(refusal).toMatchObject({
      code: "TIERLOG_OVERLOADED",
      effect: "none",
      message: expect.stringContaining("journal.max_size is 1048576") as string,
    });
    // Most of the journal was of use; the rest is files that are begun and framing.
    expect(texts.length).toBeGreaterThan(20);
    const lag = engine.metrics().journal;
    expect(lag?.usedBytes).toBeLessThanOrEqual(MIB);
    expect(lag?.lagMs).toBeGreaterThan(100_000);
    await clock.advance(Math.max(0, 10 * MINUTE - (clock.monotonic() - began)));
    // What is there is readable all the time.
    expect(await clock.run(readAll(partition))).toEqual(texts);

    const waiting = outcomeOf(partition.append(values("waits for room")));
    machine.weather = () => "fine";
    await clock.advance(4000);
    expect(waiting.value()).toMatchObject({ level: "journaled", firstOffset: texts.length });
    await clock.run(engine.flush());
    expect(engine.metrics().journal).toMatchObject({ lagRecords: 0, liveFrames: 0 });
    expect(await stored()).toEqual([...texts, "waits for room"]);
    // The turn was in doubt, if at all, only towards the store: one take-over more at most.
    expect((await clock.run(partition.inspect())).epoch).toBeLessThanOrEqual(2);
  });

  test("refused for lack of room: the next ones are taken again as soon as an upload made some", async () => {
    const { partition } = await owner({ flush: { maxWaitMs: 1000 }, journal: { maxSizeBytes: 512 * KIB } });
    machine.weather = () => "away";
    const big = (): Promise<unknown> => partition.append([{ value: Buffer.alloc(100 * KIB, "x") }]);
    let taken = 0;
    for (let i = 0; i < 8; i++) {
      const append = outcomeOf(big());
      await clock.advance(1100);
      if (!(append.value() instanceof Error)) taken++;
    }
    expect(taken).toBeGreaterThanOrEqual(2);
    expect(taken).toBeLessThan(8);
    machine.weather = () => "fine";
    await clock.advance(15_000);
    for (let i = 0; i < 8; i++) {
      await expect(clock.run(big())).resolves.toMatchObject({ firstOffset: 1 + taken + i });
      await clock.advance(1000);
    }
    expect(await stored()).toHaveLength(1 + taken + 8 - (await unstored()));

    async function unstored(): Promise<number> {
      const { durable, uploaded } = await clock.run(partition.watermarks());
      return durable - uploaded;
    }
  });

  test("the catalog cannot be looked at either: no ack waits for it, it is asked for once a second, and counts when it comes", async () => {
    const { engine, partition } = await owner();
    machine.weather = () => "forbidden";
    await clock.advance(20_000);
    // Nor does a new handle of a topic that is known.
    await expect((await engine.topic("events")).partition(0).append(values("h"))).resolves.toMatchObject({
      level: "journaled",
    });
    const lists = (): number => machine.requests.filter(({ operation }) => operation === "list").length;
    const before = lists();
    for (let i = 0; i < 100; i++) {
      await expect(partition.append(values("j"), { ack: "buffered" })).resolves.toMatchObject({ level: "buffered" });
      await clock.advance(50);
    }
    expect(lists() - before).toBeLessThanOrEqual(6);
    machine.weather = () => "fine";
    const elsewhere = await open({}, machine.other());
    await clock.run(elsewhere.deleteTopic("events"));
    await clock.advance(2000);
    partition.append(values("the look begins")).catch(() => undefined);
    await quiet();
    await expect(partition.append(values("j"))).rejects.toMatchObject({ code: "TIERLOG_NOT_FOUND" });
  });

  test("AccessDenied for a while: told to those that wait for the store, at once, and nobody else; goes on afterwards", async () => {
    const { engine, partition } = await owner();
    machine.weather = ({ operation }) => (operation === "put" ? "forbidden" : "fine");
    const uploaded = partition.append(values("u"), { ack: "uploaded" });
    await expect(clock.run(uploaded)).rejects.toMatchObject({ code: "TIERLOG_OBJECT_STORE", effect: "unknown" });
    await expect(clock.run(engine.flush())).rejects.toMatchObject({ code: "TIERLOG_OBJECT_STORE" });
    await expect(clock.run(partition.append(values("j")))).resolves.toMatchObject({ level: "journaled" });
    await clock.advance(5 * MINUTE);
    expect(machine.logger.warnings.map(({ message }) => message)).toContain(
      "journaled records could not be uploaded, they stay in the journal",
    );
    // Every ten seconds at the most seldom: neither a storm nor a pause for ever.
    const before = links();
    await clock.advance(MINUTE);
    expect(links() - before).toBeGreaterThanOrEqual(5);
    expect(links() - before).toBeLessThanOrEqual(7);
    machine.weather = () => "fine";
    await clock.advance(11_000);
    expect(await stored()).toEqual(["warm", "u", "j"]);
  });

  test("flush() during an outage fails with the store's error and loses nothing", async () => {
    const { engine, partition } = await owner({ storage: { object: { deadlineMs: 2000 } } });
    machine.weather = () => "away";
    await clock.run(partition.append(values("a")));
    await expect(clock.run(engine.flush())).rejects.toMatchObject({ code: "TIERLOG_OBJECT_STORE" });
    machine.weather = () => "fine";
    await clock.run(engine.flush());
    expect(await stored()).toEqual(["warm", "a"]);
  });
});

describe("the answer of a commit is lost, past the deadline (rule 5)", () => {
  const DEADLINE: Overrides = { storage: { object: { deadlineMs: 2000, requestTimeoutMs: 1000 } } };

  test.each<[string, Weather, number]>([
    ["it had landed", "answer-lost", 3],
    ["it had not", "away", 3],
  ])(
    "%s: journaled acks go on meanwhile, the shard is taken over anew, nothing is lost or twice",
    async (_, fate, records) => {
      const { engine, partition } = await owner(DEADLINE);
      // The link goes, its answer does not come; nor does any read-back, until the deadline is over.
      machine.weather = ({ operation, key }) =>
        key.startsWith("index/") ? (operation === "put" ? fate : "away") : "fine";
      const uploaded = outcomeOf(partition.append(values("u"), { ack: "uploaded" }));
      await clock.advance(3000);
      expect(uploaded.value()).toMatchObject({ code: "TIERLOG_OBJECT_STORE", effect: "unknown" });
      await expect(clock.run(partition.append(values("j")))).resolves.toMatchObject({
        level: "journaled",
        firstOffset: 2,
      });
      expect(await clock.run(readAll(partition))).toEqual(["warm", "u", "j"]);
      machine.weather = () => "fine";
      await clock.run(engine.flush());
      const inspection = await clock.run(partition.inspect());
      expect(inspection.watermarks).toEqual({ start: 0, uploaded: records, durable: records, end: records });
      await expect(clock.run(partition.append(values("k"), { ack: "uploaded" }))).resolves.toMatchObject({
        epoch: inspection.epoch,
        firstOffset: records,
      });
      expect(await stored()).toEqual(["warm", "u", "j", "k"]);
    },
  );

  test("frames go into the chain with the epoch they were journaled with", async () => {
    const { engine, partition } = await owner(DEADLINE);
    machine.weather = ({ operation, key }) =>
      key.startsWith("index/") ? (operation === "put" ? "answer-lost" : "away") : "fine";
    const lost = partition.append(values("u"), { ack: "uploaded" });
    lost.catch(() => undefined);
    await clock.advance(3000);
    const first = await clock.run(partition.append(values("j")));
    machine.weather = () => "fine";
    await clock.run(engine.flush());
    const second = await clock.run(partition.append(values("k"), { ack: "uploaded" }));
    expect([first.epoch, second.epoch]).toEqual([1, 2]);
    const reader = await open({}, machine.other());
    const { batches } = await clock.run((await partitionOf(reader)).read({ from: 0 }));
    expect(
      batches.map((batch) => {
        const { baseOffset, epoch } = readBatchHeader(batch, 0, { key: "batch", position: 0 });
        return [baseOffset, epoch];
      }),
    ).toEqual([
      [0, 1],
      [1, 1],
      [2, 1],
      [3, 2],
    ]);
  });

  test("F43 manifest-cas-lost-response: the answer of a journaled flush is lost, read back, and counted once", async () => {
    const { engine, partition } = await owner();
    let lost = 0;
    machine.weather = ({ operation, key }) =>
      operation === "put" && key.startsWith("index/") && lost++ === 0 ? "answer-lost" : "fine";
    await clock.run(partition.append(values("a")));
    await clock.run(engine.flush());
    await expect(clock.run(partition.append(values("b"), { ack: "uploaded" }))).resolves.toMatchObject({ epoch: 1 });
    expect(lost).toBeGreaterThan(1);
    expect(await stored()).toEqual(["warm", "a", "b"]);
  });

  test("F43 manifest-cas-lost-response: behind another's fence it is FencedError, and what was journaled is set aside", async () => {
    const { engine, partition } = await owner(DEADLINE);
    machine.weather = ({ operation, key }) =>
      key.startsWith("index/") ? (operation === "put" ? "answer-lost" : "away") : "fine";
    const lost = outcomeOf(partition.append(values("landed"), { ack: "uploaded" }));
    await clock.advance(3000);
    expect(lost.value()).toMatchObject({ effect: "unknown" });
    await clock.run(partition.append(values("journaled only")));
    const other = await open({}, machine.other());
    await clock.run((await partitionOf(other)).append(values("theirs")));
    machine.weather = () => "fine";
    await clock.advance(20_000);
    await expect(clock.run(partition.append(values("x")))).rejects.toMatchObject({
      code: "TIERLOG_FENCED",
      effect: "none",
    });
    // What had landed before the fence is in the log; only what came behind it is aside.
    expect(engine.recoveryReports()).toMatchObject([
      {
        outcome: "set-aside",
        setAside: { records: 1, partitions: [{ partition: 0, firstOffset: 2, nextOffset: 3, epochs: [1] }] },
      },
    ]);
    await clock.run(other.flush());
    expect(await stored()).toEqual(["warm", "landed", "theirs"]);
  });
});

describe("F41 local-delete-before-verify: the journal is freed only behind a live link", () => {
  test.each<[string, (weather: () => Weather) => void]>([
    ["while the put of the link is under way", () => undefined],
    ["while its answer is doubtful", () => undefined],
  ])("%s", async (name) => {
    const { engine, partition } = await owner();
    await clock.run(partition.append(values("a")));
    const live = (): number | undefined => engine.metrics().journal?.liveFrames;
    expect(live()).toBe(1);
    let release = (): void => undefined;
    const held = new Promise<Weather>((resolve) => {
      release = () => resolve(name.includes("doubtful") ? "answer-lost" : "fine");
    });
    let puts = 0;
    machine.weather = ({ operation, key }) => {
      if (operation === "put" && key.startsWith("index/") && puts++ === 0) return held;
      // The read-back that settles a doubtful answer.
      return operation === "get" && puts === 1 && name.includes("doubtful") ? "away" : "fine";
    };
    const flushed = engine.flush();
    await quiet();
    expect([puts, live()]).toEqual([1, 1]);
    release();
    await quiet();
    // Only what answers for the link lets the frame go.
    expect(live()).toBe(name.includes("doubtful") ? 1 : 0);
    machine.weather = () => "fine";
    await clock.run(flushed);
    expect(live()).toBe(0);
    expect(await stored()).toEqual(["warm", "a"]);
  });

  test("an object that is not as long as what was sent names nothing: the frames stay, and go again", async () => {
    const { engine, partition } = await owner({
      flush: { maxBytes: 32 * MIB },
      journal: { fileSizeBytes: 16 * MIB, maxSizeBytes: 64 * MIB },
    });
    let completed = 0;
    machine.weather = ({ operation, key }) =>
      // The upload was completed, so it says; its object is looked for and is not there.
      operation === "multipart" && key.startsWith("data/") && completed++ > 0 ? "forbidden" : "fine";
    const texts = Array.from({ length: 12 }, (_, i) => `${i}`.padEnd(900 * KIB, "-"));
    for (const text of texts) await clock.run(partition.append(values(text)));
    await expect(clock.run(engine.flush())).rejects.toMatchObject({ code: "TIERLOG_OBJECT_STORE" });
    expect(engine.metrics().journal?.liveFrames).toBe(12);
    expect((await clock.run(partition.watermarks())).uploaded).toBe(1);
    machine.weather = () => "fine";
    await clock.run(engine.flush());
    expect(engine.metrics().journal?.liveFrames).toBe(0);
    expect((await stored()).slice(1)).toEqual(texts);
  });
});

describe("catching up", () => {
  test("oldest first, at catch_up_rate, while new appends go on being acknowledged; memory stays bounded", async () => {
    const flushBytes = 128 * KIB;
    const { engine, partition } = await owner({
      flush: { maxBytes: flushBytes },
      journal: { maxSizeBytes: 8 * MIB, catchUpRateBytes: MIB },
      cache: { tailSizeBytes: 64 * KIB },
    });
    machine.weather = () => "away";
    const texts = ["warm"];
    const append = async (): Promise<void> => {
      texts.push(`${texts.length}`.padEnd(16 * KIB, "."));
      await clock.run(partition.append(values(texts.at(-1) ?? "")));
    };
    for (let i = 0; i < 256; i++) await append();
    // Sixteen times what one flush takes.
    expect(engine.metrics().journal?.lagBytes).toBeGreaterThan(4 * MIB);

    await clock.advance(11_000);
    machine.weather = () => "fine";
    const before = texts.length;
    let last = (await clock.run(partition.watermarks())).uploaded;
    const steps: number[] = [];
    const began = clock.monotonic();
    while (last < before) {
      await append();
      await clock.advance(250);
      const { uploaded, durable } = await clock.run(partition.watermarks());
      expect(durable).toBe(texts.length);
      steps.push(uploaded - last);
      last = uploaded;
    }
    // 4 MiB at 1 MiB a second, plus the pause before the first attempt: not in one go, nor much slower.
    expect(clock.monotonic() - began).toBeGreaterThanOrEqual(3500);
    expect(clock.monotonic() - began).toBeLessThan(20_000);
    expect(Math.max(...steps) * 16 * KIB).toBeLessThan(MIB);
    await clock.run(engine.flush());
    expect(await stored()).toEqual(texts);
  });

  test("F46 slow-consumer: one that stops reads nothing ahead without bound, and producers do not notice", async () => {
    const { engine, partition } = await owner({ flush: { maxBytes: 64 * KIB }, cache: { tailSizeBytes: 64 * KIB } });
    const reader = partition.records({ from: 0, follow: true })[Symbol.asyncIterator]();
    await clock.run(reader.next());
    const { calls } = machine;
    const reads = machine.requests.filter(({ operation }) => operation === "get").length;
    for (let i = 0; i < 100; i++) await clock.run(partition.append(values(`${i}`.padEnd(10 * KIB, "."))));
    await clock.run(engine.flush());
    // Nothing was fetched for it, from the store or from the disk, while it stood still.
    expect(machine.requests.filter(({ operation }) => operation === "get").length).toBe(reads);
    expect(machine.calls).toBeGreaterThan(calls);
    const rest = await clock.run(collect(take(reader, 100)));
    expect(rest.map(({ offset }) => offset)).toEqual(Array.from({ length: 100 }, (_, i) => i + 1));
    await reader.return?.();
  });
});

async function* take<T>(iterator: AsyncIterator<T>, count: number): AsyncGenerator<T> {
  for (let i = 0; i < count; i++) {
    const next = await iterator.next();
    if (next.done === true) return;
    yield next.value;
  }
}
