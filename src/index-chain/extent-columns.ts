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

  /** A copy of the extents `from` … `end` with room for `capacity`. REQUIRES: end ≤ this capacity, end − from ≤ `capacity`. */
  copied(from: number, end: number, capacity: number): ExtentColumns {
    const to = new ExtentColumns(capacity);
    to.baseOffsets.set(this.baseOffsets.subarray(from, end));
    to.nextOffsets.set(this.nextOffsets.subarray(from, end));
    to.objects.set(this.objects.subarray(from, end));
    to.positions.set(this.positions.subarray(from, end));
    to.timestamps.set(this.timestamps.subarray(from, end));
    to.epochs.set(this.epochs.subarray(from, end));
    to.lengths.set(this.lengths.subarray(from, end));
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
