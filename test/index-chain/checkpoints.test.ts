import { beforeEach, describe, expect, test } from "vitest";

import type { ObjectKey, Seq } from "../../src/domain.ts";
import { ObjectStoreError } from "../../src/errors.ts";
import { decodeCheckpoint, encodeCheckpoint } from "../../src/index-chain/checkpoint-file.ts";
import { Checkpoints } from "../../src/index-chain/checkpoints.ts";
import type { IndexChain } from "../../src/index-chain/index-chain.ts";
import { ShardState } from "../../src/index-chain/shard-state.ts";
import { createMemoryStore } from "../../src/object-store/memory-store.ts";
import { checkpointKey, indexKey, parseCheckpointKey } from "../../src/object-store/object-names.ts";
import type { ObjectStore } from "../../src/object-store/object-store.ts";
import { crc32c } from "../../src/record/crc32c.ts";
import { silentLogger } from "../../src/runtime/logger.ts";
import {
  append,
  appendDraft,
  chain,
  checkpointKeys,
  damage,
  flipped,
  keysBelow,
  land,
  listeningLogger,
  PARTITION,
  SHARD,
  writeId,
} from "./links.ts";
import { digest, digestsFromZero } from "./states.ts";

let server: ObjectStore;

beforeEach(() => {
  server = createMemoryStore();
});

/** An owner that has written so many links, its fence included; each due checkpoint is done before the next link. */
async function written(links: number, checkpointEvery: number, store = server): Promise<IndexChain> {
  const owner = chain("A", store, { checkpointEvery });
  await owner.takeOver();
  await settled(owner);
  for (let i = 1; i < links; i++) {
    await append(owner);
    await settled(owner);
  }
  return owner;
}

/** Lets a checkpoint that is being written in the memory store come to its end. */
async function settled(owner: IndexChain): Promise<void> {
  const before = JSON.stringify(owner.checkpointMetrics());
  for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve));
  if (JSON.stringify(owner.checkpointMetrics()) !== before) await settled(owner);
}

/** Every request to `inner`, as in `get index/…`, and a hook that may answer instead. */
function watched(
  inner: ObjectStore,
  hook: (request: string) => Promise<void> | void = () => undefined,
): { store: ObjectStore; requests: string[] } {
  const requests: string[] = [];
  const note = async (request: string): Promise<void> => {
    requests.push(request);
    await hook(request);
  };
  return {
    requests,
    store: {
      ...inner,
      async get(key, options) {
        await note(`get ${key}`);
        return inner.get(key, options);
      },
      async put(key, body, options) {
        await note(`put ${key}`);
        return inner.put(key, body, options);
      },
      async *list(prefix, options) {
        await note(`list ${prefix}`);
        yield* inner.list(prefix, options);
      },
      async delete(keys, options) {
        for (const key of keys) await note(`delete ${key}`);
        return inner.delete(keys, options);
      },
    },
  };
}

function unavailable(request: string): ObjectStoreError {
  return new ObjectStoreError(`${request}: no`, { operation: "x", key: "", retryable: false }, { effect: "none" });
}

function at(seq: number): ObjectKey {
  return checkpointKey(SHARD, seq as Seq);
}

describe("writing", () => {
  test("one every so many links, void ones too, and the newest two are kept", async () => {
    const owner = await written(4, 4);
    expect(await checkpointKeys(server)).toEqual([at(3)]);
    for (let i = 0; i < 3; i++) await append(owner);
    await settled(owner);
    expect(await checkpointKeys(server)).toEqual([at(3)]);
    // A void link costs its readers as much as a live one.
    await land(server, appendDraft({ seq: 7, epoch: 1, id: "stray", prev: writeId("nobody"), baseOffset: 0 }));
    await append(owner);
    await settled(owner);
    expect(await checkpointKeys(server)).toEqual([at(3), at(8)]);
    for (let i = 0; i < 12; i++) {
      await append(owner);
      await settled(owner);
    }
    expect(await checkpointKeys(server)).toEqual([at(16), at(20)]);
    expect(owner.checkpointMetrics()).toEqual({ checkpointsWritten: 5, checkpointsFailed: 0, checkpointFallbacks: 0 });
  });

  test("never two at a time, and no commit waits for one", async () => {
    let running = 0;
    let most = 0;
    const release: (() => void)[] = [];
    const { store } = watched(server, async (request) => {
      if (!request.startsWith("put checkpoint")) return;
      most = Math.max(most, ++running);
      await new Promise<void>((resolve) => release.push(resolve));
      running--;
    });
    const owner = chain("A", store, { checkpointEvery: 2 });
    await owner.takeOver();
    for (let i = 0; i < 20; i++) await append(owner);
    expect(owner.state.nextSeq).toBe(21);
    expect(most).toBe(1);
    expect(owner.checkpointMetrics().checkpointsWritten).toBe(0);
    release.shift()?.();
    await settled(owner);
    await append(owner);
    await settled(owner);
    release.shift()?.();
    await owner.close();
    expect(most).toBe(1);
    // The first is of the moment when it was due, though nineteen links came before it was sent.
    expect(await checkpointKeys(server)).toEqual([at(1), at(21)]);
  });

  test("close waits for one that is under way; nothing may follow it", async () => {
    let release: () => void = () => undefined;
    const { store } = watched(server, async (request) => {
      if (request.startsWith("put checkpoint")) await new Promise<void>((resolve) => (release = resolve));
    });
    const owner = chain("A", store, { checkpointEvery: 1 });
    await owner.takeOver();
    let closed = false;
    const closing = owner.close().then(() => {
      closed = true;
    });
    await new Promise((resolve) => setImmediate(resolve));
    expect(closed).toBe(false);
    release();
    await closing;
    expect(owner.checkpointMetrics().checkpointsWritten).toBe(1);
    await expect(append(owner)).rejects.toMatchObject({ code: "TIERLOG_CLOSED" });
    await expect(owner.takeOver()).rejects.toMatchObject({ code: "TIERLOG_CLOSED" });
  });

  test.each(["put checkpoint", "get checkpoint"])(
    "a failing %s is reported, fails no append, and is tried again as many links later",
    async (what) => {
      let broken = true;
      const { store, requests } = watched(server, (request) => {
        if (broken && request.startsWith(what) && requests.length > 4) throw unavailable(request);
      });
      const logger = listeningLogger();
      const owner = chain("A", store, { checkpointEvery: 4, logger });
      await owner.takeOver();
      for (let i = 1; i < 6; i++) {
        await append(owner);
        await settled(owner);
      }
      expect(owner.checkpointMetrics()).toMatchObject({ checkpointsWritten: 0, checkpointsFailed: 1 });
      expect(logger.warnings).toMatchObject([{ fields: { shard: SHARD, seq: 3 } }]);
      broken = false;
      for (let i = 6; i < 8; i++) {
        await append(owner);
        await settled(owner);
      }
      expect(owner.checkpointMetrics()).toMatchObject({ checkpointsWritten: 1, checkpointsFailed: 1 });
    },
  );

  test("one that reads back with other bytes does not count: nothing older is deleted for it", async () => {
    const first = await written(8, 4);
    await first.close();
    expect(await checkpointKeys(server)).toEqual([at(3), at(7)]);
    const store: ObjectStore = {
      ...server,
      async put(key, body, options) {
        const outcome = await server.put(key, body, options);
        if (key === at(11)) await damage(server, key, flipped(100));
        return outcome;
      },
    };
    const logger = listeningLogger();
    const owner = chain("B", store, { checkpointEvery: 4, logger });
    await owner.takeOver();
    for (let i = 9; i < 12; i++) await append(owner);
    await settled(owner);
    expect(await checkpointKeys(server)).toEqual([at(3), at(7), at(11)]);
    expect(logger.warnings).toMatchObject([
      { fields: { seq: 11, problem: `${at(11)} at byte 100: is not what was written` } },
    ]);
    // Nothing behind the last good one is deleted; what was before it is.
    for (let i = 12; i < 16; i++) await append(owner);
    await settled(owner);
    expect(await checkpointKeys(server)).toEqual([at(7), at(11), at(15)]);
    expect(owner.checkpointMetrics()).toMatchObject({ checkpointsWritten: 1, checkpointsFailed: 1 });
    // The next good one takes the bad one with it.
    for (let i = 16; i < 20; i++) await append(owner);
    await settled(owner);
    expect(await checkpointKeys(server)).toEqual([at(15), at(19)]);
  });

  test("a listing or a delete that fails leaves too many, for the next one to delete", async () => {
    let broken = false;
    const { store } = watched(server, (request) => {
      if (broken && (request.startsWith("list") || request.startsWith("delete"))) throw unavailable(request);
    });
    const owner = await written(8, 4, store);
    broken = true;
    for (let i = 8; i < 16; i++) {
      await append(owner);
      await settled(owner);
    }
    expect(await checkpointKeys(server)).toHaveLength(4);
    broken = false;
    for (let i = 16; i < 20; i++) {
      await append(owner);
      await settled(owner);
    }
    expect(await checkpointKeys(server)).toEqual([at(15), at(19)]);
    expect(owner.checkpointMetrics()).toMatchObject({ checkpointsWritten: 5, checkpointsFailed: 0 });
  });

  test("a writer that was fenced long ago deletes nothing of its successor's", async () => {
    const owner = await written(7, 4);
    let release: () => void = () => undefined;
    const late = watched(server, async (request) => {
      if (request === `put ${at(8)}`) await new Promise<void>((resolve) => (release = resolve));
    });
    await owner.close();
    const a = chain("B", late.store, { checkpointEvery: 1 });
    await a.takeOver();
    await settled(a);
    await append(a);
    // Its checkpoint of seq 8 is held back; somebody takes over and writes two of its own.
    const b = chain("C", server, { checkpointEvery: 2 });
    await b.takeOver();
    for (let i = 0; i < 4; i++) {
      await append(b);
      await settled(b);
    }
    const own = await checkpointKeys(server);
    expect(own).toHaveLength(2);
    release();
    await a.close();
    expect(await checkpointKeys(server)).toEqual(expect.arrayContaining(own));
  });

  test("a process that loads its successor's while its own is on its way deletes none of them", async () => {
    const owner = await written(1, 1);
    const { state } = owner;
    let release: () => void = () => undefined;
    const late = watched(server, async (request) => {
      if (request.startsWith("put")) await new Promise<void>((resolve) => (release = resolve));
    });
    const checkpoints = new Checkpoints({ store: late.store, shard: SHARD, logger: silentLogger });
    const writing = checkpoints.write(state.snapshot());
    await append(owner);
    await settled(owner);
    await append(owner);
    await settled(owner);
    const own = await checkpointKeys(server);
    expect(own).toEqual([at(1), at(2)]);
    expect((await checkpoints.load()).newest).toBe(2);
    release();
    await expect(writing).resolves.toBe(true);
    expect(await checkpointKeys(server)).toEqual(expect.arrayContaining(own));
    expect(checkpoints.kept.newest).toBe(2);
  });

  test("a delete that lands late leaves its successor two, also where the successor started from what it deletes", async () => {
    // B looks for checkpoints when 3 is the newest, and then waits while A writes two more and sends the delete of 3.
    const first = await written(4, 4);
    let goOn: () => void = () => undefined;
    const paused = watched(server, async (request) => {
      if (request === `get ${indexKey(SHARD, 4 as Seq)}`) await new Promise<void>((resolve) => (goOn = resolve));
    });
    const b = chain("B", paused.store, { checkpointEvery: 1 });
    const taking = b.takeOver();
    for (let i = 4; i < 8; i++) {
      await append(first);
      await settled(first);
    }
    expect(await checkpointKeys(server)).toEqual([at(3), at(7)]);
    let sweep: () => void = () => undefined;
    const held = watched(server, async (request) => {
      if (request.startsWith("delete")) await new Promise<void>((resolve) => (sweep = resolve));
    });
    await first.close();
    const a = chain("C", held.store, { checkpointEvery: 2 });
    await a.takeOver();
    for (let i = 9; i < 12; i++) {
      await append(a);
      await settled(a);
    }
    goOn();
    await taking;
    await settled(b);
    sweep();
    await a.close();
    await b.close();
    expect((await checkpointKeys(server)).length).toBeGreaterThanOrEqual(2);
    const reader = chain("R", server);
    await reader.refresh();
    expect(digest(reader.state)).toBe(digest(b.state));
  });

  test("readers write none", async () => {
    await written(10, 1_000_000);
    const { store, requests } = watched(server);
    const reader = chain("R", store, { checkpointEvery: 1 });
    await reader.refresh();
    await reader.close();
    expect(requests.filter((request) => request.startsWith("put"))).toEqual([]);
  });

  test("two processes write the same bytes for the same seq", async () => {
    const owner = await written(6, 1_000_000);
    const reader = chain("R", server);
    await reader.refresh();
    const [a, b] = await Promise.all([owner, reader].map((who) => encodeCheckpoint(who.state.snapshot())));
    expect(Buffer.compare(a ?? Buffer.alloc(0), b ?? Buffer.alloc(1))).toBe(0);
  });
});

describe("opening", () => {
  test("starts at the newest checkpoint and folds to the same state as from the first link, at every seq", async () => {
    const owner = await written(30, 3);
    await owner.takeOver();
    await append(owner);
    await owner.close();
    const truth = await digestsFromZero(server, new ShardState(SHARD));
    // Each prefix of the chain, with the checkpoint of each seq in it.
    for (let length = 1; length <= truth.length; length++) {
      for (let seq = Math.max(0, length - 4); seq < length; seq++) {
        const store = createMemoryStore();
        const before = new ShardState(SHARD);
        for (let i = 0; i < length; i++) await copy(server, store, indexKey(SHARD, i as Seq));
        const partial = createMemoryStore();
        for (let i = 0; i <= seq; i++) await copy(server, partial, indexKey(SHARD, i as Seq));
        await digestsFromZero(partial, before);
        await store.put(at(seq), await encodeCheckpoint(before.snapshot()), { condition: { kind: "if-absent" } });
        const { store: counted, requests } = watched(store);
        const reader = chain("R", counted);
        await reader.refresh();
        expect(digest(reader.state), `checkpoint ${seq} of ${length} links`).toBe(truth[length - 1]);
        expect(requests.filter((request) => request === `get ${indexKey(SHARD, seq as Seq)}`)).toEqual([]);
      }
    }
  });

  test("an owner that opens from a checkpoint goes on with offsets, epoch and fence", async () => {
    const first = await written(9, 4);
    await first.close();
    const second = chain("B", server);
    await expect(second.takeOver()).resolves.toBe(2);
    await expect(append(second)).resolves.toBe(10);
    expect(second.state.extents(PARTITION)?.nextOffset).toBe(9);
    await expect(append(first)).rejects.toMatchObject({ code: "TIERLOG_CLOSED" });
  });

  test("a reader that waits at an empty shard and looks again when it is long takes the checkpoint too", async () => {
    const { store, requests } = watched(server);
    const reader = chain("R", store);
    await reader.refresh();
    const owner = await written(41, 10);
    requests.length = 0;
    await reader.refresh();
    expect(digest(reader.state)).toBe(digest(owner.state));
    expect(requests.slice(0, 2)).toEqual([expect.stringMatching(/^list checkpoint/), `get ${at(39)}`]);
    expect(requests.filter((request) => request.startsWith("get index")).length).toBeLessThan(5);
    requests.length = 0;
    await append(owner);
    await reader.refresh();
    expect(requests.filter((request) => request.includes("checkpoint"))).toEqual([]);
  });
});

describe("a checkpoint that cannot be read", () => {
  let owner: IndexChain;

  beforeEach(async () => {
    owner = await written(10, 4);
    await owner.close();
    const kept = await checkpointKeys(server);
    if (kept.join() !== [at(3), at(7)].join()) throw new Error(`fixture: ${kept.join()}`);
  });

  async function opened(): Promise<{ reader: IndexChain; logger: ReturnType<typeof listeningLogger> }> {
    const logger = listeningLogger();
    const reader = chain("R", server, { logger });
    await reader.refresh();
    expect(digest(reader.state)).toBe(digest(owner.state));
    return { reader, logger };
  }

  test.each([
    ["damaged", flipped(90)],
    ["cut", (bytes: Uint8Array) => bytes.subarray(0, 70)],
    ["empty", () => new Uint8Array(0)],
    ["of a future version", futureVersion],
  ])("the newest one %s: the older one and the links behind it, and a report", async (_, change) => {
    await damage(server, at(7), change);
    const { reader, logger } = await opened();
    expect(reader.checkpointMetrics().checkpointFallbacks).toBe(1);
    expect(logger.warnings).toMatchObject([{ fields: { shard: SHARD, key: at(7) } }]);
  });

  test("both: links may be gone, so nothing is folded from the first one; the damage is named", async () => {
    await damage(server, at(7), flipped(90));
    await damage(server, at(3), futureVersion);
    for (const act of [
      (who: IndexChain): Promise<unknown> => who.refresh(),
      (who: IndexChain): Promise<unknown> => who.takeOver(),
    ]) {
      const one = chain("B", server);
      await expect(act(one)).rejects.toMatchObject({ code: "TIERLOG_CORRUPTION", key: at(7) });
      expect([one.state.nextSeq, one.checkpointMetrics().checkpointFallbacks]).toEqual([0, 2]);
    }
    expect(await keysBelow(server, "index/")).toHaveLength(10);
  });

  test("the only one there is: no link was ever deleted, so all links from the first, and a report", async () => {
    await server.delete([at(3)]);
    await damage(server, at(7), flipped(90));
    const { reader, logger } = await opened();
    expect(reader.checkpointMetrics().checkpointFallbacks).toBe(1);
    expect(logger.warnings).toHaveLength(2);
  });

  test("deleted between the listing and the read: listed again, no report", async () => {
    const later = chain("B", server, { checkpointEvery: 2 });
    let raced = false;
    const { store } = watched(server, async (request) => {
      if (raced || request !== `get ${at(7)}`) return;
      raced = true;
      await later.takeOver();
      for (let i = 0; i < 6; i++) {
        await append(later);
        await settled(later);
      }
      expect(await checkpointKeys(server)).not.toContain(at(7));
    });
    const logger = listeningLogger();
    const reader = chain("R", store, { logger });
    await reader.refresh();
    expect(raced).toBe(true);
    expect(digest(reader.state)).toBe(digest(later.state));
    expect(reader.checkpointMetrics().checkpointFallbacks).toBe(0);
    expect(logger.warnings).toEqual([]);
  });

  test("listed for ever and never there: passed over and reported, not asked for without end", async () => {
    const ghost: ObjectStore = {
      ...server,
      get: async (key, options) => (key === at(7) ? undefined : server.get(key, options)),
    };
    const logger = listeningLogger();
    const reader = chain("R", ghost, { logger });
    await reader.refresh();
    expect(digest(reader.state)).toBe(digest(owner.state));
    expect(logger.warnings).toMatchObject([{ fields: { key: at(7) } }]);
  });

  test("a store that does not answer is no reason to fall back", async () => {
    let broken = true;
    const { store, requests } = watched(server, (request) => {
      if (broken && request === `get ${at(7)}`) throw unavailable(request);
    });
    const reader = chain("R", store);
    await expect(reader.refresh()).rejects.toMatchObject({ code: "TIERLOG_OBJECT_STORE" });
    expect(requests.filter((request) => request.startsWith("get index"))).toEqual([]);
    broken = false;
    await reader.refresh();
    expect(digest(reader.state)).toBe(digest(owner.state));
  });

  test("the next owner replaces what it could not read", async () => {
    await damage(server, at(7), flipped(90));
    const next = chain("B", server, { checkpointEvery: 4 });
    await next.takeOver();
    for (let i = 0; i < 8; i++) {
      await append(next);
      await settled(next);
    }
    await next.close();
    expect(await checkpointKeys(server)).toHaveLength(2);
    expect(await checkpointKeys(server)).not.toContain(at(7));
    const reader = chain("R", server);
    await reader.refresh();
    expect(digest(reader.state)).toBe(digest(next.state));
    expect(reader.checkpointMetrics().checkpointFallbacks).toBe(0);
  });

  test("a chain that ends before its checkpoint has lost links: never a shorter log, never a fence", async () => {
    await server.delete([at(3)]);
    await damage(server, at(7), futureVersion);
    await server.delete(await keysBelow(server, "index/"));
    for (const act of [
      (who: IndexChain): Promise<unknown> => who.refresh(),
      (who: IndexChain): Promise<unknown> => who.takeOver(),
    ]) {
      await expect(act(chain("B", server))).rejects.toMatchObject({
        code: "TIERLOG_MISSING_OBJECT",
        key: indexKey(SHARD, 0 as Seq),
        referredToBy: at(7),
      });
    }
    expect(await keysBelow(server, "index/")).toEqual([]);
  });

  test("with the newest one damaged and links behind the older one lost, nothing is guessed either", async () => {
    await damage(server, at(7), flipped(90));
    await server.delete([5, 6, 7, 8, 9].map((seq) => indexKey(SHARD, seq as Seq)));
    const reader = chain("R", server);
    for (let again = 0; again < 2; again++) {
      await expect(reader.refresh()).rejects.toMatchObject({
        code: "TIERLOG_MISSING_OBJECT",
        key: indexKey(SHARD, 5 as Seq),
        referredToBy: at(7),
      });
    }
    expect(reader.state.nextSeq).toBe(5);
    await expect(chain("B", server).takeOver()).rejects.toMatchObject({ code: "TIERLOG_MISSING_OBJECT" });
  });
});

describe("a corrupt link", () => {
  test.each([
    ["damaged", flipped(80), "TIERLOG_CORRUPTION"],
    ["cut", (bytes: Uint8Array) => bytes.subarray(0, 100), "TIERLOG_CORRUPTION"],
    ["of a future version", futureLink, "TIERLOG_UNSUPPORTED_VERSION"],
  ])("%s: writers stop and create nothing, readers may read up to it", async (_, change, code) => {
    const owner = await written(10, 1_000_000);
    const truth = await digestsFromZero(server, new ShardState(SHARD));
    const bad = indexKey(SHARD, 6 as Seq);
    await damage(server, bad, change);
    const before = await keysBelow(server, "");
    const writer = chain("B", server, { checkpointEvery: 1 });
    for (let again = 0; again < 2; again++) await expect(writer.takeOver()).rejects.toMatchObject({ code });
    await expect(append(writer)).rejects.toMatchObject({ code: "TIERLOG_INVARIANT" });
    const reader = chain("R", server);
    await expect(reader.refresh()).rejects.toMatchObject({ code, message: expect.stringContaining(bad) });
    expect(digest(reader.state)).toBe(truth[5]);
    await expect(reader.refresh()).rejects.toMatchObject({ code });
    expect(await keysBelow(server, "")).toEqual(before);
    expect(owner.isOwner).toBe(true);
  });

  test("before the newest checkpoint it is in nobody's way; with that checkpoint damaged too, it stops the writer", async () => {
    const owner = await written(10, 4);
    await owner.close();
    await damage(server, indexKey(SHARD, 5 as Seq), flipped(80));
    const reader = chain("R", server);
    await reader.refresh();
    expect(digest(reader.state)).toBe(digest(owner.state));
    await damage(server, at(7), flipped(80));
    await expect(chain("B", server).takeOver()).rejects.toMatchObject({
      code: "TIERLOG_CORRUPTION",
      key: indexKey(SHARD, 5 as Seq),
    });
  });

  test("in the slot of a commit ends the turn: the commit is not guessed around it", async () => {
    const owner = await written(3, 1_000_000);
    await land(server, appendDraft({ seq: 3, epoch: 1, id: "stray", prev: writeId("nobody"), baseOffset: 0 }));
    await damage(server, indexKey(SHARD, 3 as Seq), flipped(70));
    await expect(append(owner)).rejects.toMatchObject({ code: "TIERLOG_CORRUPTION" });
    expect(owner.isOwner).toBe(false);
    expect(await keysBelow(server, "index/")).toHaveLength(4);
  });
});

test("every checkpoint that is written decodes to the state behind its seq", async () => {
  const bodies = new Map<ObjectKey, Uint8Array>();
  const store: ObjectStore = {
    ...server,
    put: (key, body, options) => {
      if (parseCheckpointKey(key) !== undefined) bodies.set(key, Uint8Array.from(body));
      return server.put(key, body, options);
    },
  };
  const owner = await written(60, 5, store);
  await owner.close();
  const truth = await digestsFromZero(server, new ShardState(SHARD));
  expect(bodies.size).toBe(12);
  for (const [key, body] of bodies) {
    const seq = parseCheckpointKey(key) ?? (0 as Seq);
    const state = new ShardState(SHARD);
    state.restore(await decodeCheckpoint(body, key, SHARD, seq));
    expect(digest(state)).toBe(truth[seq]);
  }
});

async function copy(from: ObjectStore, to: ObjectStore, key: ObjectKey): Promise<void> {
  const stored = await from.get(key);
  if (stored === undefined) throw new Error(`${key} does not exist`);
  await to.put(key, stored.body, { condition: { kind: "if-absent" } });
}

function futureVersion(bytes: Uint8Array): Uint8Array {
  const newer = Buffer.from(bytes);
  newer.writeUInt16BE(2, 8);
  newer.writeUInt32BE(crc32c(newer.subarray(0, 60)), 60);
  return newer;
}

/** The header of index files ends with its CRC at the same place. */
function futureLink(bytes: Uint8Array): Uint8Array {
  return futureVersion(bytes);
}
