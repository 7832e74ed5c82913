import { describe, expect, test } from "vitest";

import { availableThreads, startWorkerThreads, type WorkerThreads } from "../../src/runtime/worker-threads.ts";

interface Task {
  readonly value: number;
  readonly end?: "exit" | "throw" | "never";
  readonly bytes?: Uint8Array;
}
interface Result {
  readonly doubled: number;
}

const start = (threads: number, module = "doubles"): Promise<WorkerThreads<Task, Result>> =>
  startWorkerThreads<Task, Result>(new URL(`./threads/${module}.mjs`, import.meta.url), threads);

const outcomes = async (runs: readonly Promise<Result>[]): Promise<(number | string)[]> =>
  (await Promise.allSettled(runs)).map((run) =>
    run.status === "fulfilled" ? run.value.doubled : (run.reason as Error).message,
  );

test("a machine has at least one thread", () => {
  expect(availableThreads()).toBeGreaterThanOrEqual(1);
});

describe("tasks", () => {
  test("more than there are threads: each has its own result", async () => {
    await using threads = await start(2);
    const values = Array.from({ length: 50 }, (_, value) => value);
    expect(await outcomes(values.map((value) => threads.run({ value })))).toEqual(values.map((value) => value * 2));
    expect(threads.threads).toBe(2);
  });

  test("shared memory is not copied, other memory is", async () => {
    await using threads = await start(1);
    const [shared, own] = [new Uint8Array(new SharedArrayBuffer(3)), new Uint8Array(3)];
    await threads.run({ value: 1, bytes: shared });
    await threads.run({ value: 1, bytes: own });
    expect([[...shared], [...own]]).toEqual([
      [1, 1, 1],
      [0, 0, 0],
    ]);
  });

  test("one that throws rejects; its thread goes on", async () => {
    await using threads = await start(1);
    expect(await outcomes([threads.run({ value: 1, end: "throw" }), threads.run({ value: 2 })])).toEqual(["no", 4]);
  });

  test("F44 a thread that dies rejects its task and no other; another takes its place, again and again", async () => {
    await using threads = await start(1);
    for (let round = 0; round < 3; round++) {
      const runs = [threads.run({ value: 1 }), threads.run({ value: 2, end: "exit" }), threads.run({ value: 3 })];
      // What was queued behind it waits for the next thread, which a task to come may have to start.
      const next = threads.run({ value: 4 });
      expect(await outcomes([...runs, next])).toEqual([2, "worker exited with code: 1", 6, 8]);
    }
  });
});

test.each([
  ["exits-at-once", "no worker thread is left"],
  ["throws-at-once", "cannot be loaded"],
  ["is-not-there", "Cannot find module"],
])("threads that cannot start (%s): every task rejects, those that wait and those to come", async (module, problem) => {
  await using threads = await start(2, module);
  const messages = await outcomes(Array.from({ length: 5 }, (_, value) => threads.run({ value })));
  expect(messages).toHaveLength(5);
  expect(messages.every((message) => typeof message === "string")).toBe(true);
  await expect(threads.run({ value: 1 })).rejects.toThrow(problem);
});

test("close ends what never ends", async () => {
  const threads = await start(1);
  const ended = outcomes([threads.run({ value: 1, end: "never" }), threads.run({ value: 2 })]);
  await threads.close();
  const closed = "the worker threads are closed";
  expect(await ended).toEqual([closed, closed]);
  await expect(threads.run({ value: 1 })).rejects.toThrow(closed);
});
