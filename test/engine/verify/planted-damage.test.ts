import { beforeAll, describe, expect, test } from "vitest";

import type { Epoch, ObjectKey, Seq } from "../../../src/domain.ts";
import { verifyStore, type FindingCode, type StoreVerification } from "../../../src/engine/verify-store.ts";
import { FINDING_SEVERITY } from "../../../src/engine/verify/finding.ts";
import { decodeCheckpoint, encodeCheckpoint } from "../../../src/index-chain/checkpoint-file.ts";
import { FORMAT_KEY, catalogKey } from "../../../src/object-store/object-names.ts";
import type { ObjectStore } from "../../../src/object-store/object-store.ts";
import { damage, flipped, keysBelow, SHARD } from "../../index-chain/links.ts";
import { testConfig } from "../../support/engine.ts";
import {
  addFence,
  appendAgain,
  bytesOf,
  changeBatch,
  changeLink,
  checkpoint,
  copyOf,
  dataObjects,
  extentsAt,
  filledStore,
  index,
  put,
  swap,
  truncate,
} from "./damaged-store.ts";

let whole: ObjectStore;
beforeAll(async () => {
  whole = await filledStore();
});

/** What a finding must name: code, object, byte, and ranges as "partition first…next". */
type Expected = readonly [
  code: FindingCode,
  key: string,
  position: number | undefined,
  ranges: readonly string[],
  problem: string,
];

interface Case {
  readonly name: string;
  readonly deep?: boolean;
  readonly plant: (store: ObjectStore) => Promise<readonly Expected[]>;
}

async function verified(store: ObjectStore, deep: boolean): Promise<StoreVerification> {
  return verifyStore(testConfig(), { objectStore: store, deep });
}

function told({ findings }: StoreVerification): unknown[] {
  return findings.map(({ code, key, position, offsets }) => [
    code,
    key,
    position,
    offsets.map(
      ({ topic, partition, firstOffset, nextOffset }) => `${topic}/${partition} ${firstOffset}…${nextOffset}`,
    ),
  ]);
}

test("the store without damage: clean, and everything counted", async () => {
  const { clean, findings, unreferenced, totals, storeId } = await verified(whole, true);
  expect(await keysBelow(whole, "checkpoint/")).toEqual([checkpoint(3), checkpoint(7)]);
  expect([clean, findings, unreferenced]).toEqual([true, [], { objects: 0, bytes: 0, listed: [] }]);
  expect(storeId).toMatch(/^[0-9a-f]{32}$/);
  const { elapsedMs: _, ...counts } = totals;
  expect(counts).toEqual({
    catalogs: 3,
    shards: 1,
    liveLinks: 10,
    voidLinks: 0,
    unfoldedLinks: 0,
    linksBelowBoundary: 0,
    voidEntries: 0,
    checkpoints: 2,
    dataObjects: 2,
    dataObjectBytes: counts.dataObjectBytes,
    extents: 16,
    records: 2 * (6 * 2 + 2 * 96),
    bytes: counts.bytes,
    checkedBatches: counts.checkedBatches,
    checkedRecords: 2 * (6 * 2 + 2 * 96),
    checkedBytes: counts.bytes,
  });
  // Batches of 1 MiB at most: 3 MiB of values make four for each partition and object.
  expect(counts.checkedBatches).toBeGreaterThan(12 + 8);
  expect(counts.dataObjectBytes).toBeGreaterThan(12 * 1024 * 1024);
});

const CASES: readonly Case[] = [
  {
    name: "a deleted index file in the middle, with a checkpoint behind it",
    async plant(store) {
      await store.delete([index(2)]);
      return [
        [
          "missing-index-file",
          index(2),
          undefined,
          ["events/0 2…4", "events/1 2…4"],
          "the checkpoint of seq 3 goes on",
        ],
      ];
    },
  },
  {
    name: "deleted index files in the middle, with no checkpoint behind them",
    async plant(store) {
      await store.delete([index(7), index(8), checkpoint(7)]);
      return [
        ["missing-index-file", index(7), undefined, [], "nor do those up to seq 8; the log of this shard ends here"],
      ];
    },
  },
  {
    name: "the last index file of a chain deleted, with a checkpoint of it",
    async plant(store) {
      await store.delete([index(7), index(8), index(9)]);
      return [
        ["missing-index-file", index(7), undefined, ["events/0 200…202", "events/1 200…202"], "checkpoint of seq 7"],
      ];
    },
  },
  {
    name: "a truncated index file",
    async plant(store) {
      const { length } = await bytesOf(store, index(8));
      await truncate(store, index(8), 5);
      return [["damaged-index-file", index(8), length - 5, [], "its header says"]];
    },
  },
  {
    name: "a flipped bit in the header of an index file",
    async plant(store) {
      await damage(store, index(2), flipped(9));
      return [["damaged-index-file", index(2), 0, ["events/0 2…4", "events/1 2…4"], "header fails its CRC32C"]];
    },
  },
  {
    name: "a flipped bit in the directory of an index file",
    async plant(store) {
      await damage(store, index(1), flipped(100));
      return [["damaged-index-file", index(1), 64, ["events/0 0…2", "events/1 0…2"], "directory fails its CRC32C"]];
    },
  },
  {
    name: "a flipped bit in the inline payload",
    deep: true,
    async plant(store) {
      const [, extent] = await extentsAt(store, 4);
      const position = extent?.position ?? 0;
      await damage(store, index(4), flipped(position + 70));
      return [["damaged-batch", index(4), position, ["events/1 6…8"], "CRC of the batch"]];
    },
  },
  {
    name: "a batch whose CRC is right and whose LZ4 frame is not",
    deep: true,
    async plant(store) {
      const position = await changeBatch(store, 4, (batch) => batch.fill(0xff, 80, 90), { resealed: true });
      const at = expect.any(Number) as number;
      expect(Buffer.from(await bytesOf(store, index(4)))[position + 22]).toBe(3);
      return [["damaged-batch", index(4), at, ["events/0 6…8"], "of the decompressed records"]];
    },
  },
  {
    name: "a batch of another offset, which its CRC does not cover",
    deep: true,
    async plant(store) {
      const position = await changeBatch(store, 4, (batch) => batch.writeBigInt64BE(7n, 0), { resealed: false });
      return [["misplaced-batch", index(4), position, ["events/0 6…8"], "starts at offset 7 where 6 is due"]];
    },
  },
  {
    name: "a batch of another leader epoch",
    deep: true,
    async plant(store) {
      const position = await changeBatch(store, 4, (batch) => batch.writeInt32BE(2, 12), { resealed: false });
      return [["misplaced-batch", index(4), position, ["events/0 6…8"], "a batch of epoch 2 in an extent of epoch 1"]];
    },
  },
  {
    name: "an extent whose greatest timestamp is not that of its batches",
    deep: true,
    async plant(store) {
      await changeLink(store, 8, (link) => ({
        ...link,
        entries: link.entries.map((entry) =>
          entry.type === "append"
            ? { ...entry, extents: entry.extents.map((extent) => ({ ...extent, maxTimestampMs: 5 })) }
            : entry,
        ),
      }));
      const [first, second] = await extentsAt(store, 8);
      return [
        ["wrong-max-timestamp", index(8), first?.position, ["events/0 202…204"], "their extent says 5"],
        ["wrong-max-timestamp", index(8), second?.position, ["events/1 202…204"], "their extent says 5"],
      ];
    },
  },
  {
    name: "records of an older epoch behind those of a newer one",
    async plant(store) {
      await addFence(store, 9);
      await appendAgain(store, 8, 204, 10);
      await changeLink(store, 11, (link) => ({
        ...link,
        entries: link.entries.map((entry) =>
          entry.type === "append"
            ? { ...entry, extents: entry.extents.map((extent) => ({ ...extent, leaderEpoch: 2 as Epoch })) }
            : entry,
        ),
      }));
      await appendAgain(store, 8, 206, 11);
      const position = (await extentsAt(store, 12))[0]?.position;
      return [
        ["epoch-backwards", index(12), position, ["events/0 206…208"], "epoch 1 stand behind records of epoch 2"],
      ];
    },
  },
  {
    name: "a whole checkpoint that holds another state",
    async plant(store) {
      const key = checkpoint(7);
      const snapshot = await decodeCheckpoint(await bytesOf(store, key), key, SHARD, 7 as Seq);
      await put(store, key, await encodeCheckpoint({ ...snapshot, liveLinks: snapshot.liveLinks - 1 }));
      const position = expect.any(Number) as number;
      return [["checkpoint-differs", key, position, [], "another state than the links up to its seq give"]];
    },
  },
  {
    name: "two index files swapped",
    async plant(store) {
      await swap(store, index(1), index(2));
      return [
        ["misplaced-index-file", index(1), 12, ["events/0 0…2", "events/1 0…2"], "holds seq 2 of shard 0"],
        ["misplaced-index-file", index(2), 12, ["events/0 2…4", "events/1 2…4"], "holds seq 1 of shard 0"],
      ];
    },
  },
  {
    name: "an index file replayed under a later seq",
    async plant(store) {
      await put(store, index(10), await bytesOf(store, index(8)));
      return [["misplaced-index-file", index(10), 12, [], "holds seq 8 of shard 0"]];
    },
  },
  {
    name: "a live append that leaves a gap",
    async plant(store) {
      await appendAgain(store, 8, 206);
      const { position } = (await extentsAt(store, 10))[0] ?? {};
      return [
        ["offset-gap", index(10), position, ["events/0 204…206"], "begins at offset 206, its partition ends at 204"],
      ];
    },
  },
  {
    name: "two links that name the same offsets",
    async plant(store) {
      await appendAgain(store, 8, 202);
      const { position } = (await extentsAt(store, 10))[0] ?? {};
      return [["offset-overlap", index(10), position, ["events/0 202…204"], "these offsets are given already"]];
    },
  },
  {
    name: "a deleted data object",
    async plant(store) {
      const [first] = await dataObjects(store);
      await store.delete([first]);
      return [["missing-data-object", first, undefined, ["events/0 8…104", "events/1 8…104"], "the chain names it"]];
    },
  },
  {
    name: "a truncated data object",
    async plant(store) {
      const [first] = await dataObjects(store);
      const { length } = await bytesOf(store, first);
      await truncate(store, first, 2 * 1024 * 1024);
      const actual = length - 2 * 1024 * 1024;
      return [["data-object-size", first, actual, ["events/1 8…104"], `has ${actual} bytes, its link says ${length}`]];
    },
  },
  {
    name: "a data object of another size",
    async plant(store) {
      const [, second] = await dataObjects(store);
      const { length } = await bytesOf(store, second);
      await damage(store, second, (bytes) => Buffer.concat([bytes, Buffer.from("more")]));
      return [["data-object-size", second, length, [], `has ${length + 4} bytes, its link says ${length}`]];
    },
  },
  {
    name: "a flipped bit in a batch of a data object",
    deep: true,
    async plant(store) {
      const [, second] = await dataObjects(store);
      await damage(store, second, flipped(200));
      return [
        ["damaged-batch", second, 0, [expect.stringMatching(/^events\/0 104…1\d\d$/) as string], "CRC of the batch"],
      ];
    },
  },
  {
    name: "a flipped bit in a footer",
    async plant(store) {
      const [first] = await dataObjects(store);
      const { length } = await bytesOf(store, first);
      await damage(store, first, flipped(length - 40));
      const position = expect.any(Number) as number;
      return [["damaged-footer", first, position, [], "footer fails its CRC32C"]];
    },
  },
  {
    name: "the footer of another object",
    async plant(store) {
      const [first, second] = await dataObjects(store);
      const other = await bytesOf(store, first);
      const footerStart = other.length - 32 - Buffer.from(other).readUInt32BE(other.length - 20);
      await damage(store, second, (bytes) =>
        Buffer.concat([bytes.subarray(0, footerStart), other.subarray(footerStart)]),
      );
      return [["footer-differs", second, footerStart, [], "the batches are the right ones"]];
    },
  },
  {
    name: "an older object's bytes under a newer name",
    async plant(store) {
      const [first, second] = await dataObjects(store);
      await put(store, second, await bytesOf(store, first));
      return [["replaced-data-object", second, 0, ["events/0 104…200", "events/1 104…200"], "holds other batches"]];
    },
  },
  {
    name: "a checkpoint with a flipped bit",
    async plant(store) {
      await damage(store, checkpoint(7), flipped(90));
      return [["damaged-checkpoint", checkpoint(7), 64, [], "body fails its CRC32C"]];
    },
  },
  {
    name: "a checkpoint under the name of another seq",
    async plant(store) {
      await put(store, checkpoint(7), await bytesOf(store, checkpoint(3)));
      return [["misplaced-checkpoint", checkpoint(7), 12, [], "holds seq 3 of shard 0"]];
    },
  },
  {
    name: "an object that is not tierlog's",
    async plant(store) {
      for (const key of ["notes.txt", "backup/a", "backup/b", "index/0000/x.idx", "data/00/x.log"]) {
        await put(store, key as ObjectKey, Buffer.from("x"));
      }
      const why = "something else writes below the prefix";
      return ["notes.txt", "backup/", "index/0000/x.idx", "data/00/x.log"].map(
        (key) => ["foreign-object", key, undefined, [], why] as const,
      );
    },
  },
  {
    name: "a catalog version that is missing",
    async plant(store) {
      await store.delete([catalogKey(2)]);
      return [["missing-catalog", catalogKey(2), undefined, [], "a newer one is there"]];
    },
  },
  {
    name: "a damaged catalog",
    async plant(store) {
      await damage(store, catalogKey(2), flipped(0));
      return [["damaged-catalog", catalogKey(2), 0, [], "not JSON; a newer version counts"]];
    },
  },
  {
    name: "FORMAT of a newer version",
    async plant(store) {
      const format = JSON.parse(Buffer.from(await bytesOf(store, FORMAT_KEY)).toString()) as object;
      await put(store, FORMAT_KEY, Buffer.from(JSON.stringify({ ...format, version: 2 })));
      return [["unsupported-version", FORMAT_KEY, undefined, [], "a newer tierlog wrote it"]];
    },
  },
  {
    name: "a damaged FORMAT",
    async plant(store) {
      await damage(store, FORMAT_KEY, (bytes) => bytes.slice(0, 20));
      return [["damaged-format", FORMAT_KEY, 0, [], "no engine opens this store"]];
    },
  },
  {
    name: "a missing FORMAT",
    async plant(store) {
      await store.delete([FORMAT_KEY]);
      return [["missing-format", FORMAT_KEY, undefined, [], "other objects of a store do"]];
    },
  },
];

describe("planted damage is found and named, and nothing else is", () => {
  test.each(CASES)("$name", async ({ deep = false, plant }) => {
    const store = await copyOf(whole);
    const expected = await plant(store);
    const found = await verified(store, deep);
    expect(told(found)).toEqual(expected.map(([code, key, position, ranges]) => [code, key, position, ranges]));
    const missed = expected.filter(([, , , , problem], i) => found.findings[i]?.problem.includes(problem) !== true);
    expect([missed, found.findings.map(({ problem }) => problem)]).toEqual([[], expect.any(Array)]);
    expect(found.clean).toBe(expected.every(([code]) => code === "foreign-object"));
  });
});

test("every code has a case here", async () => {
  const planted = new Set<string>();
  for (const { plant } of CASES) for (const [code] of await plant(await copyOf(whole))) planted.add(code);
  // Those of a store with a boundary have their cases in boundary.test.ts.
  for (const code of ["missing-checkpoint", "boundary-too-high"] satisfies FindingCode[]) planted.add(code);
  expect([...planted].sort()).toEqual(Object.keys(FINDING_SEVERITY).sort());
});
