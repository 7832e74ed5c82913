import { describe, expect, test } from "vitest";

import type { Engine } from "../../src/engine/engine.ts";
import { ObjectStoreError } from "../../src/errors.ts";
import { createMemoryStore } from "../../src/object-store/memory-store.ts";
import type { ObjectStore } from "../../src/object-store/object-store.ts";
import { seededRandom } from "../../src/runtime/random.ts";
import { Cluster } from "../support/engine.ts";
import { GRACE_MS, keysOf, openCollector, type Collector } from "../support/gc-rig.ts";
import { contents, fill, fillObject, gcConfig } from "./gc-scenario.ts";

/** A process whose requests end with the nth one that begins: that one is carried out or not, nothing is heard of it. */
function dying(inner: ObjectStore): {
  store: ObjectStore;
  dieAt: (request: number, carriedOut: boolean) => void;
  count: () => number;
} {
  let requests = 0;
  let lastRequest = Number.POSITIVE_INFINITY;
  let last = false;
  const dead = (operation: string): ObjectStoreError =>
    new ObjectStoreError("the process is dead", { operation, key: "", retryable: false }, { effect: "unknown" });
  async function request<T>(operation: string, send: () => Promise<T>): Promise<T> {
    const number = ++requests;
    if (number < lastRequest) return send();
    if (number === lastRequest && last) await send();
    throw dead(operation);
  }
  return {
    store: {
      ...inner,
      get: (key, options) => request("get", () => inner.get(key, options)),
      head: (key, options) => request("head", () => inner.head(key, options)),
      put: (key, body, options) => request("put", () => inner.put(key, body, options)),
      delete: (keys, options) => request("delete", () => inner.delete(keys, options)),
      list: async function* (prefix, options) {
        await request("list", () => Promise.resolve());
        yield* inner.list(prefix, options);
      },
    },
    dieAt: (after, carriedOut) => {
      lastRequest = requests + after;
      last = carriedOut;
    },
    count: () => requests,
  };
}

async function settle({ clock, round }: Collector, rounds = 3): Promise<void> {
  for (let i = 0; i < rounds; i++) {
    await round();
    clock.aheadMs += 11 * GRACE_MS;
  }
  await round();
}

const kindsOf = (keys: readonly string[]): Record<string, number> => {
  const kinds: Record<string, number> = {};
  for (const key of keys) {
    const [kind = ""] = key.split("/");
    kinds[kind] = (kinds[kind] ?? 0) + 1;
  }
  return kinds;
};

/** A store with garbage of most kinds, whose owner dies at request `at` of two rounds a grace apart; then another goes on. */
async function crashAt(at: number, carriedOut: boolean): Promise<{ kinds: Record<string, number>; requests: number }> {
  const cluster = new Cluster(createMemoryStore());
  try {
    const { store, dieAt, count } = dying(cluster.store);
    const first = await openCollector((options) => cluster.open(gcConfig(), { ...options, objectStore: store }));
    await first.engine.createTopic("t", { partitions: 1 });
    await first.engine.createTopic("gone", { partitions: 1 });
    await first.engine.alterTopic("t", { retentionMs: 1_000_000 });
    await fillObject(first.engine, "gone", 1);
    await fill(first.engine, "t", 40);
    await (await first.engine.topic("t")).partition(0).trim({ before: 39 });
    await first.engine.deleteTopic("gone");
    const began = count();
    dieAt(at, carriedOut);
    await first.round();
    first.clock.aheadMs += GRACE_MS + 1000;
    await first.round();
    await first.round();
    const requests = count() - began;

    const second = await openCollector((options) => cluster.open(gcConfig(), options));
    await fill(second.engine, "t", 1, "later");
    await settle(second);
    expect(await contents(await cluster.open(gcConfig(), { readOnly: true }), "t")).toEqual([
      "39: t 39",
      "40: later 0",
    ]);
    const { index = 0, ...kinds } = kindsOf(await keysOf(cluster.store));
    // How many links are left depends on how many boundaries were written; all else is the same.
    expect(index).toBeLessThan(24);
    return { kinds, requests };
  } finally {
    await cluster.close();
  }
}

describe("I7: a process dies at any request of a round", () => {
  test("whoever goes on comes to the same end", async () => {
    const { kinds, requests } = await crashAt(Number.POSITIVE_INFINITY, false);
    expect(kinds).toEqual({ FORMAT: 1, catalog: 2, checkpoint: 2 });
    expect(requests).toBeGreaterThan(15);
    for (let at = 1; at <= requests; at++)
      for (const carriedOut of [false, true]) expect((await crashAt(at, carriedOut)).kinds).toEqual(kinds);
  });
});

describe("I5: nothing that somebody reads is ever deleted", () => {
  test.each(Array.from({ length: 12 }, (_, i) => i + 1))(
    "whatever happens around the rounds (seed %i)",
    async (seed) => {
      const random = seededRandom(seed);
      const cluster = new Cluster(createMemoryStore());
      const model = new Map<string, { start: number; values: string[] }>();
      let mark = 0;
      const open = (): Promise<Collector> => openCollector((options) => cluster.open(gcConfig({ shards: 2 }), options));
      const pick = (): string | undefined => [...model.keys()][Math.floor(random.float() * model.size)];
      const check = async (engine: Engine): Promise<void> => {
        for (const [topic, { start, values }] of model) {
          const expected = values.map((text, i) => `${i}: ${text}`).slice(start);
          expect(await contents(engine, topic), `${topic}, seed ${seed}`).toEqual(expected);
        }
      };
      let owner = await open();
      const reader = await cluster.open(gcConfig({ shards: 2 }), { readOnly: true });
      try {
        for (let step = 0; step < 60; step++) {
          const dice = random.float();
          const topic = pick();
          const log = topic === undefined ? undefined : model.get(topic);
          if (topic === undefined || log === undefined || dice < 0.08) {
            await owner.engine.createTopic(`t${step}`, { partitions: 1 });
            model.set(`t${step}`, { start: 0, values: [] });
          } else if (dice < 0.45) {
            const flushes = 1 + Math.floor(random.float() * 12);
            for (let i = 0; i < flushes; i++) {
              log.values.push(`${topic} ${mark}`);
              await fill(owner.engine, topic, 1, `${topic} ${mark++}`.replace(/$/, ""));
              log.values[log.values.length - 1] += " 0";
            }
          } else if (dice < 0.5) {
            const byte = mark++ % 256;
            await fillObject(owner.engine, topic, byte);
            for (let i = 0; i < 7; i++) log.values.push(`${1024 * 1024 - 512} × ${byte}`);
          } else if (dice < 0.62) {
            const before = Math.floor(log.start + random.float() * (log.values.length - log.start + 1));
            await (await owner.engine.topic(topic)).partition(0).trim({ before });
            log.start = Math.max(log.start, before);
          } else if (dice < 0.65) {
            await owner.engine.deleteTopic(topic);
            model.delete(topic);
          } else if (dice < 0.7) {
            if (random.float() < 0.5) await owner.engine.close();
            owner = await open();
          } else {
            owner.clock.aheadMs += random.float() * 2 * GRACE_MS;
            await owner.round();
          }
          if (step % 6 === 5)
            await check(
              random.float() < 0.5 ? owner.engine : await cluster.open(gcConfig({ shards: 2 }), { readOnly: true }),
            );
        }
        await settle(owner, 5);
        await check(await cluster.open(gcConfig({ shards: 2 }), { readOnly: true }));
        await check(owner.engine);
        expect(owner.engine.metrics().gc.lastError).toBeUndefined();
      } finally {
        await reader.close();
        await cluster.close();
      }
    },
  );
});
