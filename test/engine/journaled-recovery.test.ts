import { afterEach, beforeEach, describe, expect, test } from "vitest";

import type { PartitionApi } from "../../src/engine/api.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { readAll, values, type Overrides } from "../support/engine.ts";
import { JOURNAL_PATH, Machine, type Weather } from "../support/machine.ts";
import { VirtualClock } from "../support/virtual-clock.ts";

let clock: VirtualClock;
let engines: Engine[];

beforeEach(() => {
  clock = new VirtualClock();
  engines = [];
});

afterEach(async () => {
  await clock.run(Promise.allSettled(engines.map((engine) => engine.close())));
});

async function open(machine: Machine, overrides: Overrides = {}): Promise<Engine> {
  const engine = await clock.run(machine.open(overrides));
  engines.push(engine);
  return engine;
}

async function partitionOf(engine: Engine): Promise<PartitionApi> {
  return (await clock.run(engine.topic("events"))).partition(0);
}

/** An engine that owns its shard, with the record "warm" in the store. */
async function owner(
  machine: Machine,
  overrides: Overrides = {},
): Promise<{ engine: Engine; partition: PartitionApi }> {
  const engine = await open(machine, overrides);
  await clock.run(engine.createTopic("events", { partitions: 1 }));
  const partition = await partitionOf(engine);
  await clock.run(partition.append(values("warm"), { ack: "uploaded" }));
  return { engine, partition };
}

async function stored(machine: Machine): Promise<string[]> {
  const reader = await clock.run(machine.other().open({}, { readOnly: true }));
  engines.push(reader);
  return await clock.run(readAll(await partitionOf(reader)));
}

/** What a producer sent, and what it was told. */
interface Ledger {
  readonly sent: Set<string>;
  /** By offset. */
  readonly acked: Map<number, string>;
}

/**
 * A process that does a bit of everything and never closes: journaled and uploaded appends, a flush by size, an upload by time.
 * Notes what is acknowledged while it lives.
 */
async function life(machine: Machine, ledger: Ledger, name: string): Promise<void> {
  const engine = await machine.open({ flush: { lingerMs: 2 }, journal: { uploadIntervalMs: 1000 } });
  if (!(await engine.listTopics()).some((topic) => topic.name === "events")) {
    await engine.createTopic("events", { partitions: 1 });
  }
  const partition = (await engine.topic("events")).partition(0);
  const append = async (text: string, ack: "journaled" | "uploaded"): Promise<void> => {
    ledger.sent.add(text);
    try {
      const { firstOffset } = await partition.append(values(text), { ack });
      if (machine.isDead) return;
      if (ledger.acked.has(firstOffset)) throw new Error(`offset ${firstOffset} was given twice`);
      ledger.acked.set(firstOffset, text);
    } catch (error) {
      if (!machine.isDead) throw error;
    }
  };
  await append(`${name}.0`, "journaled");
  await Promise.all([
    append(`${name}.1`, "journaled"),
    append(`${name}.2`, "uploaded"),
    append(`${name}.3`, "journaled"),
  ]);
  await append(`${name}.4`, "journaled");
  await new Promise((resolve) => {
    clock.schedule(1500, () => resolve(undefined));
  });
  await append(`${name}.5`, "journaled");
  await append(`${name}.6`, "uploaded");
  await append(`${name}.7`, "journaled");
}

/** Runs it until it is done or cut off at its `cutAt`th call; true: cut off. */
async function runUntilCut(machine: Machine, work: Promise<unknown>): Promise<boolean> {
  await clock.run(
    Promise.race([
      work.catch((error: unknown) => {
        if (!machine.isDead) throw error;
      }),
      machine.death,
    ]),
  );
  const cut = machine.isDead;
  machine.kill();
  work.catch(() => undefined);
  return cut;
}

function check(texts: readonly string[], { sent, acked }: Ledger): void {
  expect(new Set(texts).size).toBe(texts.length);
  expect(texts.filter((text) => !sent.has(text))).toEqual([]);
  for (const [offset, text] of acked) expect(texts[offset]).toBe(text);
}

/** A start that brings everything to the store; what it finds. */
async function recovered(machine: Machine): Promise<{ texts: string[]; epoch: number }> {
  const engine = await clock.run(machine.open());
  await clock.run(engine.recover());
  if (!(await clock.run(engine.listTopics())).some(({ name }) => name === "events")) return { texts: [], epoch: 0 };
  const partition = await partitionOf(engine);
  const texts = await clock.run(readAll(partition));
  const { watermarks, epoch } = await clock.run(partition.inspect());
  expect(watermarks).toEqual({ start: 0, uploaded: texts.length, durable: texts.length, end: texts.length });
  expect(engine.metrics().journal).toMatchObject({ lagRecords: 0, liveFrames: 0 });
  machine.kill();
  return { texts, epoch };
}

describe("I7: the process is gone at any call of the store or the disk", () => {
  test("nothing acked is lost, nothing is there twice, whatever the call; and the next process goes on", async () => {
    const total = await (async () => {
      const machine = new Machine({ clock });
      await runUntilCut(machine, life(machine, { sent: new Set(), acked: new Map() }, "a"));
      return machine.calls;
    })();
    expect(total).toBeGreaterThan(60);
    let cuts = 0;
    for (let cutAt = 1; cutAt <= total; cutAt++) {
      const ledger: Ledger = { sent: new Set(), acked: new Map() };
      const machine = new Machine({ clock });
      machine.cutAt = cutAt;
      if (await runUntilCut(machine, life(machine, ledger, "a"))) cuts++;
      const next = machine.restarted();
      const { texts } = await recovered(next);
      check(texts, ledger);
      const third = next.restarted();
      await runUntilCut(third, life(third, ledger, "b"));
      check((await recovered(third.restarted())).texts, ledger);
      expect([...ledger.acked.values()].filter((text) => text.startsWith("b"))).toHaveLength(8);
    }
    expect(cuts).toBe(total);
  });

  test("recovery cut off at any call, and run again: the same result", async () => {
    /** The machine as it lies there after its process died with records in the journal and an upload in doubt. */
    const crashed = async (): Promise<{ machine: Machine; ledger: Ledger }> => {
      const ledger: Ledger = { sent: new Set(), acked: new Map() };
      const machine = new Machine({ clock });
      machine.weather = ({ operation, key }) =>
        // The last link lands, its answer does not come.
        operation === "put" && key.startsWith("index/") && ledger.acked.size >= 5 ? never() : "fine";
      await runUntilCut(
        machine,
        Promise.race([
          life(machine, ledger, "a"),
          new Promise((resolve) => {
            clock.schedule(5000, () => resolve(undefined));
          }),
        ]),
      );
      expect(ledger.acked.size).toBe(6);
      return { machine, ledger };
    };
    const { machine: plain, ledger } = await crashed();
    const expected = (await recovered(plain.restarted())).texts;
    check(expected, ledger);
    const recover = async (on: Machine): Promise<void> => {
      await (await on.open()).recover();
    };
    const whole = (await crashed()).machine.restarted();
    await runUntilCut(whole, recover(whole));
    expect(whole.calls).toBeGreaterThan(20);
    for (let cutAt = 1; cutAt <= whole.calls; cutAt++) {
      const probe = (await crashed()).machine.restarted();
      probe.cutAt = cutAt;
      expect(await runUntilCut(probe, recover(probe))).toBe(true);
      // And once more, as far as it comes.
      const second = probe.restarted();
      second.cutAt = Math.ceil(cutAt / 2);
      await runUntilCut(second, recover(second));
      const { texts } = await recovered(second.restarted());
      expect(texts).toEqual(expected);
    }
  });
});

describe("what a start finds", () => {
  test("ack_after_upload = true by now: the journal is replayed all the same, and emptied", async () => {
    const machine = new Machine({ clock });
    const { partition } = await owner(machine);
    await clock.run(partition.append(values("a", "b")));
    machine.kill();
    const next = machine.restarted();
    const uploading: Overrides = { storage: { object: { ackAfterUpload: true } } };
    const engine = await open(next, uploading);
    expect(engine.recoveryReports()).toMatchObject([{ outcome: "replayed", replayed: { records: 2 } }]);
    expect(await stored(next)).toEqual(["warm", "a", "b"]);
    await expect(clock.run((await partitionOf(engine)).append(values("c")))).resolves.toMatchObject({
      level: "uploaded",
      firstOffset: 3,
    });
    next.kill();
    // Nothing is left to be replayed, and a journal that comes into use again is no hindrance.
    const back = await open(next.restarted());
    expect(back.recoveryReports()).toEqual([]);
    await expect(clock.run((await partitionOf(back)).append(values("d")))).resolves.toMatchObject({ firstOffset: 4 });
  });

  test("after that, no disk counts as lost: every record is in the store", async () => {
    const machine = new Machine({ clock });
    const { partition } = await owner(machine);
    await clock.run(partition.append(values("a")));
    machine.kill();
    const next = machine.restarted();
    const engine = await open(next, { storage: { object: { ackAfterUpload: true } } });
    await clock.run((await partitionOf(engine)).append(values("b")));
    next.kill();
    const elsewhere = await open(next.other(), { storage: { object: { ackAfterUpload: true } } });
    await clock.run((await partitionOf(elsewhere)).append(values("c")));
    expect(elsewhere.recoveryReports()).toEqual([]);
  });

  test("the disk is lost: the first offsets that may be missing, and the time of the last commit", async () => {
    const machine = new Machine({ clock });
    const { engine, partition } = await owner(machine);
    await clock.run(engine.createTopic("other", { partitions: 2 }));
    await clock.advance(5000);
    await clock.run(partition.append(values("a"), { ack: "uploaded" }));
    const committedAt = clock.now();
    await clock.advance(1000);
    await clock.run(partition.append(values("gone")));
    machine.kill();
    const next = machine.other();
    const reopened = await open(next);
    // Opening takes nothing over: nothing is known yet.
    expect(reopened.recoveryReports()).toEqual([]);
    await expect(clock.run((await partitionOf(reopened)).append(values("b")))).resolves.toMatchObject({
      firstOffset: 2,
      epoch: 2,
    });
    const [report] = reopened.recoveryReports();
    expect(report).toMatchObject({ shard: 0, outcome: "disk-lost" });
    expect(report?.mayBeLost?.map(({ topic, partition: number, firstOffset }) => [topic, number, firstOffset])).toEqual(
      expect.arrayContaining([
        ["events", 0, 2],
        ["other", 0, 0],
        ["other", 1, 0],
      ]),
    );
    const lastCommit = new Date(report?.lastCommitAt ?? Number.NaN).getTime();
    expect(Math.abs(lastCommit - committedAt)).toBeLessThan(100);
    expect(next.logger.warnings.map(({ message }) => message)).toContain(
      "the last owner acknowledged from a journal that is not here: records may be lost",
    );
  });

  test("a shard that was released left nothing behind: no disk is reported lost", async () => {
    const machine = new Machine({ clock });
    const { engine, partition } = await owner(machine);
    await clock.run(partition.append(values("a")));
    await clock.run(engine.close());
    const next = await open(machine.other());
    await clock.run((await partitionOf(next)).append(values("b")));
    expect(next.recoveryReports()).toEqual([]);
  });

  test("C14 (b) the disk comes back after another node took over: set aside with its offsets, never replayed, for ever", async () => {
    const machine = new Machine({ clock });
    const { partition } = await owner(machine);
    await clock.run(partition.append(values("a", "b")));
    machine.kill();
    const other = await open(machine.other());
    await clock.run((await partitionOf(other)).append(values("x"), { ack: "uploaded" }));
    const back = machine.restarted();
    const engine = await open(back);
    expect(engine.recoveryReports()).toMatchObject([
      {
        shard: 0,
        outcome: "set-aside",
        setAside: { records: 2, partitions: [{ partition: 0, firstOffset: 1, nextOffset: 3, epochs: [1] }] },
      },
    ]);
    const file = engine.recoveryReports()[0]?.setAside?.file ?? "";
    expect(await back.disk.kind(file)).toBe("file");
    // A start takes nothing over from an owner that lives; the first append does.
    await clock.run((await partitionOf(other)).append(values("y"), { ack: "uploaded" }));
    await expect(
      clock.run((await partitionOf(engine)).append(values("z"), { ack: "uploaded" })),
    ).resolves.toMatchObject({ firstOffset: 3, epoch: 3 });
    expect(await stored(back)).toEqual(["warm", "x", "y", "z"]);
    back.kill();
    const again = await open(back.restarted());
    expect(again.recoveryReports()).toEqual([]);
    expect(await clock.run(readAll(await partitionOf(again)))).toEqual(["warm", "x", "y", "z"]);
  });

  test("C14 (b) setting aside cut off at any call, and run again: every acked record is in the chain or aside, once", async () => {
    let total = 1;
    for (let cutAt = 1; cutAt <= total; cutAt++) {
      const machine = new Machine({ clock });
      const { partition } = await owner(machine);
      await clock.run(partition.append(values("a", "b")));
      machine.kill();
      const other = await open(machine.other());
      await clock.run((await partitionOf(other)).append(values("x"), { ack: "uploaded" }));
      const back = machine.restarted();
      const resume = async (on: Machine): Promise<void> => {
        const engine = await on.open();
        await (await engine.topic("events")).partition(0).append(values("z"), { ack: "uploaded" });
      };
      if (cutAt > 1) back.cutAt = cutAt;
      const cut = await runUntilCut(back, resume(back));
      if (cutAt === 1) total = back.calls;
      expect(cut).toBe(cutAt > 1);
      const last = back.restarted();
      const engine = await open(last);
      const texts = await clock.run(readAll(await partitionOf(engine)));
      expect([
        ["warm", "x"],
        ["warm", "x", "z"],
      ]).toContainEqual(texts);
      const aside = (await last.disk.list(`${JOURNAL_PATH}/0000/aside`)).map(({ name }) => name);
      expect(aside.filter((name) => name.endsWith(".jrn"))).toHaveLength(1);
    }
    expect(total).toBeGreaterThan(20);
  });

  test("C14 (a) a crash behind the recovery's own fence: the second recovery still goes on with all frames", async () => {
    const machine = new Machine({ clock });
    const { partition } = await owner(machine);
    await clock.run(partition.append(values("a")));
    await clock.run(partition.append(values("b")));
    machine.kill();
    let at = machine;
    for (let epoch = 2; epoch <= 4; epoch++) {
      at = at.restarted();
      // The fence goes through; the flush behind it does not.
      let puts = 0;
      at.weather = ({ operation, key }) =>
        operation === "put" && key.startsWith("index/") && puts++ > 0 ? never() : "fine";
      const engine = await clock.run(at.open());
      expect(engine.recoveryReports()).toMatchObject([
        { outcome: "replayed", replayed: { frames: epoch, records: epoch } },
      ]);
      await expect(clock.run((await partitionOf(engine)).append(values(`epoch ${epoch}`)))).resolves.toMatchObject({
        epoch,
        firstOffset: epoch + 1,
      });
      at.kill();
    }
    expect((await recovered(at.restarted())).texts).toEqual(["warm", "a", "b", "epoch 2", "epoch 3", "epoch 4"]);
  });

  test("recover() tells how far it is, and what was found", async () => {
    const machine = new Machine({ clock });
    const { partition } = await owner(machine, { flush: { maxBytes: 64 * 1024 } });
    machine.weather = ({ operation }) => (operation === "put" ? never() : "fine");
    for (let i = 0; i < 20; i++) await clock.run(partition.append(values(`${i}`.padEnd(10_000, "."))));
    machine.kill();
    const engine = await open(machine.restarted(), {
      flush: { maxBytes: 64 * 1024 },
      journal: { catchUpRateBytes: 1024 * 1024 },
    });
    const progress: number[] = [];
    const reports = await clock.run(engine.recover(({ recordsUploaded }) => progress.push(recordsUploaded)));
    expect(reports).toMatchObject([{ outcome: "replayed", replayed: { frames: 20, records: 20 } }]);
    expect(progress.length).toBeGreaterThan(2);
    expect(progress).toEqual([...progress].sort((a, b) => a - b));
    expect((await stored(machine)).length).toBe(21);
  });
});

describe("a copy of the journal on another node (rule 11)", () => {
  /** Two machines whose disks hold the same journal, with "a" and "b" that are nowhere else. */
  async function twins(): Promise<[Machine, Machine]> {
    const machine = new Machine({ clock });
    const { partition } = await owner(machine);
    await clock.run(partition.append(values("a")));
    await clock.run(partition.append(values("b")));
    machine.kill();
    return [machine.restarted(), machine.other({ disk: machine.disk.afterKill() })];
  }

  test.each([
    ["the first", 0],
    ["the second", 1],
  ])("%s takes over first and goes on; the other sets aside, under a new id", async (_, first) => {
    const machines = await twins();
    const winner = machines[first as 0 | 1];
    const loser = machines[first === 0 ? 1 : 0];
    const winning = await open(winner);
    expect(winning.recoveryReports()).toMatchObject([{ outcome: "replayed", replayed: { records: 2 } }]);
    const losing = await open(loser);
    expect(losing.recoveryReports()).toMatchObject([
      { outcome: "set-aside", setAside: { records: 2, partitions: [{ firstOffset: 1, nextOffset: 3 }] } },
    ]);
    // The winner is not disturbed by a start.
    await expect(
      clock.run((await partitionOf(winning)).append(values("c"), { ack: "uploaded" })),
    ).resolves.toMatchObject({ epoch: 2, firstOffset: 3 });
    // An append on the other node takes over; what it journals now is its own, and survives a crash there.
    await expect(clock.run((await partitionOf(losing)).append(values("d")))).resolves.toMatchObject({
      epoch: 3,
      firstOffset: 4,
    });
    loser.kill();
    expect((await recovered(loser.restarted())).texts).toEqual(["warm", "a", "b", "c", "d"]);
    // The winner hears of it at its next commit, and nothing of it is replayed over the newer epoch.
    await expect(
      clock.run((await partitionOf(winning)).append(values("e"), { ack: "uploaded" })),
    ).rejects.toMatchObject({ code: "TIERLOG_FENCED" });
    expect(await stored(loser)).toEqual(["warm", "a", "b", "c", "d"]);
  });

  test("both at once: one goes on, the other is fenced or sets aside; every record is there once", async () => {
    for (let seed = 0; seed < 10; seed++) {
      const machines = await twins();
      // Their requests interleave differently each time.
      for (const [i, machine] of machines.entries()) {
        let count = 0;
        machine.weather = async (): Promise<Weather> => {
          for (let turn = (seed * 7 + i * 3 + count++) % 5; turn > 0; turn--) await Promise.resolve();
          return "fine";
        };
      }
      const outcomes = await clock.run(Promise.allSettled(machines.map((machine) => machine.open())));
      const opened = outcomes.flatMap((outcome) => (outcome.status === "fulfilled" ? [outcome.value] : []));
      engines.push(...opened);
      expect(opened.length).toBeGreaterThan(0);
      const appended = await clock.run(
        Promise.allSettled(
          opened.map(async (engine, i) =>
            (await engine.topic("events")).partition(0).append(values(`new ${i}`), { ack: "uploaded" }),
          ),
        ),
      );
      const acked = appended.filter(({ status }) => status === "fulfilled").length;
      expect(acked).toBeGreaterThan(0);
      const texts = await stored(machines[0]);
      expect(texts.slice(0, 3)).toEqual(["warm", "a", "b"]);
      expect(new Set(texts).size).toBe(texts.length);
      expect(texts.length).toBeGreaterThanOrEqual(3 + acked);
    }
  });

  test("the fence bears our id but none of our writeIds, and there is nothing to replay: the id is renewed all the same", async () => {
    const machine = new Machine({ clock });
    const { engine } = await owner(machine);
    await clock.run(engine.flush());
    const copy = machine.other({ disk: machine.disk.afterKill() });
    machine.kill();
    const again = machine.restarted();
    const original = await open(again);
    await clock.run((await partitionOf(original)).append(values("only here")));
    again.kill();
    // The copy knows nothing of the original's second turn.
    const copied = await open(copy);
    await expect(clock.run((await partitionOf(copied)).append(values("x")))).resolves.toMatchObject({ epoch: 3 });
    expect(copied.recoveryReports()).toMatchObject([{ outcome: "disk-lost", mayBeLost: [{ firstOffset: 1 }] }]);
    await clock.run(copied.flush());
    const back = await open(again.restarted());
    expect(back.recoveryReports()).toMatchObject([{ outcome: "set-aside", setAside: { records: 1 } }]);
    expect(await stored(copy)).toEqual(["warm", "x"]);
  });
});

function never<T>(): Promise<T> {
  return new Promise(() => undefined);
}
