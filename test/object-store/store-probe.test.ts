import { describe, expect, test } from "vitest";

import type { ObjectKey } from "../../src/domain.ts";
import { createMemoryStore } from "../../src/object-store/memory-store.ts";
import type { ObjectStore } from "../../src/object-store/object-store.ts";
import {
  findProbeRecord,
  parseProbeRecord,
  writeProbeRecord,
  type NewRecord,
} from "../../src/object-store/probe/probe-record.ts";
import { raceOver, runCreateRace, type CreateRaceReport } from "../../src/object-store/probe/race-create.ts";
import {
  failedFacts,
  probeStore,
  removeProbeKeys,
  verdictOf,
  type ProbeFacts,
} from "../../src/object-store/probe/store-probe.ts";
import { seededRandom } from "../../src/runtime/random.ts";
import * as bad from "../support/bad-stores.ts";
import { collect } from "../support/engine.ts";

function race(store: ObjectStore, rounds = 20): Promise<CreateRaceReport> {
  return runCreateRace({
    race: raceOver(store),
    header: "If-None-Match",
    read: async (key) => (await store.get(key))?.body,
    key: (round) => `race-${round}` as ObjectKey,
    random: seededRandom(1),
    writers: 8,
    rounds,
    bodyBytes: (round) => (round % 2 === 0 ? 16 : 4096),
  });
}

describe("a race of creates", () => {
  test("atomic: one winner in each round", async () => {
    const report = await race(createMemoryStore());
    expect(report).toMatchObject({ finding: "atomic", error: undefined });
    expect(report.detail).toContain("in 20 of 20 rounds with 8 writers each");
  });

  test.each([
    ["takes every write", bad.ignoresConditions, "ignored"],
    ["looks first, writes later", bad.racesConditions, "ignored"],
    ["does so in one round of twenty", bad.racesSometimes(20), "ignored"],
    ["answers 501", bad.refusesConditions, "refused"],
    ["is down", bad.isDown, "unclear"],
  ] as const)("a store that %s", async (_, wrap, finding) => {
    expect((await race(wrap(createMemoryStore()))).finding).toBe(finding);
  });

  test("losers that are answered 500 are settled by the read-back, and told", async () => {
    const report = await race(bad.failsLosers(createMemoryStore()));
    expect(report.finding).toBe("atomic");
    expect(report.detail).toContain("losers were also answered 140 × HTTP 500");
  });

  test("losers that were turned away for being too many have not raced: nothing is known of the store", async () => {
    for (const wrap of [(inner: ObjectStore) => inner, bad.racesConditions]) {
      const report = await race(bad.takesOneAtATime(wrap(createMemoryStore())));
      expect(report).toMatchObject({ finding: "unclear", error: { status: 503 } });
      expect(report.detail).toContain("0 of 20 rounds");
    }
  });

  test("a winner without an answer is a winner", async () => {
    expect((await race(bad.losesAnswers(createMemoryStore()))).finding).toBe("atomic");
  });

  test("two winners of eight are enough", async () => {
    const inner = createMemoryStore();
    let seen = 0;
    const twice: ObjectStore = {
      ...inner,
      put: (key, body, options) => inner.put(key, body, ++seen === 2 ? { condition: { kind: "none" } } : options),
    };
    const report = await race(twice);
    expect(report.finding).toBe("racy");
    expect(report.detail).toBe("more than one winner in 1 of 20 rounds with 8 writers each");
  });

  test("the bytes of a loser under the key are found, though everybody was answered right", async () => {
    const inner = createMemoryStore();
    const swaps: ObjectStore = {
      ...inner,
      async put(key, body, options) {
        const outcome = await inner.put(key, body, options);
        if (outcome.kind === "condition-failed") await inner.put(key, body, { condition: { kind: "none" } });
        return outcome;
      },
    };
    expect(await race(swaps)).toMatchObject({ finding: "racy" });
  });

  test("a store that is forbidden is no finding", async () => {
    await expect(race(bad.denies("put")(createMemoryStore()))).rejects.toMatchObject({ status: 403 });
  });
});

async function facts(store: ObjectStore): Promise<ProbeFacts> {
  const outcome = await probeStore({
    store,
    race: raceOver(store),
    header: "If-None-Match",
    wire: undefined,
    prefix: "probe/start-1/",
    random: seededRandom(1),
  });
  if (outcome.kind !== "facts") throw new Error(outcome.detail);
  return outcome.facts;
}

const GOOD: ProbeFacts = {
  createIfAbsent: "atomic",
  existingRefused: true,
  readAfterWrite: true,
  listsInOrder: true,
  wrongChecksumRefused: null,
  ifMatchEtag: null,
};

describe("the short form", () => {
  test.each([
    ["is good", (inner: ObjectStore) => inner, {}, "fenced"],
    [
      "ignores conditions",
      bad.ignoresConditions,
      { createIfAbsent: "ignored", existingRefused: false },
      "single-writer only",
    ],
    ["looks first, writes later", bad.racesConditions, { createIfAbsent: "racy" }, "single-writer only"],
    ["answers 501", bad.refusesConditions, { createIfAbsent: "refused", existingRefused: false }, "single-writer only"],
    ["reads old state", bad.staleReads, { readAfterWrite: false }, "unusable"],
    ["remembers what was missing", bad.remembersMissing, { readAfterWrite: false }, "unusable"],
    ["lists in no order", bad.unorderedListing, { listsInOrder: false }, "unusable"],
  ] as const)("a store that %s", async (_, wrap, expected, verdict) => {
    const found = await facts(wrap(createMemoryStore()));
    expect(found).toEqual({ ...GOOD, ...expected });
    expect(verdictOf(found)).toBe(verdict);
    expect(failedFacts(found, "If-None-Match")).toHaveLength(verdict === "fenced" ? 0 : 1);
  });

  test("a store that is down gives no facts", async () => {
    const store = bad.isDown(createMemoryStore());
    const outcome = await probeStore({
      store,
      race: raceOver(store),
      header: "If-None-Match",
      wire: undefined,
      prefix: "p/",
      random: seededRandom(1),
    });
    expect(outcome).toMatchObject({ kind: "unclear", error: { status: 503 } });
  });

  test("what it wrote is removed by its clean-up, whatever the store answered", async () => {
    const store = createMemoryStore();
    await facts(store);
    expect(await collect(store.list(""))).not.toEqual([]);
    await removeProbeKeys(store, "probe/start-1/");
    expect(await collect(store.list(""))).toEqual([]);
  });
});

const SERVER = { endpoint: "http://store:9000", region: "us-east-1", bucket: "b", createIfAbsent: "if-none-match" };

function record(overrides: Partial<NewRecord> = {}): NewRecord {
  return {
    server: SERVER,
    facts: GOOD,
    timeMs: Date.UTC(2026, 10, 21),
    random: "0".repeat(16),
    writerId: "w",
    ...overrides,
  };
}

describe("the stored result", () => {
  test("comes back as it was written, under a name that sorts by time", async () => {
    const store = createMemoryStore();
    const key = await writeProbeRecord(store, record());
    expect(key).toBe("probe/20261121T000000000Z-0000000000000000.json");
    expect(await findProbeRecord(store, SERVER)).toEqual({
      key,
      record: { server: SERVER, createdAt: "2026-11-21T00:00:00.000Z", verdict: "fenced", facts: GOOD },
    });
  });

  test("the newest about this server counts; others, leftovers of runs and broken ones are passed over", async () => {
    const store = createMemoryStore();
    const later = (ms: number): number => record().timeMs + ms;
    await writeProbeRecord(store, record({ facts: { ...GOOD, createIfAbsent: "racy" } }));
    const right = await writeProbeRecord(store, record({ timeMs: later(1) }));
    await writeProbeRecord(store, record({ timeMs: later(2), server: { ...SERVER, endpoint: "http://other:9000" } }));
    const broken = "probe/20270101T000000000Z-0000000000000000.json" as ObjectKey;
    await store.put(broken, Buffer.from("{"), { condition: { kind: "none" } });
    // As consoles make them for a folder.
    await store.put("probe/" as ObjectKey, new Uint8Array(0), { condition: { kind: "none" } });
    const leftover = "probe/doctor-0000000000000000/race-1" as ObjectKey;
    await store.put(leftover, Buffer.from("x"), { condition: { kind: "none" } });
    expect((await findProbeRecord(store, SERVER))?.key).toBe(right);
  });

  test.each([
    ["no JSON", () => "nonsense"],
    ["not an object", () => "[]"],
    ["another format", (good: object) => JSON.stringify({ ...good, format: "x" })],
    ["a later version", (good: object) => JSON.stringify({ ...good, version: 2 })],
    ["no server", (good: object) => JSON.stringify({ ...good, server: "x" })],
    [
      "a fact that is missing",
      (good: object) => JSON.stringify({ ...good, facts: { ...GOOD, readAfterWrite: undefined } }),
    ],
    [
      "a fact that is unknown",
      (good: object) => JSON.stringify({ ...good, facts: { ...GOOD, createIfAbsent: "maybe" } }),
    ],
  ])("%s is no result", async (_, change) => {
    const store = createMemoryStore();
    const key = await writeProbeRecord(store, record());
    const good = Buffer.from((await store.get(key))?.body ?? []).toString();
    expect(parseProbeRecord(Buffer.from(good))).toBeDefined();
    expect(parseProbeRecord(Buffer.from(change(JSON.parse(good) as object)))).toBeUndefined();
  });

  test("a verdict that its facts do not bear is not believed", async () => {
    const store = createMemoryStore();
    const key = await writeProbeRecord(store, record({ facts: { ...GOOD, createIfAbsent: "ignored" } }));
    const text = Buffer.from((await store.get(key))?.body ?? []).toString();
    const forged = text.replace('"verdict": "single-writer only"', '"verdict": "fenced"');
    expect(forged).not.toBe(text);
    expect(parseProbeRecord(Buffer.from(forged))?.verdict).toBe("single-writer only");
  });
});
