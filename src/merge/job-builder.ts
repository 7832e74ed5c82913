import { partitionKey, type Offset, type PartitionId } from "../domain.ts";
import type { FrozenExtents } from "../index-chain/extent-rows.ts";
import type { PartitionSnapshot } from "../index-chain/shard-state.ts";
import type { ExtentRun } from "./size-tiers.ts";

export interface MergeLimits {
  /** `segment.size`: of what one job writes, a single larger extent apart. At most 1 GiB. */
  readonly segmentBytes: number;
  /** For the bytes of its sources. */
  readonly memoryBytes: number;
  /** Superseded by one job. */
  readonly extentsMax: number;
}

/** Whole extents of one partition, side by side. */
export interface MergeRange extends PartitionId {
  readonly baseOffset: Offset;
  readonly nextOffset: Offset;
  /** Extents [from, from + count) of `extents`. */
  readonly count: number;
  readonly from: number;
  readonly extents: FrozenExtents;
}

export interface MergeJob {
  /** Why: inline extents that leave their index files, neighbours that grow, a segment, or an object that is mostly dead. */
  readonly reason: "inline" | "tiers" | "segment" | "dead";
  /** By topic id and partition, each partition once. */
  readonly ranges: readonly MergeRange[];
  readonly bytes: number;
  /** Extents superseded. */
  readonly count: number;
  /** Distinct objects that hold them. */
  readonly sources: number;
}

/** Of a large source so much is held at a time, at least. */
export const WINDOW_BYTES = 1024 * 1024;

/** Fills a job up to its limits. */
export class JobBuilder {
  readonly #reason: MergeJob["reason"];
  readonly #limits: MergeLimits;
  readonly #ranges: MergeRange[] = [];
  readonly #partitions = new Set<string>();
  /** Bytes to be read of each source. */
  readonly #sources = new Map<number, number>();
  #bytes = 0;
  #count = 0;
  #memoryBytes = 0;

  constructor(reason: MergeJob["reason"], limits: MergeLimits) {
    this.#reason = reason;
    this.#limits = limits;
  }

  /**
   * Takes extents of a partition from the first on, as many as fit, but none where they are fewer than `least`; returns how many. The
   * first extent of a job always fits. REQUIRES: the partition is not in the job.
   */
  add(partition: PartitionSnapshot, { from, to }: ExtentRun, least: number): number {
    const { extents, topicId, partition: number } = partition;
    const name = partitionKey(partition);
    if (this.#partitions.has(name)) return 0;
    let end = from;
    while (end < to && (this.#fits(extents, end) || this.#count === 0)) this.#change(extents, end++, 1);
    if (end - from < least) {
      while (end > from) this.#change(extents, --end, -1);
      return 0;
    }
    if (end === from) return 0;
    this.#partitions.add(name);
    this.#ranges.push({
      topicId,
      partition: number,
      baseOffset: extents.baseOffset(from),
      nextOffset: extents.nextOffset(end - 1),
      count: end - from,
      from,
      extents,
    });
    return end - from;
  }

  build(): MergeJob | undefined {
    if (this.#count === 0) return undefined;
    return {
      reason: this.#reason,
      ranges: this.#ranges,
      bytes: this.#bytes,
      count: this.#count,
      sources: this.#sources.size,
    };
  }

  #fits(extents: FrozenExtents, i: number): boolean {
    const { segmentBytes, memoryBytes, extentsMax } = this.#limits;
    const length = extents.lengthBytes(i);
    const read = this.#sources.get(extents.object(i)) ?? 0;
    return (
      this.#count < extentsMax &&
      this.#bytes + length <= segmentBytes &&
      this.#memoryBytes + held(read + length) - held(read) <= memoryBytes
    );
  }

  #change(extents: FrozenExtents, i: number, sign: 1 | -1): void {
    const length = sign * extents.lengthBytes(i);
    const object = extents.object(i);
    const read = this.#sources.get(object) ?? 0;
    this.#memoryBytes += held(read + length) - held(read);
    if (read + length === 0) this.#sources.delete(object);
    else this.#sources.set(object, read + length);
    this.#bytes += length;
    this.#count += sign;
  }
}

/** A small source is held whole, of a large one a window. */
function held(bytes: number): number {
  return Math.min(bytes, WINDOW_BYTES);
}
