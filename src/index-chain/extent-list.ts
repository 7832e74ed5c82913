import type { Offset } from "../domain.ts";
import { InvariantError } from "../errors.ts";
import {
  capacityOf,
  copiedRows,
  copyRows,
  extentRows,
  FrozenExtents,
  setRow,
  type Extent,
  type ExtentRows,
} from "./extent-rows.ts";

export type { Extent, ObjectNumber } from "./extent-rows.ts";

const NO_ROWS = extentRows(0);

/**
 * The extents of one partition in offset order, without a hole: the next offset of one is the base offset of the following.
 * In one typed array, 48 bytes an extent and at most 60 with the room to grow: a shard may hold a hundred thousand of them, and
 * as objects they would cost four times that and a slow collector.
 */
export class ExtentList {
  #count = 0;
  #bytes = 0;
  #startOffset = 0;
  #nextOffset = 0;
  #rows: ExtentRows = NO_ROWS;

  /** A list that goes on where `frozen` ends; it shares nothing that either of them writes. */
  static of(frozen: FrozenExtents): ExtentList {
    const { rows, count, startOffset, endOffset } = frozen;
    const list = new ExtentList();
    list.#count = count;
    // With room behind its last extent the array may belong to a list that goes on writing there.
    list.#rows = capacityOf(rows) === count ? rows : copiedRows(rows, 0, count, count);
    list.#startOffset = startOffset;
    list.#nextOffset = endOffset;
    for (let i = 0; i < count; i++) list.#bytes += frozen.lengthBytes(i);
    return list;
  }

  /** The extents as they are now, for those who look again after waiting: a trim gives the others other numbers. Nothing may be pushed. */
  snapshot(): ExtentList {
    const list = new ExtentList();
    list.#count = this.#count;
    list.#rows = this.#rows;
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

  /** Memory of the rows. */
  get memoryBytes(): number {
    return this.#rows.byteLength;
  }

  /** REQUIRES: `extent.baseOffset` is `nextOffset`. */
  push(extent: Extent): void {
    if (extent.baseOffset !== this.#nextOffset)
      throw new InvariantError(`extent at ${extent.baseOffset} behind ${this.#nextOffset}`);
    const i = this.#count;
    if (i === capacityOf(this.#rows)) this.#rows = copiedRows(this.#rows, 0, i, i + Math.max(1, i >> 2));
    setRow(this.#rows, i, extent);
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
    this.#bytes -= this.#bytesOf(0, gone);
    // New ones: a snapshot may still read the old.
    if (gone > 0) this.#rows = copiedRows(this.#rows, gone, this.#count, this.#count - gone);
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
    const rows = copiedRows(this.#rows, 0, first, total);
    copyRows(rows, this.#rows, behind, this.#count, first + extents.length);
    this.#bytes -= this.#bytesOf(first, behind);
    for (const [i, extent] of extents.entries()) {
      setRow(rows, first + i, extent);
      this.#bytes += extent.lengthBytes;
    }
    this.#rows = rows;
    this.#count = total;
  }

  #bytesOf(from: number, to: number): number {
    const extents = this.frozen();
    let bytes = 0;
    for (let i = from; i < to; i++) bytes += extents.lengthBytes(i);
    return bytes;
  }

  /** The lowest seq whose index file extents lie in; infinite where there is none. */
  lowestInline(): number {
    const extents = this.frozen();
    let lowest = Number.POSITIVE_INFINITY;
    for (let i = 0; i < this.#count; i++) {
      const object = extents.object(i);
      if (object >= 0 && object < lowest) lowest = object;
    }
    return lowest;
  }

  /** REQUIRES: 0 ≤ i < count. */
  at(i: number): Extent {
    if (i < 0 || i >= this.#count) throw new InvariantError(`extent ${i} of ${this.#count}`);
    const extents = this.frozen();
    return {
      baseOffset: extents.baseOffset(i),
      nextOffset: extents.nextOffset(i),
      leaderEpoch: extents.leaderEpoch(i),
      object: extents.object(i),
      position: extents.position(i),
      lengthBytes: extents.lengthBytes(i),
      maxTimestampMs: extents.maxTimestampMs(i),
    };
  }

  /** Index of the extent that holds `offset` (the first, where it lies below it), or `count` where it lies at or past the end. */
  find(offset: number): number {
    const extents = this.frozen();
    let low = 0;
    let high = this.#count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (extents.nextOffset(middle) <= offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Of each extent: none of its records is later. A copy. */
  maxTimestamps(): Float64Array {
    const extents = this.frozen();
    return Float64Array.from({ length: this.#count }, (_, i) => extents.maxTimestampMs(i));
  }

  /** How many objects hold these extents. */
  objects(): number {
    const extents = this.frozen();
    const objects = new Set<number>();
    for (let i = 0; i < this.#count; i++) objects.add(extents.object(i));
    return objects.size;
  }

  /**
   * The extents as they are now, without a copy: `push` writes only behind them, and where it needs room it leaves this array for a
   * larger one; `trim` and `replace` build new ones. Anything that comes to change an extent must do so too.
   */
  frozen(): FrozenExtents {
    return new FrozenExtents(this.#rows, this.#count, this.#startOffset, this.#nextOffset);
  }
}
