import { describe, expect, test } from "vitest";

import type { Epoch, Offset, Seq } from "../../src/domain.ts";
import { decodeCheckpoint, encodeCheckpoint } from "../../src/index-chain/checkpoint-file.ts";
import type { ObjectNumber } from "../../src/index-chain/extent-list.ts";
import type { LinkRange, ReplaceEntry } from "../../src/index-chain/link-entries.ts";
import { ShardState } from "../../src/index-chain/shard-state.ts";
import { checkpointKey, dataKey, indexKey } from "../../src/object-store/object-names.ts";
import { fenced, fold, type Fold } from "./fold.ts";
import { extent, PARTITION, SHARD } from "./links.ts";
import { digest } from "./states.ts";

const OTHER = { ...PARTITION, partition: 1 };

function objectOf(n: number): { readonly key: ReturnType<typeof dataKey>; readonly sizeBytes: number } {
  return { key: dataKey(SHARD, 3 as Epoch, n, `00000000000000${String(n).padStart(2, "0")}`), sizeBytes: 10_000 };
}

/** Seq 1 and 2 hold inline bytes of two partitions, seq 3 an object with more of the first. */
function small(): Fold {
  const into = fenced();
  const inline = (from: number) => [
    extent(from, from + 10, 3, 300, 100),
    { ...extent(from, from + 10, 3, 400, 100), partition: 1 },
  ];
  fold(into, 3, [{ type: "append", objects: [], extents: inline(0) }]);
  fold(into, 3, [{ type: "append", objects: [], extents: inline(10) }]);
  fold(into, 3, [{ type: "append", objects: [objectOf(1)], extents: [{ ...extent(20, 30, 3, 0, 5000), object: 1 }] }]);
  return into;
}

function range(id: typeof PARTITION, from: number, to: number, count: number): LinkRange {
  return { ...id, baseOffset: from as Offset, nextOffset: to as Offset, count };
}

/** Puts each range into one extent of object `n`. */
function replace(state: ShardState, ranges: readonly LinkRange[], n: number): ReplaceEntry {
  const superseded = state.supersededDigest(ranges);
  if (superseded === undefined) throw new Error("no such extents");
  return {
    type: "replace",
    objects: [objectOf(n)],
    ranges,
    superseded,
    extents: ranges.map(({ partition, baseOffset, nextOffset }, i) => ({
      ...extent(baseOffset, nextOffset, 3, i * 1000, 1000),
      partition,
      object: 1,
    })),
  };
}

const BOTH = [range(PARTITION, 0, 30, 3), range(OTHER, 0, 20, 2)];

describe("replace", () => {
  test("the same offsets in other extents; what is superseded leaves, and the objects that it emptied are told", () => {
    const into = small();
    const { state } = into;
    const dead: string[] = [];
    state.onObjectDead(({ key }) => dead.push(key));
    fold(into, 3, [replace(state, BOTH, 2)]);
    expect([...state.dataObjects]).toMatchObject([{ key: objectOf(2).key, extents: 2, liveBytes: 2000, number: -2 }]);
    expect(dead).toEqual([objectOf(1).key]);
    expect(state.extents(PARTITION)).toMatchObject({ count: 1, startOffset: 0, nextOffset: 30, bytes: 1000 });
    expect(state.extents(OTHER)?.at(0)).toMatchObject({ baseOffset: 0, nextOffset: 20, object: -2, position: 1000 });
    expect(() => state.objectKey(-1 as ObjectNumber)).toThrow(
      expect.objectContaining({ code: "TIERLOG_MISSING_OBJECT" }),
    );
    // The log goes on behind it.
    fold(into, 3, [{ type: "append", objects: [], extents: [extent(30, 31, 3, 300, 10)] }]);
    expect(state.extents(PARTITION)).toMatchObject({ count: 2, nextOffset: 31, bytes: 1010 });
  });

  test("in the middle of a partition, and inside a trimmed first extent", () => {
    const into = small();
    const { state } = into;
    fold(into, 3, [{ type: "trim", trims: [{ ...PARTITION, oldStart: 0 as Offset, newStart: 5 as Offset }] }]);
    fold(into, 3, [replace(state, [range(PARTITION, 10, 20, 1)], 2)]);
    fold(into, 3, [replace(state, [range(PARTITION, 0, 20, 2)], 3)]);
    const list = state.extents(PARTITION)!;
    expect([list.startOffset, list.count, list.at(0).nextOffset, list.at(1).baseOffset]).toEqual([5, 2, 20, 20]);
  });

  test("C16: of two builders that replace the same extents one has an effect, the other's entry is void, whole", () => {
    const into = small();
    const { state } = into;
    const [one, two] = [replace(state, BOTH, 2), replace(state, [range(PARTITION, 10, 30, 2), BOTH[1]!], 3)];
    fold(into, 3, [one]);
    const before = digest(state);
    const liveLinks = state.liveLinks;
    fold(into, 3, [two]);
    expect(state.liveLinks).toBe(liveLinks + 1);
    expect([...state.dataObjects].map(({ key }) => key)).toEqual([objectOf(2).key]);
    expect(digest(state).split("\n").slice(-4)).toEqual(before.split("\n").slice(-4));
  });

  test.each<[string, (into: Fold) => void]>([
    [
      "trimmed",
      (into) => fold(into, 3, [{ type: "trim", trims: [{ ...OTHER, oldStart: 0 as Offset, newStart: 10 as Offset }] }]),
    ],
    ["replaced in part", (into) => fold(into, 3, [replace(into.state, [range(OTHER, 10, 20, 1)], 9)])],
  ])("what was %s meanwhile makes the whole entry void, also for the other partition", (_, meanwhile) => {
    const into = small();
    const entry = replace(into.state, BOTH, 2);
    meanwhile(into);
    fold(into, 3, [entry]);
    expect(into.state.extents(PARTITION)).toMatchObject({ count: 3 });
    expect([...into.state.dataObjects].map(({ key }) => key)).not.toContain(objectOf(2).key);
  });

  test("the digest names extents, not how they came to be known: it is the same behind a checkpoint", async () => {
    const into = small();
    fold(into, 3, [replace(into.state, BOTH, 2)]);
    fold(into, 3, [{ type: "append", objects: [objectOf(4)], extents: [{ ...extent(30, 40, 3, 0, 50), object: 1 }] }]);
    const { state } = into;
    const bytes = await encodeCheckpoint(state.snapshot());
    const copy = new ShardState(SHARD);
    const seq = (state.nextSeq - 1) as Seq;
    copy.restore(await decodeCheckpoint(bytes, checkpointKey(SHARD, seq), SHARD, seq));
    expect(digest(copy)).toBe(digest(state));
    expect([...copy.dataObjects].map(({ number }) => number)).toEqual([-1, -2]);
    const ranges = [range(PARTITION, 0, 40, 2)];
    expect(copy.supersededDigest(ranges)).toBe(state.supersededDigest(ranges));
    // And whoever goes on from either writes the same checkpoints.
    const next = replace(state, ranges, 5);
    const both = [into, { state: copy, lastLive: into.lastLive }];
    for (const one of both) fold(one, 3, [next]);
    const [first, second] = await Promise.all(both.map((one) => encodeCheckpoint(one.state.snapshot())));
    expect(Buffer.compare(first!, second!)).toBe(0);
  });
});

describe("boundary", () => {
  test("C10: it never lies above inline bytes that are still read", () => {
    const into = small();
    const { state } = into;
    fold(into, 3, [{ type: "boundary", seq: 2 as Seq }]);
    expect(state.boundary).toBe(0);
    fold(into, 3, [{ type: "boundary", seq: 1 as Seq }]);
    expect(state.boundary).toBe(1);
    fold(into, 3, [replace(state, [range(PARTITION, 0, 20, 2), BOTH[1]!], 2)]);
    fold(into, 3, [{ type: "boundary", seq: 6 as Seq }]);
    expect(state.boundary).toBe(6);
  });

  test("it neither goes back nor reaches above its own link", () => {
    const into = fenced();
    const { state } = into;
    fold(into, 3, [{ type: "boundary", seq: 2 as Seq }]);
    expect(state.boundary).toBe(0);
    fold(into, 3, [{ type: "boundary", seq: 2 as Seq }]);
    expect(state.boundary).toBe(2);
    fold(into, 3, [{ type: "boundary", seq: 1 as Seq }]);
    expect(state.boundary).toBe(2);
  });

  test("a checkpoint keeps it", async () => {
    const into = fenced();
    fold(into, 3, [{ type: "boundary", seq: 1 as Seq }]);
    const copy = new ShardState(SHARD);
    const bytes = await encodeCheckpoint(into.state.snapshot());
    copy.restore(await decodeCheckpoint(bytes, checkpointKey(SHARD, 1 as Seq), SHARD, 1 as Seq));
    expect([copy.boundary, copy.nextSeq]).toEqual([1, 2]);
  });
});

test("an object that a link lists and no extent lies in is not held", () => {
  const into = fenced();
  fold(into, 3, [
    { type: "append", objects: [objectOf(1), objectOf(2)], extents: [{ ...extent(0, 5, 3, 0, 50), object: 2 }] },
  ]);
  expect([...into.state.dataObjects].map(({ key }) => key)).toEqual([objectOf(2).key]);
  expect(into.state.objectKey(into.state.extents(PARTITION)!.at(0).object)).toBe(objectOf(2).key);
  expect(into.state.objectKey(1 as ObjectNumber)).toBe(indexKey(SHARD, 1 as Seq));
});
