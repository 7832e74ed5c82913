import assert from "node:assert/strict";

import type { ETag } from "../../domain.ts";
import type { StoreCheck } from "./conformance-case.ts";
import { bytes, k } from "./sample-bytes.ts";
import { etagOf, type StoreDriver } from "./store-driver.ts";

const ROUNDS = 20;
const WRITERS = 20;

export const conditionChecks: readonly StoreCheck<StoreDriver>[] = [
  {
    name: "if-absent creates once; the loser changes nothing",
    async check(driver) {
      assert.equal((await driver.create("k", bytes("first"))).kind, "written");
      assert.deepEqual(await driver.create("k", bytes("second")), { kind: "condition-failed" });
      assert.deepEqual(await driver.create("k", bytes("first")), { kind: "condition-failed" });
      const third = await driver.create("k", bytes("third"), driver.target.other);
      assert.deepEqual(third, { kind: "condition-failed" });
      assert.equal(await driver.text("k"), "first");
    },
  },
  {
    name: "if-absent works again after a delete",
    async check(driver) {
      await driver.create("k", bytes("first"));
      await driver.store.delete([k("k")]);
      assert.equal((await driver.create("k", bytes("second"))).kind, "written");
      assert.equal(await driver.text("k"), "second");
    },
  },
  {
    name: "20 racing creators, 20 rounds: one winner each, and the object is the winner's",
    async check(driver) {
      const { store, other } = driver.target;
      for (let round = 0; round < ROUNDS; round++) {
        const outcomes = await Promise.all(
          Array.from({ length: WRITERS }, (_, i) =>
            driver.create(`race/${round}`, bytes(`writer ${i}`), i % 2 === 0 ? store : other),
          ),
        );
        const winners = outcomes.flatMap((outcome, i) => (outcome.kind === "written" ? [i] : []));
        assert.equal(winners.length, 1, `round ${round}: writers ${winners.join(", ")} were all told that they won`);
        assert.equal(await driver.text(`race/${round}`), `writer ${winners[0]}`);
      }
    },
  },
  {
    name: "if-match replaces with the current ETag only",
    async check(driver) {
      const first = await etagOf(driver.put("k", bytes("1")));
      const second = await etagOf(driver.put("k", bytes("2")));
      assert.deepEqual(await driver.replace("k", bytes("stale"), first), { kind: "condition-failed" });
      assert.equal(await driver.text("k"), "2");
      assert.equal((await driver.replace("k", bytes("3"), second)).kind, "written");
      assert.equal(await driver.text("k"), "3");
    },
  },
  {
    name: "if-match on a missing object fails and creates nothing",
    async check(driver) {
      const etag = await etagOf(driver.put("k", bytes("1")));
      assert.deepEqual(await driver.replace("other", bytes("x"), etag), { kind: "condition-failed" });
      assert.deepEqual(await driver.keys(""), ["k"]);
    },
  },
  {
    name: "if-match without an ETag is refused",
    async check(driver) {
      await driver.put("k", bytes("1"));
      const blind = driver.replace("k", bytes("x"), "" as ETag);
      await assert.rejects(blind, { code: "TIERLOG_INVALID_ARGUMENT" });
    },
  },
];
