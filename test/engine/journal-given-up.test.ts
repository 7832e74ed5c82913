import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, expect, test } from "vitest";

import { Engine } from "../../src/engine/engine.ts";
import { createMemoryStore } from "../../src/object-store/memory-store.ts";
import type { ObjectStore } from "../../src/object-store/object-store.ts";
import { testConfig } from "../support/engine.ts";

let path: string;

beforeEach(async () => {
  path = await mkdtemp(join(tmpdir(), "tierlog-given-up-"));
});

afterEach(async () => {
  await rm(path, { recursive: true, force: true });
});

function open(store: ObjectStore, ackAfterUpload: boolean): Promise<Engine> {
  const journal = { path: join(path, "journal"), uploadIntervalMs: 600_000 };
  const config = testConfig({ path, storage: { object: { ackAfterUpload } }, journal });
  return Engine.open({ ...config, shutdownTimeoutMs: 200 }, { objectStore: store });
}

/** As a process that is killed: nothing of what it still does reaches the store or anybody. */
function cutOff(store: ObjectStore): { readonly store: ObjectStore; cut: () => void } {
  let alive = true;
  const cut: ObjectStore = {
    ...store,
    put: (...args) => (alive ? store.put(...args) : Promise.reject(new Error("cut off"))),
    get: (...args) => (alive ? store.get(...args) : Promise.reject(new Error("cut off"))),
  };
  return {
    store: cut,
    cut: () => {
      alive = false;
    },
  };
}

test("a journal that was emptied and is not used any more is not reported as a lost disk", async () => {
  const store = createMemoryStore();
  const first = cutOff(store);
  const journaled = await open(first.store, false);
  await journaled.createTopic("t", { partitions: 1 });
  await (await journaled.topic("t")).partition(0).append([{ value: Buffer.from("a") }]);
  first.cut();
  expect((await journaled.close()).journaled).toMatchObject([{ shard: 0, records: 1 }]);

  // It empties the journal, under a fence with the journal's id, and does not live to release the shard.
  const second = cutOff(store);
  const uploading = await open(second.store, true);
  expect(uploading.recoveryReports()).toMatchObject([{ outcome: "replayed", replayed: { records: 1 } }]);
  await (await uploading.topic("t")).partition(0).append([{ value: Buffer.from("b") }]);
  second.cut();
  await uploading.close();

  const last = await open(store, true);
  try {
    await (await last.topic("t")).partition(0).append([{ value: Buffer.from("c") }]);
    expect(last.recoveryReports()).toEqual([]);
    expect((await (await last.topic("t")).partition(0).watermarks()).uploaded).toBe(3);
  } finally {
    await last.close();
  }
});
