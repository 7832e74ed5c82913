import assert from "node:assert/strict";

import { compareKeys } from "../../object-store/object-key.ts";
import type { StoreCheck } from "./conformance-case.ts";
import { bytes, k } from "./sample-bytes.ts";
import type { StoreDriver } from "./store-driver.ts";

const ODD_KEYS = [
  "FORMAT",
  "format",
  "Format",
  "a",
  "a/b",
  "a-b",
  "a.b",
  "a/",
  "a//",
  "a//b",
  "a/./b",
  "a/../b",
  "..",
  "../up",
  ".",
  ".hidden",
  ".tmp/x",
  "/",
  "/leading",
  "//two",
  "dir.d/x",
  "dir.d",
  "x.obj",
  "x.~",
  "x~1",
  "x~1/y",
  " leading space",
  "trailing space ",
  "sp ace/in side",
  "plus+and&amp;<tag>\"quote'",
  "percent%41%2f%",
  "what?#fragment=1&b",
  "back\\slash",
  "co:lon*star|pipe",
  "umlaut/äöü",
  "umlaut/a\u0308",
  "日本語/キー",
  "emoji/😀",
  "private/\uf8ff",
  "Case/Key",
  "case/key",
  `segment/${"s".repeat(300)}`,
  `segment/${"s".repeat(300)}/below`,
  `segment/${"S".repeat(300)}`,
];

const REFUSED_KEYS: readonly (readonly [name: string, key: string])[] = [
  ["empty", ""],
  ["1,025 bytes", "x".repeat(1025)],
  ["1,026 bytes in 513 characters", "ä".repeat(513)],
  ["half a surrogate pair", "a\ud800b"],
  ["NUL", "a\u0000b"],
  ["a line break", "a\nb"],
];

export const keyChecks: readonly StoreCheck<StoreDriver>[] = [
  {
    name: "odd keys are stored, found and listed in the order of their UTF-8 bytes",
    async check(driver) {
      const long = "long/".padEnd(driver.target.keyBytesMax, "x");
      const odd = [...ODD_KEYS, long, `${"ä".repeat(300)}/tail`].sort(compareKeys);
      for (const [i, key] of odd.entries()) {
        assert.deepEqual([key, (await driver.create(key, bytes(`${i}`))).kind], [key, "written"]);
      }
      for (const [i, key] of odd.entries()) assert.deepEqual([key, await driver.text(key)], [key, `${i}`]);
      assert.deepEqual(await driver.keys(""), odd);
      for (const prefix of ["a", "a/", "a//", "/", "..", "ä", "sp", " ", "A", "%"]) {
        const below = odd.filter((key) => key.startsWith(prefix));
        assert.deepEqual([prefix, await driver.keys(prefix)], [prefix, below]);
      }
      for (const startAfter of odd) {
        const rest = odd.filter((key) => compareKeys(key, startAfter) > 0);
        assert.deepEqual([startAfter, await driver.keys("", { startAfter: k(startAfter) })], [startAfter, rest]);
      }
      await driver.store.delete(odd.map(k));
      assert.deepEqual(await driver.keys(""), []);
    },
  },
  ...REFUSED_KEYS.map(([name, key]): StoreCheck<StoreDriver> => ({
    name: `${name} is refused before anything is sent`,
    async check(driver) {
      const { store } = driver;
      const refusal = { code: "TIERLOG_INVALID_ARGUMENT", effect: "none" };
      await assert.rejects(driver.create(key, bytes("x")), refusal);
      await assert.rejects(store.get(k(key)), refusal);
      await assert.rejects(store.head(k(key)), refusal);
      await assert.rejects(store.delete([k("fine"), k(key)]), refusal);
      assert.deepEqual(await driver.keys(""), []);
    },
  })),
];
