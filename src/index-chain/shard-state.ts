import { createHash } from "node:crypto";

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
import { ByteWriter } from "../record/bytes.ts";
import { ExtentList, type Extent, type ObjectNumber } from "./extent-list.ts";
import type { FrozenExtents } from "./extent-rows.ts";
import type { Link } from "./index-file.ts";
import {
  DIGEST_BYTES,
  type AppendEntry,
  type DataObjectRef,
  type LinkExtent,
  type LinkRange,
  type LinkTrim,
  type ReplaceEntry,
} from "./link-entries.ts";
import { LiveObjects, type LiveObject, type NumberedObject } from "./live-objects.ts";
import { PartitionTable } from "./partition-table.ts";
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
  /** Links below it may be gone; 0 before the first boundary. */
  readonly boundary: Seq;
  /** Those that extents lie in, in the order in which links named them. */
  readonly objects: readonly NumberedObject[];
  readonly partitions: readonly PartitionSnapshot[];
}

export interface PartitionSnapshot extends PartitionId {
  readonly extents: FrozenExtents;
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
  #boundary = 0;
  #voidEntries = 0;
  readonly #partitions = new PartitionTable();
  /** Counts the links that were checked. */
  #checks = 0;
  readonly #objects: LiveObjects;

  constructor(shard: ShardId) {
    this.shard = shard;
    this.#objects = new LiveObjects(shard);
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

  /** The lowest seq that is kept for sure; 0 before the first boundary. Links below it may be gone, or stand there and mean nothing. */
  get boundary(): Seq {
    return this.#boundary as Seq;
  }

  /** Replaces, trims and boundaries of live links that had no effect, among the links that were folded here. */
  get voidEntries(): number {
    return this.#voidEntries;
  }

  /** The lowest seq whose index file extents lie in; `nextSeq` where there is none. Looks at every extent. */
  lowestInline(): Seq {
    let lowest = this.#nextSeq;
    for (const { extents } of this.#partitions.all) lowest = Math.min(lowest, extents.lowestInline());
    return lowest as Seq;
  }

  /** The extents of a partition; undefined before its first record. */
  extents(id: PartitionId): ExtentList | undefined {
    return this.#partitions.get(id)?.extents;
  }

  /** Where each partition ends. */
  ends(): readonly (PartitionId & { readonly firstOffset: Offset })[] {
    return this.#partitions.all.map(({ topicId, partition, extents }) => ({
      topicId,
      partition,
      firstOffset: extents.nextOffset,
    }));
  }

  /** Memory of the extents of all partitions. */
  get memoryBytes(): number {
    let bytes = 0;
    for (const { extents } of this.#partitions.all) bytes += extents.memoryBytes;
    return bytes;
  }

  /** `MissingObjectError` where the extent that named `object` has left the state meanwhile. */
  objectKey(object: ObjectNumber): ObjectKey {
    return object >= 0 ? indexKey(this.shard, object as number as Seq) : this.dataObject(object).key;
  }

  /** Those that extents lie in, in the order in which live links brought them in. */
  get dataObjects(): Iterable<LiveObject> {
    return this.#objects.all;
  }

  /** REQUIRES: `object` is the number of a data object, below 0. `MissingObjectError` as `objectKey`. */
  dataObject(object: ObjectNumber): LiveObject {
    return this.#objects.get(object);
  }

  /** Calls `listener`, one for ever, with each data object whose last extent a live link supersedes or trims away. */
  onObjectDead(listener: (object: DataObjectRef) => void): void {
    this.#objects.onDead = listener;
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
   * extents are only ever added behind those that are there, whatever changes them leaves the rows that are read here, and the rest
   * is copied.
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
      boundary: this.boundary,
      objects: this.#objects.numbered(),
      partitions: this.#partitions.all.map(({ topicId, partition, extents }) => ({
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
    this.#boundary = snapshot.boundary;
    this.#objects.restore(snapshot.objects);
    for (const { topicId, partition, extents } of snapshot.partitions) {
      const list = ExtentList.of(extents);
      this.#partitions.add({ topicId, partition }, list);
      for (let i = 0; i < list.count; i++) this.#objects.count(list.at(i).object, 1, list.at(i).lengthBytes);
    }
    // A checkpoint of an older release lists all that were ever named.
    this.#objects.settle();
  }

  /**
   * The first extent of the next link that does not begin where its partition ends, and that end; undefined where all do. In a live
   * link such an extent is corruption.
   */
  misplacedExtent(link: Pick<Link, "entries">): { readonly extent: LinkExtent; readonly end: Offset } | undefined {
    const check = ++this.#checks;
    /** Of partitions that are not there yet. */
    const newEnds = new Map<string, number>();
    for (const entry of link.entries) {
      if (entry.type !== "append") continue;
      for (const extent of entry.extents) {
        const known = this.#partitions.get(extent);
        const name = known === undefined ? partitionKey(extent) : "";
        let end = newEnds.get(name) ?? 0;
        if (known !== undefined) end = known.checkedBy === check ? known.checkedEnd : known.extents.nextOffset;
        if (extent.baseOffset !== end) return { extent, end: end as Offset };
        if (known === undefined) {
          newEnds.set(name, extent.nextOffset);
        } else {
          known.checkedBy = check;
          known.checkedEnd = extent.nextOffset;
        }
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
        case "replace":
          if (!this.#replace(entry)) this.#voidEntries++;
          break;
        case "boundary":
          if (entry.seq > this.#boundary && entry.seq <= link.seq && entry.seq <= this.lowestInline())
            this.#boundary = entry.seq;
          else this.#voidEntries++;
          break;
        case "trim":
          if (!this.#trim(entry.trims)) this.#voidEntries++;
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
  #trim(trims: readonly LinkTrim[]): boolean {
    const matches = trims.every((trim) => {
      const extents = this.extents(trim);
      const { oldStart, newStart } = trim;
      return extents?.startOffset === oldStart && newStart > oldStart && newStart <= extents.nextOffset;
    });
    if (!matches) return false;
    for (const trim of trims) {
      const extents = this.extents(trim);
      if (extents === undefined) continue;
      this.#countGone(extents, 0, extents.find(trim.newStart));
      extents.trim(trim.newStart);
    }
    return true;
  }

  /**
   * What a replace of these ranges names as superseded, 16 bytes as hex: of the SHA-256 over each range's partition and its extents, with
   * the names of their objects, the first 16 bytes. Layout: docs/index-file-format.md. undefined where a range is not made of so many
   * whole extents.
   */
  supersededDigest(ranges: readonly LinkRange[]): string | undefined {
    const hash = createHash("sha256");
    for (const range of ranges) {
      const extents = this.extents(range);
      const first = extents?.find(range.baseOffset) ?? 0;
      const last = first + range.count - 1;
      if (extents === undefined || range.count < 1 || last >= extents.count) return undefined;
      if (extents.at(first).baseOffset !== range.baseOffset || extents.at(last).nextOffset !== range.nextOffset)
        return undefined;
      const out = new ByteWriter(64 + range.count * 96);
      out.hex(range.topicId, 16);
      out.u32(range.partition);
      out.u32(range.count);
      for (let i = first; i <= last; i++) {
        const extent = extents.at(i);
        out.u64(extent.baseOffset);
        out.u64(extent.nextOffset);
        out.u32(extent.leaderEpoch);
        out.string(this.objectKey(extent.object));
        out.u64(extent.position);
        out.u32(extent.lengthBytes);
        out.i64(extent.maxTimestampMs);
      }
      hash.update(out.bytes());
    }
    return hash.digest("hex").slice(0, 2 * DIGEST_BYTES);
  }

  /** Whole or not at all, as a trim: two builders may have replaced the same extents (rule 9). */
  #replace({ objects, ranges, superseded, extents }: ReplaceEntry): boolean {
    if (this.supersededDigest(ranges) !== superseded) return false;
    const home = this.#objects.bringIn(objects);
    let at = 0;
    for (const range of ranges) {
      const list = this.extents(range);
      if (list === undefined) continue;
      const found: Extent[] = [];
      for (; at < extents.length && partitionKey(extents[at]!) === partitionKey(range); at++)
        found.push(placed(extents[at]!, (home - extents[at]!.object + 1) as ObjectNumber));
      const first = list.find(range.baseOffset);
      // The new ones first: an object of theirs is not dead for having none yet.
      for (const { object, lengthBytes } of found) this.#objects.count(object, 1, lengthBytes);
      this.#countGone(list, first, first + range.count);
      list.replace(first, range.count, found);
    }
    this.#objects.settle();
    return true;
  }

  /** Of a list the extents `from` … `to`, which are about to go. */
  #countGone(list: ExtentList, from: number, to: number): void {
    for (let i = from; i < to; i++) {
      const { object, lengthBytes } = list.at(i);
      this.#objects.count(object, -1, -lengthBytes);
    }
  }

  #append({ objects, extents }: AppendEntry, seq: Seq): void {
    const home = this.#objects.bringIn(objects);
    for (const extent of extents) {
      const partition = this.#partitions.get(extent) ?? this.#partitions.add(extent);
      const object = (extent.object === 0 ? seq : home - extent.object + 1) as ObjectNumber;
      partition.extents.push(placed(extent, object));
      this.#objects.count(object, 1, extent.lengthBytes);
    }
    this.#objects.settle();
  }
}

function placed(extent: LinkExtent, object: ObjectNumber): Extent {
  const { baseOffset, nextOffset, leaderEpoch, position, lengthBytes, maxTimestampMs } = extent;
  return { baseOffset, nextOffset, leaderEpoch, object, position, lengthBytes, maxTimestampMs };
}
