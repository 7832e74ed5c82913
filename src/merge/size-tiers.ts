import type { FrozenExtents } from "../index-chain/extent-rows.ts";

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
  /** Of the neighbours that end here, by tier: those behind the last one of a higher tier. */
  readonly #starts: Float64Array;
  readonly #counts: Float64Array;
  readonly #sums: Float64Array;
  #bestTier = -1;
  #bestFrom = 0;
  #bestTo = 0;

  constructor(segmentBytes: number) {
    this.#segmentBytes = segmentBytes;
    const limits: number[] = [];
    for (let limit = FIRST_TIER_BYTES; limit < segmentBytes / 2; limit *= FACTOR) limits.push(limit);
    this.#limits = [...limits, segmentBytes / 2];
    this.#starts = new Float64Array(this.#limits.length);
    this.#counts = new Float64Array(this.#limits.length);
    this.#sums = new Float64Array(this.#limits.length);
  }

  /** Tiers of extents that may still grow: a byte is rewritten at most so often, but for rows of 64 and what dies beside it. */
  get count(): number {
    return this.#limits.length;
  }

  /**
   * The extents of a partition that are due: of the highest tier where some are, for they include those of the tiers below, and there
   * the oldest. At least two, of one leader epoch, none of them inline and none for which `isBlocked`; at most `segment.size`.
   */
  dueRun(extents: FrozenExtents, isBlocked: ((baseOffset: number) => boolean) | undefined): ExtentRun | undefined {
    const { count } = extents;
    if (count < 2) return undefined;
    const tiers = this.#limits.length;
    const starts = this.#starts;
    const counts = this.#counts;
    const sums = this.#sums;
    counts.fill(0);
    this.#bestTier = -1;
    // Of the open neighbours, so that a row of extents of one tier costs one step each.
    let lowest = tiers;
    for (let i = 0; i < count; i++) {
      const length = extents.lengthBytes(i);
      const isBarrier = extents.object(i) >= 0 || isBlocked?.(extents.baseOffset(i)) === true;
      // Two epochs in one extent cannot be: merged or not, they are as many as before.
      if ((isBarrier || (i > 0 && extents.leaderEpoch(i) !== extents.leaderEpoch(i - 1))) && lowest < tiers) {
        this.#close(tiers, i);
        lowest = tiers;
      }
      const tier = isBarrier ? tiers : this.#tierOf(length);
      if (tier > lowest) this.#close(tier, i);
      if (tier === tiers) {
        lowest = tiers;
        continue;
      }
      if (counts[tier] === 0) {
        starts[tier] = i;
        sums[tier] = 0;
      }
      counts[tier]! += 1;
      sums[tier]! += length;
      lowest = tier;
    }
    if (lowest < tiers) this.#close(tiers, count);
    return this.#bestTier < 0 ? undefined : this.#cut(extents);
  }

  #tierOf(bytes: number): number {
    const tiers = this.#limits.length;
    if (bytes >= this.#segmentBytes / 2) return tiers;
    // 12 and 3 bits: FIRST_TIER_BYTES and FACTOR.
    const bits = 31 - Math.clz32(bytes);
    return bits < 12 ? 0 : Math.min(tiers - 1, Math.floor((bits - 12) / 3) + 1);
  }

  /** The neighbours of all tiers below `tier` end before the extent `end`; those of `tier` go on with them. */
  #close(tier: number, end: number): void {
    let start = end;
    let count = 0;
    let sum = 0;
    for (let t = 0; t < tier; t++) {
      if (this.#counts[t] !== 0) {
        start = this.#starts[t] ?? 0;
        count += this.#counts[t] ?? 0;
        sum += this.#sums[t] ?? 0;
        this.#counts[t] = 0;
      }
      if (t <= this.#bestTier || !this.#isDue(t, count, sum)) continue;
      this.#bestTier = t;
      this.#bestFrom = start;
      this.#bestTo = end;
    }
    if (tier === this.#limits.length || count === 0) return;
    if (this.#counts[tier] === 0) {
      this.#starts[tier] = start;
      this.#sums[tier] = 0;
    }
    this.#counts[tier]! += count;
    this.#sums[tier]! += sum;
  }

  #isDue(tier: number, count: number, sum: number): boolean {
    if (count < 2) return false;
    if (sum >= this.#segmentBytes || count >= RUN_EXTENTS_MAX) return true;
    return count >= FACTOR && (tier === 0 || sum >= (this.#limits[tier] ?? 0));
  }

  #cut(extents: FrozenExtents): ExtentRun | undefined {
    const from = this.#bestFrom;
    let to = from;
    for (let bytes = 0; to < this.#bestTo; to++) {
      bytes += extents.lengthBytes(to);
      const offsets = extents.nextOffset(to) - extents.baseOffset(from);
      if (bytes > this.#segmentBytes || offsets > EXTENT_OFFSETS_MAX) break;
    }
    return to - from < 2 ? undefined : { from, to };
  }
}
