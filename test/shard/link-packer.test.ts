import { expect, test } from "vitest";

import type { Offset, TopicId } from "../../src/domain.ts";
import { linkOverheadBytes } from "../../src/index-chain/index-file.ts";
import { ShardState } from "../../src/index-chain/shard-state.ts";
import { buildLink, packLinks, type PackedRun } from "../../src/shard/link-packer.ts";
import { PendingBatch, PendingPartition } from "../../src/shard/pending.ts";

const WRITER_ID_BYTES = 10;

function run(partition: number, sizes: readonly number[], maxTimestampMs = 5): PackedRun {
  const target = { topicId: "0".repeat(32) as TopicId, partition, compression: "none" as const };
  const owner = new PendingPartition(target, 1000);
  return {
    target,
    batches: sizes.map((size, i) => {
      const bytes = new Uint8Array(size);
      return {
        pending: new PendingBatch(bytes, owner),
        sealed: {
          bytes,
          recordCount: 2,
          baseOffset: 0 as Offset,
          nextOffset: 2 as Offset,
          maxTimestampMs: maxTimestampMs - i,
        },
      };
    }),
  };
}

/** Sizes of the batches of each link, run by run. */
function pack(runs: readonly PackedRun[], linkBytesMax: number): number[][][] {
  return packLinks(runs, linkBytesMax, WRITER_ID_BYTES).map((link) =>
    link.map(({ batches }) => batches.map(({ sealed }) => sealed.bytes.length)),
  );
}

test("a link is filled to its last byte, its directory counted for every extent, and not beyond", () => {
  const runs = [run(0, [100, 100]), run(1, [100])];
  const exact = linkOverheadBytes(2, 2, WRITER_ID_BYTES) + 300;
  expect(pack(runs, exact)).toEqual([[[100, 100], [100]]]);
  expect(pack(runs, exact - 1)).toEqual([[[100, 100]], [[100]]]);
  expect(pack([run(0, [100, 100])], linkOverheadBytes(1, 1, WRITER_ID_BYTES) + 199)).toEqual([[[100]], [[100]]]);
});

test("a batch too large for any link gets one of its own; nothing to pack is no link", () => {
  expect(pack([run(0, [100, 900, 100])], 500)).toEqual([[[100]], [[900]], [[100]]]);
  expect(pack([run(0, [900])], 500)).toEqual([[[900]]]);
  expect(pack([], 500)).toEqual([]);
});

test("an extent bears the largest timestamp of its batches", () => {
  const { entries } = buildLink([run(0, [100, 100], 7)], new ShardState(0 as never), 1 as never);
  expect(entries).toMatchObject([
    { type: "append", extents: [{ baseOffset: 0, nextOffset: 4, maxTimestampMs: 7, lengthBytes: 200 }] },
  ]);
});
