import type { Epoch, ObjectKey, Offset, PartitionId, ShardId, TopicId } from "../domain.ts";
import { CorruptionError, InvariantError, UnsupportedVersionError } from "../errors.ts";
import { ByteReader, ByteWriter } from "../record/bytes.ts";
import { crc32c } from "../record/crc32c.ts";

/**
 * The codec of a data object: batches grouped by partition, a footer (directory and sparse index), a trailer. Layout and worked
 * example: docs/data-object-format.md. Golden file: test/format/.
 */

export const DATA_OBJECT_FORMAT_VERSION = 1;
export const TRAILER_BYTES = 32;

const MAGIC = 0x544c_4f47; // "TLOG"
const MAGIC_DATA = 0x4441_5441; // "DATA"
const EXTENT_BYTES = 48;
const BLOCK_ENTRY_BYTES = 16;
const FOOTER_BYTES_MAX = 256 * 1024 * 1024;

/** A new block of the sparse index begins after about so many bytes: what one read of a random offset has to step over. */
const BLOCK_BYTES = 256 * 1024;

/** A longer run of batches goes on in another extent: length and number of offsets are stored in 32 bits. */
const EXTENT_LENGTH_MAX = 1024 * 1024 * 1024;
const EXTENT_OFFSETS_MAX = 0xffff_ffff;

/** Some batches of an extent, side by side. */
export interface Block {
  /** Base offset of its first batch. */
  readonly offset: Offset;
  /** From the start of the extent. */
  readonly position: number;
  /** Of its own batches: tells a search by time whether to look inside. */
  readonly maxTimestampMs: number;
}

/** Some batches of one partition and one leader epoch, side by side. */
export interface DataExtent extends PartitionId {
  readonly leaderEpoch: Epoch;
  readonly baseOffset: Offset;
  readonly nextOffset: Offset;
  /** From the start of the object. */
  readonly position: number;
  readonly lengthBytes: number;
  readonly maxTimestampMs: number;
  /** At least one; the first begins where the extent does. */
  readonly blocks: readonly Block[];
}

export interface Footer {
  readonly shard: ShardId;
  /** Of the writer. */
  readonly epoch: Epoch;
  readonly createdAtMs: number;
  readonly extents: readonly DataExtent[];
}

/** Collects the directory of a data object while its batches are written, in the order in which they are written. */
export class DataObjectDirectory {
  readonly #extents: { -readonly [K in keyof DataExtent]: DataExtent[K] }[] = [];
  #blocks: { -readonly [K in keyof Block]: Block[K] }[] = [];
  #position = 0;

  /** Bytes of batches so far. */
  get position(): number {
    return this.#position;
  }

  get extents(): readonly DataExtent[] {
    return this.#extents;
  }

  /** Takes note of the next batch. A batch that continues the extent before it belongs to it, as long as both fit in one. */
  add(
    id: PartitionId,
    leaderEpoch: Epoch,
    batch: {
      readonly baseOffset: Offset;
      readonly nextOffset: Offset;
      readonly lengthBytes: number;
      readonly maxTimestampMs: number;
    },
  ): void {
    const last = this.#extents.at(-1);
    const continues =
      last !== undefined &&
      last.partition === id.partition &&
      last.topicId === id.topicId &&
      last.leaderEpoch === leaderEpoch &&
      last.nextOffset === batch.baseOffset &&
      batch.nextOffset - last.baseOffset <= EXTENT_OFFSETS_MAX &&
      last.lengthBytes + batch.lengthBytes <= EXTENT_LENGTH_MAX;
    if (continues) {
      const block = this.#blocks.at(-1);
      const position = this.#position - last.position;
      if (block === undefined || position - block.position >= BLOCK_BYTES) {
        this.#blocks.push({ offset: batch.baseOffset, position, maxTimestampMs: batch.maxTimestampMs });
      } else {
        block.maxTimestampMs = Math.max(block.maxTimestampMs, batch.maxTimestampMs);
      }
      last.nextOffset = batch.nextOffset;
      last.lengthBytes += batch.lengthBytes;
      last.maxTimestampMs = Math.max(last.maxTimestampMs, batch.maxTimestampMs);
    } else {
      this.#blocks = [{ offset: batch.baseOffset, position: 0, maxTimestampMs: batch.maxTimestampMs }];
      this.#extents.push({
        topicId: id.topicId,
        partition: id.partition,
        leaderEpoch,
        baseOffset: batch.baseOffset,
        nextOffset: batch.nextOffset,
        position: this.#position,
        lengthBytes: batch.lengthBytes,
        maxTimestampMs: batch.maxTimestampMs,
        blocks: this.#blocks,
      });
    }
    this.#position += batch.lengthBytes;
  }

  /** Footer and trailer, to be written right behind the last batch. */
  encodeTail(shard: ShardId, epoch: Epoch, createdAtMs: number): Uint8Array {
    return encodeTail({ shard, epoch, createdAtMs, extents: this.#extents }, this.#position);
  }
}

function encodeTail(footer: Footer, batchBytes: number): Uint8Array {
  const out = new ByteWriter(4096);
  out.u32(footer.shard);
  out.u32(footer.epoch);
  out.u64(footer.createdAtMs);
  const topics = new Map<TopicId, number>();
  for (const { topicId } of footer.extents) if (!topics.has(topicId)) topics.set(topicId, topics.size);
  out.u32(topics.size);
  for (const topicId of topics.keys()) out.hex(topicId, 16);
  out.u32(footer.extents.length);
  for (const extent of footer.extents) {
    out.u32(topics.get(extent.topicId) ?? 0);
    out.u32(extent.partition);
    out.u32(extent.leaderEpoch);
    out.u32(extent.blocks.length);
    out.u64(extent.baseOffset);
    out.u32(extent.nextOffset - extent.baseOffset);
    out.u32(extent.lengthBytes);
    out.u64(extent.position);
    out.i64(extent.maxTimestampMs);
    for (const block of extent.blocks) {
      out.u32(block.offset - extent.baseOffset);
      out.u32(block.position);
      out.i64(block.maxTimestampMs);
    }
  }
  const footerBytes = out.position;
  const footerCrc = crc32c(out.bytes());
  out.u32(MAGIC);
  out.u32(MAGIC_DATA);
  out.u16(DATA_OBJECT_FORMAT_VERSION);
  out.u8(0); // flags
  out.u8(0); // encryption: 0 is none
  out.u32(footerBytes);
  out.u64(batchBytes + footerBytes + TRAILER_BYTES);
  out.u32(footerCrc);
  out.u32(crc32c(out.bytes().subarray(footerBytes)));
  return out.bytes();
}

export interface Trailer {
  readonly footerBytes: number;
  readonly footerCrc: number;
}

/** `bytes` are the last 32 of an object of `sizeBytes`. `CorruptionError`, `UnsupportedVersionError`. */
export function decodeTrailer(bytes: Uint8Array, sizeBytes: number, key: ObjectKey): Trailer {
  const start = sizeBytes - TRAILER_BYTES;
  if (bytes.length !== TRAILER_BYTES)
    throw new CorruptionError(key, 0, `an object of ${sizeBytes} bytes has no trailer`);
  const reader = new ByteReader(bytes, key, start);
  if (reader.u32() !== MAGIC || reader.u32() !== MAGIC_DATA)
    throw new CorruptionError(key, start, "not a data object (magic bytes differ)");
  const stored = new ByteReader(bytes.subarray(TRAILER_BYTES - 4), key, sizeBytes - 4).u32();
  // Before the version is believed: a flipped version byte is corruption, not a newer format.
  if (crc32c(bytes.subarray(0, TRAILER_BYTES - 4)) !== stored)
    throw new CorruptionError(key, start, "trailer fails its CRC32C");
  const version = reader.u16();
  if (version !== DATA_OBJECT_FORMAT_VERSION)
    throw new UnsupportedVersionError(`data object ${key}`, version, DATA_OBJECT_FORMAT_VERSION);
  const flags = reader.u8();
  if (flags !== 0) throw new UnsupportedVersionError(`flags of data object ${key}`, flags, 0);
  const encryption = reader.u8();
  if (encryption !== 0) throw new UnsupportedVersionError(`encryption of data object ${key}`, encryption, "0 (none)");
  const footerBytes = reader.u32();
  const objectBytes = reader.u64();
  if (objectBytes !== sizeBytes)
    throw new CorruptionError(key, start, `trailer says ${objectBytes} bytes, the object has ${sizeBytes}`);
  if (footerBytes > Math.min(start, FOOTER_BYTES_MAX))
    throw new CorruptionError(key, start, `footer of ${footerBytes} bytes in an object of ${sizeBytes}`);
  return { footerBytes, footerCrc: reader.u32() };
}

/** `bytes` is the footer, as long as its trailer says, at `position` of the object. */
export function decodeFooter(bytes: Uint8Array, trailer: Trailer, position: number, key: ObjectKey): Footer {
  if (bytes.length !== trailer.footerBytes) throw new InvariantError(`footer of ${bytes.length} bytes`);
  if (crc32c(bytes) !== trailer.footerCrc) throw new CorruptionError(key, position, "footer fails its CRC32C");
  const reader = new ByteReader(bytes, key, position);
  const shard = reader.u32() as ShardId;
  const epoch = reader.u32() as Epoch;
  const createdAtMs = reader.u64();
  const topics: TopicId[] = [];
  for (let left = reader.count(16); left > 0; left--) topics.push(reader.hex(16) as TopicId);
  const extents: DataExtent[] = [];
  for (let left = reader.count(EXTENT_BYTES); left > 0; left--)
    extents.push(decodeExtent(reader, topics, position, key));
  reader.end();
  return { shard, epoch, createdAtMs, extents };
}

function decodeExtent(reader: ByteReader, topics: readonly TopicId[], batchBytes: number, key: ObjectKey): DataExtent {
  const at = reader.position;
  const topicId = topics[reader.u32()];
  if (topicId === undefined) throw new CorruptionError(key, at, "extent names a topic that the footer does not list");
  const partition = reader.u32();
  const leaderEpoch = reader.u32() as Epoch;
  const blockCount = reader.u32();
  const baseOffset = reader.u64() as Offset;
  const nextOffset = (baseOffset + reader.u32()) as Offset;
  const lengthBytes = reader.u32();
  const start = reader.u64();
  const maxTimestampMs = reader.i64();
  if (nextOffset <= baseOffset || !Number.isSafeInteger(nextOffset))
    throw new CorruptionError(key, at, `extent ${baseOffset} … ${nextOffset}`);
  if (lengthBytes < 1 || start + lengthBytes > batchBytes)
    throw new CorruptionError(key, at, `extent ends at ${start + lengthBytes}, the batches at ${batchBytes}`);
  if (blockCount < 1 || blockCount * BLOCK_ENTRY_BYTES > reader.remaining)
    throw new CorruptionError(key, at, `${blockCount} blocks`);
  const blocks: Block[] = [];
  for (let i = 0; i < blockCount; i++) {
    const blockAt = reader.position;
    const block: Block = {
      offset: (baseOffset + reader.u32()) as Offset,
      position: reader.u32(),
      maxTimestampMs: reader.i64(),
    };
    const before = blocks.at(-1);
    const grows =
      before === undefined
        ? block.offset === baseOffset && block.position === 0
        : block.offset > before.offset && block.position > before.position;
    if (!grows || block.offset >= nextOffset || block.position >= lengthBytes)
      throw new CorruptionError(key, blockAt, `block ${i} at offset ${block.offset}, position ${block.position}`);
    blocks.push(block);
  }
  return {
    topicId,
    partition,
    leaderEpoch,
    baseOffset,
    nextOffset,
    position: start,
    lengthBytes,
    maxTimestampMs,
    blocks,
  };
}
