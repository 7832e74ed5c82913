import {
  partitionKey,
  type Epoch,
  type ObjectKey,
  type Offset,
  type PartitionId,
  type Seq,
  type ShardId,
} from "../domain.ts";
import { CorruptionError, InvariantError } from "../errors.ts";
import { indexKey } from "../object-store/object-names.ts";
import type { FrozenExtents } from "./extent-columns.ts";
import { ExtentList, type ObjectNumber } from "./extent-list.ts";
import type { DataObjectRef, Link, LinkEntry, LinkExtent, LinkTrim } from "./index-file.ts";
import { NO_WRITE_ID, type WriteId } from "./write-id.ts";

/** The live fence by which the current epoch began. */
export interface Fence {
  readonly seq: Seq;
  readonly epoch: Epoch;
  readonly writeId: WriteId;
  readonly writerId: string;
  readonly endpoint: string;
  readonly journalId: string;
  /** The epoch since which every live fence has borne this journal id: frames of an older one are not replayed (rule 11). */
  readonly journalSince: Epoch;
}

/** A state as it was at one moment, behind the link of `seq`. What it refers to does not change while the state goes on. */
export interface StateSnapshot {
  readonly shard: ShardId;
  /** The last seq that was folded. */
  readonly seq: Seq;
  readonly lastLive: WriteId;
  readonly liveLinks: number;
  readonly released: boolean;
  readonly fence: Fence;
  /** The first `objectCount` of these. */
  readonly objects: readonly DataObjectRef[];
  readonly objectCount: number;
  readonly partitions: readonly PartitionSnapshot[];
}

export interface PartitionSnapshot extends PartitionId {
  readonly extents: FrozenExtents;
}

export type Liveness = "live" | "void";

interface Partition extends PartitionId {
  readonly extents: ExtentList;
}

/**
 * A shard's state, folded link by link. Whether a link is live depends only on the links before it, so every reader that
 * folds the same prefix holds the same state, for ever.
 */
export class ShardState {
  readonly shard: ShardId;
  #nextSeq = 0;
  #epoch = 0;
  #lastLive: WriteId = NO_WRITE_ID;
  #fence: Fence | undefined;
  #released = false;
  #liveLinks = 0;
  readonly #partitions = new Map<string, Partition>();
  /** Data objects in the order in which live links brought them in; their numbers never change. */
  readonly #objects: DataObjectRef[] = [];

  constructor(shard: ShardId) {
    this.shard = shard;
  }

  /** The first seq that was not folded. */
  get nextSeq(): Seq {
    return this.#nextSeq as Seq;
  }

  /** 0 before the first fence. */
  get epoch(): Epoch {
    return this.#epoch as Epoch;
  }

  /** The writeId of the last live link: `prev` of the next one. */
  get lastLive(): WriteId {
    return this.#lastLive;
  }

  get fence(): Fence | undefined {
    return this.#fence;
  }

  /** The current owner has left. */
  get released(): boolean {
    return this.#released;
  }

  get liveLinks(): number {
    return this.#liveLinks;
  }

  /** The extents of a partition; undefined before its first record. */
  extents(id: PartitionId): ExtentList | undefined {
    return this.#partitions.get(partitionKey(id))?.extents;
  }

  /** Where each partition ends. */
  ends(): readonly (PartitionId & { readonly firstOffset: Offset })[] {
    return Array.from(this.#partitions.values(), ({ topicId, partition, extents }) => ({
      topicId,
      partition,
      firstOffset: extents.nextOffset,
    }));
  }

  /** Memory of the columns of all extents. */
  get memoryBytes(): number {
    let bytes = 0;
    for (const { extents } of this.#partitions.values()) bytes += extents.memoryBytes;
    return bytes;
  }

  /** REQUIRES: `object` comes from an extent of this state. */
  objectKey(object: ObjectNumber): ObjectKey {
    return object >= 0 ? indexKey(this.shard, object as number as Seq) : this.dataObject(object).key;
  }

  /** Those that live links brought in, in that order. */
  get dataObjects(): readonly DataObjectRef[] {
    return this.#objects;
  }

  /** REQUIRES: `object` is the number of a data object, below 0. */
  dataObject(object: ObjectNumber): DataObjectRef {
    const found = this.#objects[-1 - object];
    if (found === undefined) throw new InvariantError(`shard ${this.shard} has no data object ${object}`);
    return found;
  }

  /**
   * Would a link with these fields be live as the next one? DESIGN section 4 rule 1: it continues the last live link, and its
   * epoch is the chain's (a fence: greater). The epoch alone is too weak: a late link of an owner that re-opened may carry the
   * right epoch and still follow a link that never landed, which would leave a hole in the offsets.
   */
  liveness(link: Pick<Link, "prev" | "epoch" | "entries">): Liveness {
    if (link.prev !== this.#lastLive) return "void";
    const fence = link.entries[0]?.type === "fence";
    return (fence ? link.epoch > this.#epoch : link.epoch === this.#epoch && this.#epoch > 0) ? "live" : "void";
  }

  /**
   * Folds the link at `nextSeq`. A live append that does not continue its partition is corruption: nothing of the link is
   * applied, and the state stays where it was.
   */
  apply(link: Link, key: ObjectKey): Liveness {
    if (link.shard !== this.shard || link.seq !== this.#nextSeq) {
      throw new CorruptionError(key, 0, `link of seq ${link.seq} where ${this.#nextSeq} was wanted`);
    }
    const liveness = this.liveness(link);
    if (liveness === "live") {
      this.#checkAppends(link, key);
      this.#applyLive(link);
    }
    this.#nextSeq++;
    return liveness;
  }

  /**
   * The state as it is now: one small object per partition, no extent is copied. It stays what it is while links are folded:
   * extents and data objects are only ever added behind those that are there, a trim leaves the columns that are read here, and the
   * rest is copied.
   * REQUIRES: a live fence.
   */
  snapshot(): StateSnapshot {
    if (this.#fence === undefined) throw new InvariantError(`shard ${this.shard} has no owner to take a snapshot for`);
    return {
      shard: this.shard,
      seq: (this.#nextSeq - 1) as Seq,
      lastLive: this.#lastLive,
      liveLinks: this.#liveLinks,
      released: this.#released,
      fence: this.#fence,
      objects: this.#objects,
      objectCount: this.#objects.length,
      partitions: Array.from(this.#partitions.values(), ({ topicId, partition, extents }) => ({
        topicId,
        partition,
        extents: extents.frozen(),
      })),
    };
  }

  /** Becomes the state of `snapshot`. REQUIRES: nothing was folded yet. */
  restore(snapshot: StateSnapshot): void {
    if (snapshot.shard !== this.shard || this.#nextSeq !== 0)
      throw new InvariantError(`shard ${this.shard} at seq ${this.#nextSeq} cannot start from a snapshot`);
    this.#nextSeq = snapshot.seq + 1;
    this.#epoch = snapshot.fence.epoch;
    this.#lastLive = snapshot.lastLive;
    this.#fence = snapshot.fence;
    this.#released = snapshot.released;
    this.#liveLinks = snapshot.liveLinks;
    for (let i = 0; i < snapshot.objectCount; i++) {
      const object = snapshot.objects[i];
      if (object !== undefined) this.#objects.push(object);
    }
    for (const { topicId, partition, extents } of snapshot.partitions) {
      this.#partitions.set(partitionKey({ topicId, partition }), {
        topicId,
        partition,
        extents: ExtentList.of(extents),
      });
    }
  }

  /**
   * The first extent of the next link that does not begin where its partition ends, and that end; undefined where all do. In a live
   * link such an extent is corruption.
   */
  misplacedExtent(link: Pick<Link, "entries">): { readonly extent: LinkExtent; readonly end: Offset } | undefined {
    const ends = new Map<string, Offset>();
    for (const entry of link.entries) {
      if (entry.type !== "append") continue;
      for (const extent of entry.extents) {
        const name = partitionKey(extent);
        const end = ends.get(name) ?? this.#partitions.get(name)?.extents.nextOffset ?? (0 as Offset);
        if (extent.baseOffset !== end) return { extent, end };
        ends.set(name, extent.nextOffset);
      }
    }
    return undefined;
  }

  #checkAppends(link: Link, key: ObjectKey): void {
    const misplaced = this.misplacedExtent(link);
    if (misplaced === undefined) return;
    const { extent, end } = misplaced;
    throw new CorruptionError(
      key,
      extent.position,
      `live append to ${partitionKey(extent)} begins at offset ${extent.baseOffset}, the partition ends at ${end}`,
    );
  }

  #applyLive(link: Link): void {
    this.#lastLive = link.writeId;
    this.#liveLinks++;
    for (const entry of link.entries) {
      switch (entry.type) {
        case "append":
          this.#append(entry, link.seq);
          break;
        case "trim":
          this.#trim(entry.trims);
          break;
        case "fence":
          this.#epoch = link.epoch;
          this.#released = false;
          this.#fence = {
            seq: link.seq,
            epoch: link.epoch,
            writeId: link.writeId,
            writerId: link.writerId,
            endpoint: entry.endpoint,
            journalId: entry.journalId,
            journalSince: entry.journalId === this.#fence?.journalId ? this.#fence.journalSince : link.epoch,
          };
          break;
        case "release":
          this.#released = true;
          break;
        default:
          entry satisfies never;
      }
    }
  }

  /** Whole or not at all: an entry of which a part does not match was made for another state than this one (rule 9). */
  #trim(trims: readonly LinkTrim[]): void {
    const matches = trims.every((trim) => {
      const extents = this.extents(trim);
      const { oldStart, newStart } = trim;
      return extents?.startOffset === oldStart && newStart > oldStart && newStart <= extents.nextOffset;
    });
    if (!matches) return;
    for (const trim of trims) this.extents(trim)?.trim(trim.newStart);
  }

  #append(entry: Extract<LinkEntry, { type: "append" }>, seq: Seq): void {
    const first = this.#objects.length;
    this.#objects.push(...entry.objects);
    for (const extent of entry.extents) {
      const name = partitionKey(extent);
      let partition = this.#partitions.get(name);
      if (partition === undefined) {
        partition = { topicId: extent.topicId, partition: extent.partition, extents: new ExtentList() };
        this.#partitions.set(name, partition);
      }
      partition.extents.push({
        baseOffset: extent.baseOffset,
        nextOffset: extent.nextOffset,
        leaderEpoch: extent.leaderEpoch,
        object: (extent.object === 0 ? seq : -1 - (first + extent.object - 1)) as ObjectNumber,
        position: extent.position,
        lengthBytes: extent.lengthBytes,
        maxTimestampMs: extent.maxTimestampMs,
      });
    }
  }
}
