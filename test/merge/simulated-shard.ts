import type { Epoch, Offset, PartitionId, TopicId } from "../../src/domain.ts";
import { ExtentList, type Extent, type ObjectNumber } from "../../src/index-chain/extent-list.ts";
import type { PartitionSnapshot } from "../../src/index-chain/shard-state.ts";
import type { MergeJob, MergeLimits } from "../../src/merge/job-builder.ts";
import { planMerge, type MergeView } from "../../src/merge/plan-merge.ts";

export const TOPIC = "0123456789abcdef0123456789abcdef" as TopicId;

interface Part extends PartitionId {
  readonly list: ExtentList;
}

/** The extents of a shard as flushes and merges change them; no bytes, no I/O. */
export class SimulatedShard {
  readonly parts: Part[] = [];
  readonly #limits: MergeLimits;
  /** Sizes of data objects: number n is at −1 − n. */
  readonly #sizes: number[] = [];
  readonly #live = new Map<number, { liveBytes: number; extents: number }>();
  seq = 0;
  epoch = 1;
  appendedBytes = 0;
  mergedBytes = 0;
  jobs = 0;
  sources = 0;

  constructor(partitions: number, limits: MergeLimits) {
    this.#limits = limits;
    for (let partition = 0; partition < partitions; partition++)
      this.parts.push({ topicId: TOPIC, partition, list: new ExtentList() });
  }

  /** A flush of these bytes per partition, one record each: inline, or a data object. */
  flush(bytes: ReadonlyMap<number, number>, where: "inline" | "object" = "inline"): void {
    const object = where === "inline" ? this.seq : -1 - this.#sizes.length;
    let position = 0;
    for (const [partition, lengthBytes] of bytes) {
      this.#push(partition, { lengthBytes, object, position, records: 1, epoch: this.epoch });
      position += lengthBytes;
    }
    if (where === "object") this.#sizes.push(position + 72 + 80 * bytes.size);
    this.appendedBytes += position;
    this.seq++;
  }

  #push(
    partition: number,
    extent: { lengthBytes: number; object: number; position: number; records: number; epoch: number },
  ): void {
    const { list } = this.#part(partition);
    this.#count(extent.object, 1, extent.lengthBytes);
    list.push({
      baseOffset: list.nextOffset,
      nextOffset: (list.nextOffset + extent.records) as Offset,
      leaderEpoch: extent.epoch as Epoch,
      object: extent.object as ObjectNumber,
      position: extent.position,
      lengthBytes: extent.lengthBytes,
      maxTimestampMs: 0,
    });
  }

  #count(object: number, extents: number, bytes: number): void {
    if (object >= 0) return;
    const live = this.#live.get(object) ?? { liveBytes: 0, extents: 0 };
    live.liveBytes += bytes;
    live.extents += extents;
    if (live.extents === 0) this.#live.delete(object);
    else this.#live.set(object, live);
  }

  #part(partition: number): Part {
    const part = this.parts[partition];
    if (part === undefined) throw new Error(`no partition ${partition}`);
    return part;
  }

  view(settledBelow = this.seq, overdueBelow = 0): MergeView {
    return {
      partitions: this.parts.map(({ topicId, partition, list }): PartitionSnapshot => {
        return { topicId, partition, extents: list.frozen() };
      }),
      objects: Array.from(this.#live, ([object, live]) => ({
        number: object as ObjectNumber,
        sizeBytes: this.#sizes[-1 - object] ?? 0,
        ...live,
      })),
      settledBelow,
      overdueBelow,
    };
  }

  /** Merges until nothing is due; calls `check` with each job before it is done. */
  merge(settledBelow: number, overdueBelow: number, check: (job: MergeJob) => void = () => undefined): void {
    for (;;) {
      const job = planMerge(this.view(settledBelow, overdueBelow), this.#limits);
      if (job === undefined) return;
      check(job);
      this.apply(job);
    }
  }

  apply(job: MergeJob): void {
    const object = -1 - this.#sizes.length;
    let position = 0;
    let extents = 0;
    for (const range of job.ranges) {
      const part = this.#part(range.partition);
      const { list } = part;
      const at = list.find(range.baseOffset);
      // As `DataObjectDirectory` does it: one extent for each row of the same epoch.
      const merged: { -readonly [K in keyof Extent]: Extent[K] }[] = [];
      for (let i = at; i < at + range.count; i++) {
        const extent = list.at(i);
        const last = merged.at(-1);
        if (last?.leaderEpoch === extent.leaderEpoch) {
          last.nextOffset = extent.nextOffset;
          last.lengthBytes += extent.lengthBytes;
        } else {
          merged.push({ ...extent, object: object as ObjectNumber, position });
        }
        position += extent.lengthBytes;
        this.#count(extent.object, -1, -extent.lengthBytes);
      }
      for (const { lengthBytes } of merged) this.#count(object, 1, lengthBytes);
      list.replace(at, range.count, merged);
      extents += merged.length;
    }
    this.#sizes.push(position + 72 + 80 * extents);
    this.mergedBytes += position;
    this.jobs++;
    this.sources += job.sources;
  }

  /** Drops everything of a partition that ends at or below `offset`. */
  trim(partition: number, offset: number): void {
    const { list } = this.#part(partition);
    if (offset <= list.startOffset || offset > list.nextOffset) return;
    for (let i = 0; i < list.find(offset); i++) this.#count(list.at(i).object, -1, -list.at(i).lengthBytes);
    list.trim(offset as Offset);
  }

  /** Distinct objects that are named, inline ones among them. */
  objects(): { readonly inline: number; readonly data: number; readonly dataBytes: number } {
    const inline = new Set<number>();
    for (const { list } of this.parts) {
      for (let i = 0; i < list.count; i++) if (list.at(i).object >= 0) inline.add(list.at(i).object);
    }
    const data = [...this.#live.keys()];
    return {
      inline: inline.size,
      data: data.length,
      dataBytes: data.reduce((sum, object) => sum + (this.#sizes[-1 - object] ?? 0), 0),
    };
  }

  get liveBytes(): number {
    return this.parts.reduce((sum, { list }) => sum + list.bytes, 0);
  }

  get extents(): number {
    return this.parts.reduce((sum, { list }) => sum + list.count, 0);
  }
}
