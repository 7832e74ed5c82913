import { describe, expect, test } from "vitest";

import {
  asMemory,
  FlushMemory,
  giveBack,
  heldBytes,
  lend,
  recycle,
  takeBuffer,
  takeMemory,
} from "../../src/record/spare-buffers.ts";

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

test("from 1 KiB on a buffer is at most twice as long as asked for, and memory of a batch half as long again", () => {
  for (const length of [1, 1.3, 1.9, 2.6, 3.5]) giveBack(takeBuffer(length * MIB));
  for (let bytes = 16 * 1024; bytes < 4 * MIB; bytes = Math.ceil(bytes * 1.01)) {
    const buffer = takeBuffer(bytes);
    const memory = takeMemory(bytes);
    expect(buffer.length).toBeGreaterThanOrEqual(bytes);
    expect(buffer.length).toBeLessThanOrEqual(bytes * 2);
    expect(heldBytes(memory)).toBe(memory.buffer.byteLength);
    expect(heldBytes(memory)).toBeLessThanOrEqual(bytes * 1.5);
    giveBack(buffer);
    recycle(memory);
  }
});

test("what is kept is bounded", () => {
  const taken = Array.from({ length: 80 }, () => takeBuffer(MIB));
  for (const buffer of taken) giveBack(buffer);
  const again = new Set(Array.from({ length: 80 }, () => takeBuffer(MIB)));
  expect(taken.filter((buffer) => again.has(buffer)).length).toBe(64);
});

describe("the memory of batches", () => {
  const BYTES = 5 * MIB + 4321;

  test("serves the next batch of about its size once it is recycled, and is no more than half as large again", () => {
    const first = takeMemory(BYTES);
    expect([first.length, first.buffer.byteLength <= BYTES * 1.5]).toEqual([BYTES, true]);
    recycle(first);
    const second = takeMemory(BYTES - 4000);
    const third = takeMemory(BYTES);
    expect([second.buffer === first.buffer, third.buffer === first.buffer]).toEqual([true, false]);
  });

  test("is left alone once it was lent, or a view of it", () => {
    const first = takeMemory(BYTES);
    lend(first.subarray(10, 20));
    recycle(first);
    expect(takeMemory(BYTES).buffer === first.buffer).toBe(false);
  });

  test("comes back once, however often it is recycled", () => {
    const first = takeMemory(BYTES);
    recycle(first);
    recycle(first);
    const again = [takeMemory(BYTES), takeMemory(BYTES)];
    expect(again.filter(({ buffer }) => buffer === first.buffer)).toHaveLength(1);
  });

  test("that was never made for a batch is not taken", () => {
    const own = new Uint8Array(8 * MIB);
    recycle(own);
    expect(takeBuffer(8 * MIB).buffer === own.buffer).toBe(false);
  });

  test("may be that of an open batch where it is nearly full", () => {
    const buffer = takeBuffer(8 * MIB);
    expect(asMemory(buffer, 4 * MIB)).toBeUndefined();
    const batch = asMemory(buffer, 8 * MIB - 1);
    expect([batch?.length, batch?.buffer === buffer.buffer]).toEqual([8 * MIB - 1, true]);
    recycle(batch ?? new Uint8Array(0));
    expect(takeBuffer(8 * MIB) === buffer).toBe(true);
  });

  test("of a size that nobody wants any more makes room for one that is wanted", () => {
    for (const buffer of Array.from({ length: 80 }, () => takeBuffer(MIB))) giveBack(buffer);
    const batch = takeMemory(3 * MIB);
    recycle(batch);
    expect(takeMemory(3 * MIB).buffer === batch.buffer).toBe(true);
  });

  test("of one flush is shared by its small batches, and none of it is given to somebody who may keep it", () => {
    const memory = new FlushMemory();
    const batches = Array.from({ length: 300 }, (_, i) => memory.take(100 + i).fill(i % 251));
    expect(
      batches.map((batch, i) => batch.length === 100 + i && batch.every((byte) => byte === i % 251)),
    ).not.toContain(false);
    const pieces = new Set(batches.map(({ buffer }) => buffer));
    const heldMost = [...pieces].reduce((sum, { byteLength }) => sum + byteLength, 0);
    expect(pieces.size).toBeLessThan(15);
    expect(heldMost).toBeLessThan(2 * batches.reduce((sum, { length }) => sum + length, 0));
    const last = batches.at(-1) ?? new Uint8Array(0);
    const lent = lend(last);
    expect([lent.buffer.byteLength, Buffer.compare(lent, last)]).toEqual([399, 0]);
    recycle(last);
    expect(batches.map((batch, i) => batch[0] === i % 251)).not.toContain(false);
  });

  test("of a flush of one small batch is its own", () => {
    const batch = new FlushMemory().take(1000);
    expect(batch.buffer.byteLength).toBe(1000);
    expect(lend(batch)).toBe(batch);
  });

  test("of a large batch of a flush serves another batch once it is recycled", () => {
    const batch = new FlushMemory().take(BYTES);
    recycle(batch);
    expect(takeMemory(BYTES).buffer === batch.buffer).toBe(true);
  });
});
