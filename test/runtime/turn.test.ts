import { expect, test } from "vitest";

import { nextTurn } from "../../src/runtime/turn.ts";

test("one of those that wait goes on in each turn, first come first served", async () => {
  let turn = 0;
  let counting = true;
  const count = (): void => {
    turn += 1;
    if (counting) setImmediate(count);
  };
  setImmediate(count);
  const steps: [string, number][] = [];
  const task = async (name: string): Promise<void> => {
    for (let i = 0; i < 3; i++) {
      await nextTurn();
      steps.push([name, turn]);
    }
  };
  await Promise.all([task("a"), task("b"), task("c")]);
  counting = false;
  expect(steps.map(([name]) => name).join("")).toBe("abcabcabc");
  expect(new Set(steps.map(([, inTurn]) => inTurn)).size).toBe(9);
});
