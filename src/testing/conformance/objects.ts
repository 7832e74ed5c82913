import assert from "node:assert/strict";

import { bareETag } from "../../object-store/etag.ts";
import type { StoreCheck } from "./conformance-case.ts";
import { bytes, k, pattern } from "./sample-bytes.ts";
import type { StoreDriver } from "./store-driver.ts";

export const objectChecks: readonly StoreCheck<StoreDriver>[] = [
  {
    name: "a missing object is undefined, not an error",
    async check(driver) {
      const { store } = driver;
      assert.equal(await store.get(k("a/missing")), undefined);
      assert.equal(await store.head(k("a/missing")), undefined);
      assert.equal(await store.get(k("a/missing"), { range: { start: 0, end: 4 } }), undefined);
      assert.deepEqual(await driver.keys(""), []);
    },
  },
  {
    name: "an object comes back whole, with its size and one bare ETag everywhere",
    async check(driver) {
      const { store } = driver;
      const body = pattern(100_000);
      const key = k("objects/ab/object.log");
      const outcome = await driver.put(key, body);
      const object = await store.get(key);
      const info = await store.head(key);
      assert.ok(object !== undefined && info !== undefined);
      assert.equal(Buffer.compare(object.body, body), 0);
      assert.equal(object.sizeBytes, 100_000);
      assert.deepEqual(info, { key, sizeBytes: 100_000, etag: object.etag });
      assert.deepEqual(outcome, { kind: "written", etag: object.etag });
      assert.notEqual(object.etag, "");
      assert.equal(bareETag(object.etag), object.etag);
      let listed = 0;
      for await (const { modifiedAtMs, ...found } of store.list("")) {
        assert.deepEqual(found, info);
        assert.ok(
          modifiedAtMs === undefined || Number.isFinite(modifiedAtMs),
          "a time of storing is one, or not there",
        );
        listed += 1;
      }
      assert.equal(listed, 1);
    },
  },
  {
    name: "a put without a condition replaces, under a new ETag",
    async check(driver) {
      const first = await driver.put("k", bytes("first"));
      const second = await driver.put("k", bytes("second, longer"));
      assert.equal(await driver.text("k"), "second, longer");
      assert.notDeepEqual(second, first);
    },
  },
  {
    name: "an empty object exists",
    async check(driver) {
      await driver.put("empty", bytes(""));
      assert.equal(await driver.text("empty"), "");
      assert.equal((await driver.store.head(k("empty")))?.sizeBytes, 0);
      assert.deepEqual(await driver.keys(""), ["empty"]);
    },
  },
  {
    name: "deleting many deletes them all, and a missing key counts as deleted",
    async check(driver) {
      const { store } = driver;
      const names = Array.from({ length: 30 }, (_, i) => `d/${i}`);
      for (const name of names) await driver.put(name, bytes(name));
      await driver.put("stays", bytes("x"));
      await store.delete([...names, "d/never", "x/never/there"].map(k));
      assert.deepEqual(await driver.keys(""), ["stays"]);
      await store.delete([k("d/0")]);
      await store.delete([]);
      assert.equal(await driver.text("stays"), "x");
    },
  },
  {
    name: "1,001 keys are deleted in one call",
    async check(driver) {
      const names = Array.from({ length: 1001 }, (_, i) => k(`d/${i}`));
      await driver.put("d/0", bytes("x"));
      await driver.put("d/1000", bytes("x"));
      let requests = 0;
      await driver.store.delete(names, { onRequest: () => (requests += 1) });
      assert.deepEqual(await driver.keys(""), []);
      assert.ok(requests > 0);
    },
  },
  {
    name: "bodies are copies, both ways",
    async check(driver) {
      const body = Buffer.from("original");
      await driver.put("k", body);
      body.fill(0);
      const first = await driver.store.get(k("k"));
      first?.body.fill(0);
      assert.equal(await driver.text("k"), "original");
    },
  },
  {
    name: "a body that is a window of a larger buffer is stored as just that window",
    async check(driver) {
      await driver.put("k", Buffer.from("....window....").subarray(4, 10));
      assert.equal(await driver.text("k"), "window");
    },
  },
];
