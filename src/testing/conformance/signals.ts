import assert from "node:assert/strict";

import type { StoreCheck } from "./conformance-case.ts";
import { bytes, k } from "./sample-bytes.ts";
import type { StoreDriver } from "./store-driver.ts";

export const signalChecks: readonly StoreCheck<StoreDriver>[] = [
  {
    name: "a fired signal stops every call, and a put that was not sent says so",
    async check(driver) {
      const { store } = driver;
      await driver.put("k", bytes("before"));
      const signal = AbortSignal.abort(new Error("enough"));
      const aborted = { code: "TIERLOG_ABORTED", name: "AbortError", effect: "none" };
      await assert.rejects(store.get(k("k"), { signal }), aborted);
      await assert.rejects(store.head(k("k"), { signal }), aborted);
      const write = store.put(k("k"), bytes("after"), { signal, condition: { kind: "none" } });
      await assert.rejects(write, aborted);
      await assert.rejects(store.delete([k("k")], { signal }), aborted);
      await assert.rejects(driver.keys("", { signal }), aborted);
      assert.equal(await driver.text("k"), "before");
    },
  },
  {
    name: "close may be repeated, and no call works afterwards",
    async check(driver) {
      const { store, target } = driver;
      await driver.put("k", bytes("x"));
      await store.close();
      await store.close();
      await assert.rejects(store.get(k("k")), { code: "TIERLOG_CLOSED" });
      await assert.rejects(driver.put("k", bytes("y")), { code: "TIERLOG_CLOSED" });
      assert.equal((await target.other.get(k("k")))?.sizeBytes, 1);
    },
  },
];
