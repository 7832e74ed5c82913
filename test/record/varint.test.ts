import * as fc from "fast-check";
import { expect, test } from "vitest";

import { CorruptionError } from "../../src/errors.ts";
import { sizeOfVarint, sizeOfVarlong, VarintReader, writeVarint, writeVarlong } from "../../src/record/varint.ts";
import { problemsAt } from "../../src/record/where.ts";
import { unlessCorrupt, WHERE } from "./support.ts";

const reader = (bytes: Uint8Array | string): VarintReader => {
  const buffer = typeof bytes === "string" ? Buffer.from(bytes, "hex") : Buffer.from(bytes);
  return new VarintReader(buffer, 0, buffer.length, problemsAt(WHERE));
};

/** The definition, with BigInt: an independent second opinion. */
function zigzag64(value: number): string {
  let bits = BigInt.asUintN(64, (BigInt(value) << 1n) ^ (BigInt(value) >> 63n));
  let text = "";
  for (; bits > 0x7fn; bits >>= 7n)
    text += Number((bits & 0x7fn) | 0x80n)
      .toString(16)
      .padStart(2, "0");
  return text + Number(bits).toString(16).padStart(2, "0");
}

const edges = [6, 7, 13, 14, 20, 21, 27, 28, 31, 32, 34, 35, 41, 42, 48, 49, 52].flatMap((n) => [
  2 ** n - 1,
  2 ** n,
  2 ** n + 1,
  -(2 ** n) - 1,
  -(2 ** n),
  -(2 ** n) + 1,
]);
const safe = fc.oneof(fc.maxSafeInteger(), fc.integer(), fc.constantFrom(0, -1, ...edges));
const extremes = [Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER, 0, -1, 1, ...edges];

test("varlongs are what the definition says, for all safe integers", () => {
  const check = (value: number): void => {
    const bytes = Buffer.alloc(16, 0xee);
    const end = writeVarlong(bytes, 2, value);
    expect(bytes.subarray(2, end).toString("hex")).toBe(zigzag64(value));
    expect(sizeOfVarlong(value)).toBe(end - 2);
    expect(bytes[end]).toBe(0xee);
    expect(reader(bytes.subarray(2, end)).varlong("it")).toBe(value);
  };
  for (const value of extremes) check(value);
  fc.assert(fc.property(safe, check), { numRuns: 5000 });
});

test("varints are what the definition says, for all 32-bit numbers", () => {
  const check = (value: number): void => {
    const bytes = Buffer.alloc(8, 0xee);
    const end = writeVarint(bytes, 1, value);
    expect(bytes.subarray(1, end).toString("hex")).toBe(zigzag64(value));
    expect(sizeOfVarint(value)).toBe(end - 1);
    expect(bytes[end]).toBe(0xee);
    expect(reader(bytes.subarray(1, end)).varint("it")).toBe(value);
  };
  for (const value of [...extremes.filter((edge) => edge === (edge | 0)), 0x7fff_ffff, -0x8000_0000]) check(value);
  fc.assert(fc.property(fc.integer(), check), { numRuns: 5000 });
});

test.each([
  ["", "cut off"],
  ["80", "cut off"],
  ["80808080", "cut off"],
  ["808080808000", "no 32-bit varint"],
  ["ffffffff1f", "no 32-bit varint"],
  ["ffffffffffffffffff01", "no 32-bit varint"],
])("varint %s is refused: %s", (bytes, message) => {
  expect(() => reader(bytes).varint("a length")).toThrow(message);
  expect(() => reader(bytes).varint("a length")).toThrow(CorruptionError);
});

test.each([
  ["", "cut off"],
  ["ffffffffffffffffff", "cut off"],
  ["8080808080808080808000", "no 64-bit varint"],
  // 2^63 − 1 and the first number beyond the safe ones.
  ["feffffffffffffffff01", "no safe integer"],
  [zigzag64(2 ** 53), "no safe integer"],
  [zigzag64(-(2 ** 53)), "no safe integer"],
])("varlong %s is refused: %s", (bytes, message) => {
  expect(() => reader(bytes).varlong("a delta")).toThrow(message);
  expect(() => reader(bytes).varlong("a delta")).toThrow(CorruptionError);
});

test("a padded zero is read, as Kafka reads it", () => {
  expect(reader("8000").varint("it")).toBe(0);
  expect(reader("8080808000").varint("it")).toBe(0);
  expect(reader("80808080808080808000").varlong("it")).toBe(0);
});

test("any bytes give a number in range or a CorruptionError, and never a position beyond the end", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 14 }), fc.boolean(), (bytes, long) => {
      const input = reader(bytes);
      const value = unlessCorrupt(() => (long ? input.varlong("it") : input.varint("it"))) ?? 0;
      expect(long ? Number.isSafeInteger(value) : value === (value | 0)).toBe(true);
      expect(input.position).toBeLessThanOrEqual(bytes.length);
    }),
    { numRuns: 5000 },
  );
});
