import { expect, test } from "vitest";

import { giveBack, takeBuffer } from "../../src/record/spare-buffers.ts";

const MIB = 1024 * 1024;

test("a buffer that was given back serves the next taker of its size, and only one", () => {
  const first = takeBuffer(3 * MIB);
  expect(first.length).toBe(4 * MIB);
  giveBack(first);
  // By identity: the matchers would compare and print megabytes.
  const second = takeBuffer(2 * MIB + 1);
  const third = takeBuffer(2 * MIB + 1);
  expect([second === first, third === first]).toEqual([true, false]);
});

test("what is kept is bounded", () => {
  const taken = Array.from({ length: 40 }, () => takeBuffer(MIB));
  for (const buffer of taken) giveBack(buffer);
  const again = new Set(Array.from({ length: 40 }, () => takeBuffer(MIB)));
  expect(taken.filter((buffer) => again.has(buffer)).length).toBeLessThanOrEqual(16);
  expect(taken.filter((buffer) => again.has(buffer)).length).toBeGreaterThan(8);
});
