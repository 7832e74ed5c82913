import { createHash } from "node:crypto";

import { Damage } from "./bytes.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { indexKey, NO_ID, type Link, type LinkEntry, type LinkExtent, type StateExtent } from "./index-file.ts";

export interface ChainFence {
  readonly seq: number;
  readonly epoch: number;
  readonly writeId: string;
  readonly journalId: string;
}

/** Extents that a replace put in the place of others. */
export interface Merge {
  readonly where: string;
  readonly before: readonly StateExtent[];
  readonly after: readonly StateExtent[];
}

interface Partition {
  start: number;
  extents: StateExtent[];
}

type Entry<T extends LinkEntry["type"]> = LinkEntry & { readonly type: T };

/** The state of a shard, folded link by link or read from a checkpoint: DESIGN section 4, docs/index-file-format.md. */
export class FoldState {
  readonly shard: number;
  /** The next seq that would be folded. */
  nextSeq = 0;
  lastWriteId = NO_ID;
  /** Live ones, in order; those before a checkpoint that was loaded are not known, but for the last. */
  readonly fences: ChainFence[] = [];
  journalSince = 0;
  liveLinks = 0;
  voidLinks = 0;
  /** Replaces, trims and boundaries of live links that had no effect. */
  voidEntries = 0;
  released = false;
  boundary = 0;
  readonly partitions = new Map<string, Partition>();
  readonly merges: Merge[] = [];
  readonly violations: string[] = [];

  constructor(shard: number, from?: Checkpoint) {
    this.shard = shard;
    if (from === undefined) return;
    const { seq, epoch, writeId, journalId, journalSince } = from.fence;
    this.nextSeq = from.seq + 1;
    this.lastWriteId = from.lastWriteId;
    this.fences.push({ seq, epoch, writeId, journalId });
    this.journalSince = journalSince;
    this.liveLinks = from.liveLinks;
    this.released = from.released;
    this.boundary = from.boundary;
    for (const [name, { start, extents }] of from.partitions)
      this.partitions.set(name, { start, extents: [...extents] });
  }

  get epoch(): number {
    return this.fences.at(-1)?.epoch ?? 0;
  }

  end(name: string): number {
    const partition = this.partitions.get(name);
    return partition?.extents.at(-1)?.nextOffset ?? partition?.start ?? 0;
  }

  /** Of the next seq. Throws `Damage` for a live link that no writer may have made. */
  apply(link: Link): void {
    this.nextSeq = link.seq + 1;
    const right = link.fence === undefined ? link.epoch === this.epoch : link.epoch > this.epoch;
    if (link.prev !== this.lastWriteId || !right) {
      this.voidLinks++;
      return;
    }
    this.lastWriteId = link.writeId;
    this.liveLinks++;
    if (link.fence !== undefined) {
      if (this.fences.at(-1)?.journalId !== link.fence.journalId) this.journalSince = link.epoch;
      const { seq, epoch, writeId } = link;
      this.fences.push({ seq, epoch, writeId, journalId: link.fence.journalId });
      this.released = false;
      return;
    }
    if (this.released) this.violations.push(`I4: ${link.key} is live behind a release, without a fence`);
    for (const entry of link.entries) {
      const done = this.#applyEntry(entry, link);
      if (!done) this.voidEntries++;
    }
  }

  /** All that a checkpoint says of it too, in one spelling. */
  text(): string {
    const { lastWriteId, liveLinks, released, boundary, journalSince } = this;
    const partitions = [...this.partitions].map(([name, { start, extents }]) => [
      name,
      start,
      extents.map((extent) => extentText(extent, placeOf(this.shard, extent))),
    ]);
    return JSON.stringify([lastWriteId, liveLinks, released, boundary, this.fences.at(-1), journalSince, partitions]);
  }

  #applyEntry(entry: LinkEntry, link: Link): boolean {
    switch (entry.type) {
      case "append":
        for (const extent of entry.extents) this.#append(extent, link);
        return true;
      case "replace":
        return this.#replace(entry, link);
      case "trim":
        return this.#trim(entry);
      case "boundary":
        return this.#moveBoundary(entry.seq, link.seq);
      case "release":
        this.released = true;
        return true;
      default:
        throw new Damage(`${link.key}: ${JSON.stringify(entry satisfies never)}`);
    }
  }

  #append(extent: LinkExtent, link: Link): void {
    const { topicId, partition, baseOffset, leaderEpoch } = extent;
    const name = `${topicId}/${partition}`;
    const where = whereOf(link, extent);
    const end = this.end(name);
    if (baseOffset !== end) throw new Damage(`${where}, but the partition ends at ${end}`);
    const before = this.partitions.get(name) ?? { start: 0, extents: [] };
    this.#checkLeaderEpoch(leaderEpoch, before.extents.at(-1)?.leaderEpoch ?? 0, link, where);
    before.extents.push({ ...extent, seq: extent.object === undefined ? link.seq : undefined, where });
    this.partitions.set(name, before);
  }

  /** Rule 11: what was journaled in an earlier epoch comes later only from the journal that every fence since then has named. */
  #checkLeaderEpoch(leaderEpoch: number, before: number, link: Link, where: string): void {
    if (leaderEpoch < before) this.violations.push(`I4: ${where}: leader epoch ${leaderEpoch} behind ${before}`);
    if (leaderEpoch === link.epoch) return;
    const since = this.fences.filter(({ epoch }) => epoch >= leaderEpoch);
    const journals = new Set(since.map(({ journalId }) => journalId));
    // Where the fold began with a checkpoint, older fences are known by the epoch since which their journal is named alone.
    const known = this.fences[0]?.epoch ?? 0;
    const began = leaderEpoch < known ? leaderEpoch >= this.journalSince : since[0]?.epoch === leaderEpoch;
    if (!began || journals.size !== 1 || journals.has(NO_ID)) {
      this.violations.push(
        `I4: ${where}: of epoch ${leaderEpoch} in a link of epoch ${link.epoch}, though the fences since then name ${journals.size} journals`,
      );
    }
  }

  #trim({ trims }: Entry<"trim">): boolean {
    const matches = trims.every(({ topicId, partition, oldStart, newStart }) => {
      const name = `${topicId}/${partition}`;
      return this.partitions.get(name)?.start === oldStart && newStart > oldStart && newStart <= this.end(name);
    });
    if (!matches) return false;
    for (const { topicId, partition: number, newStart } of trims) {
      const partition = this.partitions.get(`${topicId}/${number}`)!;
      partition.start = newStart;
      partition.extents = partition.extents.filter(({ nextOffset }) => nextOffset > newStart);
    }
    return true;
  }

  #replace({ ranges, superseded, extents }: Entry<"replace">, link: Link): boolean {
    const hash = createHash("sha256");
    const going: { name: string; at: number; before: StateExtent[] }[] = [];
    for (const { topicId, partition, baseOffset, nextOffset, count } of ranges) {
      const name = `${topicId}/${partition}`;
      const all = this.partitions.get(name)?.extents ?? [];
      const at = all.findIndex((extent) => extent.baseOffset === baseOffset);
      const before = at < 0 ? [] : all.slice(at, at + count);
      if (before.length !== count || before.at(-1)?.nextOffset !== nextOffset) return false;
      going.push({ name, at, before });
      hash.update(Buffer.from(topicId, "hex")).update(numbers([partition, 4], [count, 4]));
      for (const extent of before) {
        const place = Buffer.from(extent.object?.name ?? placeOf(this.shard, extent));
        hash
          .update(numbers([extent.baseOffset, 8], [extent.nextOffset, 8], [extent.leaderEpoch, 4], [place.length, 2]))
          .update(place)
          .update(numbers([extent.position, 8], [extent.lengthBytes, 4], [extent.maxTimestamp, 8]));
      }
    }
    if (hash.digest("hex").slice(0, 32) !== superseded) return false;
    for (const { name, at, before } of going) {
      const after = extents
        .filter(({ topicId, partition }) => `${topicId}/${partition}` === name)
        .map((extent) => ({ ...extent, seq: undefined, where: whereOf(link, extent) }));
      this.partitions.get(name)!.extents.splice(at, before.length, ...after);
      this.merges.push({ where: `${link.key}: ${name}`, before, after });
    }
    return true;
  }

  #moveBoundary(to: number, seq: number): boolean {
    const inline = [...this.partitions.values()].flatMap(({ extents }) => extents.map((extent) => extent.seq ?? seq));
    if (to <= this.boundary || to > seq || inline.some((lowest) => lowest < to)) return false;
    this.boundary = to;
    return true;
  }
}

function whereOf({ key }: Link, { topicId, partition, baseOffset, nextOffset }: LinkExtent): string {
  return `${key}: ${topicId}/${partition} ${baseOffset} … ${nextOffset - 1}`;
}

/** Of the object in which an extent lies; of a data object with its size. */
function placeOf(shard: number, { object, seq = -1 }: StateExtent): string {
  return object === undefined ? indexKey(shard, seq) : `${object.name} (${object.sizeBytes})`;
}

function extentText(extent: StateExtent, place: string): string {
  const { baseOffset, nextOffset, leaderEpoch, lengthBytes, position, maxTimestamp } = extent;
  return `${baseOffset}-${nextOffset} e${leaderEpoch} ${place}@${position}+${lengthBytes} t${maxTimestamp}`;
}

/** Big-endian, each with its size in bytes; two's complement below 0. */
function numbers(...fields: readonly (readonly [value: number, bytes: number])[]): Buffer {
  return Buffer.concat(
    fields.map(([value, bytes]) => {
      const wide = Buffer.alloc(8);
      wide.writeBigInt64BE(BigInt(value));
      return wide.subarray(8 - bytes);
    }),
  );
}
