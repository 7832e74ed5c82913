import { beforeAll, describe, expect, test } from "vitest";

import type { Seq } from "../../../src/domain.ts";
import { verifyStore, type FindingCode, type StoreVerification } from "../../../src/engine/verify-store.ts";
import { decodeCheckpoint, encodeCheckpoint } from "../../../src/index-chain/checkpoint-file.ts";
import { checkpointPrefix } from "../../../src/object-store/object-names.ts";
import { damage, flipped, SHARD } from "../../index-chain/links.ts";
import { testConfig } from "../../support/engine.ts";
import { bytesOf, checkpoint, copyOf, index, put, swap, truncate } from "./damaged-store.ts";
import { BOUNDARY, collected, mergedStore, type MergedStore } from "./merged-store.ts";

let merged: MergedStore;
let swept: MergedStore;
beforeAll(async () => {
  merged = await mergedStore();
  swept = await collected(merged);
});

async function verified({ store }: MergedStore, deep = true): Promise<StoreVerification> {
  return verifyStore(testConfig(), { objectStore: store, deep });
}

const copy = async (from: MergedStore): Promise<MergedStore> => ({ ...from, store: await copyOf(from.store) });

describe("no damage", () => {
  test("all links are there: folded from the first; what is superseded is unreferenced", async () => {
    const { findings, clean, totals, unreferenced } = await verified(merged);
    expect([clean, findings]).toEqual([true, []]);
    expect([totals.liveLinks, totals.voidLinks, totals.linksBelowBoundary, totals.unfoldedLinks]).toEqual([
      19, 0, 12, 0,
    ]);
    // 2 × 204 merged, and four small appends of two records.
    expect([totals.checkedRecords, totals.checkpoints, totals.dataObjects]).toEqual([2 * 204 + 4 * 2, 2, 2]);
    expect(unreferenced?.listed.map(({ key }) => key).sort()).toEqual([...merged.superseded].sort());
  });

  test("a replace that does not match the state has no effect, and is counted", async () => {
    expect((await verified(merged)).totals.voidEntries).toBe(1);
  });

  test("links below the boundary and superseded objects are gone: folded from the older checkpoint, the newer one compared", async () => {
    const { findings, clean, totals, unreferenced } = await verified(swept);
    expect([clean, findings, unreferenced?.objects]).toEqual([true, [], 0]);
    expect([totals.liveLinks, totals.linksBelowBoundary, totals.unfoldedLinks, totals.checkpoints]).toEqual([
      3, 0, 4, 2,
    ]);
    expect([totals.extents, totals.checkedRecords]).toEqual([6, 2 * 204 + 4 * 2]);
  });

  test("some links below the boundary are gone", async () => {
    const some = await copy(merged);
    await some.store.delete([index(0), index(4), index(5), index(9)]);
    const { findings, totals } = await verified(some);
    expect([findings, totals.linksBelowBoundary]).toEqual([[], 8]);
  });

  test("late PUTs in deleted slots, whatever they hold", async () => {
    const late = await copy(swept);
    for (const seq of [0, 5, 11]) await put(late.store, index(seq), await bytesOf(merged.store, index(seq)));
    await put(late.store, index(3), Buffer.from("no index file"));
    await put(late.store, index(8), await bytesOf(merged.store, index(9)));
    const { findings, clean, totals } = await verified(late);
    expect([clean, findings, totals.linksBelowBoundary]).toEqual([true, [], 5]);
  });

  test("what late PUTs in deleted slots name is unreferenced all the same", async () => {
    const late = await copy(swept);
    const [first] = merged.superseded;
    await put(late.store, index(5), await bytesOf(merged.store, index(5)));
    await put(late.store, first, await bytesOf(merged.store, first));
    const { findings, unreferenced } = await verified(late);
    expect([findings, unreferenced?.listed.map(({ key }) => key)]).toEqual([[], [first]]);
  });
});

describe("beside an owner who merges and deletes", () => {
  /** As before anything was merged; once the first object is read whose name begins with `from`, all that was is done. */
  async function overtaken(from: string): Promise<MergedStore> {
    const store = await copyOf(merged.store);
    const later = [9, 10, 11, 12, 13, 14, 15, 16, 17, 18].map(index);
    await store.delete([...later, checkpoint(15), checkpoint(17), ...merged.segments]);
    await put(store, checkpoint(3), merged.early);
    let isDone = false;
    const get: typeof store.get = async (key, options) => {
      if (key.startsWith(from) && !isDone) {
        isDone = true;
        for (const name of [...later, checkpoint(15), checkpoint(17), ...merged.segments])
          await put(store, name, await bytesOf(merged.store, name));
        const links = Array.from({ length: BOUNDARY }, (_, seq) => index(seq));
        await store.delete([...links, checkpoint(3), ...merged.superseded]);
      }
      return store.get(key, options);
    };
    return { ...merged, store: { ...store, get } };
  }

  test("all that was listed is gone before it is read: it is listed again", async () => {
    const { findings, clean, totals } = await verified(await overtaken("index/"));
    expect([findings, clean]).toEqual([[], true]);
    expect([totals.extents, totals.checkedRecords]).toEqual([6, 2 * 204 + 4 * 2]);
  });

  test("what was folded is gone before it is read: it is merged, not lost", async () => {
    const { findings, clean, totals } = await verified(await overtaken("data/"));
    expect([findings, clean]).toEqual([[], true]);
    expect(totals.extents).toBe(16);
  });

  test("what the chain still names by then is lost", async () => {
    // The object is gone, and the chain ends without having merged it.
    const early = await copy(merged);
    await early.store.delete([merged.superseded[0], ...[10, 11, 12, 13, 14, 15, 16, 17, 18].map(index)]);
    await early.store.delete([checkpoint(15), checkpoint(17)]);
    const { findings } = await verified(early);
    expect(findings.map(({ code, key }) => [code, key])).toEqual([["missing-data-object", merged.superseded[0]]]);
  });
});

type Expected = readonly [code: FindingCode, key: string, ranges: readonly string[], problem: string];

interface Case {
  readonly name: string;
  /** Of the store in which all links are there; else of that in which they were deleted. */
  readonly whole?: boolean;
  readonly plant: (merged: MergedStore) => Promise<readonly Expected[]>;
}

const CASES: readonly Case[] = [
  {
    name: "the link at the boundary is gone",
    async plant({ store }) {
      await store.delete([index(BOUNDARY)]);
      return [["missing-index-file", index(BOUNDARY), [], "does not exist; the checkpoint of seq 15 goes on"]];
    },
  },
  {
    name: "a link above the boundary is gone",
    async plant({ store }) {
      await store.delete([index(14)]);
      return [["missing-index-file", index(14), ["events/0 206…208"], "the checkpoint of seq 15 goes on"]];
    },
  },
  {
    name: "links below and above the boundary are gone: told from the boundary on",
    async plant({ store }) {
      await store.delete([index(12), index(13)]);
      return [["missing-index-file", index(12), ["events/0 204…206"], "nor do those up to seq 13"]];
    },
  },
  {
    name: "the link with the boundary is gone",
    async plant({ store }) {
      await store.delete([index(16)]);
      return [["missing-index-file", index(16), [], "the checkpoint of seq 17 goes on"]];
    },
  },
  {
    name: "a link above the boundary is damaged",
    whole: true,
    async plant({ store }) {
      await damage(store, index(13), flipped(70));
      return [["damaged-index-file", index(13), ["events/0 204…206"], "directory fails its CRC32C"]];
    },
  },
  {
    name: "a segment is gone",
    async plant({ store, segments: [first] }) {
      await store.delete([first]);
      return [["missing-data-object", first, ["events/0 0…204"], "the chain names it"]];
    },
  },
  {
    name: "a flipped bit in a segment",
    async plant({ store, segments: [, second] }) {
      await damage(store, second, flipped(3_000_000));
      return [["damaged-batch", second, ["events/1 70…101"], "CRC"]];
    },
  },
  {
    name: "a truncated segment",
    async plant({ store, segments: [first] }) {
      await truncate(store, first, 100_000);
      return [["data-object-size", first, ["events/0 0…204"], "its link says"]];
    },
  },
  {
    name: "the segments of two partitions, with the same offsets, in each other's place",
    async plant({ store, segments: [first, second] }) {
      await swap(store, first, second);
      return [
        ["replaced-data-object", second, ["events/1 0…204"], "holds other batches"],
        ["replaced-data-object", first, ["events/0 0…204"], "holds other batches"],
      ];
    },
  },
  {
    name: "an old, superseded object under the name of a segment",
    async plant({ store, segments: [first], superseded: [old] }) {
      await put(store, first, await bytesOf(merged.store, old));
      return [["data-object-size", first, ["events/0 0…204"], "its link says"]];
    },
  },
  {
    name: "both checkpoints are gone, and the links below the boundary",
    async plant({ store }) {
      await store.delete([checkpoint(15), checkpoint(17)]);
      return [
        ["missing-index-file", index(0), ["events/0 0…212", "events/1 0…204"], "the log of this shard ends here"],
        ["missing-checkpoint", checkpointPrefix(SHARD), [], "there should be 2, 0 can be found"],
      ];
    },
  },
  {
    name: "both checkpoints are gone, no link yet",
    whole: true,
    async plant({ store }) {
      await store.delete([checkpoint(15), checkpoint(17)]);
      return [["missing-checkpoint", checkpointPrefix(SHARD), [], "links below seq 12 may be deleted"]];
    },
  },
  {
    name: "one checkpoint is gone",
    async plant({ store }) {
      await store.delete([checkpoint(15)]);
      return [["missing-checkpoint", checkpointPrefix(SHARD), [], "1 can be found"]];
    },
  },
  {
    name: "the older checkpoint cannot be read",
    async plant({ store }) {
      await damage(store, checkpoint(15), flipped(100));
      return [["damaged-checkpoint", checkpoint(15), [], "body fails its CRC32C"]];
    },
  },
  {
    name: "the newer checkpoint cannot be read",
    async plant({ store }) {
      await damage(store, checkpoint(17), flipped(100));
      return [["damaged-checkpoint", checkpoint(17), [], "body fails its CRC32C"]];
    },
  },
  {
    name: "the newer checkpoint has another boundary than the links give",
    async plant({ store }) {
      const key = checkpoint(17);
      const snapshot = await decodeCheckpoint(await bytesOf(store, key), key, SHARD, 17 as Seq);
      await put(store, key, await encodeCheckpoint({ ...snapshot, boundary: 13 as Seq }));
      return [["checkpoint-differs", key, [], "holds another state"]];
    },
  },
  {
    name: "the boundary lies above what the older checkpoint stands for",
    whole: true,
    async plant({ store, early }) {
      await store.delete([checkpoint(15)]);
      await put(store, checkpoint(3), early);
      return [["boundary-too-high", checkpointPrefix(SHARD), [], "up to seq 3 only"]];
    },
  },
];

describe("planted damage is found and named, and nothing else is", () => {
  test.each(CASES)("$name", async ({ whole = false, plant }) => {
    const store = await copy(whole ? merged : swept);
    const expected = await plant(store);
    const { findings, clean } = await verified(store);
    const told = findings.map(({ code, key, offsets }) => [
      code,
      key,
      offsets.map((range) => `${range.topic}/${range.partition} ${range.firstOffset}…${range.nextOffset}`),
    ]);
    expect(told).toEqual(expected.map(([code, key, ranges]) => [code, key, ranges]));
    const missed = expected.filter(([, , , problem], i) => findings[i]?.problem.includes(problem) !== true);
    expect([missed, findings.map(({ problem }) => problem)]).toEqual([[], expect.any(Array)]);
    expect(clean).toBe(false);
  });
});
