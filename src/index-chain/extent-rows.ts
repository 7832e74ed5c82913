import type { Epoch, Offset } from "../domain.ts";

/**
 * The object that holds an extent, as a number within one shard's state: n ≥ 0 is the index file of seq n, n < 0 a data object.
 * `ShardState.objectKey` tells its name.
 */
export type ObjectNumber = number & { readonly __objectNumber: true };

/** Where a run of batches of one partition lies: bytes [position, position + length) of an object. */
export interface Extent {
  readonly baseOffset: Offset;
  readonly nextOffset: Offset;
  readonly leaderEpoch: Epoch;
  readonly object: ObjectNumber;
  readonly position: number;
  readonly lengthBytes: number;
  readonly maxTimestampMs: number;
}

/**
 * Extents of one partition, six numbers each: without a hole, where one ends is where the next begins. One array a partition and no
 * more: most partitions of a large shard hold few extents, and what is around an array costs more than they do; the first one even lies
 * in the array itself. Whoever fills it may write behind the extents that are there, never change one: a checkpoint reads the same
 * array while the list goes on (`FrozenExtents`).
 */
export type ExtentRows = Float64Array;

const ROW = 6;
const BASE_OFFSET = 0;
const OBJECT = 1;
const POSITION = 2;
const LENGTH = 3;
const TIMESTAMP = 4;
const EPOCH = 5;

/** Room for `capacity` extents. */
export function extentRows(capacity: number): ExtentRows {
  return new Float64Array(capacity * ROW);
}

export function capacityOf(rows: ExtentRows): number {
  return rows.length / ROW;
}

/** `nextOffset` is not in it: the next extent begins there. */
export function setRow(rows: ExtentRows, i: number, extent: Omit<Extent, "nextOffset">): void {
  const at = i * ROW;
  rows[at + BASE_OFFSET] = extent.baseOffset;
  rows[at + OBJECT] = extent.object;
  rows[at + POSITION] = extent.position;
  rows[at + LENGTH] = extent.lengthBytes;
  rows[at + TIMESTAMP] = extent.maxTimestampMs;
  rows[at + EPOCH] = extent.leaderEpoch;
}

/** Takes the extents `from` … `end` of `other` over, to `at` on. */
export function copyRows(rows: ExtentRows, other: ExtentRows, from: number, end: number, at: number): void {
  rows.set(other.subarray(from * ROW, end * ROW), at * ROW);
}

/** A copy of the extents `from` … `end` with room for `capacity`. REQUIRES: end ≤ this capacity, end − from ≤ `capacity`. */
export function copiedRows(rows: ExtentRows, from: number, end: number, capacity: number): ExtentRows {
  const copy = extentRows(capacity);
  copyRows(copy, rows, from, end, 0);
  return copy;
}

/** The extents of one partition as they were at one moment: the first `count` of `rows`. REQUIRES of every i: 0 ≤ i < count. */
export class FrozenExtents {
  readonly rows: ExtentRows;
  readonly count: number;
  /** Where the partition begins, maybe inside the first extent. */
  readonly startOffset: number;
  /** Where the last extent ends; `startOffset` where there is none. */
  readonly endOffset: number;

  constructor(rows: ExtentRows, count: number, startOffset: number, endOffset: number) {
    this.rows = rows;
    this.count = count;
    this.startOffset = startOffset;
    this.endOffset = endOffset;
  }

  baseOffset(i: number): Offset {
    return this.rows[i * ROW + BASE_OFFSET] as Offset;
  }

  nextOffset(i: number): Offset {
    return (i + 1 < this.count ? this.rows[(i + 1) * ROW + BASE_OFFSET] : this.endOffset) as Offset;
  }

  object(i: number): ObjectNumber {
    return this.rows[i * ROW + OBJECT] as ObjectNumber;
  }

  position(i: number): number {
    return this.rows[i * ROW + POSITION]!;
  }

  lengthBytes(i: number): number {
    return this.rows[i * ROW + LENGTH]!;
  }

  maxTimestampMs(i: number): number {
    return this.rows[i * ROW + TIMESTAMP]!;
  }

  leaderEpoch(i: number): Epoch {
    return this.rows[i * ROW + EPOCH] as Epoch;
  }
}
