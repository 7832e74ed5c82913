import { beforeEach, describe, expect, test } from "vitest";

import type { ObjectKey, Offset, Seq } from "../../src/domain.ts";
import { FencedError } from "../../src/errors.ts";
import type { IndexChain } from "../../src/index-chain/index-chain.ts";
import { NO_WRITE_ID } from "../../src/index-chain/write-id.ts";
import { createMemoryStore } from "../../src/object-store/memory-store.ts";
import { indexKey } from "../../src/object-store/object-names.ts";
import type { ObjectStore } from "../../src/object-store/object-store.ts";
import { VirtualClock } from "../support/virtual-clock.ts";
import { append, appendDraft, chain, fenceDraft, GRACE_MS, keysBelow, land, PARTITION, SHARD } from "./links.ts";
import { digest } from "./states.ts";

/**
 * The histories in which a link lands in a slot that was given out, deleted behind a boundary and is free again: what is told of it, and
 * what is seen, as docs/commit-protocol.md wants it ("Deleting must not un-fence").
 */

let server: ObjectStore;
/** Of all processes, but one that is said to be suspended. */
let clock: VirtualClock;

beforeEach(() => {
  server = createMemoryStore();
  clock = new VirtualClock();
});

/** The server over a connection that keeps one request, or the answer to it, back until the test lets it go on. */
class SlowRequest {
  readonly store: ObjectStore;
  readonly #key: ObjectKey;
  #go: () => void = () => undefined;
  readonly #may = new Promise<void>((resolve) => (this.#go = resolve));
  #sent: () => void = () => undefined;
  /** It is on its way. */
  readonly sent = new Promise<void>((resolve) => (this.#sent = resolve));

  constructor(operation: "get" | "put", key: ObjectKey, what: "request" | "answer" = "request") {
    this.#key = key;
    this.store = {
      ...server,
      get: async (name, options) => {
        if (operation === "get") await this.#wait(name);
        return await server.get(name, options);
      },
      put: async (name, body, options) => {
        if (operation === "put" && what === "request") await this.#wait(name);
        const outcome = await server.put(name, body, options);
        if (operation === "put" && what === "answer") await this.#wait(name);
        return outcome;
      },
    };
  }

  arrives(): void {
    this.#go();
  }

  async #wait(name: ObjectKey): Promise<void> {
    if (name !== this.#key) return;
    this.#sent();
    await this.#may;
  }
}

const start = (name: string, store = server, time = clock): IndexChain => chain(name, store, { clock: time });
const link = (seq: number): ObjectKey => indexKey(SHARD, seq as Seq);

/**
 * What an owner's garbage collection does once it has a checkpoint: another one, the boundary behind the first, a grace, and every link
 * below is deleted. The boundary.
 */
async function deleteLinks(owner: IndexChain): Promise<number> {
  await append(owner);
  await owner.checkpointNow();
  const boundary = (owner.keptCheckpoints.older! + 1) as Seq;
  await owner.commit([{ type: "boundary", seq: boundary }], []);
  expect(owner.state.boundary).toBe(boundary);
  clock.stall(GRACE_MS);
  await owner.ensureProved();
  const keys = await keysBelow(server, "index/");
  await server.delete(keys.filter((key) => key < link(boundary)));
  return boundary;
}

/** The same where records are read from the links so far: they are trimmed first. */
async function trimAndDeleteLinks(owner: IndexChain): Promise<number> {
  await append(owner);
  const { startOffset, nextOffset } = owner.state.extents(PARTITION)!;
  await owner.commit([{ type: "trim", trims: [{ ...PARTITION, oldStart: startOffset, newStart: nextOffset }] }], []);
  await owner.checkpointNow();
  return await deleteLinks(owner);
}

/** The view of who begins now. */
async function truth(): Promise<string> {
  const reader = start("Z");
  await reader.refresh();
  return digest(reader.state);
}

const exists = async (seq: number): Promise<boolean> => (await server.head(link(seq))) !== undefined;

describe("C8: a create in a deleted slot succeeds", () => {
  test("(a) of a fence, whose sender slept behind its look for checkpoints: its turn begins behind the chain, not there", async () => {
    const a = start("A");
    await a.takeOver();
    const slow = new SlowRequest("get", link(0));
    const taker = start("T", slow.store);
    const taking = taker.takeOver();
    await slow.sent;
    await trimAndDeleteLinks(a);
    const end = a.state.nextSeq;
    slow.arrives();
    await expect(taking).resolves.toBe(2);
    expect(await exists(0)).toBe(true);
    expect(taker.state.fence?.seq).toBe(end);
    await append(taker);
    expect(digest(taker.state)).toBe(await truth());
    await expect(append(a)).rejects.toMatchObject({ code: "TIERLOG_FENCED", currentEpoch: 2, effect: "none" });
  });

  test("(b) of a link that was under way for longer than the grace: it is not acknowledged, and nobody sees it", async () => {
    const slow = new SlowRequest("put", link(2));
    const a = start("A", slow.store);
    await a.takeOver();
    await append(a);
    const told = append(a).catch((error: unknown) => error);
    await slow.sent;
    const b = start("B");
    await expect(b.takeOver()).resolves.toBe(2);
    expect(await trimAndDeleteLinks(b)).toBeGreaterThan(2);
    slow.arrives();
    expect(await told).toBeInstanceOf(FencedError);
    expect(await exists(2)).toBe(true);
    expect(a.isOwner).toBe(false);
    expect(digest(b.state)).toBe(await truth());
    // Nor does it judge by what it took for live: frames of its journal would be freed.
    expect(digest(a.state)).toBe(await truth());
    await expect(append(a)).rejects.toBeInstanceOf(FencedError);
    await append(b);
  });

  test("that is none: a link that was live, and whose answer came when the grace was over, is told as unknown", async () => {
    const slow = new SlowRequest("put", link(2), "answer");
    const a = start("A", slow.store);
    await a.takeOver();
    await append(a);
    const told = append(a).catch((error: unknown) => error);
    await slow.sent;
    const b = start("B");
    await b.takeOver();
    expect(b.state.extents(PARTITION)?.nextOffset).toBe(2);
    await trimAndDeleteLinks(b);
    slow.arrives();
    expect(await told).toMatchObject({ code: "TIERLOG_FENCED", currentEpoch: 2, effect: "unknown" });
    expect(digest(a.state)).toBe(await truth());
  });

  test("(c) of a link of who slept, and finds the next seq free: neither that nor the create is a proof of its turn", async () => {
    for (const look of [true, false]) {
      server = createMemoryStore();
      const a = start("A");
      await a.takeOver();
      await append(a);
      const b = start("B");
      await b.takeOver();
      expect(await trimAndDeleteLinks(b)).toBeGreaterThan(2);
      expect(await exists(2)).toBe(false);
      await expect(look ? a.prove() : append(a)).rejects.toBeInstanceOf(FencedError);
      expect(await exists(2)).toBe(!look);
      expect(a.proofAgeMs).toBe(Number.POSITIVE_INFINITY);
      await expect(append(a)).rejects.toBeInstanceOf(FencedError);
      expect(digest(b.state)).toBe(await truth());
    }
  });

  test("(d) of a link of who was suspended: its monotonic clock stood still, so its last proof looks young", async () => {
    const suspended = new VirtualClock();
    const a = start("A", server, suspended);
    await a.takeOver();
    await append(a);
    const b = start("B");
    await b.takeOver();
    expect(await trimAndDeleteLinks(b)).toBeGreaterThan(2);
    suspended.jumpWall(GRACE_MS);
    await expect(append(a)).rejects.toBeInstanceOf(FencedError);
    expect(await exists(2)).toBe(true);
    expect(digest(b.state)).toBe(await truth());
  });
});

describe("C9: a fence in a deleted slot, and on it another one whose slot was never used", () => {
  test("no checkpoint lies behind it; that the newest one disagrees with the view is what gives it away", async () => {
    const slow = new SlowRequest("get", link(0));
    const c = start("C", slow.store);
    const taking = c.takeOver();
    await slow.sent;
    const a = start("A");
    await a.takeOver();
    await a.checkpointNow();
    await expect(deleteLinks(a)).resolves.toBe(1);
    const end = a.state.nextSeq;
    // B, as old as C, is dead: its fence arrives all the same. C folds it, and all of A's links that are left are void behind it.
    await land(server, fenceDraft({ seq: 0, epoch: 1, id: "B0", prev: NO_WRITE_ID }));
    slow.arrives();
    await expect(taking).resolves.toBe(2);
    // Its first fence stands in a slot of its own, and is nothing.
    expect(c.state.fence?.seq).toBe(end + 1);
    const { nextOffset } = a.state.extents(PARTITION)!;
    expect(c.state.extents(PARTITION)?.nextOffset).toBe(nextOffset);
    await append(c);
    expect(c.state.extents(PARTITION)?.nextOffset).toBe((nextOffset + 1) as Offset);
    expect(digest(c.state)).toBe(await truth());
    await expect(append(a)).rejects.toMatchObject({ code: "TIERLOG_FENCED", currentEpoch: 2 });
  });
});

describe("C11: a reader with an old view", () => {
  test("that finds a dead link in a deleted slot serves nothing from there: its view is proved, and thrown away, before", async () => {
    const a = start("A");
    await a.takeOver();
    const reader = start("R");
    await reader.refresh();
    const b = start("B");
    await b.takeOver();
    await trimAndDeleteLinks(b);
    // A's, which B's fence had kept out.
    const landed = appendDraft({ seq: 1, epoch: 1, id: "A1", prev: reader.state.lastLive, baseOffset: 0 });
    await expect(land(server, landed)).resolves.toBe("written");
    expect(reader.isViewProved).toBe(false);
    await reader.refresh();
    expect(digest(reader.state)).toBe(await truth());
    expect(digest(reader.state)).toBe(digest(b.state));
  });

  test("shows the old view until the new one is folded: a log is never empty in between", async () => {
    const a = start("A");
    await a.takeOver();
    await append(a);
    const folding: SlowRequest[] = [];
    const reader = start("R", {
      ...server,
      get: (name, options) => (folding.at(-1)?.store ?? server).get(name, options),
    });
    await reader.refresh();
    const { nextOffset } = reader.state.extents(PARTITION)!;
    await trimAndDeleteLinks(a);
    const slow = new SlowRequest("get", link(a.state.nextSeq));
    folding.push(slow);
    const refreshed = reader.refresh();
    await slow.sent;
    expect(reader.state.extents(PARTITION)?.nextOffset).toBe(nextOffset);
    expect(reader.isViewProved).toBe(false);
    slow.arrives();
    await refreshed;
    expect(digest(reader.state)).toBe(digest(a.state));
    expect(reader.isViewProved).toBe(true);
  });
});
