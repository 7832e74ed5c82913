import { expect, test } from "vitest";

import { AppendWindow } from "../../src/cli/append-window.ts";

function deferred(): { promise: Promise<void>; resolve: () => void; reject: (error: Error) => void } {
  let resolve = (): void => undefined;
  let reject: (error: Error) => void = () => undefined;
  const promise = new Promise<void>((onDone, onError) => {
    resolve = onDone;
    reject = onError;
  });
  return { promise, resolve, reject };
}

async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  const open = Symbol("open");
  await new Promise((resolve) => setImmediate(resolve));
  return (await Promise.race([promise.catch(() => undefined), Promise.resolve(open)])) !== open;
}

test.each([
  ["bytes", { maxBytes: 10, maxAppends: 100 }],
  ["appends", { maxBytes: 1000, maxAppends: 1 }],
])("waits for room in %s", async (_, limits) => {
  const window = new AppendWindow(limits);
  const first = deferred();
  await window.room();
  window.add(10, first.promise);
  const room = window.room();
  expect(await isSettled(room)).toBe(false);
  first.resolve();
  await room;
});

test("tells the first error, once everything is settled", async () => {
  const window = new AppendWindow({ maxBytes: 1000, maxAppends: 100 });
  const [first, second] = [deferred(), deferred()];
  window.add(1, first.promise);
  window.add(1, second.promise);
  second.reject(new Error("second"));
  await isSettled(second.promise);
  await expect(window.room()).rejects.toThrow("second");
  const drained = window.drain();
  expect(await isSettled(drained)).toBe(false);
  first.reject(new Error("first"));
  await expect(drained).rejects.toThrow("second");
});

test("has nothing to wait for when empty", async () => {
  const window = new AppendWindow({ maxBytes: 1, maxAppends: 1 });
  await expect(Promise.all([window.room(), window.drain()])).resolves.toBeDefined();
});
