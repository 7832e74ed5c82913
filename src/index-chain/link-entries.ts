import {
  partitionKey,
  type Epoch,
  type ObjectKey,
  type Offset,
  type PartitionId,
  type Seq,
  type TopicId,
} from "../domain.ts";
import { CorruptionError, InvariantError, UnsupportedVersionError } from "../errors.ts";
import { checkKey } from "../object-store/object-key.ts";
import type { ByteReader, ByteWriter } from "../record/bytes.ts";

/** The entries of a link and their codec. Layout: docs/index-file-format.md. */

/** Of an encoded extent within the directory. */
export const EXTENT_BYTES = 48;
/** Of an encoded trim of one partition. */
const TRIM_BYTES = 24;
/** Of an encoded range of a replace. */
const RANGE_BYTES = 28;
export const DIGEST_BYTES = 16;
/** Stored numbers of the entry types. 6 is kept for offsets. */
export const ENTRY_TYPE = { append: 1, replace: 2, trim: 3, fence: 4, release: 5, boundary: 7 } as const;

/** An object that a link brings in: written before the link, named by it. */
export interface DataObjectRef {
  readonly key: ObjectKey;
  readonly sizeBytes: number;
}

/** A run of batches of one partition and one leader epoch: in the payload of its index file, or in a data object. */
export interface LinkExtent {
  readonly topicId: TopicId;
  readonly partition: number;
  readonly leaderEpoch: Epoch;
  readonly baseOffset: Offset;
  readonly nextOffset: Offset;
  /** 0: this index file; n: `objects[n − 1]` of the entry. */
  readonly object: number;
  /** From the start of the object. */
  readonly position: number;
  readonly lengthBytes: number;
  readonly maxTimestampMs: number;
}

/** Moves the start of one partition; void where the partition does not begin at `oldStart` or does not reach to `newStart`. */
export interface LinkTrim extends PartitionId {
  readonly oldStart: Offset;
  readonly newStart: Offset;
}

/** Extents of one partition that lie side by side and are superseded: whole ones, the first from `baseOffset`, the last up to `nextOffset`. */
export interface LinkRange extends PartitionId {
  readonly baseOffset: Offset;
  readonly nextOffset: Offset;
  /** How many extents they are. */
  readonly count: number;
}

export interface AppendEntry {
  readonly type: "append";
  readonly objects: readonly DataObjectRef[];
  readonly extents: readonly LinkExtent[];
}

/**
 * The same records in other extents, all of them in data objects of this entry. Void, whole, unless the state has each range exactly so
 * that `superseded` is the digest of what is to go: see `ShardState.supersededDigest`.
 */
export interface ReplaceEntry {
  readonly type: "replace";
  readonly objects: readonly DataObjectRef[];
  /** At most one of a partition. */
  readonly ranges: readonly LinkRange[];
  /** 16 bytes, hex. */
  readonly superseded: string;
  /** In the order of the ranges, and within each by offset, without a hole from its base to its end. */
  readonly extents: readonly LinkExtent[];
}

/**
 * From now on links below `seq` may be deleted, a `gc.grace` after this was seen live. Void where the state still reads inline bytes of
 * one of them, where it is not above the boundary before, or above this very link (DESIGN section 4 rule 7).
 */
export interface BoundaryEntry {
  readonly type: "boundary";
  readonly seq: Seq;
}

export type LinkEntry =
  | AppendEntry
  | ReplaceEntry
  | BoundaryEntry
  | { readonly type: "trim"; readonly trims: readonly LinkTrim[] }
  | { readonly type: "fence"; readonly journalId: string; readonly endpoint: string }
  | { readonly type: "release" };

/** Bytes of an entry that brings in no inline payload (not of an append), at most. */
export function entryBytes(entry: LinkEntry): number {
  const frame = 1 + 4;
  switch (entry.type) {
    case "trim":
      return frame + 4 + 4 + entry.trims.length * (16 + TRIM_BYTES);
    case "replace": {
      const names = entry.objects.reduce((sum, { key }) => sum + 2 + Buffer.byteLength(key) + 8, 0);
      const { ranges, extents } = entry;
      return frame + 16 + names + DIGEST_BYTES + ranges.length * (16 + RANGE_BYTES) + extents.length * EXTENT_BYTES;
    }
    case "boundary":
      return frame + 8;
    case "release":
      return frame;
    case "fence":
      return frame + 16 + 2 + Buffer.byteLength(entry.endpoint);
    case "append":
      throw new InvariantError("an append is counted with its payload");
    default:
      throw new InvariantError(`unknown entry ${JSON.stringify(entry satisfies never)}`);
  }
}

export function encodeEntry(out: ByteWriter, entry: LinkEntry): void {
  out.u8(ENTRY_TYPE[entry.type]);
  const lengthAt = out.position;
  out.u32(0);
  switch (entry.type) {
    case "append": {
      const topics = encodeTopics(out, entry.extents);
      encodeObjects(out, entry.objects);
      encodeExtents(out, entry.extents, topics);
      break;
    }
    case "replace":
      encodeReplace(out, entry);
      break;
    case "trim":
      encodeTrim(out, entry.trims);
      break;
    case "fence":
      out.hex(entry.journalId, 16);
      out.string(entry.endpoint);
      break;
    case "boundary":
      out.u64(entry.seq);
      break;
    case "release":
      break;
    default:
      throw new InvariantError(`unknown entry ${JSON.stringify(entry satisfies never)}`);
  }
  out.u32At(lengthAt, out.position - lengthAt - 4);
}

/** Writes the ids of all topics that `items` speak of; returns the place of each. */
function encodeTopics(out: ByteWriter, items: readonly { readonly topicId: TopicId }[]): ReadonlyMap<TopicId, number> {
  const topics = new Map<TopicId, number>();
  for (const { topicId } of items) if (!topics.has(topicId)) topics.set(topicId, topics.size);
  out.u32(topics.size);
  for (const topicId of topics.keys()) out.hex(topicId, 16);
  return topics;
}

function encodeTrim(out: ByteWriter, trims: readonly LinkTrim[]): void {
  if (trims.length === 0 || new Set(trims.map(partitionKey)).size !== trims.length)
    throw new InvariantError(`trim of ${trims.length} partitions, one of them twice or none at all`);
  const topics = encodeTopics(out, trims);
  out.u32(trims.length);
  for (const { topicId, partition, oldStart, newStart } of trims) {
    out.u32(topics.get(topicId) ?? 0);
    out.u32(partition);
    out.u64(oldStart);
    out.u64(newStart);
  }
}

function encodeReplace(out: ByteWriter, { objects, ranges, superseded, extents }: ReplaceEntry): void {
  const problem = replaceProblem(ranges, extents);
  // Stored, it would be damage to every reader, for ever.
  if (problem !== undefined) throw new InvariantError(problem);
  const topics = encodeTopics(out, ranges);
  encodeObjects(out, objects);
  out.hex(superseded, DIGEST_BYTES);
  out.u32(ranges.length);
  for (const { topicId, partition, baseOffset, nextOffset, count } of ranges) {
    out.u32(topics.get(topicId) ?? 0);
    out.u32(partition);
    out.u64(baseOffset);
    out.u64(nextOffset);
    out.u32(count);
  }
  encodeExtents(out, extents, topics);
}

function encodeObjects(out: ByteWriter, objects: readonly DataObjectRef[]): void {
  out.u32(objects.length);
  for (const { key, sizeBytes } of objects) {
    out.string(key);
    out.u64(sizeBytes);
  }
}

function encodeExtents(out: ByteWriter, extents: readonly LinkExtent[], topics: ReadonlyMap<TopicId, number>): void {
  out.u32(extents.length);
  for (const extent of extents) {
    const span = extent.nextOffset - extent.baseOffset;
    if (span < 1 || span > 0xffff_ffff) throw new InvariantError(`extent of ${span} offsets`);
    out.u32(topics.get(extent.topicId) ?? 0);
    out.u32(extent.partition);
    out.u32(extent.leaderEpoch);
    out.u32(extent.object);
    out.u64(extent.baseOffset);
    out.u32(span);
    out.u32(extent.lengthBytes);
    out.u64(extent.position);
    out.i64(extent.maxTimestampMs);
  }
}

/** What entries are checked against. */
export interface Within {
  readonly key: ObjectKey;
  readonly epoch: Epoch;
  readonly payloadStart: number;
  readonly sizeBytes: number;
}

/** REQUIRES: `reader` holds the entry and nothing else. What the state decides is not looked at here: see `ShardState`. */
export function decodeEntry(reader: ByteReader, type: number, link: Within): LinkEntry {
  const entry = decodeBody(reader, type, link);
  reader.end();
  return entry;
}

function decodeBody(reader: ByteReader, type: number, link: Within): LinkEntry {
  switch (type) {
    case ENTRY_TYPE.append: {
      const topics = decodeTopics(reader);
      const objects = decodeObjects(reader, link.key);
      return { type: "append", objects, extents: decodeExtents(reader, topics, objects, link) };
    }
    case ENTRY_TYPE.replace:
      return decodeReplace(reader, link);
    case ENTRY_TYPE.trim:
      return { type: "trim", trims: decodeTrim(reader, link.key) };
    case ENTRY_TYPE.fence:
      return { type: "fence", journalId: reader.hex(16), endpoint: reader.string() };
    case ENTRY_TYPE.boundary:
      return { type: "boundary", seq: reader.u64() as Seq };
    case ENTRY_TYPE.release:
      return { type: "release" };
    default:
      // Skipping an entry would fold another state than its writer had.
      throw new UnsupportedVersionError(`entry of index file ${link.key}`, type, Object.values(ENTRY_TYPE).join(", "));
  }
}

function decodeTopics(reader: ByteReader): readonly TopicId[] {
  const topics: TopicId[] = [];
  for (let left = reader.count(16); left > 0; left--) topics.push(reader.hex(16) as TopicId);
  return topics;
}

function decodeTrim(reader: ByteReader, key: ObjectKey): readonly LinkTrim[] {
  const topics = decodeTopics(reader);
  const trims: LinkTrim[] = [];
  const names = new Set<string>();
  for (let left = reader.count(TRIM_BYTES); left > 0; left--) {
    const at = reader.position;
    const topicId = topics[reader.u32()];
    if (topicId === undefined) throw new CorruptionError(key, at, "trim names a topic that the entry does not list");
    const partition = reader.u32();
    const name = partitionKey({ topicId, partition });
    if (names.has(name)) throw new CorruptionError(key, at, `trim names partition ${name} twice`);
    names.add(name);
    trims.push({ topicId, partition, oldStart: reader.u64() as Offset, newStart: reader.u64() as Offset });
  }
  if (trims.length === 0) throw new CorruptionError(key, reader.position, "trim of no partition");
  return trims;
}

function decodeReplace(reader: ByteReader, link: Within): ReplaceEntry {
  const start = reader.position;
  const topics = decodeTopics(reader);
  const objects = decodeObjects(reader, link.key);
  const superseded = reader.hex(DIGEST_BYTES);
  const ranges: LinkRange[] = [];
  for (let left = reader.count(RANGE_BYTES); left > 0; left--) {
    const at = reader.position;
    const topicId = topics[reader.u32()];
    if (topicId === undefined)
      throw new CorruptionError(link.key, at, "range names a topic that the entry does not list");
    ranges.push({
      topicId,
      partition: reader.u32(),
      baseOffset: reader.u64() as Offset,
      nextOffset: reader.u64() as Offset,
      count: reader.u32(),
    });
  }
  const extents = decodeExtents(reader, topics, objects, link);
  const problem = replaceProblem(ranges, extents);
  if (problem !== undefined) throw new CorruptionError(link.key, start, problem);
  return { type: "replace", objects, ranges, superseded, extents };
}

/** What no state can make right: undefined where the extents are those of the ranges. */
function replaceProblem(ranges: readonly LinkRange[], extents: readonly LinkExtent[]): string | undefined {
  if (ranges.length === 0) return "replace of no partition";
  if (new Set(ranges.map(partitionKey)).size !== ranges.length) return "replace with two ranges of one partition";
  let at = 0;
  for (const range of ranges) {
    const name = partitionKey(range);
    const { baseOffset, nextOffset, count } = range;
    if (nextOffset <= baseOffset || count < 1)
      return `replace of ${count} extents of ${name} from offset ${baseOffset} to ${nextOffset}`;
    let end = baseOffset;
    for (; end < nextOffset; at++) {
      const extent = extents[at];
      if (extent === undefined || partitionKey(extent) !== name || extent.baseOffset !== end)
        return `replace of ${name} from offset ${baseOffset} to ${nextOffset} has no extent at offset ${end}`;
      if (extent.object < 1) return `replace of ${name} puts offset ${end} into the index file itself`;
      end = extent.nextOffset;
    }
    if (end !== nextOffset) return `replace of ${name} to offset ${nextOffset} has an extent to ${end}`;
  }
  return at === extents.length ? undefined : `replace with ${extents.length - at} extents behind its ranges`;
}

function decodeObjects(reader: ByteReader, key: ObjectKey): readonly DataObjectRef[] {
  const objects: DataObjectRef[] = [];
  for (let left = reader.count(2 + 8); left > 0; left--) {
    objects.push({ key: decodeObjectName(reader, key), sizeBytes: reader.u64() });
  }
  return objects;
}

function decodeExtents(
  reader: ByteReader,
  topics: readonly TopicId[],
  objects: readonly DataObjectRef[],
  { key, epoch, payloadStart, sizeBytes }: Within,
): readonly LinkExtent[] {
  const extents: LinkExtent[] = [];
  for (let left = reader.count(EXTENT_BYTES); left > 0; left--) {
    const at = reader.position;
    const topicId = topics[reader.u32()];
    if (topicId === undefined) throw new CorruptionError(key, at, "extent names a topic that the link does not list");
    const partition = reader.u32();
    const leaderEpoch = reader.u32() as Epoch;
    const object = reader.u32();
    const baseOffset = reader.u64() as Offset;
    const span = reader.u32();
    const lengthBytes = reader.u32();
    const relative = reader.u64();
    const maxTimestampMs = reader.i64();
    if (span < 1 || lengthBytes < 1) throw new CorruptionError(key, at, "empty extent");
    // A batch keeps its epoch when it is replayed or merged later; nothing comes from an epoch to come.
    if (leaderEpoch < 1 || leaderEpoch > epoch)
      throw new CorruptionError(key, at, `extent of leader epoch ${leaderEpoch} in a link of epoch ${epoch}`);
    const home = objects[object - 1];
    if (object > 0 && home === undefined) {
      throw new CorruptionError(key, at, `extent names data object ${object}, the entry lists ${objects.length}`);
    }
    const position = object === 0 ? payloadStart + relative : relative;
    const end = position + lengthBytes;
    const homeBytes = home?.sizeBytes ?? sizeBytes;
    if (end > homeBytes) throw new CorruptionError(key, at, `extent ends at ${end}, its object at ${homeBytes}`);
    const nextOffset = (baseOffset + span) as Offset;
    if (!Number.isSafeInteger(nextOffset))
      throw new CorruptionError(key, at, `offset ${nextOffset} is not a safe integer`);
    extents.push({
      topicId,
      partition,
      leaderEpoch,
      baseOffset,
      nextOffset,
      object,
      position,
      lengthBytes,
      maxTimestampMs,
    });
  }
  return extents;
}

/** A name that no store can have is damage here. Later a store would tell a reader that its own argument is wrong. */
function decodeObjectName(reader: ByteReader, key: ObjectKey): ObjectKey {
  const at = reader.position;
  const name = reader.string();
  try {
    checkKey(name);
  } catch (cause) {
    throw new CorruptionError(key, at, `no name of a data object: ${JSON.stringify(name)}`, { cause });
  }
  return name;
}
