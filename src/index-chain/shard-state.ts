import { partitionKey, type Epoch, type ObjectKey, type PartitionId, type Seq, type ShardId } from "../domain.ts";
import { CorruptionError, InvariantError } from "../errors.ts";
import { indexKey } from "../object-store/object-names.ts";
import { ExtentList, type ObjectNumber } from "./extent-list.ts";
import type { DataObjectRef, Link, LinkEntry } from "./index-file.ts";
import { NO_WRITE_ID, type WriteId } from "./write-id.ts";

/** The live fence by which the current epoch began. */
export interface Fence {
  readonly seq: Seq;
  readonly epoch: Epoch;
  readonly writeId: WriteId;
  readonly writerId: string;
  readonly endpoint: string;
}

export type Liveness = "live" | "void";

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
  readonly #partitions = new Map<string, ExtentList>();
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
    return this.#partitions.get(partitionKey(id));
  }

  /** REQUIRES: `object` comes from an extent of this state. */
  objectKey(object: ObjectNumber): ObjectKey {
    return object >= 0 ? indexKey(this.shard, object as number as Seq) : this.dataObject(object).key;
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

  #checkAppends(link: Link, key: ObjectKey): void {
    const ends = new Map<string, number>();
    for (const entry of link.entries) {
      if (entry.type !== "append") continue;
      for (const extent of entry.extents) {
        const name = partitionKey(extent);
        const end = ends.get(name) ?? this.#partitions.get(name)?.nextOffset ?? 0;
        if (extent.baseOffset !== end) {
          throw new CorruptionError(
            key,
            extent.position,
            `live append to ${name} begins at offset ${extent.baseOffset}, the partition ends at ${end}`,
          );
        }
        ends.set(name, extent.nextOffset);
      }
    }
  }

  #applyLive(link: Link): void {
    this.#lastLive = link.writeId;
    this.#liveLinks++;
    for (const entry of link.entries) {
      switch (entry.type) {
        case "append":
          this.#append(entry, link.seq);
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

  #append(entry: Extract<LinkEntry, { type: "append" }>, seq: Seq): void {
    const first = this.#objects.length;
    this.#objects.push(...entry.objects);
    for (const extent of entry.extents) {
      const name = partitionKey(extent);
      let list = this.#partitions.get(name);
      if (list === undefined) {
        list = new ExtentList();
        this.#partitions.set(name, list);
      }
      list.push({
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
