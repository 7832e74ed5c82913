import { crc32c as native } from "@node-rs/crc32";
import * as fc from "fast-check";
import { expect, test } from "vitest";

import { crc32c } from "../../src/record/crc32c.ts";
import { utf8 } from "./support.ts";

test("the vectors of RFC 3720 appendix B.4", () => {
  const up = Uint8Array.from({ length: 32 }, (_, i) => i);
  expect(crc32c(new Uint8Array(32))).toBe(0x8a91_36aa);
  expect(crc32c(new Uint8Array(32).fill(0xff))).toBe(0x62a8_ab43);
  expect(crc32c(up)).toBe(0x46dd_794e);
  expect(crc32c(up.toReversed())).toBe(0x113f_db5c);
  const iscsiRead = Buffer.from(
    "01c000000000000000000000000000001400000000000400000000140000001828000000000000000200000000000000",
    "hex",
  );
  expect(crc32c(iscsiRead)).toBe(0xd996_3a56);
  expect(crc32c(utf8("123456789"))).toBe(0xe306_9283);
  expect(crc32c(new Uint8Array(0))).toBe(0);
});

test("our tables and the native code agree, with seeds, on both sides of the switch", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), fc.nat({ max: 0xffff_ffff }), (bytes, seed) => {
      expect(crc32c(bytes)).toBe(native(bytes));
      expect(crc32c(bytes, seed)).toBe(native(bytes, seed));
    }),
    { numRuns: 2000 },
  );
});

test("pieces seeded with what came before give the CRC of the whole", () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 6 }), (pieces) => {
      let crc = 0;
      for (const piece of pieces) crc = crc32c(piece, crc);
      expect(crc).toBe(crc32c(Buffer.concat(pieces)));
    }),
  );
});

test("a view at any position of its buffer", () => {
  const bytes = utf8("xx123456789".repeat(40));
  for (let start = 0; start < 9; start++) {
    expect(crc32c(bytes.subarray(start, start + 140))).toBe(native(Buffer.from(bytes.subarray(start, start + 140))));
    expect(crc32c(bytes.subarray(start, start + 240))).toBe(native(Buffer.from(bytes.subarray(start, start + 240))));
  }
});
