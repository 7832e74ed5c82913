import { expect, test } from "vitest";

import { giveBack, takeBuffer, takeMemory } from "../../src/record/spare-buffers.ts";

const MIB = 1024 * 1024;

test("a buffer that was given back serves the next taker of its size, and only one", () => {
  const first = takeBuffer(3 * MIB - 1);
  expect(first.length).toBe(3 * MIB);
  giveBack(first);
  // By identity: the matchers would compare and print megabytes.
  const second = takeBuffer(3 * MIB - 5);
  const third = takeBuffer(3 * MIB - 5);
  expect([second === first, third === first]).toEqual([true, false]);
});

test("from 1 KiB on a buffer is at most an eighth longer than asked for", () => {
  for (let bytes = 1024; bytes < 16 * MIB; bytes = Math.ceil(bytes * 1.01)) {
    const { length } = takeBuffer(bytes);
    expect(length).toBeGreaterThanOrEqual(bytes);
    expect(length).toBeLessThanOrEqual(bytes * 1.125);
  }
});

test("memory has the size that was asked for; tiny memory is not given back", () => {
  const { bytes, spare } = takeMemory(5000);
  expect([bytes.length, spare?.buffer === bytes.buffer]).toEqual([5000, true]);
  const tiny = takeMemory(130);
  expect([tiny.bytes.buffer.byteLength, tiny.spare]).toEqual([130, undefined]);
});

test("what is kept is bounded", () => {
  const taken = Array.from({ length: 80 }, () => takeBuffer(MIB));
  for (const buffer of taken) giveBack(buffer);
  const again = new Set(Array.from({ length: 80 }, () => takeBuffer(MIB)));
  expect(taken.filter((buffer) => again.has(buffer)).length).toBe(64);
});

test("sizes that are no longer used make room for those that are", () => {
  for (const buffer of Array.from({ length: 80 }, () => takeBuffer(MIB))) giveBack(buffer);
  const taken = Array.from({ length: 10 }, () => takeBuffer(2 * MIB));
  for (const buffer of taken) giveBack(buffer);
  const again = new Set(Array.from({ length: 10 }, () => takeBuffer(2 * MIB)));
  expect(taken.filter((buffer) => again.has(buffer)).length).toBe(10);
});
