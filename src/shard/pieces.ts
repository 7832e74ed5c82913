import type { ObjectKey } from "../domain.ts";
import type { Extent } from "../index-chain/extent-list.ts";
import type { ShardState } from "../index-chain/shard-state.ts";
import type { Block } from "../object-store/data-object.ts";
import type { ExpectedExtent } from "../record/batch.ts";

/** Batches that lie side by side, and what the index says about them. */
export interface Piece {
  readonly key: ObjectKey;
  readonly start: number;
  readonly end: number;
  readonly expected: ExpectedExtent;
}

const LARGE_EXTENT_BYTES = 512 * 1024;

/** A large extent of a data object is read piece by piece: its sparse index says where. */
export function isLarge(extent: Extent): boolean {
  return extent.object < 0 && extent.lengthBytes > LARGE_EXTENT_BYTES;
}

export function wholeOf(state: ShardState, extent: Extent): Piece {
  return {
    key: state.objectKey(extent.object),
    start: extent.position,
    end: extent.position + extent.lengthBytes,
    expected: { baseOffset: extent.baseOffset, nextOffset: extent.nextOffset, epoch: extent.leaderEpoch },
  };
}

/** Blocks [first, next) of an extent in the object `key`, whose blocks are `blocks`. */
export function blocksOf(key: ObjectKey, extent: Extent, blocks: readonly Block[], first: number, next: number): Piece {
  return {
    key,
    start: extent.position + (blocks[first]?.position ?? 0),
    end: extent.position + (blocks[next]?.position ?? extent.lengthBytes),
    expected: {
      baseOffset: blocks[first]?.offset ?? extent.baseOffset,
      nextOffset: blocks[next]?.offset ?? extent.nextOffset,
      epoch: extent.leaderEpoch,
    },
  };
}
