import { beforeEach, expect, test } from "vitest";

import { ObjectStoreError } from "../../src/errors.ts";
import type { IndexChain } from "../../src/index-chain/index-chain.ts";
import { IDENTITY_RANGE } from "../../src/index-chain/index-file.ts";
import { createMemoryStore } from "../../src/object-store/memory-store.ts";
import type { ObjectStore } from "../../src/object-store/object-store.ts";
import { append, chain, flipped, PARTITION } from "./links.ts";

/** From the next put on: a put is stored and answered "condition-failed", what settles it comes back damaged, and no link can be read. */
class DoubtfulStore {
  readonly store: ObjectStore;
  #state: "good" | "armed" | "bad" = "good";

  constructor(inner: ObjectStore) {
    this.store = {
      ...inner,
      put: async (key, body, options) => {
        const outcome = await inner.put(key, body, options);
        if (this.#state === "good") return outcome;
        this.#state = "bad";
        return { kind: "condition-failed" };
      },
      get: async (key, options) => {
        const stored = await inner.get(key, options);
        if (this.#state !== "bad" || stored === undefined) return stored;
        if (options?.range === IDENTITY_RANGE) return { ...stored, body: flipped(0)(stored.body) };
        throw new ObjectStoreError("no", { operation: "get", key, status: 403, retryable: false });
      },
    };
  }

  arm(): void {
    this.#state = "armed";
  }

  recover(): void {
    this.#state = "good";
  }
}

let doubtful: DoubtfulStore;
let a: IndexChain;

beforeEach(async () => {
  doubtful = new DoubtfulStore(createMemoryStore());
  a = chain("A", doubtful.store);
  await a.takeOver();
  await append(a);
  doubtful.arm();
});

test("a link that is called another's, and could not be folded, is in doubt: it may be ours", async () => {
  await expect(append(a)).rejects.toMatchObject({ status: 403, effect: "unknown" });
  expect(a.isOwner).toBe(false);
  doubtful.recover();
  await a.takeOver();
  expect(a.state.extents(PARTITION)?.nextOffset).toBe(2);
});

test("a fence that is called another's, and could not be folded, is no reason to step back: it may be ours", async () => {
  await expect(a.takeOver()).rejects.toMatchObject({ status: 403 });
  doubtful.recover();
  await expect(a.takeOver()).resolves.toBe(3);
  await append(a);
  expect(a.state.extents(PARTITION)?.nextOffset).toBe(2);
});
