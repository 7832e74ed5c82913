import { expect, test } from "vitest";

import { nextTurn } from "../../src/runtime/turn.ts";

/** Runs three tasks side by side that give way before each of their steps; in which turn each step was, in order. */
async function sideBySide(steps: number, step: () => void): Promise<[task: string, turn: number][]> {
  let turn = 0;
  let counting = true;
  const count = (): void => {
    turn += 1;
    if (counting) setImmediate(count);
  };
  setImmediate(count);
  const done: [string, number][] = [];
  const task = async (name: string): Promise<void> => {
    for (let i = 0; i < steps; i++) {
      await nextTurn();
      step();
      done.push([name, turn]);
    }
  };
  await Promise.all([task("a"), task("b"), task("c")]);
  counting = false;
  return done;
}

test("those that wait go on first come first served; a step that takes long has a turn for itself", async () => {
  const done = await sideBySide(3, () => {
    const beganMs = performance.now();
    while (performance.now() < beganMs + 1);
  });
  expect(done.map(([name]) => name).join("")).toBe("abcabcabc");
  expect(new Set(done.map(([, turn]) => turn)).size).toBe(9);
});

test("short steps share turns", async () => {
  const done = await sideBySide(3000, () => undefined);
  expect(done.map(([name]) => name).join("")).toBe("abc".repeat(3000));
  const turns = new Set(done.map(([, turn]) => turn)).size;
  expect(turns).toBeLessThan(9000);
  expect(turns).toBeGreaterThan(1);
});
