import { afterEach, beforeEach, describe, expect, test } from "vitest";

import type { PartitionApi } from "../../src/engine/api.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { readAll, values, type Overrides } from "../support/engine.ts";
import { Machine } from "../support/machine.ts";
import { quiet, VirtualClock } from "../support/virtual-clock.ts";

const LEASE = 30_000;

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

/** An engine with a lease that owns its shard. */
async function owner(overrides: Overrides = {}): Promise<{ engine: Engine; partition: PartitionApi }> {
  const engine = await open({ leaseMs: LEASE, flush: { maxWaitMs: 5000 }, ...overrides });
  await clock.run(engine.createTopic("events", { partitions: 1 }));
  const partition = (await clock.run(engine.topic("events"))).partition(0);
  await clock.run(partition.append(values("warm"), { ack: "uploaded" }));
  return { engine, partition };
}

async function partitionOf(engine: Engine): Promise<PartitionApi> {
  return (await clock.run(engine.topic("events"))).partition(0);
}

/** Requests about the chain. */
function asked(operation: "get" | "put"): number {
  return machine.requests.filter((request) => request.operation === operation && request.key.startsWith("index/"))
    .length;
}

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

/** Another node's turn, whose fence is live when this resolves. */
async function takenOver(): Promise<Engine> {
  const other = await open({}, machine.other());
  await clock.run((await partitionOf(other)).append(values("theirs"), { ack: "uploaded" }));
  return other;
}

describe("the lease (rule 10)", () => {
  test("off by default: acks go on however old the last proof is, and nothing is asked for them", async () => {
    const { partition } = await owner({ leaseMs: 0 });
    await clock.advance(3600_000);
    machine.weather = () => "away";
    const before = [asked("get"), asked("put")];
    await expect(partition.append(values("a"))).resolves.toMatchObject({ level: "journaled" });
    expect([asked("get"), asked("put")]).toEqual(before);
  });

  test("on: acks stop when the last proof is older than the lease, and go on when the store answers again", async () => {
    const { partition } = await owner({ storage: { object: { deadlineMs: 2000 } } });
    const texts = ["warm"];
    machine.weather = () => "away";
    await clock.advance(LEASE - 2000);
    await expect(partition.append(values("in time"))).resolves.toMatchObject({ level: "journaled", firstOffset: 1 });
    texts.push("in time");
    await clock.advance(2001);
    const late = outcomeOf(partition.append(values("too late")));
    await clock.advance(20_000);
    expect(late.value()).toMatchObject({ code: "TIERLOG_OBJECT_STORE", effect: "none" });
    // One that waits when the store is back is acknowledged.
    const patient = outcomeOf(partition.append(values("proved")));
    await clock.advance(1000);
    expect(patient.value()).toBeUndefined();
    machine.weather = () => "fine";
    await clock.advance(15_000);
    expect(patient.value()).toMatchObject({ level: "journaled", firstOffset: 2 });
    texts.push("proved");
    expect(await clock.run(readAll(partition))).toEqual(texts);
  });

  test("what was refused took no offset, and its buffered neighbours count as lost", async () => {
    const { engine, partition } = await owner({ storage: { object: { deadlineMs: 1000 } } });
    machine.weather = () => "away";
    await clock.advance(LEASE + 1);
    const refused = [outcomeOf(partition.append(values("x"))), outcomeOf(partition.append(values("y")))];
    await partition.append(values("z"), { ack: "buffered" });
    await clock.advance(20_000);
    for (const { value } of refused) expect(value()).toMatchObject({ effect: "none" });
    expect(engine.metrics().bufferedLost).toBe(1);
    expect(engine.metrics().pendingBytes).toBe(0);
    machine.weather = () => "fine";
    await clock.advance(1000);
    await expect(clock.run(partition.append(values("a")))).resolves.toMatchObject({ firstOffset: 1 });
  });

  test("none while idle, one GET after idling, then none as long as the proof is young", async () => {
    const { partition } = await owner();
    const before = [asked("get"), asked("put")];
    await clock.advance(10 * 60_000);
    expect([asked("get"), asked("put")]).toEqual(before);
    for (let i = 0; i < 10; i++) await clock.run(partition.append(values(`${i}`)));
    expect([asked("get"), asked("put")]).toEqual([(before[0] ?? 0) + 1, before[1]]);
  });

  test("while records flow, commits are proofs: no GET is needed, nor does an ack wait", async () => {
    const { partition } = await owner();
    const gets = asked("get");
    for (let second = 0; second < 120; second++) {
      await expect(partition.append(values(`${second}`))).resolves.toMatchObject({ level: "journaled" });
      await clock.advance(1000);
    }
    expect(asked("get")).toBe(gets);
    expect(asked("put")).toBeLessThan(20);
  });

  test("C13 (b) a proof counts from the start of its request, not from its answer", async () => {
    const { partition } = await owner({ storage: { object: { requestTimeoutMs: 600_000, deadlineMs: 600_000 } } });
    await clock.advance(LEASE + 1);
    // The read is sent and finds nothing; a fence lands; the answer comes later than the lease is long.
    let answer = (): void => undefined;
    let held = 0;
    machine.lateAnswer = ({ operation, key }) =>
      operation === "get" && key.startsWith("index/") && held++ === 0
        ? new Promise((resolve) => {
            answer = resolve;
          })
        : Promise.resolve();
    const append = outcomeOf(partition.append(values("late")));
    await quiet();
    expect(held).toBe(1);
    await takenOver();
    await clock.advance(LEASE + 1);
    answer();
    await clock.advance(1000);
    expect(append.value()).toMatchObject({ code: "TIERLOG_FENCED", effect: "none" });
  });

  test("C13 (c) the first proof counts from the start of the own fence's request", async () => {
    const engine = await open({
      leaseMs: LEASE,
      flush: { maxWaitMs: 5000 },
      storage: { object: { requestTimeoutMs: 600_000, deadlineMs: 600_000 } },
    });
    await clock.run(engine.createTopic("events", { partitions: 1 }));
    const partition = await partitionOf(engine);
    let answer = (): void => undefined;
    let puts = 0;
    machine.lateAnswer = ({ operation, key }) =>
      operation === "put" && key.startsWith("index/") && puts++ === 0
        ? new Promise<void>((resolve) => {
            answer = resolve;
          })
        : Promise.resolve();
    const append = outcomeOf(partition.append(values("a")));
    await clock.advance(2000);
    expect(puts).toBe(1);
    const other = await open({}, machine.other());
    await clock.run((await partitionOf(other)).append(values("theirs"), { ack: "uploaded" }));
    await clock.advance(LEASE);
    answer();
    await clock.advance(1000);
    expect(append.value()).toMatchObject({ code: "TIERLOG_FENCED", effect: "none" });
    expect(await clock.run(readAll(await partitionOf(other)))).toEqual(["theirs"]);
  });

  test("C13 (d) a taker does not wait for the lease of the owner before: what only its journal has is not in the log", async () => {
    const { engine, partition } = await owner();
    await expect(clock.run(partition.append(values("only here")))).resolves.toMatchObject({ firstOffset: 1 });
    const before = clock.monotonic();
    const other = await takenOver();
    expect(clock.monotonic() - before).toBeLessThan(1000);
    // Within its lease the old owner goes on, which its readers know by the epoch; no longer than that.
    await expect(clock.run(partition.append(values("still")))).resolves.toMatchObject({ epoch: 1, level: "journaled" });
    await clock.advance(LEASE + 5000);
    await expect(clock.run(partition.append(values("over")))).rejects.toMatchObject({
      code: "TIERLOG_FENCED",
      effect: "none",
    });
    expect(engine.recoveryReports()).toMatchObject([{ outcome: "set-aside", setAside: { records: 2 } }]);
    expect(await clock.run(readAll(await partitionOf(other)))).toEqual(["warm", "theirs"]);
    expect(await clock.run(readAll(partition))).toEqual(["warm", "theirs"]);
  });

  test("C13 (d) no journaled ack behind a release that was sent, whatever becomes of it", async () => {
    const { engine, partition } = await owner();
    await clock.run(partition.append(values("a")));
    const acks: unknown[] = [];
    let released = false;
    machine.weather = ({ operation, key }) => {
      // Behind the flush of what is journaled comes the release.
      if (operation === "put" && key.startsWith("index/") && engine.metrics().journal?.lagRecords === 0) {
        released = true;
        return "answer-lost";
      }
      return released && operation === "get" ? "away" : "fine";
    };
    const closing = engine.close();
    partition.append(values("late")).then(
      (receipt) => acks.push(receipt),
      () => undefined,
    );
    await clock.run(closing);
    expect(released).toBe(true);
    expect(acks).toEqual([]);
    machine.weather = () => "fine";
    const next = await open({}, machine.restarted());
    expect(await clock.run(readAll(await partitionOf(next)))).toEqual(["warm", "a"]);
  });

  test("a suspended machine: the wall clock has gone on, the monotonic one stood still", async () => {
    const { engine, partition } = await owner();
    await clock.run(partition.append(values("before")));
    await takenOver();
    clock.jumpWall(LEASE + 1);
    await expect(clock.run(partition.append(values("after")))).rejects.toMatchObject({
      code: "TIERLOG_FENCED",
      effect: "none",
    });
    expect(engine.recoveryReports()).toMatchObject([{ outcome: "set-aside", setAside: { records: 1 } }]);
  });

  test("a wall clock set back does not make a proof young", async () => {
    clock.jumpWall(7200_000);
    const { partition } = await owner();
    await takenOver();
    clock.jumpWall(-3600_000);
    await clock.advance(LEASE + 1);
    await expect(clock.run(partition.append(values("after")))).rejects.toMatchObject({ code: "TIERLOG_FENCED" });
  });

  test("a sync that takes longer than the lease: no ack without a new proof, though the record is on the disk", async () => {
    const { partition } = await owner();
    let pass = (): void => undefined;
    const gate = new Promise<void>((resolve) => {
      pass = resolve;
    });
    machine.diskGate = () => gate;
    const append = outcomeOf(partition.append(values("slow")));
    await quiet();
    await takenOver();
    await clock.advance(LEASE + 1);
    pass();
    machine.diskGate = () => Promise.resolve();
    await clock.advance(1000);
    expect(append.value()).toMatchObject({ code: "TIERLOG_FENCED" });
  });

  test("taken over: FencedError for all that comes, and readers of the old owner see the new one's records", async () => {
    const { engine, partition } = await owner({ leaseMs: LEASE });
    await clock.run(partition.append(values("mine")));
    await takenOver();
    const uploaded = outcomeOf(partition.append(values("u"), { ack: "uploaded" }));
    await clock.advance(1000);
    expect(uploaded.value()).toMatchObject({ code: "TIERLOG_FENCED" });
    await expect(partition.append(values("x"))).rejects.toMatchObject({ code: "TIERLOG_FENCED", effect: "none" });
    await expect(partition.append(values("x"), { ack: "buffered" })).rejects.toMatchObject({ code: "TIERLOG_FENCED" });
    await clock.advance(10_000);
    expect(await clock.run(readAll(partition))).toEqual(["warm", "theirs"]);
    const report = await clock.run(engine.close());
    expect(report).toEqual({ journaled: [] });
  });
});

describe("F53 event-loop-stall", () => {
  test("two seconds without the loop, with a lease of one: the epoch is asked for, nobody is fenced by time alone", async () => {
    const { partition } = await owner({ leaseMs: 1000 });
    await clock.run(partition.append(values("a")));
    // All that was due in between falls due at once, as after a block of the loop.
    const stalled = Promise.all([partition.append(values("b")), partition.append(values("c"), { ack: "uploaded" })]);
    clock.stall(2000);
    await expect(clock.run(stalled)).resolves.toMatchObject([
      { level: "journaled", epoch: 1 },
      { level: "uploaded", epoch: 1 },
    ]);
    await expect(clock.run(partition.append(values("d")))).resolves.toMatchObject({ epoch: 1, firstOffset: 4 });
  });
});
