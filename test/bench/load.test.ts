import { expect, test } from "vitest";

import { Latencies } from "../../src/bench/latencies.ts";
import { closedLoop, openLoop, type LoadOptions } from "../../src/bench/load.ts";
import type { PartitionApi } from "../../src/engine/api.ts";
import { VirtualClock } from "../support/virtual-clock.ts";

interface Rig {
  readonly clock: VirtualClock;
  readonly latencies: Latencies;
  readonly appended: number[];
  readonly stop: AbortController;
  readonly options: LoadOptions;
}

/** A partition whose acks take `ackMs` of the nth append. */
function rig(ackMs: (n: number) => number, seconds: number): Rig {
  const clock = new VirtualClock();
  const latencies = new Latencies();
  const appended: number[] = [];
  const stop = new AbortController();
  const append = (): Promise<unknown> => {
    const ms = ackMs(appended.push(clock.monotonic()));
    if (ms < 0) return Promise.reject(new Error("no room"));
    return new Promise((resolve) => clock.schedule(ms, () => resolve({})));
  };
  const partitions = [{ append } as unknown as PartitionApi];
  const values = [Buffer.alloc(100)];
  const options: LoadOptions = {
    partitions,
    values,
    ack: "uploaded",
    seconds,
    clock,
    signal: stop.signal,
    latencies,
  };
  return { clock, latencies, appended, stop, options };
}

test("closed loop: each producer sends its next record after its last ack", async () => {
  const { clock, latencies, options } = rig(() => 100, 1);
  const result = await clock.run(closedLoop(options, 3));
  expect(result).toEqual({ records: 30, bytes: 3000, seconds: 1, unsent: 0 });
  expect([latencies.percentile(1), latencies.percentile(100)].map(Math.round)).toEqual([100, 100]);
});

test("open loop: all records of the time are sent, each at its own", async () => {
  const { clock, latencies, appended, options } = rig(() => 10, 1);
  const result = await clock.run(openLoop(options, { perSecond: 200, waitingMax: 50 }));
  expect([result.records, result.unsent, appended.length]).toEqual([200, 0, 200]);
  expect(appended[100]).toBe(500);
  expect([50, 90].map((percent) => Math.round(latencies.percentile(percent)))).toEqual([10, 10]);
});

test("open loop: a stall counts for every record that was due in it", async () => {
  // One append at a time, and the first takes half of the time: a closed loop would report one slow ack.
  const { clock, latencies, options } = rig((n) => (n === 1 ? 500 : 0), 1);
  const result = await clock.run(openLoop(options, { perSecond: 100, waitingMax: 1 }));
  expect(result.records + result.unsent).toBe(100);
  const late = [50, 90].map((percent) => latencies.percentile(percent));
  expect(late[0]).toBeGreaterThan(20);
  expect(late[1]).toBeGreaterThan(300);
});

test("open loop: what could not be sent by the end is told", async () => {
  const { clock, options } = rig(() => 400, 1);
  expect(await clock.run(openLoop(options, { perSecond: 100, waitingMax: 10 }))).toMatchObject({
    records: 30,
    unsent: 70,
  });
});

test.each(["closed", "open"])("%s loop: the first failure ends it, after the others have settled", async (loop) => {
  const { clock, appended, options } = rig((n) => (n === 5 ? -1 : 50), 10);
  const run = loop === "closed" ? closedLoop(options, 4) : openLoop(options, { perSecond: 100, waitingMax: 100 });
  await expect(clock.run(run)).rejects.toThrow("no room");
  expect(appended.length).toBeLessThan(20);
});

test.each(["closed", "open"])("%s loop: a signal ends it", async (loop) => {
  const { clock, appended, options, stop } = rig(() => 50, 10);
  clock.schedule(120, () => stop.abort(new Error("Ctrl-C")));
  const run = loop === "closed" ? closedLoop(options, 1) : openLoop(options, { perSecond: 20, waitingMax: 100 });
  await expect(clock.run(run)).rejects.toMatchObject({ kind: "aborted" });
  expect(appended).toHaveLength(3);
});
