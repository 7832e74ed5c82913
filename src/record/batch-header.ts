import type { Epoch, Offset } from "../domain.ts";
import { UnsupportedVersionError } from "../errors.ts";
import { readInt16, readInt32, readInt64, readUint32, writeInt16, writeInt32, writeInt64 } from "./big-endian.ts";
import { COMPRESSION_ID, type Compression } from "./compression.ts";
import { COMBINED_BYTES_MIN, combineCrc32c } from "./crc32c-combine.ts";
import { crc32c } from "./crc32c.ts";
import { problemsAt, type Where } from "./where.ts";

/**
 * The fixed part of a RecordBatch v2 (Apache Kafka, "Record Batch" in its message format documentation), big-endian:
 *
 * ```
 *  0 baseOffset 8 │ 8 batchLength 4 (what follows it) │ 12 partitionLeaderEpoch 4 │ 16 magic 1 = 2 │ 17 crc 4
 * 21 attributes 2 │ 23 lastOffsetDelta 4 │ 27 baseTimestamp 8 │ 35 maxTimestamp 8
 * 43 producerId 8 │ 51 producerEpoch 2 │ 53 baseSequence 4 │ 57 recordCount 4 │ 61 records …
 * ```
 *
 * The CRC-32C covers everything from `attributes` on, so base offset and leader epoch can be set without touching it.
 * Attributes: bits 0–2 codec; 3 log-append time, 4 transactional, 5 control, 6 delete horizon and all above are not supported.
 */
export const BATCH_HEADER_BYTES = 61;

const MAX_TIMESTAMP_AT = 35;

/** Bytes before the part that `batchLength` counts. */
export const BATCH_PREFIX_BYTES = 12;
export const CRC_AT = 17;
/** First byte that the CRC covers. */
export const CRC_FROM = 21;
export const ATTRIBUTES_AT = 21;

const MAGIC = 2;
/** Of the second byte of the attributes. */
export const CODEC_MASK = 0x07;
/** One byte each: length, attributes, timestamp delta, offset delta, key length, value length, header count. */
const RECORD_BYTES_MIN = 7;
const UNSUPPORTED_ATTRIBUTES = [
  [0x08, "log-append timestamps"],
  [0x10, "transactional"],
  [0x20, "control batch"],
  [0x40, "delete horizon"],
] as const;

export interface BatchHeader {
  readonly baseOffset: Offset;
  /** The whole batch, with the 12 bytes before the part that the length field counts. */
  readonly lengthBytes: number;
  /** partitionLeaderEpoch; −1 in a batch that no log has taken yet. */
  readonly epoch: number;
  readonly crc: number;
  readonly compression: Compression;
  /** ≥ 1 and lastOffsetDelta + 1: offsets are dense. */
  readonly recordCount: number;
  readonly lastOffsetDelta: number;
  /** First offset after the batch. */
  readonly nextOffset: Offset;
  readonly baseTimestampMs: number;
  readonly maxTimestampMs: number;
}

/**
 * Header of the batch at `position` of `bytes`, with all bounds checked: the whole batch lies within `bytes`, offsets are safe
 * integers, the record count is possible. Does not check the CRC. `CorruptionError`; `UnsupportedVersionError` for another magic,
 * codec or attribute.
 */
export function readBatchHeader(bytes: Uint8Array, position: number, where: Where): BatchHeader {
  const problem = problemsAt(where);
  const left = bytes.length - position;
  if (left < BATCH_HEADER_BYTES)
    throw problem(position, `${left} bytes are left, a batch header has ${BATCH_HEADER_BYTES}`);

  const magic = bytes[position + 16]!;
  if (magic !== MAGIC) throw new UnsupportedVersionError(`${place(where, position)}: magic of a batch`, magic, MAGIC);
  const lengthBytes = batchLength(bytes, position);
  if (lengthBytes < BATCH_HEADER_BYTES || lengthBytes > left) {
    throw problem(position + 8, `a batch of ${lengthBytes} bytes where ${left} are left`);
  }

  const compression = readCompression(readInt16(bytes, position + ATTRIBUTES_AT), where, position);
  const recordCount = readInt32(bytes, position + 57);
  const lastOffsetDelta = readInt32(bytes, position + 23);
  if (recordCount < 1 || recordCount !== lastOffsetDelta + 1) {
    throw problem(position + 57, `${recordCount} records, but a last offset delta of ${lastOffsetDelta}`);
  }
  if (compression === "none" && recordCount > (lengthBytes - BATCH_HEADER_BYTES) / RECORD_BYTES_MIN) {
    throw problem(position + 57, `${recordCount} records cannot be in a batch of ${lengthBytes} bytes`);
  }

  const baseOffset = readInt64(bytes, position);
  const nextOffset = baseOffset + recordCount;
  if (!(baseOffset >= 0) || !Number.isSafeInteger(nextOffset)) {
    throw problem(position, "the base offset is negative or no safe integer");
  }
  const baseTimestampMs = readInt64(bytes, position + 27);
  const maxTimestampMs = readInt64(bytes, position + MAX_TIMESTAMP_AT);
  if (!(baseTimestampMs >= 0) || !(maxTimestampMs >= 0)) {
    throw problem(position + 27, "the base or maximum timestamp is negative or no safe integer");
  }

  return {
    baseOffset: baseOffset as Offset,
    lengthBytes,
    epoch: readInt32(bytes, position + 12),
    crc: readUint32(bytes, position + CRC_AT),
    compression,
    recordCount,
    lastOffsetDelta,
    nextOffset: nextOffset as Offset,
    baseTimestampMs,
    maxTimestampMs,
  };
}

/** What the batch at `position` says of its length, unchecked. REQUIRES: 12 bytes are there. */
export function batchLength(bytes: Uint8Array, position: number): number {
  return readInt32(bytes, position + 8) + BATCH_PREFIX_BYTES;
}

/** What a builder knows of its batch at the end. */
export interface NewBatchHeader {
  readonly baseOffset: Offset;
  readonly epoch: Epoch;
  readonly compression: Compression;
  readonly recordCount: number;
  readonly baseTimestampMs: number;
  readonly maxTimestampMs: number;
}

/**
 * Fills the first 61 bytes of `batch`, which is the whole batch, all but the CRC. Without producer id, epoch and sequence (−1):
 * those are a protocol front's business.
 */
export function writeBatchHeader(batch: Uint8Array, header: NewBatchHeader): void {
  writeInt64(batch, 0, header.baseOffset);
  writeInt32(batch, 8, batch.length - BATCH_PREFIX_BYTES);
  writeInt32(batch, 12, header.epoch);
  batch[16] = MAGIC;
  writeInt16(batch, ATTRIBUTES_AT, COMPRESSION_ID[header.compression]);
  writeInt32(batch, 23, header.recordCount - 1);
  writeInt64(batch, 27, header.baseTimestampMs);
  writeInt64(batch, MAX_TIMESTAMP_AT, header.maxTimestampMs);
  batch.fill(0xff, 43, 57);
  writeInt32(batch, 57, header.recordCount);
}

/**
 * The batch with `maxTimestampMs` in its header: a copy with a CRC to match, or `bytes` where that is what it says already.
 * REQUIRES: `bytes` is one batch whose CRC was just checked; a new one over other bytes would hide that they are damaged.
 */
export function withMaxTimestamp(bytes: Uint8Array, maxTimestampMs: number): Uint8Array {
  if (readInt64(bytes, MAX_TIMESTAMP_AT) === maxTimestampMs) return bytes;
  const copy = new Uint8Array(bytes);
  writeInt64(copy, MAX_TIMESTAMP_AT, maxTimestampMs);
  writeInt32(copy, CRC_AT, crc32c(copy.subarray(CRC_FROM)));
  return copy;
}

/**
 * The CRC-32C of the whole batch, made of the one that it carries, which leaves its first 21 bytes out; undefined for a small batch,
 * of which the records are read as fast. REQUIRES: `bytes` is one batch whose CRC is right.
 */
export function batchCrc32c(bytes: Uint8Array): number | undefined {
  if (bytes.length < COMBINED_BYTES_MIN) return undefined;
  return combineCrc32c(crc32c(bytes.subarray(0, CRC_FROM)), readUint32(bytes, CRC_AT), bytes.length - CRC_FROM);
}

/** Sets base offset and partitionLeaderEpoch of a checked batch in place; both lie outside the CRC. */
export function patchBatch(bytes: Uint8Array, baseOffset: Offset, epoch: Epoch): void {
  writeInt64(bytes, 0, baseOffset);
  writeInt32(bytes, 12, epoch);
}

function readCompression(attributes: number, where: Where, position: number): Compression {
  const codec = attributes & CODEC_MASK;
  const compression = codec === COMPRESSION_ID.none ? "none" : codec === COMPRESSION_ID.lz4 ? "lz4" : undefined;
  if (compression === undefined) {
    throw new UnsupportedVersionError(`${place(where, position)}: codec of a batch`, codec, "0 (none) and 3 (lz4)");
  }
  if (attributes !== codec) {
    const found = UNSUPPORTED_ATTRIBUTES.filter(([bit]) => (attributes & bit) !== 0).map(([, name]) => name);
    throw new UnsupportedVersionError(
      `${place(where, position)}: attributes of a batch`,
      found.length === 0 ? `0x${(attributes & 0xffff).toString(16)}` : found.join(", "),
      "codec bits only",
    );
  }
  return compression;
}

function place(where: Where, position: number): string {
  return `${where.key} at byte ${where.position + position}`;
}
