import type { Epoch, Offset } from "../domain.ts";
import { InvariantError } from "../errors.ts";
import { ExtentColumns, type Extent, type FrozenExtents, type ObjectNumber } from "./extent-columns.ts";

export type { Extent, ObjectNumber } from "./extent-columns.ts";

/**
 * The extents of one partition in offset order, without a hole: the next offset of one is the base offset of the following.
 * Typed-array columns, 48 bytes an extent and at most 60 with the room to grow: a shard may hold a hundred thousand of them, and
 * as objects they would cost four times that and a slow collector.
 */
export class ExtentList {
  #count = 0;
  #bytes = 0;
  #startOffset = 0;
  #nextOffset = 0;
  #columns = new ExtentColumns(0);

  /** A list that goes on where `frozen` ends; it shares nothing that either of them writes. */
  static of(frozen: FrozenExtents): ExtentList {
    const { columns, count, startOffset } = frozen;
    const list = new ExtentList();
    list.#count = count;
    // With room behind its last extent the columns may belong to a list that goes on writing there.
    list.#columns = columns.capacity === count ? columns : columns.copied(0, count, count);
    list.#startOffset = startOffset;
    list.#nextOffset = count === 0 ? startOffset : (columns.nextOffsets[count - 1] ?? 0);
    for (let i = 0; i < count; i++) list.#bytes += columns.lengths[i] ?? 0;
    return list;
  }

  /** The extents as they are now, for those who look again after waiting: a trim gives the others other numbers. Nothing may be pushed. */
  snapshot(): ExtentList {
    const list = new ExtentList();
    list.#count = this.#count;
    list.#columns = this.#columns;
    list.#startOffset = this.#startOffset;
    list.#nextOffset = this.#nextOffset;
    list.#bytes = this.#bytes;
    return list;
  }

  get count(): number {
    return this.#count;
  }

  /** Encoded bytes of all extents. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Where the partition begins: what a trim said, maybe inside the first extent. The records below it are not read any more. */
  get startOffset(): Offset {
    return this.#startOffset as Offset;
  }

  get nextOffset(): Offset {
    return this.#nextOffset as Offset;
  }

  /** Memory of the columns. */
  get memoryBytes(): number {
    return this.#columns.memoryBytes;
  }

  /** REQUIRES: `extent.baseOffset` is `nextOffset`. */
  push(extent: Extent): void {
    if (extent.baseOffset !== this.#nextOffset)
      throw new InvariantError(`extent at ${extent.baseOffset} behind ${this.#nextOffset}`);
    const i = this.#count;
    if (i === this.#columns.capacity) this.#columns = this.#columns.copied(0, i, i + Math.max(1, i >> 2));
    this.#columns.set(i, extent);
    this.#count = i + 1;
    this.#bytes += extent.lengthBytes;
    this.#nextOffset = extent.nextOffset;
  }

  /**
   * Moves the start; extents wholly below it go. REQUIRES: startOffset < `start` ≤ nextOffset. The numbers of the extents change:
   * whoever walks them across an await goes by offsets.
   */
  trim(start: Offset): void {
    if (start <= this.#startOffset || start > this.#nextOffset)
      throw new InvariantError(`trim to ${start} of ${this.#startOffset} … ${this.#nextOffset}`);
    const gone = this.find(start);
    for (let i = 0; i < gone; i++) this.#bytes -= this.#columns.lengths[i] ?? 0;
    // New ones: a snapshot may still read the old.
    if (gone > 0) this.#columns = this.#columns.copied(gone, this.#count, this.#count - gone);
    this.#count -= gone;
    this.#startOffset = start;
  }

  /**
   * Puts `extents` in the place of `count` from the number `first` on. REQUIRES: they cover the same offsets without a hole. The numbers
   * of the extents change, as with `trim`.
   */
  replace(first: number, count: number, extents: readonly Extent[]): void {
    const behind = first + count;
    const [from, to] = [this.at(first).baseOffset, this.at(behind - 1).nextOffset];
    if (extents[0]?.baseOffset !== from || extents.at(-1)?.nextOffset !== to)
      throw new InvariantError(
        `replace of ${from} … ${to} by ${extents[0]?.baseOffset} … ${extents.at(-1)?.nextOffset}`,
      );
    const total = this.#count - count + extents.length;
    // New ones: a snapshot may still read the old.
    const columns = this.#columns.copied(0, first, total);
    columns.copyFrom(this.#columns, behind, this.#count, first + extents.length);
    for (let i = first; i < behind; i++) this.#bytes -= this.#columns.lengths[i] ?? 0;
    for (const [i, extent] of extents.entries()) {
      columns.set(first + i, extent);
      this.#bytes += extent.lengthBytes;
    }
    this.#columns = columns;
    this.#count = total;
  }

  /** The lowest seq whose index file extents lie in; infinite where there is none. */
  lowestInline(): number {
    let lowest = Number.POSITIVE_INFINITY;
    for (let i = 0; i < this.#count; i++) {
      const object = this.#columns.objects[i] ?? 0;
      if (object >= 0 && object < lowest) lowest = object;
    }
    return lowest;
  }

  /** REQUIRES: 0 ≤ i < count. */
  at(i: number): Extent {
    if (i < 0 || i >= this.#count) throw new InvariantError(`extent ${i} of ${this.#count}`);
    const columns = this.#columns;
    return {
      baseOffset: columns.baseOffsets[i] as Offset,
      nextOffset: columns.nextOffsets[i] as Offset,
      leaderEpoch: columns.epochs[i] as Epoch,
      object: columns.objects[i] as ObjectNumber,
      position: columns.positions[i] ?? 0,
      lengthBytes: columns.lengths[i] ?? 0,
      maxTimestampMs: columns.timestamps[i] ?? 0,
    };
  }

  /** Index of the extent that holds `offset` (the first, where it lies below it), or `count` where it lies at or past the end. */
  find(offset: number): number {
    let low = 0;
    let high = this.#count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#columns.nextOffsets[middle] ?? 0) <= offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Of each extent: none of its records is later. A view, read only; extents that come later are not in it. */
  get maxTimestamps(): Float64Array {
    return this.#columns.timestamps.subarray(0, this.#count);
  }

  /** How many objects hold these extents. */
  objects(): number {
    return new Set(this.#columns.objects.subarray(0, this.#count)).size;
  }

  /**
   * The extents as they are now, without a copy: `push` writes only behind them, and where it needs room it leaves these columns
   * for larger ones; `trim` and `replace` build new ones. Anything that comes to change an extent must do so too.
   */
  frozen(): FrozenExtents {
    return { columns: this.#columns, count: this.#count, startOffset: this.#startOffset };
  }
}
