import {
  MAX_EPOCH,
  partitionKey,
  type Epoch,
  type ObjectKey,
  type Offset,
  type Seq,
  type ShardId,
  type TopicId,
} from "../domain.ts";
import { CorruptionError, InvariantError, UnsupportedVersionError } from "../errors.ts";
import { readInt64, readUint32, writeInt32, writeInt64 } from "../record/big-endian.ts";
import { ByteReader, ByteWriter } from "../record/bytes.ts";
import { crc32c } from "../record/crc32c.ts";
import { nextTurn } from "../runtime/turn.ts";
import { extentRows, FrozenExtents, setRow, type ExtentRows, type ObjectNumber } from "./extent-rows.ts";
import type { DataObjectRef } from "./link-entries.ts";
import type { NumberedObject } from "./live-objects.ts";
import type { Fence, PartitionSnapshot, StateSnapshot } from "./shard-state.ts";
import { WRITE_ID_BYTES, type WriteId } from "./write-id.ts";

/**
 * The codec of a checkpoint, the folded state of a shard behind one link. Layout, worked example and the rules for versions:
 * docs/checkpoint-format.md. Golden file: test/format/.
 *
 * The bytes depend on the state alone, so on the chain alone: whoever writes the checkpoint of a seq writes the same bytes.
 */

/** There is a boundary: links below it may be gone, which older releases do not reckon with. */
const CHECKPOINT_FORMAT_VERSION = 3;
/** Some partition begins inside its first extent. */
const FORMAT_WITHOUT_BOUNDARY = 2;
/** Every partition begins with its first extent. Written while that is so: older releases go on with such a shard. */
const FORMAT_WITHOUT_INNER_START = 1;
export const CHECKPOINT_HEADER_BYTES = 64;

const MAGIC = 0x544c_4f47; // "TLOG"
const MAGIC_CHECKPOINT = 0x434b_5054; // "CKPT"
const CRC_BYTES = 4;
const JOURNAL_ID_BYTES = 16;
const TOPIC_ID_BYTES = 16;
/** Topic, partition, start offset, number of extents; from version 2 on the base offset of the first extent as well. */
const PARTITION_BYTES = { 1: 4 + 4 + 8 + 4, 2: 4 + 4 + 8 + 8 + 4, 3: 4 + 4 + 8 + 8 + 4 } as const;
type FormatVersion = keyof typeof PARTITION_BYTES;
const EXTENT_BYTES = 36;
/** A data object's length of name and size; the name itself may be empty. */
const OBJECT_BYTES_MIN = 2 + 8;

/** Extents coded before other work gets its turn: about a millisecond. Partitions and data objects take the time of several. */
const ITEMS_PER_TURN = 8192;
const ITEMS_PER_PARTITION = 32;
const ITEMS_PER_OBJECT = 4;

/** Counts items of work, to tell when other work is due its turn. */
class Pace {
  #items = 0;

  /** Call after each piece of work, counted in extents. true: await `nextTurn` now. */
  isTurnOver(items: number): boolean {
    this.#items += items;
    if (this.#items < ITEMS_PER_TURN) return false;
    this.#items = 0;
    return true;
  }
}

/**
 * The bytes of a checkpoint. Takes several turns of the event loop where there is much to encode, which `snapshot` outlives
 * unchanged by its own contract.
 */
export async function encodeCheckpoint(snapshot: StateSnapshot): Promise<Uint8Array> {
  const pace = new Pace();
  const topics = new Map<TopicId, number>();
  let extentCount = 0;
  let innerStart = false;
  for (const { topicId, extents } of snapshot.partitions) {
    if (!topics.has(topicId)) topics.set(topicId, topics.size);
    extentCount += extents.count;
    innerStart ||= baseOf(extents) !== extents.startOffset;
  }
  const version =
    snapshot.boundary > 0
      ? CHECKPOINT_FORMAT_VERSION
      : innerStart
        ? FORMAT_WITHOUT_BOUNDARY
        : FORMAT_WITHOUT_INNER_START;
  const places = placesOf(snapshot.objects);
  const head = await encodeHead(snapshot, topics, pace);
  const partitionBytes = snapshot.partitions.length * PARTITION_BYTES[version] + extentCount * EXTENT_BYTES;
  const bodyBytes = head.length + partitionBytes + CRC_BYTES;
  const bytes = new Uint8Array(Buffer.allocUnsafeSlow(CHECKPOINT_HEADER_BYTES + bodyBytes).buffer);
  bytes.set(encodeHeader(snapshot, version, bodyBytes), 0);
  bytes.set(head, CHECKPOINT_HEADER_BYTES);

  let at = CHECKPOINT_HEADER_BYTES + head.length;
  for (const { topicId, partition, extents } of snapshot.partitions) {
    writeInt32(bytes, at, topics.get(topicId) ?? 0);
    writeInt32(bytes, at + 4, partition);
    writeInt64(bytes, at + 8, extents.startOffset);
    if (version > FORMAT_WITHOUT_INNER_START) writeInt64(bytes, at + 16, baseOf(extents));
    at += PARTITION_BYTES[version];
    writeInt32(bytes, at - 4, extents.count);
    if (pace.isTurnOver(ITEMS_PER_PARTITION)) await nextTurn();
    for (let from = 0; from < extents.count; from += ITEMS_PER_TURN) {
      const to = Math.min(extents.count, from + ITEMS_PER_TURN);
      at = writeExtents(bytes, at, extents, from, to, places);
      if (pace.isTurnOver(to - from)) await nextTurn();
    }
  }
  writeInt32(bytes, at, crc32c(bytes.subarray(CHECKPOINT_HEADER_BYTES, at)));
  if (at + CRC_BYTES !== bytes.length) throw new InvariantError(`checkpoint of ${at} bytes, planned ${bytes.length}`);
  return bytes;
}

/** Where each data object stands in the list; undefined where its number says so already. */
function placesOf(objects: readonly NumberedObject[]): ReadonlyMap<number, number> | undefined {
  if (objects.every(({ number }, place) => number === -1 - place)) return undefined;
  return new Map(objects.map(({ number }, place) => [number, -1 - place]));
}

/** Where the extents of a partition begin. */
function baseOf(extents: FrozenExtents): number {
  return extents.count === 0 ? extents.startOffset : extents.baseOffset(0);
}

function encodeHeader(snapshot: StateSnapshot, version: FormatVersion, bodyBytes: number): Uint8Array {
  const out = new ByteWriter(CHECKPOINT_HEADER_BYTES);
  out.u32(MAGIC);
  out.u32(MAGIC_CHECKPOINT);
  out.u16(version);
  out.u8(0); // flags
  out.u8(0); // encryption: 0 is none
  out.u32(snapshot.shard);
  out.u64(snapshot.seq);
  out.u64(bodyBytes);
  out.zeros(CHECKPOINT_HEADER_BYTES - CRC_BYTES - out.position);
  out.u32(crc32c(out.bytes()));
  return out.bytes();
}

/** The body up to the partitions. */
async function encodeHead(
  snapshot: StateSnapshot,
  topics: ReadonlyMap<TopicId, number>,
  pace: Pace,
): Promise<Uint8Array> {
  const { fence } = snapshot;
  const out = new ByteWriter(1024);
  out.hex(snapshot.lastLive, WRITE_ID_BYTES);
  out.u64(snapshot.liveLinks);
  out.u64(snapshot.boundary);
  out.u8(snapshot.released ? 1 : 0);
  out.u64(fence.seq);
  out.u32(fence.epoch);
  out.hex(fence.writeId, WRITE_ID_BYTES);
  out.hex(fence.journalId, JOURNAL_ID_BYTES);
  out.u32(fence.journalSince);
  out.string(fence.writerId);
  out.string(fence.endpoint);
  out.u32(topics.size);
  for (const topicId of topics.keys()) out.hex(topicId, TOPIC_ID_BYTES);
  out.u32(snapshot.objects.length);
  for (const object of snapshot.objects) {
    out.string(object.key);
    out.u64(object.sizeBytes);
    if (pace.isTurnOver(ITEMS_PER_OBJECT)) await nextTurn();
  }
  out.u32(snapshot.partitions.length);
  return out.bytes();
}

/** Writes extents `from` … `to` at `at`; returns where they end. */
function writeExtents(
  bytes: Uint8Array,
  at: number,
  extents: FrozenExtents,
  from: number,
  to: number,
  places: ReadonlyMap<number, number> | undefined,
): number {
  for (let i = from; i < to; i++) {
    writeInt32(bytes, at, extents.nextOffset(i) - extents.baseOffset(i));
    writeInt32(bytes, at + 4, extents.leaderEpoch(i));
    writeInt32(bytes, at + 8, extents.lengthBytes(i));
    const object = extents.object(i);
    writeInt64(bytes, at + 12, object < 0 && places !== undefined ? places.get(object)! : object);
    writeInt64(bytes, at + 20, extents.position(i));
    writeInt64(bytes, at + 28, extents.maxTimestampMs(i));
    at += EXTENT_BYTES;
  }
  return at;
}

/**
 * Checks and reads a whole checkpoint, which must be that of `seq`. `CorruptionError` naming object and byte,
 * `UnsupportedVersionError`. Nothing is allocated for a number before the bytes it speaks of are known to be there.
 */
export async function decodeCheckpoint(
  bytes: Uint8Array,
  key: ObjectKey,
  shard: ShardId,
  seq: Seq,
): Promise<StateSnapshot> {
  const { version } = checkHeader(bytes, key, { shard, seq });
  const crcAt = bytes.length - CRC_BYTES;
  if (crc32c(bytes.subarray(CHECKPOINT_HEADER_BYTES, crcAt)) !== readUint32(bytes, crcAt))
    throw new CorruptionError(key, CHECKPOINT_HEADER_BYTES, "body fails its CRC32C");

  const pace = new Pace();
  const body = bytes.subarray(0, crcAt);
  const reader = new ByteReader(body.subarray(CHECKPOINT_HEADER_BYTES), key, CHECKPOINT_HEADER_BYTES);
  const lastLive = reader.hex(WRITE_ID_BYTES) as WriteId;
  const liveLinks = reader.u64();
  if (liveLinks < 1 || liveLinks > seq + 1)
    throw new CorruptionError(key, reader.position - 8, `${liveLinks} live links up to ${seq}`);
  const boundary = reader.u64() as Seq;
  if (boundary > seq || boundary > 0 !== (version === CHECKPOINT_FORMAT_VERSION))
    throw new CorruptionError(key, reader.position - 8, `boundary ${boundary} in version ${version}`);
  const released = reader.u8();
  if (released > 1) throw new CorruptionError(key, reader.position - 1, `released is ${released}`);
  const fence = decodeFence(reader, key, seq);
  const topics: TopicId[] = [];
  for (let left = reader.count(TOPIC_ID_BYTES); left > 0; left--) topics.push(reader.hex(TOPIC_ID_BYTES) as TopicId);
  const objects: NumberedObject[] = [];
  for (let left = reader.count(OBJECT_BYTES_MIN); left > 0; left--) {
    const number = (-1 - objects.length) as ObjectNumber;
    objects.push({ number, key: reader.string() as ObjectKey, sizeBytes: reader.u64() });
    if (pace.isTurnOver(ITEMS_PER_OBJECT)) await nextTurn();
  }

  const limits: ExtentLimits = { key, seq, boundary, epoch: fence.epoch, objects };
  const names = new Set<string>();
  const partitions: PartitionSnapshot[] = [];
  for (let left = reader.count(PARTITION_BYTES[version]); left > 0; left--) {
    const at = reader.position;
    const topicId = topics[reader.u32()];
    if (topicId === undefined) throw new CorruptionError(key, at, "partition of a topic that is not listed");
    const partition = reader.u32();
    const name = partitionKey({ topicId, partition });
    if (names.has(name)) throw new CorruptionError(key, at, `partition ${name} stands here twice`);
    names.add(name);
    const startOffset = reader.u64();
    const baseOffset = version === FORMAT_WITHOUT_INNER_START ? startOffset : reader.u64();
    const count = reader.count(EXTENT_BYTES);
    const extentsAt = reader.position;
    reader.slice(count * EXTENT_BYTES);
    const rows = extentRows(count);
    let endOffset = baseOffset;
    for (let from = 0; from < count; from += ITEMS_PER_TURN) {
      const to = Math.min(count, from + ITEMS_PER_TURN);
      endOffset = readExtents(body, extentsAt, rows, endOffset, from, to, limits);
      if (pace.isTurnOver(to - from)) await nextTurn();
    }
    // In the first extent, or where there is none at the base: a trim drops every extent that lies wholly below the start.
    const extents = new FrozenExtents(rows, count, startOffset, endOffset);
    if (startOffset < baseOffset || startOffset >= (count === 0 ? baseOffset + 1 : extents.nextOffset(0)))
      throw new CorruptionError(key, at, `partition ${name} starts at ${startOffset}, its extents at ${baseOffset}`);
    partitions.push({ topicId, partition, extents });
    if (pace.isTurnOver(ITEMS_PER_PARTITION)) await nextTurn();
  }
  reader.end();
  return {
    shard,
    seq,
    lastLive,
    liveLinks,
    released: released === 1,
    fence,
    boundary,
    objects,
    partitions,
  };
}

/** Of which shard and seq a checkpoint is, whatever its name: for tools. Checks the header alone; errors as `decodeCheckpoint`. */
export function readCheckpointName(bytes: Uint8Array, key: ObjectKey): { readonly shard: ShardId; readonly seq: Seq } {
  return checkHeader(bytes, key, undefined);
}

function checkHeader(
  bytes: Uint8Array,
  key: ObjectKey,
  name: { readonly shard: ShardId; readonly seq: Seq } | undefined,
): { readonly shard: ShardId; readonly seq: Seq; readonly version: FormatVersion } {
  if (bytes.length < CHECKPOINT_HEADER_BYTES + CRC_BYTES)
    throw new CorruptionError(key, bytes.length, `checkpoint is cut at byte ${bytes.length}`);
  const reader = new ByteReader(bytes.subarray(0, CHECKPOINT_HEADER_BYTES), key, 0);
  if (reader.u32() !== MAGIC || reader.u32() !== MAGIC_CHECKPOINT)
    throw new CorruptionError(key, 0, "not a checkpoint (magic bytes differ)");
  const crcAt = CHECKPOINT_HEADER_BYTES - CRC_BYTES;
  // Before the version is believed: a flipped version byte is corruption, not a newer format.
  if (crc32c(bytes.subarray(0, crcAt)) !== readUint32(bytes, crcAt))
    throw new CorruptionError(key, 0, "header fails its CRC32C");
  const version = reader.u16();
  if (
    version !== FORMAT_WITHOUT_INNER_START &&
    version !== FORMAT_WITHOUT_BOUNDARY &&
    version !== CHECKPOINT_FORMAT_VERSION
  )
    throw new UnsupportedVersionError(`checkpoint ${key}`, version, CHECKPOINT_FORMAT_VERSION);
  const flags = reader.u8();
  if (flags !== 0) throw new UnsupportedVersionError(`flags of checkpoint ${key}`, flags, 0);
  const encryption = reader.u8();
  if (encryption !== 0) throw new UnsupportedVersionError(`encryption of checkpoint ${key}`, encryption, "0 (none)");
  const shard = reader.u32() as ShardId;
  const seq = reader.u64() as Seq;
  if (name !== undefined && (shard !== name.shard || seq !== name.seq))
    throw new CorruptionError(key, 12, `holds seq ${seq} of shard ${shard}: the object stands under a wrong name`);
  const bodyBytes = reader.u64();
  if (bodyBytes !== bytes.length - CHECKPOINT_HEADER_BYTES)
    throw new CorruptionError(
      key,
      bytes.length,
      `object has ${bytes.length} bytes, its header says ${CHECKPOINT_HEADER_BYTES + bodyBytes}`,
    );
  return { shard, seq, version };
}

function decodeFence(reader: ByteReader, key: ObjectKey, seq: Seq): Fence {
  const at = reader.position;
  const fence: Fence = {
    seq: reader.u64() as Seq,
    epoch: reader.u32() as Epoch,
    writeId: reader.hex(WRITE_ID_BYTES) as WriteId,
    journalId: reader.hex(JOURNAL_ID_BYTES),
    journalSince: reader.u32() as Epoch,
    writerId: reader.string(),
    endpoint: reader.string(),
  };
  if (
    fence.seq > seq ||
    fence.epoch < 1 ||
    fence.epoch > MAX_EPOCH ||
    fence.journalSince < 1 ||
    fence.journalSince > fence.epoch
  )
    throw new CorruptionError(
      key,
      at,
      `fence at seq ${fence.seq} with epoch ${fence.epoch} and a journal since epoch ${fence.journalSince}`,
    );
  return fence;
}

interface ExtentLimits {
  readonly key: ObjectKey;
  readonly seq: Seq;
  readonly boundary: Seq;
  readonly epoch: Epoch;
  readonly objects: readonly DataObjectRef[];
}

/** Reads extents `from` … `to` of those that begin at `start`; the offset of the first in, that behind the last out. REQUIRES: `body` holds them. */
function readExtents(
  body: Uint8Array,
  start: number,
  rows: ExtentRows,
  baseOffset: number,
  from: number,
  to: number,
  limits: ExtentLimits,
): number {
  let offset = baseOffset;
  for (let i = from; i < to; i++) {
    const at = start + i * EXTENT_BYTES;
    const span = readUint32(body, at);
    const epoch = readUint32(body, at + 4);
    const lengthBytes = readUint32(body, at + 8);
    const object = readInt64(body, at + 12);
    const position = readInt64(body, at + 20);
    const maxTimestampMs = readInt64(body, at + 28);
    const nextOffset = offset + span;
    const sizeBytes = object < 0 ? limits.objects[-1 - object]?.sizeBytes : Number.MAX_SAFE_INTEGER;
    // Written so that a number which is none (beyond 2^53) fails as well.
    const right =
      span > 0 &&
      lengthBytes > 0 &&
      epoch > 0 &&
      epoch <= limits.epoch &&
      Number.isSafeInteger(nextOffset) &&
      object <= limits.seq &&
      // Bytes that are read must not lie where links may be deleted.
      (object < 0 || object >= limits.boundary) &&
      position >= 0 &&
      sizeBytes !== undefined &&
      position + lengthBytes <= sizeBytes &&
      Number.isSafeInteger(maxTimestampMs);
    if (!right)
      throw new CorruptionError(
        limits.key,
        at,
        `extent of ${span} offsets from ${offset}, epoch ${epoch}, ${lengthBytes} bytes at ${position} of object ${object}`,
      );
    setRow(rows, i, {
      baseOffset: offset as Offset,
      leaderEpoch: epoch as Epoch,
      object: object as ObjectNumber,
      position,
      lengthBytes,
      maxTimestampMs,
    });
    offset = nextOffset;
  }
  return offset;
}
