import assert from "node:assert/strict";

import type { ByteRange } from "../../object-store/object-store.ts";
import type { StoreCheck } from "./conformance-case.ts";
import { bytes, k } from "./sample-bytes.ts";
import type { StoreDriver } from "./store-driver.ts";

const OF_TEN_BYTES: readonly (readonly [ByteRange, string])[] = [
  [{ start: 2, end: 5 }, "234"],
  [{ start: 0, end: 1 }, "0"],
  [{ start: 0 }, "0123456789"],
  [{ start: 7 }, "789"],
  [{ start: 7, end: 100 }, "789"],
  [{ start: 9, end: 10 }, "9"],
  [{ start: 10 }, ""],
  [{ start: 10, end: 20 }, ""],
  [{ start: 5000, end: 6000 }, ""],
  [{ start: 4, end: 4 }, ""],
  [{ suffix: 3 }, "789"],
  [{ suffix: 10 }, "0123456789"],
  [{ suffix: 500 }, "0123456789"],
  [{ suffix: 0 }, ""],
];

export const rangeChecks: readonly StoreCheck<StoreDriver>[] = [
  ...OF_TEN_BYTES.map(([wanted, expected]): StoreCheck<StoreDriver> => ({
    name: `${JSON.stringify(wanted)} of ten bytes`,
    async check(driver) {
      await driver.put("ten", bytes("0123456789"));
      assert.deepEqual(await ranged(driver, "ten", wanted), [expected, 10]);
    },
  })),
  {
    name: "of an empty object",
    async check(driver) {
      await driver.put("empty", bytes(""));
      for (const wanted of [{ start: 0, end: 64 }, { start: 0 }, { start: 5 }, { suffix: 8 }]) {
        assert.deepEqual(await ranged(driver, "empty", wanted), ["", 0]);
      }
    },
  },
  {
    name: "of a missing object, also where the range is empty",
    async check(driver) {
      for (const wanted of [{ start: 0, end: 64 }, { start: 4, end: 4 }, { suffix: 8 }]) {
        assert.equal(await ranged(driver, "missing", wanted), undefined);
      }
    },
  },
  {
    name: "memory for the body is asked for by its length, and the body is the same in it",
    async check(driver) {
      await driver.put("ten", bytes("0123456789"));
      for (const [range, expected] of [
        [{ start: 2, end: 5 }, "234"],
        [{ start: 7, end: 100 }, "789"],
        [{ start: 0 }, "0123456789"],
      ] as const) {
        const asked: number[] = [];
        const into = (length: number): Uint8Array => {
          asked.push(length);
          return new Uint8Array(20).subarray(5, 5 + length);
        };
        const object = await driver.store.get(k("ten"), { range, into });
        assert.equal(new TextDecoder().decode(object?.body), expected);
        assert.ok(asked.every((length) => length === expected.length));
      }
    },
  },
  {
    name: "an inverted or negative range is refused",
    async check(driver) {
      await driver.put("ten", bytes("0123456789"));
      for (const wanted of [{ start: 7, end: 4 }, { start: -1 }, { suffix: -1 }, { start: 0.5 }]) {
        await assert.rejects(ranged(driver, "ten", wanted), { code: "TIERLOG_INVALID_ARGUMENT" });
      }
    },
  },
];

async function ranged(
  { store }: StoreDriver,
  key: string,
  range: ByteRange,
): Promise<readonly [text: string, sizeBytes: number] | undefined> {
  const object = await store.get(k(key), { range });
  return object && [new TextDecoder().decode(object.body), object.sizeBytes];
}
