import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

import type { Epoch, ObjectKey, Seq, ShardId } from "../../src/domain.ts";
import {
  boundaryLimit,
  highestBoundary,
  IDLE_LINKS_MIN,
  judge,
  judgeUpload,
  linksWorthABoundary,
  oldCatalogs,
  oldProbeRecords,
  type ShardView,
} from "../../src/merge/garbage.ts";
import { GivenUpObjects } from "../../src/merge/given-up.ts";
import { WaitingList, type Noted } from "../../src/merge/waiting.ts";
import { checkpointKey, dataKey, indexKey, parseObjectName } from "../../src/object-store/object-names.ts";

const SHARD = 7 as ShardId;
const NONE = Number.POSITIVE_INFINITY;

describe("a boundary", () => {
  const seqs = fc.record({
    boundary: fc.nat(50),
    nextSeq: fc.nat(100),
    lowestInline: fc.oneof(fc.nat(100), fc.constant(NONE)),
    older: fc.option(fc.nat(100), { nil: undefined }),
  });

  test("C10: is above neither the older checkpoint, nor what is settled, nor a link that is read, nor below itself", () => {
    fc.assert(
      fc.property(seqs, ({ boundary, nextSeq, lowestInline, older }) => {
        const view = { boundary, nextSeq, lowestInline, older } as Parameters<typeof highestBoundary>[0];
        const highest = highestBoundary(view);
        expect(highest).toBeGreaterThanOrEqual(boundary);
        if (highest === boundary) return;
        expect(older).toBeDefined();
        expect(highest).toBeLessThanOrEqual((older ?? 0) + 1);
        expect(highest).toBeLessThanOrEqual(boundaryLimit(view));
        expect([(older ?? 0) + 1, nextSeq, lowestInline]).toContain(highest);
      }),
    );
  });

  test("is worth a link for a step while the shard is busy, for a few in the quiet, for any where all is to go", () => {
    expect(["busy", "idle", "squeeze"].map((mood) => linksWorthABoundary(256, mood as "busy"))).toEqual([
      256,
      IDLE_LINKS_MIN,
      1,
    ]);
    expect(linksWorthABoundary(4, "idle")).toBe(4);
  });
});

describe("a judgement", () => {
  const view: ShardView = {
    epoch: 5 as Epoch,
    epochOver: false,
    boundary: 10 as Seq,
    older: 20 as Seq,
    isNamed: (key) => key.includes("00000000000000aa"),
    isGivenUp: (key) => key.includes("00000000000000bb"),
  };
  const of = (key: ObjectKey, other: Partial<ShardView> = {}): string => {
    const name = parseObjectName(key);
    if (name?.kind !== "index" && name?.kind !== "checkpoint" && name?.kind !== "data") throw new Error(key);
    const judgement = judge(name, key, { ...view, ...other });
    return judgement.kind === "garbage" ? judgement.reason : judgement.kind;
  };
  const data = (epoch: number, random: string): ObjectKey => dataKey(SHARD, epoch as Epoch, 3, random);

  test("of links: garbage below the boundary, for ever", () => {
    expect(of(indexKey(SHARD, 9 as Seq))).toBe("below the boundary");
    expect(of(indexKey(SHARD, 10 as Seq))).toBe("live");
  });

  test("of checkpoints: the two newest good ones stay, and all where they are not known", () => {
    expect(of(checkpointKey(SHARD, 19 as Seq))).toBe("older than two good ones");
    expect(of(checkpointKey(SHARD, 20 as Seq))).toBe("live");
    expect(of(checkpointKey(SHARD, 19 as Seq), { older: undefined })).toBe("live");
  });

  test("C15: of data objects: by epoch, and by what this process knows it gave up, whatever their age", () => {
    expect(of(data(1, "00000000000000aa"))).toBe("live");
    expect(of(data(5, "00000000000000aa"))).toBe("live");
    expect(of(data(4, "00000000000000cc"))).toBe("no link names it");
    expect(of(data(5, "00000000000000cc"))).toBe("owner");
    expect(of(data(6, "00000000000000cc"))).toBe("owner");
    expect(of(data(5, "00000000000000bb"))).toBe("superseded");
    expect(of(data(5, "00000000000000cc"), { epochOver: true })).toBe("no link names it");
    expect(of(data(6, "00000000000000cc"), { epochOver: true })).toBe("owner");
  });

  test("of open uploads: the same", () => {
    const kinds = [4, 5].map((epoch) => judgeUpload(epoch as Epoch, data(epoch, "00000000000000cc"), view).kind);
    expect(kinds).toEqual(["garbage", "owner"]);
    expect(judgeUpload(5 as Epoch, data(5, "00000000000000bb"), view).kind).toBe("garbage");
  });

  test("of catalogs and probe results: the newest two, the newest eight", () => {
    expect([[], [1], [1, 2], [1, 2, 3, 9]].map(oldCatalogs)).toEqual([[], [], [], [1, 2]]);
    expect(oldProbeRecords(Array.from({ length: 10 }, (_, i) => i))).toEqual([0, 1]);
  });
});

describe("what waits", () => {
  const item = (n: number, shard = SHARD): Noted => ({
    kind: "object",
    key: dataKey(shard, 1 as Epoch, n, "00000000000000aa"),
    sizeBytes: 10,
    shard,
    epoch: 1 as Epoch,
    givenUp: n % 2 === 0,
  });

  test("is bounded, keeps its first moment, and is forgotten with its shard", () => {
    const list = new WaitingList(3);
    for (let n = 0; n < 5; n++) list.note(item(n), n * 100);
    list.note(item(0), 900);
    expect([list.count, list.bytes, list.turnedAway, list.room]).toEqual([3, 30, 2, 0]);
    expect(list.since(100).map(({ sinceMs }) => sinceMs)).toEqual([0, 100]);
    expect(list.lastSinceMs).toBe(200);
    expect([item(0), item(1)].map(({ key }) => list.isGivenUp(key))).toEqual([true, false]);
    const [first] = list.since(0);
    if (first === undefined) throw new Error("nothing waits");
    list.putLast(first);
    expect(list.since(1000).map(({ sinceMs }) => sinceMs)).toEqual([100, 200, 0]);
    list.keepShards(new Set([8 as ShardId]));
    expect(list.count).toBe(0);
    expect(list.lastSinceMs).toBeUndefined();
  });

  test("what is given up is taken once, the oldest first, and forgotten where there is no room", () => {
    const objects = new GivenUpObjects();
    for (let n = 0; n < 100_003; n++) objects.add({ key: `k${n}` as ObjectKey, sizeBytes: n });
    objects.add({ key: "k0" as ObjectKey, sizeBytes: 5 });
    expect([objects.count, objects.forgotten]).toEqual([100_000, 3]);
    expect(objects.take(2)).toEqual([
      { key: "k0", sizeBytes: 5 },
      { key: "k1", sizeBytes: 1 },
    ]);
    expect(objects.count).toBe(99_998);
  });
});
