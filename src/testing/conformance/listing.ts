import assert from "node:assert/strict";

import type { StoreCheck } from "./conformance-case.ts";
import { bytes, k } from "./sample-bytes.ts";
import type { StoreDriver } from "./store-driver.ts";

export const listingChecks: readonly StoreCheck<StoreDriver>[] = [
  {
    name: "1,500 keys come in order, each once, and startAfter goes on where it says",
    async check(driver) {
      const names = Array.from({ length: 1500 }, (_, i) => `chain/0001/${String(i).padStart(20, "0")}`);
      await inGroups(names.toReversed(), 32, (name) => driver.put(name, bytes("x")));
      await driver.put("chain/0002/0", bytes("x"));
      await driver.put("beside/1.json", bytes("x"));
      let pages = 0;
      assert.deepEqual(await driver.keys("chain/0001/", { onRequest: () => (pages += 1) }), names);
      assert.ok(pages > 0);
      assert.deepEqual(await driver.keys("chain/0001/", { startAfter: k(names[1399] ?? "") }), names.slice(1400));
      assert.deepEqual(await driver.keys("chain/0001/0000000000000000120"), names.slice(1200, 1210));
    },
  },
  {
    name: "startAfter need not exist, and may lie before or behind the prefix",
    async check(driver) {
      for (const name of ["a", "b/1", "b/3", "c"]) await driver.put(name, bytes("x"));
      assert.deepEqual(await driver.keys("b/", { startAfter: k("b/2") }), ["b/3"]);
      assert.deepEqual(await driver.keys("b/", { startAfter: k("a") }), ["b/1", "b/3"]);
      assert.deepEqual(await driver.keys("b/", { startAfter: k("b/3") }), []);
      assert.deepEqual(await driver.keys("b/", { startAfter: k("c") }), []);
      assert.deepEqual(await driver.keys("", { startAfter: k("b") }), ["b/1", "b/3", "c"]);
    },
  },
  {
    name: "a prefix need not end at a slash",
    async check(driver) {
      for (const name of ["ab", "abc", "abc/d", "abd", "b"]) await driver.put(name, bytes("x"));
      assert.deepEqual(await driver.keys("abc"), ["abc", "abc/d"]);
      assert.deepEqual(await driver.keys("ab"), ["ab", "abc", "abc/d", "abd"]);
      assert.deepEqual(await driver.keys("nothing/here"), []);
    },
  },
  {
    name: "a listing may be left early",
    async check(driver) {
      for (let i = 0; i < 5; i++) await driver.put(`k${i}`, bytes("x"));
      for await (const info of driver.store.list("")) {
        assert.equal(info.key, "k0");
        break;
      }
      assert.equal((await driver.keys("")).length, 5);
    },
  },
  {
    name: "what was written is listed at once, what was deleted is not",
    async check(driver) {
      for (let i = 0; i < 10; i++) {
        await driver.create(`k/${i}`, bytes(`${i}`));
        assert.equal(await driver.text(`k/${i}`), `${i}`);
        assert.equal((await driver.keys("k/")).length, 1);
        await driver.store.delete([k(`k/${i}`)]);
        assert.equal(await driver.text(`k/${i}`), undefined);
        assert.deepEqual(await driver.keys("k/"), []);
      }
    },
  },
];

async function inGroups<T>(items: readonly T[], size: number, work: (item: T) => Promise<unknown>): Promise<void> {
  for (let i = 0; i < items.length; i += size) await Promise.all(items.slice(i, i + size).map(work));
}
