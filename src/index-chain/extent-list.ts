import type { Epoch, Offset } from "../domain.ts";
import { InvariantError } from "../errors.ts";

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

const COLUMN_BYTES = 8 + 8 + 4 + 8 + 8 + 4 + 8;

/**
 * The extents of one partition in offset order, without a hole: the next offset of one is the base offset of the following.
 * Typed-array columns, 48 bytes an extent: a shard may hold a hundred thousand of them, and as objects they would cost four
 * times that and a slow collector.
 */
export class ExtentList {
  #count = 0;
  #bytes = 0;
  #nextOffset = 0;
  #baseOffsets = new Float64Array(0);
  #nextOffsets = new Float64Array(0);
  #epochs = new Uint32Array(0);
  #objects = new Float64Array(0);
  #positions = new Float64Array(0);
  #lengths = new Uint32Array(0);
  #timestamps = new Float64Array(0);

  get count(): number {
    return this.#count;
  }

  /** Encoded bytes of all extents. */
  get bytes(): number {
    return this.#bytes;
  }

  get startOffset(): Offset {
    return (this.#count === 0 ? this.#nextOffset : (this.#baseOffsets[0] ?? 0)) as Offset;
  }

  get nextOffset(): Offset {
    return this.#nextOffset as Offset;
  }

  /** Memory of the columns. */
  get memoryBytes(): number {
    return this.#epochs.length * COLUMN_BYTES;
  }

  /** REQUIRES: `extent.baseOffset` is `nextOffset`. */
  push(extent: Extent): void {
    if (extent.baseOffset !== this.#nextOffset)
      throw new InvariantError(`extent at ${extent.baseOffset} behind ${this.#nextOffset}`);
    const i = this.#count;
    if (i === this.#epochs.length) this.#grow(i < 4 ? 4 : i + (i >> 2));
    this.#baseOffsets[i] = extent.baseOffset;
    this.#nextOffsets[i] = extent.nextOffset;
    this.#epochs[i] = extent.leaderEpoch;
    this.#objects[i] = extent.object;
    this.#positions[i] = extent.position;
    this.#lengths[i] = extent.lengthBytes;
    this.#timestamps[i] = extent.maxTimestampMs;
    this.#count = i + 1;
    this.#bytes += extent.lengthBytes;
    this.#nextOffset = extent.nextOffset;
  }

  /** REQUIRES: 0 ≤ i < count. */
  at(i: number): Extent {
    if (i < 0 || i >= this.#count) throw new InvariantError(`extent ${i} of ${this.#count}`);
    return {
      baseOffset: this.#baseOffsets[i] as Offset,
      nextOffset: this.#nextOffsets[i] as Offset,
      leaderEpoch: this.#epochs[i] as Epoch,
      object: this.#objects[i] as ObjectNumber,
      position: this.#positions[i] ?? 0,
      lengthBytes: this.#lengths[i] ?? 0,
      maxTimestampMs: this.#timestamps[i] ?? 0,
    };
  }

  /** Index of the extent that holds `offset`, or `count` where it lies at or past the end. */
  find(offset: number): number {
    let low = 0;
    let high = this.#count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#nextOffsets[middle] ?? 0) <= offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** How many objects hold these extents. */
  objects(): number {
    return new Set(this.#objects.subarray(0, this.#count)).size;
  }

  #grow(capacity: number): void {
    this.#baseOffsets = grown(this.#baseOffsets, new Float64Array(capacity));
    this.#nextOffsets = grown(this.#nextOffsets, new Float64Array(capacity));
    this.#epochs = grown(this.#epochs, new Uint32Array(capacity));
    this.#objects = grown(this.#objects, new Float64Array(capacity));
    this.#positions = grown(this.#positions, new Float64Array(capacity));
    this.#lengths = grown(this.#lengths, new Uint32Array(capacity));
    this.#timestamps = grown(this.#timestamps, new Float64Array(capacity));
  }
}

function grown<T extends Float64Array | Uint32Array>(from: T, to: T): T {
  to.set(from);
  return to;
}
