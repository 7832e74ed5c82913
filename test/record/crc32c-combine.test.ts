import { randomBytes } from "node:crypto";

import * as fc from "fast-check";
import { expect, test } from "vitest";

import { batchCrc32c } from "../../src/record/batch-header.ts";
import { combineCrc32c } from "../../src/record/crc32c-combine.ts";
import { crc32c } from "../../src/record/crc32c.ts";
import { batchOf } from "./support.ts";

test("is the CRC of both together, whatever they are", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.uint8Array({ maxLength: 5000 }), (a, b) => {
      expect(combineCrc32c(crc32c(a), crc32c(b), b.length)).toBe(crc32c(b, crc32c(a)));
    }),
  );
});

test("of three it does not matter which two are combined first", () => {
  const crc = fc.integer({ min: 0, max: 0xffff_ffff });
  const length = fc.integer({ min: 0, max: 2 ** 50 });
  fc.assert(
    fc.property(crc, crc, length, crc, length, (a, b, bytesB, c, bytesC) => {
      const left = combineCrc32c(combineCrc32c(a, b, bytesB), c, bytesC);
      expect(left).toBe(combineCrc32c(a, combineCrc32c(b, c, bytesC), bytesB + bytesC));
    }),
  );
});

test("large pieces", () => {
  const whole = Buffer.alloc(9 * 1024 * 1024 + 17, "0123456789abcdefghi");
  const at = 5 * 1024 * 1024 + 3;
  const [a, b] = [whole.subarray(0, at), whole.subarray(at)];
  expect(combineCrc32c(crc32c(a), crc32c(b), b.length)).toBe(crc32c(whole));
});

test.each(["none", "lz4"] as const)("of a batch, from the one that it carries: %s", async (compression) => {
  for (const size of [1, 600, 70_000, 300_000]) {
    const { bytes } = await batchOf([{ value: randomBytes(size) }, { value: null }], { compression });
    // What costs as much as reading the bytes is not given.
    expect(batchCrc32c(bytes)).toBe(size < 32 * 1024 ? undefined : crc32c(bytes));
  }
});
