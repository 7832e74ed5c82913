import { expect, test } from "vitest";

import { systemClock, type Clock } from "../../src/runtime/clock.ts";
import { Admission } from "../../src/shard/admission.ts";
import { Cluster, testConfig, values } from "../support/engine.ts";

/** An admission of 10 bytes, all of them taken. */
function full(maxWaitMs: number, clock: Clock = systemClock): Admission {
  const admission = new Admission({ clock, maxBytes: 10, maxWaitMs });
  admission.enter(
    10,
    () => undefined,
    () => undefined,
  );
  return admission;
}

test("those who leave as soon as they are let in do not exhaust the stack", () => {
  const admission = full(60_000);
  const granted: number[] = [];
  for (let i = 0; i < 20_000; i++) {
    admission.enter(
      10,
      () => {
        granted.push(i);
        admission.leave(10);
      },
      () => undefined,
    );
  }
  admission.leave(10);
  expect(granted).toEqual(Array.from({ length: 20_000 }, (_, i) => i));
  expect(admission.pendingBytes).toBe(0);
});

test("closing with thousands of appends that wait for room settles every one", async () => {
  const cluster = new Cluster();
  const engine = await cluster.open(
    testConfig({ flush: { lingerMs: 60_000, maxBytes: 4000, maxPendingBytes: 4000, maxWaitMs: 60_000 } }),
  );
  await engine.createTopic("events", { partitions: 1 });
  const partition = (await engine.topic("events")).partition(0);
  const appends = [partition.append(values("x".repeat(3900)))];
  for (let i = 0; i < 20_000; i++) appends.push(partition.append(values("y".repeat(100))));
  const [outcomes] = await Promise.all([Promise.allSettled(appends), engine.close()]);
  const refused = outcomes.filter((outcome) => outcome.status === "rejected");
  expect(refused).toHaveLength(20_000);
  for (const { reason } of refused) if (reason.code !== "TIERLOG_CLOSED" || reason.effect !== "none") throw reason;
  expect(engine.metrics().pendingBytes).toBe(0);
});

test("200,000 that time out in one turn do not block the event loop for seconds", () => {
  const count = 200_000;
  const timers: (() => void)[] = [];
  const clock = {
    now: () => 0,
    monotonic: () => 0,
    schedule: (_: number, callback: () => void) => {
      timers.push(callback);
      return { cancel: () => undefined };
    },
  };
  const admission = full(1000, clock);
  let refused = 0;
  for (let i = 0; i < count; i++) {
    admission.enter(
      10,
      () => undefined,
      () => refused++,
    );
  }
  const startedAt = performance.now();
  for (const timeout of timers) timeout();
  // About 1 s, most of it for making errors; 13 s where each one that leaves walks the queue.
  expect(performance.now() - startedAt).toBeLessThan(8000);
  expect(refused).toBe(count);
});

test("those behind one that gave up go in order, as soon as they fit", () => {
  const admission = full(60_000);
  const log: string[] = [];
  const enter = (name: string, bytes: number, signal?: AbortSignal): void =>
    admission.enter(
      bytes,
      () => log.push(name),
      () => log.push(`${name} refused`),
      signal,
    );
  const stop = new AbortController();
  admission.leave(5);
  enter("large", 10, stop.signal);
  enter("a", 2);
  enter("b", 3);
  enter("c", 1);
  expect(log).toEqual([]);
  stop.abort();
  expect(log).toEqual(["large refused", "a", "b"]);
  enter("d", 0);
  expect(log).toHaveLength(3);
  admission.leave(2);
  expect(log.slice(3)).toEqual(["c", "d"]);
  enter("e", 1);
  expect(log.slice(5)).toEqual(["e"]);
  expect(admission.pendingBytes).toBe(10);
});
