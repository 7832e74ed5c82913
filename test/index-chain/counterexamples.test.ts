import { beforeEach, describe, expect, test } from "vitest";

import type { ObjectKey, Seq } from "../../src/domain.ts";
import { FencedError, ObjectStoreError } from "../../src/errors.ts";
import { decodeCheckpoint } from "../../src/index-chain/checkpoint-file.ts";
import type { IndexChain } from "../../src/index-chain/index-chain.ts";
import { ShardState } from "../../src/index-chain/shard-state.ts";
import { NO_WRITE_ID } from "../../src/index-chain/write-id.ts";
import { createMemoryStore } from "../../src/object-store/memory-store.ts";
import { indexKey, parseCheckpointKey } from "../../src/object-store/object-names.ts";
import type { ObjectStore, PutOptions, PutOutcome } from "../../src/object-store/object-store.ts";
import {
  append,
  appendDraft,
  chain as openChain,
  checkpointKeys,
  extent,
  fenceDraft,
  land,
  PARTITION,
  SHARD,
  writeId,
} from "./links.ts";
import { digest, digestsFromZero } from "./states.ts";

/**
 * The histories by which weaker wordings of the commit protocol break (docs/commit-protocol.md), each as it is refused. C4 needs
 * pipelined links, which this engine does not send.
 */

let server: ObjectStore;
let wire: Wire;

beforeEach(() => {
  server = createMemoryStore();
  wire = new Wire(server);
});

/** Holds chosen puts back: the client gets no answer, the request lands when the test says so. */
class Wire {
  readonly #server: ObjectStore;
  #hold: ((key: ObjectKey) => boolean) | undefined;
  readonly #held: (() => Promise<PutOutcome>)[] = [];

  constructor(server: ObjectStore) {
    this.#server = server;
  }

  hold(match: (key: ObjectKey) => boolean): void {
    this.#hold = match;
  }

  /** Lands what was held back. */
  async release(): Promise<PutOutcome[]> {
    this.#hold = undefined;
    return Promise.all(this.#held.splice(0).map((land) => land()));
  }

  get store(): ObjectStore {
    return {
      ...this.#server,
      put: (key: ObjectKey, body: Uint8Array, options: PutOptions) => {
        const copy = Uint8Array.from(body);
        const send = (): Promise<PutOutcome> => this.#server.put(key, copy, { condition: options.condition });
        if (this.#hold?.(key) !== true) return send();
        this.#held.push(send);
        return Promise.reject(
          new ObjectStoreError("no answer", { operation: "put", key, retryable: true }, { effect: "unknown" }),
        );
      },
    };
  }
}

function chain(name: string, store: ObjectStore = server, checkpointEvery?: number): IndexChain {
  return openChain(name, store, checkpointEvery === undefined ? {} : { checkpointEvery });
}

describe("C1: a late link of the right epoch whose predecessor never landed", () => {
  test("is void: it would leave a hole in the offsets", async () => {
    await land(server, fenceDraft({ seq: 0, epoch: 1, id: "A0", prev: NO_WRITE_ID }));
    await land(server, fenceDraft({ seq: 1, epoch: 2, id: "A-again", prev: writeId("A0") }));
    // A's old seq 2, built on a seq 1 of epoch 1 that lost its slot; then the new one of epoch 2 built on what did not land.
    await land(server, appendDraft({ seq: 2, epoch: 1, id: "old a1", prev: writeId("old a0"), baseOffset: 1 }));
    await land(server, appendDraft({ seq: 3, epoch: 2, id: "new a1", prev: writeId("new a0"), baseOffset: 1 }));
    const reader = chain("R");
    await reader.refresh();
    expect(reader.state.nextSeq).toBe(4);
    expect(reader.state.liveLinks).toBe(2);
    expect(reader.state.extents(PARTITION)).toBeUndefined();
  });
});

describe("C2: a link built on a void link", () => {
  test("is void too: prev is the last live link, not seq − 1", async () => {
    await land(server, fenceDraft({ seq: 0, epoch: 1, id: "A0", prev: NO_WRITE_ID }));
    await land(server, appendDraft({ seq: 1, epoch: 1, id: "void", prev: writeId("elsewhere"), baseOffset: 0 }));
    await land(server, appendDraft({ seq: 2, epoch: 1, id: "on void", prev: writeId("void"), baseOffset: 1 }));
    await land(server, appendDraft({ seq: 3, epoch: 1, id: "on live", prev: writeId("A0"), baseOffset: 0 }));
    const reader = chain("R");
    await reader.refresh();
    expect(reader.state.liveLinks).toBe(2);
    expect(reader.state.lastLive).toBe(writeId("on live"));
    expect(reader.state.extents(PARTITION)?.nextOffset).toBe(1);
  });
});

describe("C3: a void link stands in the slot of a commit", () => {
  test("the same offsets go to the next seq under a new writeId, and only that counts", async () => {
    const a = chain("A", wire.store);
    await a.takeOver();
    await land(server, appendDraft({ seq: 1, epoch: 1, id: "stray", prev: writeId("nobody"), baseOffset: 7 }));
    await expect(append(a)).resolves.toBe(2);
    await expect(append(a)).resolves.toBe(3);
    const reader = chain("R");
    await reader.refresh();
    expect(reader.state.extents(PARTITION)?.nextOffset).toBe(2);
    expect(reader.state.lastLive).toBe(a.state.lastLive);
  });
});

describe("C5: two writers compute the same epoch", () => {
  test("the loser of the race steps back; no epoch has two owners", async () => {
    const b = chain("B");
    const c = chain("C");
    const outcomes = await Promise.allSettled([b.takeOver(), c.takeOver()]);
    const lost = outcomes.filter((outcome) => outcome.status === "rejected");
    expect(lost).toHaveLength(1);
    expect(lost[0]?.reason).toBeInstanceOf(FencedError);
    expect(lost[0]?.reason).toMatchObject({ localEpoch: 0, currentEpoch: 1, effect: "none" });
    expect([b.isOwner, c.isOwner].filter(Boolean)).toHaveLength(1);
  });

  test("a fence of an epoch that is not above the chain's is void, and so is all that is built on it", async () => {
    await land(server, fenceDraft({ seq: 0, epoch: 1, id: "A0", prev: NO_WRITE_ID }));
    await land(server, fenceDraft({ seq: 1, epoch: 2, id: "B0", prev: writeId("A0") }));
    await land(server, fenceDraft({ seq: 2, epoch: 2, id: "C0", prev: writeId("B0") }));
    await land(server, appendDraft({ seq: 3, epoch: 2, id: "C1", prev: writeId("C0"), baseOffset: 0 }));
    const reader = chain("R");
    await reader.refresh();
    expect(reader.state.fence?.writeId).toBe(writeId("B0"));
    expect(reader.state.extents(PARTITION)).toBeUndefined();
  });

  test("an append of another epoch than the chain's is void even with the right prev", async () => {
    await land(server, fenceDraft({ seq: 0, epoch: 2, id: "A0", prev: NO_WRITE_ID }));
    for (const [i, epoch] of [1, 3].entries()) {
      await land(server, appendDraft({ seq: i + 1, epoch, id: `e${epoch}`, prev: writeId("A0"), baseOffset: 0 }));
    }
    const reader = chain("R");
    await reader.refresh();
    expect(reader.state.liveLinks).toBe(1);
  });
});

describe("C6: an append of unknown outcome, then a re-open", () => {
  test("nothing is judged before our own fence: the late link takes the slot, and offsets go on behind it", async () => {
    const a = chain("A", wire.store);
    await a.takeOver();
    wire.hold((key) => key === indexKey(SHARD, 1 as Seq));
    await expect(append(a)).rejects.toMatchObject({ code: "TIERLOG_OBJECT_STORE", effect: "unknown" });
    expect(a.isOwner).toBe(false);
    await expect(append(a)).rejects.toMatchObject({ code: "TIERLOG_INVARIANT" });

    // The old PUT lands before the fence does: the fence loses seq 1 to ourselves and goes to seq 2.
    await wire.release();
    await expect(a.takeOver()).resolves.toBe(2);
    expect(a.state.fence?.seq).toBe(2);
    expect(a.state.extents(PARTITION)?.nextOffset).toBe(1);
    await expect(append(a)).resolves.toBe(3);
    expect(a.state.extents(PARTITION)?.nextOffset).toBe(2);
  });

  test("the fence lands first: the old link is refused or void for ever, its offset is given again", async () => {
    const a = chain("A", wire.store);
    await a.takeOver();
    wire.hold((key) => key === indexKey(SHARD, 1 as Seq));
    await expect(append(a)).rejects.toMatchObject({ effect: "unknown" });
    const held = wire;
    wire = new Wire(server);
    // Same process, a wire that works again: its fence takes seq 1.
    const reopened = chain("A", wire.store);
    await reopened.takeOver();
    expect((await held.release()).map((outcome) => outcome.kind)).toEqual(expect.arrayContaining(["condition-failed"]));
    await append(reopened);
    const reader = chain("R");
    await reader.refresh();
    expect(reader.state.extents(PARTITION)?.nextOffset).toBe(1);
  });
});

describe("C12: a checkpoint while a link of the writer is of unknown outcome", () => {
  test("holds settled links only, so it is right however the unknown one ends", async () => {
    const a = chain("A", wire.store, 1);
    await a.takeOver();
    await append(a);
    wire.hold((key) => key === indexKey(SHARD, 2 as Seq));
    await expect(append(a)).rejects.toMatchObject({ effect: "unknown" });
    // Somebody else's void link takes the slot for good: what A sent there never was.
    await land(server, appendDraft({ seq: 2, epoch: 1, id: "stray", prev: writeId("nobody"), baseOffset: 9 }));
    await wire.release();
    await a.close();

    const truth = await digestsFromZero(server, new ShardState(SHARD));
    expect(truth).toHaveLength(3);
    const keys = await checkpointKeys(server);
    expect(keys.length).toBeGreaterThan(0);
    for (const key of keys) {
      const seq = parseCheckpointKey(key) ?? (0 as Seq);
      expect(seq).toBeLessThan(2);
      const restored = new ShardState(SHARD);
      const stored = await server.get(key);
      restored.restore(await decodeCheckpoint(stored?.body ?? new Uint8Array(), key, SHARD, seq));
      expect(digest(restored)).toBe(truth[seq]);
    }
    const reader = chain("R");
    await reader.refresh();
    expect(digest(reader.state)).toBe(truth[2]);
  });

  test("a checkpoint that lands when its writer is long fenced is as right as any other", async () => {
    const a = chain("A", wire.store, 2);
    await a.takeOver();
    wire.hold((key) => parseCheckpointKey(key) !== undefined);
    await append(a);
    await a.close();
    expect(a.checkpointMetrics()).toMatchObject({ checkpointsWritten: 0, checkpointsFailed: 1 });
    const b = chain("B");
    await b.takeOver();
    await append(b);
    await wire.release();
    expect(await checkpointKeys(server)).toHaveLength(1);
    const reader = chain("R");
    await reader.refresh();
    expect(digest(reader.state)).toBe(digest(b.state));
  });
});

describe("taking over", () => {
  test("a fence of our own whose answer was lost is not a foreign owner", async () => {
    const a = chain("A", wire.store);
    await a.takeOver();
    wire.hold((key) => key === indexKey(SHARD, 1 as Seq));
    await expect(append(a)).rejects.toMatchObject({ effect: "unknown" });
    // The re-open's own fence at seq 1 is held back as well, then both land in some order.
    await expect(a.takeOver()).rejects.toMatchObject({ code: "TIERLOG_OBJECT_STORE" });
    await wire.release();
    await expect(a.takeOver()).resolves.toBeGreaterThanOrEqual(2);
    await append(a);
    expect(a.isOwner).toBe(true);
  });

  test("a writer that was fenced while it did not look gets FencedError from then on, and never fences back", async () => {
    const a = chain("A", wire.store);
    await a.takeOver();
    await append(a);
    const b = chain("B");
    await expect(b.takeOver()).resolves.toBe(2);
    await expect(append(a)).rejects.toMatchObject({
      code: "TIERLOG_FENCED",
      localEpoch: 1,
      currentEpoch: 2,
      effect: "none",
    });
    await expect(append(a)).rejects.toBeInstanceOf(FencedError);
    await expect(a.takeOver()).rejects.toBeInstanceOf(FencedError);
    await expect(append(b)).resolves.toBe(3);
  });

  test("a writer that re-opens after an unknown outcome and finds a foreign epoch steps back", async () => {
    const a = chain("A", wire.store);
    await a.takeOver();
    wire.hold((key) => key === indexKey(SHARD, 1 as Seq));
    await expect(append(a)).rejects.toMatchObject({ effect: "unknown" });
    const b = chain("B");
    await b.takeOver();
    await wire.release();
    await expect(a.takeOver()).rejects.toMatchObject({ code: "TIERLOG_FENCED", localEpoch: 1, currentEpoch: 2 });
  });

  test("a release keeps the epoch; the next owner fences as always", async () => {
    const a = chain("A");
    await a.takeOver();
    await a.commit([{ type: "release" }], []);
    const b = chain("B");
    await b.refresh();
    expect(b.state.released).toBe(true);
    await b.takeOver();
    expect(b.state.released).toBe(false);
    expect(b.state.epoch).toBe(2);
  });
});

describe("folding", () => {
  test("stops at the first missing seq: a link behind a hole is not looked at, however right it is", async () => {
    await land(server, fenceDraft({ seq: 0, epoch: 1, id: "A0", prev: NO_WRITE_ID }));
    await land(server, appendDraft({ seq: 2, epoch: 1, id: "A2", prev: writeId("A0"), baseOffset: 0 }));
    const reader = chain("R");
    await reader.refresh();
    expect(reader.state.nextSeq).toBe(1);
    await land(server, appendDraft({ seq: 1, epoch: 1, id: "A1", prev: writeId("A0"), baseOffset: 0 }));
    await reader.refresh();
    expect(reader.state.nextSeq).toBe(3);
    expect(reader.state.lastLive).toBe(writeId("A1"));
  });

  test("a live append that does not continue its partition is corruption; the state stays before it", async () => {
    await land(server, fenceDraft({ seq: 0, epoch: 1, id: "A0", prev: NO_WRITE_ID }));
    await land(server, appendDraft({ seq: 1, epoch: 1, id: "A1", prev: writeId("A0"), baseOffset: 5 }));
    const reader = chain("R");
    await expect(reader.refresh()).rejects.toMatchObject({
      code: "TIERLOG_CORRUPTION",
      key: indexKey(SHARD, 1 as Seq),
    });
    expect(reader.state.nextSeq).toBe(1);
    await expect(chain("B").takeOver()).rejects.toMatchObject({ code: "TIERLOG_CORRUPTION" });
  });

  test("100 links and a directory larger than the first read fold to the same state as they were written", async () => {
    const a = chain("A");
    await a.takeOver();
    for (let i = 0; i < 100; i++) await append(a);
    const many = Array.from({ length: 3000 }, (_, partition) => ({
      ...extent(0, 2, 1, partition * 4),
      partition: partition + 1,
    }));
    await a.commit([{ type: "append", objects: [], extents: many }], [Buffer.alloc(12_000)]);
    const reader = chain("R");
    await reader.refresh();
    expect(reader.state.nextSeq).toBe(a.state.nextSeq);
    expect(reader.state.extents(PARTITION)?.count).toBe(100);
    expect(reader.state.extents({ ...PARTITION, partition: 3000 })?.at(0)).toEqual(
      a.state.extents({ ...PARTITION, partition: 3000 })?.at(0),
    );
  });
});
