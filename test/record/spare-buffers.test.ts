import { describe, expect, test } from "vitest";

import { asBatch, giveBack, lend, recycle, takeBuffer, takeForBatch } from "../../src/record/spare-buffers.ts";

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
  expect(taken.filter((buffer) => again.has(buffer)).length).toBeLessThanOrEqual(32);
  expect(taken.filter((buffer) => again.has(buffer)).length).toBeGreaterThan(8);
});

describe("the memory of batches", () => {
  const BYTES = 5 * MIB + 4321;

  test("serves the next batch of about its size once it is recycled, and is no more than an eighth larger", () => {
    const first = takeForBatch(BYTES);
    expect([first.length, first.buffer.byteLength <= BYTES * 1.125]).toEqual([BYTES, true]);
    recycle(first);
    const second = takeForBatch(BYTES - 4000);
    const third = takeForBatch(BYTES);
    expect([second.buffer === first.buffer, third.buffer === first.buffer]).toEqual([true, false]);
  });

  test("is left alone once it was lent, or a view of it", () => {
    const first = takeForBatch(BYTES);
    lend(first.subarray(10, 20));
    recycle(first);
    expect(takeForBatch(BYTES).buffer === first.buffer).toBe(false);
  });

  test("comes back once, however often it is recycled", () => {
    const first = takeForBatch(BYTES);
    recycle(first);
    recycle(first);
    const again = [takeForBatch(BYTES), takeForBatch(BYTES)];
    expect(again.filter(({ buffer }) => buffer === first.buffer)).toHaveLength(1);
  });

  test("that was never made for a batch is not taken", () => {
    const own = new Uint8Array(8 * MIB);
    recycle(own);
    expect(takeBuffer(8 * MIB).buffer === own.buffer).toBe(false);
  });

  test("may be that of an open batch where it is nearly full", () => {
    const buffer = takeBuffer(8 * MIB);
    expect(asBatch(buffer, 4 * MIB)).toBeUndefined();
    const batch = asBatch(buffer, 8 * MIB - 1);
    expect([batch?.length, batch?.buffer === buffer.buffer]).toEqual([8 * MIB - 1, true]);
    recycle(batch ?? new Uint8Array(0));
    expect(takeBuffer(8 * MIB) === buffer).toBe(true);
  });

  test("of a size that nobody wants any more makes room for one that is wanted", () => {
    for (const buffer of Array.from({ length: 40 }, () => takeBuffer(MIB))) giveBack(buffer);
    const batch = takeForBatch(3 * MIB);
    recycle(batch);
    expect(takeForBatch(3 * MIB).buffer === batch.buffer).toBe(true);
  });
});
