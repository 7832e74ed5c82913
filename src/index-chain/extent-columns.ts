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
 * Room for `capacity` extents in typed-array columns over one buffer. Whoever fills them may write behind the extents that are
 * there, never change one: a checkpoint reads the same columns while the list goes on (`FrozenExtents`).
 */
export class ExtentColumns {
  /** Of one extent. */
  static readonly ROW_BYTES = 48;

  readonly capacity: number;
  readonly baseOffsets: Float64Array;
  readonly nextOffsets: Float64Array;
  readonly objects: Float64Array;
  readonly positions: Float64Array;
  readonly timestamps: Float64Array;
  readonly epochs: Uint32Array;
  readonly lengths: Uint32Array;

  constructor(capacity: number) {
    this.capacity = capacity;
    // One buffer, not seven: most partitions of a large shard hold few extents, and each buffer costs more than they do.
    const buffer = new ArrayBuffer(capacity * ExtentColumns.ROW_BYTES);
    const column = 8 * capacity;
    this.baseOffsets = new Float64Array(buffer, 0, capacity);
    this.nextOffsets = new Float64Array(buffer, column, capacity);
    this.objects = new Float64Array(buffer, 2 * column, capacity);
    this.positions = new Float64Array(buffer, 3 * column, capacity);
    this.timestamps = new Float64Array(buffer, 4 * column, capacity);
    this.epochs = new Uint32Array(buffer, 5 * column, capacity);
    this.lengths = new Uint32Array(buffer, 5 * column + 4 * capacity, capacity);
  }

  get memoryBytes(): number {
    return this.capacity * ExtentColumns.ROW_BYTES;
  }

  set(i: number, extent: Extent): void {
    this.baseOffsets[i] = extent.baseOffset;
    this.nextOffsets[i] = extent.nextOffset;
    this.epochs[i] = extent.leaderEpoch;
    this.objects[i] = extent.object;
    this.positions[i] = extent.position;
    this.lengths[i] = extent.lengthBytes;
    this.timestamps[i] = extent.maxTimestampMs;
  }

  /** Takes the extents `from` … `end` of `other` over, to `at` on. */
  copyFrom(other: ExtentColumns, from: number, end: number, at: number): void {
    this.baseOffsets.set(other.baseOffsets.subarray(from, end), at);
    this.nextOffsets.set(other.nextOffsets.subarray(from, end), at);
    this.objects.set(other.objects.subarray(from, end), at);
    this.positions.set(other.positions.subarray(from, end), at);
    this.timestamps.set(other.timestamps.subarray(from, end), at);
    this.epochs.set(other.epochs.subarray(from, end), at);
    this.lengths.set(other.lengths.subarray(from, end), at);
  }

  /** A copy of the extents `from` … `end` with room for `capacity`. REQUIRES: end ≤ this capacity, end − from ≤ `capacity`. */
  copied(from: number, end: number, capacity: number): ExtentColumns {
    const to = new ExtentColumns(capacity);
    to.copyFrom(this, from, end, 0);
    return to;
  }
}

/** The extents of one partition as they were at one moment: the first `count` of `columns`. */
export interface FrozenExtents {
  readonly columns: ExtentColumns;
  readonly count: number;
  /** Where the partition begins, maybe inside the first extent; its end as well where there is no extent. */
  readonly startOffset: number;
}
