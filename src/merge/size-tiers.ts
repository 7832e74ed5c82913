import type { FrozenExtents } from "../index-chain/extent-columns.ts";

/** Extents [from, to) of one partition, side by side. */
export interface ExtentRun {
  readonly from: number;
  readonly to: number;
}

/** Extents grow by about so much from one tier to the next, and so many of one tier are merged. */
const FACTOR = 8;
const FIRST_TIER_BYTES = 4 * 1024;
/** More are not left side by side, whatever their sizes. */
const RUN_EXTENTS_MAX = 64;
/** What the 32 bits of an extent can say: more would be two extents again. */
const EXTENT_OFFSETS_MAX = 0xffff_ffff;

/**
 * Which extents of a partition are to be merged: size tiers, 0 below 4 KiB, 1 below 32 KiB and so on by eights up to half of
 * `segment.size`; from there on an extent stays as it is.
 *
 * Neighbours of tiers up to t are due once there are eight of them and together they are of a tier above t. So whatever is
 * rewritten rises by a tier, and a byte is rewritten at most once per tier: that bounds the write amplification, whatever the sizes. In
 * tier 0, where bytes cost less than entries of the index, eight are enough; and 64 side by side are always due. At
 * `segment.size` nothing is waited for.
 */
export class SizeTiers {
  readonly #segmentBytes: number;
  /** Tier t holds what is below `#limits[t]`. */
  readonly #limits: readonly number[];
  readonly #starts: Float64Array;
  readonly #counts: Float64Array;
  readonly #sums: Float64Array;

  constructor(segmentBytes: number) {
    this.#segmentBytes = segmentBytes;
    const limits: number[] = [];
    for (let limit = FIRST_TIER_BYTES; limit < segmentBytes / 2; limit *= FACTOR) limits.push(limit);
    this.#limits = [...limits, segmentBytes / 2];
    this.#starts = new Float64Array(this.#limits.length);
    this.#counts = new Float64Array(this.#limits.length);
    this.#sums = new Float64Array(this.#limits.length);
  }

  /** Tiers of extents that may still grow: how often a byte is rewritten at most, apart from what rule 4 of `planMerge` adds. */
  get count(): number {
    return this.#limits.length;
  }

  /**
   * The extents of a partition that are due: of the highest tier where some are, for they include those of the tiers below, and there
   * the oldest. At least two, of one leader epoch, none of them inline and none for which `isBlocked`; at most `segment.size`.
   */
  dueRun(
    { columns, count }: FrozenExtents,
    isBlocked: ((baseOffset: number) => boolean) | undefined,
  ): ExtentRun | undefined {
    if (count < 2) return undefined;
    const { lengths, epochs, objects, baseOffsets } = columns;
    this.#counts.fill(0);
    this.#sums.fill(0);
    const best = { tier: -1, from: 0, to: 0 };
    for (let i = 0; i < count; i++) {
      const length = lengths[i] ?? 0;
      const isBarrier = (objects[i] ?? 0) >= 0 || isBlocked?.(baseOffsets[i] ?? 0) === true;
      const tier = isBarrier ? this.#limits.length : this.#tierOf(length);
      // Two epochs in one extent cannot be: merged or not, they are as many as before.
      const closesAll = isBarrier || (i > 0 && epochs[i] !== epochs[i - 1]);
      for (let t = 0; t < (closesAll ? this.#limits.length : tier); t++) this.#close(t, i, best);
      for (let t = tier; t < this.#limits.length; t++) {
        if (this.#counts[t] === 0) this.#starts[t] = i;
        this.#counts[t]! += 1;
        this.#sums[t]! += length;
      }
    }
    for (let t = 0; t < this.#limits.length; t++) this.#close(t, count, best);
    return best.tier < 0 ? undefined : this.#cut(columns, best);
  }

  #tierOf(bytes: number): number {
    let tier = 0;
    while (tier < this.#limits.length && bytes >= (this.#limits[tier] ?? 0)) tier++;
    return tier;
  }

  /** The neighbours of tiers up to `tier` end before the extent `end`. */
  #close(tier: number, end: number, best: { tier: number; from: number; to: number }): void {
    const count = this.#counts[tier] ?? 0;
    if (count === 0) return;
    if (tier > best.tier && this.#isDue(tier, count, this.#sums[tier] ?? 0)) {
      best.tier = tier;
      best.from = this.#starts[tier] ?? 0;
      best.to = end;
    }
    this.#counts[tier] = 0;
    this.#sums[tier] = 0;
  }

  #isDue(tier: number, count: number, sum: number): boolean {
    if (count < 2) return false;
    if (sum >= this.#segmentBytes || count >= RUN_EXTENTS_MAX) return true;
    return count >= FACTOR && (tier === 0 || sum >= (this.#limits[tier] ?? 0));
  }

  #cut(columns: FrozenExtents["columns"], { from, to }: ExtentRun): ExtentRun | undefined {
    let end = from;
    for (let bytes = 0; end < to; end++) {
      bytes += columns.lengths[end] ?? 0;
      const offsets = (columns.nextOffsets[end] ?? 0) - (columns.baseOffsets[from] ?? 0);
      if (bytes > this.#segmentBytes || offsets > EXTENT_OFFSETS_MAX) break;
    }
    return end - from < 2 ? undefined : { from, to: end };
  }
}
