import { afterAll, expect, test } from "vitest";

import type { Offset, Seq } from "../../src/domain.ts";
import { decodeCheckpoint, encodeCheckpoint } from "../../src/index-chain/checkpoint-file.ts";
import { ExtentList, type ObjectNumber } from "../../src/index-chain/extent-list.ts";
import type { IndexChain } from "../../src/index-chain/index-chain.ts";
import { createMemoryStore, MemoryBucket } from "../../src/object-store/memory-store.ts";
import { metered } from "../../src/object-store/metered.ts";
import { checkpointKey } from "../../src/object-store/object-names.ts";
import type { ObjectStore } from "../../src/object-store/object-store.ts";
import { systemClock } from "../../src/runtime/clock.ts";
import { nextTurn } from "../../src/runtime/turn.ts";
import { append, chain, checkpointKeys, extent, SHARD, TOPIC } from "./links.ts";

/**
 * What opening a shard costs. Requests are held to their number; times and memory are printed, since they are those of the
 * machine: TIERLOG_TEST_REPORT=1 shows the table.
 */

const CHECKPOINT_EVERY = 256;
/** The most that reading ahead 1, 2, 4, 8, 16, 16 … asks for beyond the end of the chain, plus the request that finds the end. */
const READ_AHEAD = 16;

interface Row {
  readonly chain: string;
  readonly list: number;
  readonly get: number;
  /** Requests one after the other: times the latency of a real store, this is the time to open. */
  readonly "round trips": number;
  readonly kib: number;
  readonly ms: number;
  readonly "state B/extent": string;
}

const rows: Row[] = [];

afterAll(() => {
  if (process.env["TIERLOG_TEST_REPORT"] !== undefined) console.table(rows);
});

/** Opens the shard as a process that knows nothing does. */
async function open(what: string, inner: ObjectStore): Promise<{ reader: IndexChain; list: number; get: number }> {
  const rounds = { count: 0, inFlight: 0 };
  const counted = metered(countingRounds(inner, rounds), systemClock);
  const reader = chain("R", counted.store);
  const startedAt = performance.now();
  await reader.refresh();
  const ms = performance.now() - startedAt;
  const { list, get, put } = counted.metrics();
  expect(put.requests).toBe(0);
  const { count, memoryBytes } = extentsOf(reader);
  rows.push({
    chain: what,
    list: list.requests,
    get: get.requests,
    "round trips": rounds.count,
    kib: Math.round(get.bytes / 1024),
    ms: Math.round(ms * 10) / 10,
    "state B/extent": count === 0 ? "-" : (memoryBytes / count).toFixed(1),
  });
  return { reader, list: list.requests, get: get.requests };
}

/** A new round begins with each request that is sent while none is under way. */
function countingRounds(inner: ObjectStore, rounds: { count: number; inFlight: number }): ObjectStore {
  return {
    ...inner,
    async get(key, options) {
      if (rounds.inFlight++ === 0) rounds.count++;
      try {
        return await inner.get(key, options);
      } finally {
        rounds.inFlight--;
      }
    },
    async *list(prefix, options) {
      rounds.count++;
      yield* inner.list(prefix, options);
    },
  };
}

function extentsOf(of: IndexChain): { count: number; memoryBytes: number } {
  let count = 0;
  for (const { extents } of of.state.snapshot().partitions) count += extents.count;
  return { count, memoryBytes: of.state.memoryBytes };
}

async function expectSame(a: IndexChain, b: IndexChain): Promise<void> {
  const [bytesA, bytesB] = await Promise.all([a, b].map((who) => encodeCheckpoint(who.state.snapshot())));
  expect(Buffer.compare(bytesA ?? Buffer.alloc(0), bytesB ?? Buffer.alloc(0))).toBe(0);
}

/** A chain of so many links, as its owner leaves it. */
async function chainOf(links: number): Promise<{ owner: IndexChain; store: ObjectStore }> {
  const store = createMemoryStore(new MemoryBucket());
  const owner = chain("A", store, { checkpointEvery: CHECKPOINT_EVERY });
  await owner.takeOver();
  for (let i = 1; i < links; i++) {
    await append(owner);
    // A store in memory answers without leaving the turn; a real one lets the checkpoint have its own.
    await nextTurn();
  }
  await owner.close();
  return { owner, store };
}

test.each([1, 255, 256, 257, 300, 511, 10_000])(
  "a chain of %i links: one listing, at most one checkpoint, and the links behind it",
  async (links) => {
    const { owner, store } = await chainOf(links);
    const behind = links % CHECKPOINT_EVERY;
    const { reader, list, get } = await open(`${links} links`, store);
    await expectSame(reader, owner);
    expect(list).toBe(1);
    const checkpoints = links >= CHECKPOINT_EVERY ? 1 : 0;
    expect(get).toBeGreaterThanOrEqual(checkpoints + behind + 1);
    expect(get).toBeLessThanOrEqual(checkpoints + behind + 1 + READ_AHEAD);
  },
);

test("10,000 links without a checkpoint: every one of them", async () => {
  const { owner, store } = await chainOf(10_000);
  await store.delete(await checkpointKeys(store));
  const { reader, list, get } = await open("10000 links, no checkpoint", store);
  await expectSame(reader, owner);
  expect(list).toBe(1);
  expect(get).toBeGreaterThan(10_000);
  expect(get).toBeLessThanOrEqual(10_001 + READ_AHEAD);
});

test.each([1, 1000, 10_000])(
  "100,000 extents in %i partitions: two requests more than an empty shard",
  async (partitions) => {
    const { owner, store } = await withExtents(100_000, partitions);
    const { reader, list, get } = await open(`100000 extents in ${partitions} partitions`, store);
    expect({ list, get }).toEqual({ list: 1, get: 2 });
    const { count, memoryBytes } = extentsOf(reader);
    expect(count).toBe(100_000);
    expect(memoryBytes).toBe(100_000 * 48);
    // The owner's own lists have room to grow.
    expect(extentsOf(owner).memoryBytes / 100_000).toBeLessThanOrEqual(64);
    await expectSame(reader, owner);
  },
);

test("an extent takes at most 64 bytes at every length of a list, room to grow included", () => {
  const list = new ExtentList();
  for (let i = 0; i < 5000; i++) {
    list.push({
      ...extent(i, i + 1, 1),
      baseOffset: i as Offset,
      object: i as ObjectNumber,
    });
    expect(list.memoryBytes).toBeLessThanOrEqual(64 * list.count);
  }
});

test("100,000 extents are encoded and read back over many turns", async () => {
  for (const partitions of [1, 1000, 10_000]) {
    const { owner } = await withExtents(100_000, partitions);
    const startedAt = performance.now();
    const snapshot = owner.state.snapshot();
    const snapshotMs = performance.now() - startedAt;
    const encoded = await timed(() => encodeCheckpoint(snapshot));
    const key = checkpointKey(SHARD, snapshot.seq);
    const decoded = await timed(() => decodeCheckpoint(encoded.result, key, SHARD, snapshot.seq));
    expect(decoded.result.seq).toBe(snapshot.seq);
    expect(encoded.turns).toBeGreaterThan(3);
    expect(decoded.turns).toBeGreaterThan(3);
    if (process.env["TIERLOG_TEST_REPORT"] === undefined) continue;
    console.log(
      `100000 extents in ${partitions} partitions: ${encoded.result.length} bytes; snapshot ${snapshotMs.toFixed(2)} ms; ` +
        `encode ${encoded.ms.toFixed(1)} ms, longest turn ${encoded.longestTurnMs.toFixed(1)} ms; ` +
        `decode ${decoded.ms.toFixed(1)} ms, longest turn ${decoded.longestTurnMs.toFixed(1)} ms`,
    );
  }
});

/** With the longest time in which nothing else could run. */
async function timed<T>(
  work: () => Promise<T>,
): Promise<{ result: T; ms: number; turns: number; longestTurnMs: number }> {
  let turns = 0;
  let longestTurnMs = 0;
  let running = true;
  const startedAt = performance.now();
  let last = startedAt;
  const beat = (): void => {
    const now = performance.now();
    turns++;
    longestTurnMs = Math.max(longestTurnMs, now - last);
    last = now;
    if (running) setImmediate(beat);
  };
  setImmediate(beat);
  const result = await work();
  const ms = performance.now() - startedAt;
  running = false;
  longestTurnMs = Math.max(longestTurnMs, performance.now() - last);
  return { result, ms, turns, longestTurnMs };
}

/** A shard with so many extents, evenly spread, whose newest checkpoint is of the last link. */
async function withExtents(extents: number, partitions: number): Promise<{ owner: IndexChain; store: ObjectStore }> {
  const store = createMemoryStore();
  const perLink = Math.min(extents / 50, 2000);
  const links = extents / perLink;
  const owner = chain("A", store, { checkpointEvery: links + 1 });
  await owner.takeOver();
  const payload = [Buffer.alloc(4)];
  let next = 0;
  for (let link = 0; link < links; link++) {
    const ends = new Map<number, number>();
    const run = Array.from({ length: perLink }, () => {
      const partition = next++ % partitions;
      const base = ends.get(partition) ?? owner.state.extents({ topicId: TOPIC, partition })?.nextOffset ?? 0;
      ends.set(partition, base + 5);
      return { ...extent(base, base + 5, 1), partition };
    });
    await owner.commit([{ type: "append", objects: [], extents: run }], payload);
  }
  await owner.close();
  expect(await checkpointKeys(store)).toEqual([checkpointKey(SHARD, links as Seq)]);
  return { owner, store };
}
