import type { Epoch, Offset, ShardId, TopicId } from "../domain.ts";
import { CorruptionError, InvariantError, UnsupportedVersionError } from "../errors.ts";
import { readInt64, readUint32, writeInt32, writeInt64 } from "../record/big-endian.ts";
import { ByteReader } from "../record/bytes.ts";
import { combineCrc32c } from "../record/crc32c-combine.ts";
import { crc32c } from "../record/crc32c.ts";
import { nextTurn } from "../runtime/turn.ts";
import type { FrameExtent, FrameInput } from "./frame.ts";

/** The codec of frames and end marks. Layout and a worked example: docs/journal-format.md. Golden files: test/format/. */

export const JOURNAL_FORMAT_VERSION = 1;
export const HEADER_BYTES = 128;
/** Of one extent in a frame's directory. */
export const ENTRY_BYTES = 52;
/** What a disk writes whole or not at all; every frame and end mark starts at a multiple of it. */
export const SECTOR_BYTES = 512;
/** The same for files written with O_DIRECT. */
export const DIRECT_BLOCK_BYTES = 4096;
/** Of an end mark, without its padding. */
export const MARK_BYTES = 40;

const FRAME_MAGIC = 0x544c_4a46; // "TLJF"
const MARK_MAGIC = 0x544c_4a45; // "TLJE"
const HEADER_CRC_AT = HEADER_BYTES - 4;
const MARK_CRC_AT = MARK_BYTES - 4;
/** Of a payload: copied and summed in one turn of the event loop. */
const BYTES_PER_TURN = 512 * 1024;

/** Whose frames these are: 16 bytes made with the directory, and the shard. */
export interface JournalIdentity {
  /** 32 hex digits. */
  readonly directoryId: string;
  readonly shard: ShardId;
}

/** What the writer adds to a `FrameInput`. */
export interface FramePlace {
  readonly fileNumber: number;
  readonly sequence: number;
  readonly prev: number;
  readonly synced: number;
  readonly freed: number;
}

export interface FrameHeader extends FramePlace, JournalIdentity {
  readonly epoch: Epoch;
  readonly createdAtMs: number;
  readonly directoryBytes: number;
  readonly payloadBytes: number;
  /** With header and padding: where the end mark or the next frame stands. */
  readonly totalBytes: number;
  readonly directoryCrc: number;
  /** Of directory and payload. */
  readonly bodyCrc: number;
}

export interface EndMark {
  readonly directoryId: string;
  readonly fileNumber: number;
  /** Of the frame that ends where the mark stands. */
  readonly sequence: number;
}

/** Header, directory and payload, padded to blocks. */
export function frameTotalBytes(extents: number, payloadBytes: number, blockBytes: number): number {
  return Math.ceil((HEADER_BYTES + extents * ENTRY_BYTES + payloadBytes) / blockBytes) * blockBytes;
}

export interface BodyCrcs {
  readonly directoryCrc: number;
  readonly bodyCrc: number;
}

/**
 * Fills `target`, from its start, with directory and payload of a frame, and zeros up to `totalBytes`; the header's place stays
 * free. A promise only where it is so much that it takes several turns of the event loop. REQUIRES: `target` has `totalBytes`.
 */
export function encodeBody(target: Buffer, input: FrameInput, totalBytes: number): BodyCrcs | Promise<BodyCrcs> {
  const payloadStart = HEADER_BYTES + encodeDirectory(target, input);
  const directoryCrc = crc32c(target.subarray(HEADER_BYTES, payloadStart));
  const end = payloadStart + input.payloadBytes;
  if (input.payloadBytes > BYTES_PER_TURN)
    return encodeLargeBody(target, input, totalBytes, payloadStart, directoryCrc);
  let at = payloadStart;
  let bodyCrc = directoryCrc;
  let summed = payloadStart;
  for (const [i, chunk] of input.chunks.entries()) {
    checkRoom(at + chunk.length - payloadStart, input);
    target.set(chunk, at);
    const crc = input.chunkCrcs?.[i];
    if (crc !== undefined) {
      bodyCrc = combineCrc32c(crc32c(target.subarray(summed, at), bodyCrc), crc, chunk.length);
      summed = at + chunk.length;
    }
    at += chunk.length;
  }
  checkFilled(at - payloadStart, input);
  target.fill(0, end, totalBytes);
  return { directoryCrc, bodyCrc: crc32c(target.subarray(summed, end), bodyCrc) };
}

async function encodeLargeBody(
  target: Buffer,
  input: FrameInput,
  totalBytes: number,
  payloadStart: number,
  directoryCrc: number,
): Promise<BodyCrcs> {
  let at = payloadStart;
  let bodyCrc = directoryCrc;
  let turn = 0;
  for (const [i, chunk] of input.chunks.entries()) {
    checkRoom(at + chunk.length - payloadStart, input);
    const crc = input.chunkCrcs?.[i];
    for (let from = 0; from < chunk.length;) {
      if (turn === BYTES_PER_TURN) {
        turn = 0;
        await nextTurn();
      }
      const piece = chunk.subarray(from, from + BYTES_PER_TURN - turn);
      target.set(piece, at);
      // While the bytes are still in the processor's cache.
      if (crc === undefined) bodyCrc = crc32c(target.subarray(at, at + piece.length), bodyCrc);
      at += piece.length;
      from += piece.length;
      turn += piece.length;
    }
    if (crc !== undefined) bodyCrc = combineCrc32c(bodyCrc, crc, chunk.length);
  }
  checkFilled(at - payloadStart, input);
  target.fill(0, at, totalBytes);
  return { directoryCrc, bodyCrc };
}

function checkFilled(bytes: number, input: FrameInput): void {
  if (bytes !== input.payloadBytes)
    throw new InvariantError(`a frame of ${input.payloadBytes} bytes came with ${bytes}`);
}

function checkRoom(bytes: number, input: FrameInput): void {
  if (bytes > input.payloadBytes) throw new InvariantError(`a frame of ${input.payloadBytes} bytes came with more`);
}

function encodeDirectory(target: Buffer, input: FrameInput): number {
  let at = HEADER_BYTES;
  for (const extent of input.extents) {
    if (extent.topicId.length !== 32 || target.write(extent.topicId, at, 16, "hex") !== 16) {
      throw new InvariantError(`${extent.topicId} is no topic id`);
    }
    writeInt32(target, at + 16, extent.partition);
    writeInt64(target, at + 20, extent.baseOffset);
    writeInt64(target, at + 28, extent.nextOffset);
    writeInt32(target, at + 36, extent.position);
    writeInt32(target, at + 40, extent.lengthBytes);
    writeInt64(target, at + 44, extent.maxTimestampMs);
    at += ENTRY_BYTES;
  }
  return at - HEADER_BYTES;
}

/** Writes the header into the first 128 bytes of `target`. */
export function encodeHeader(target: Buffer, header: FrameHeader): void {
  target.fill(0, 0, HEADER_BYTES);
  writeInt32(target, 0, FRAME_MAGIC);
  target[5] = JOURNAL_FORMAT_VERSION;
  target.write(header.directoryId, 8, 16, "hex");
  writeInt32(target, 24, header.shard);
  writeInt64(target, 28, header.fileNumber);
  writeInt64(target, 36, header.sequence);
  writeInt64(target, 44, header.prev);
  writeInt64(target, 52, header.synced);
  writeInt64(target, 60, header.freed);
  writeInt32(target, 68, header.epoch);
  writeInt64(target, 72, header.createdAtMs);
  writeInt32(target, 80, header.directoryBytes);
  writeInt32(target, 84, header.payloadBytes);
  writeInt32(target, 88, header.totalBytes);
  writeInt32(target, 92, header.directoryCrc);
  writeInt32(target, 96, header.bodyCrc);
  writeInt32(target, HEADER_CRC_AT, crc32c(target.subarray(0, HEADER_CRC_AT)));
}

/** Fills a block with an end mark. */
export function encodeMark(target: Buffer, at: number, mark: EndMark, blockBytes: number): void {
  target.fill(0, at + MARK_BYTES, at + blockBytes);
  writeInt32(target, at, MARK_MAGIC);
  target.write(mark.directoryId, at + 4, 16, "hex");
  writeInt64(target, at + 20, mark.fileNumber);
  writeInt64(target, at + 28, mark.sequence);
  writeInt32(target, at + MARK_CRC_AT, crc32c(target.subarray(at, at + MARK_CRC_AT)));
}

/**
 * The frame header at `at`; undefined where there is none that passes its checks. A header that is whole but of a format this
 * version does not read is an `UnsupportedVersionError`: every format has its CRC in the same place. REQUIRES: 128 bytes.
 */
export function decodeHeader(bytes: Buffer, at: number): FrameHeader | undefined {
  if (readUint32(bytes, at) !== FRAME_MAGIC) return undefined;
  if (readUint32(bytes, at + HEADER_CRC_AT) !== crc32c(bytes.subarray(at, at + HEADER_CRC_AT))) return undefined;
  const version = bytes.readUInt16BE(at + 4);
  if (version !== JOURNAL_FORMAT_VERSION) {
    throw new UnsupportedVersionError("journal frame", version, JOURNAL_FORMAT_VERSION);
  }
  const encryption = bytes.readUInt8(at + 7);
  if (encryption !== 0) throw new UnsupportedVersionError("encryption of a journal frame", encryption, 0);
  const header: FrameHeader = {
    directoryId: bytes.toString("hex", at + 8, at + 24),
    shard: readUint32(bytes, at + 24) as ShardId,
    fileNumber: readInt64(bytes, at + 28),
    sequence: readInt64(bytes, at + 36),
    prev: readInt64(bytes, at + 44),
    synced: readInt64(bytes, at + 52),
    freed: readInt64(bytes, at + 60),
    epoch: readUint32(bytes, at + 68) as Epoch,
    createdAtMs: readInt64(bytes, at + 72),
    directoryBytes: readUint32(bytes, at + 80),
    payloadBytes: readUint32(bytes, at + 84),
    totalBytes: readUint32(bytes, at + 88),
    directoryCrc: readUint32(bytes, at + 92),
    bodyCrc: readUint32(bytes, at + 96),
  };
  const used = HEADER_BYTES + header.directoryBytes + header.payloadBytes;
  const sane =
    header.fileNumber > 0 &&
    header.sequence > 0 &&
    header.prev < header.sequence &&
    header.synced < header.sequence &&
    header.freed < header.sequence &&
    header.directoryBytes % ENTRY_BYTES === 0 &&
    header.totalBytes % SECTOR_BYTES === 0 &&
    header.totalBytes >= used &&
    header.totalBytes < used + DIRECT_BLOCK_BYTES;
  return sane ? header : undefined;
}

/** The end mark at `at`; undefined where there is none. REQUIRES: 40 bytes. */
export function decodeMark(bytes: Buffer, at: number): EndMark | undefined {
  if (readUint32(bytes, at) !== MARK_MAGIC) return undefined;
  if (readUint32(bytes, at + MARK_CRC_AT) !== crc32c(bytes.subarray(at, at + MARK_CRC_AT))) return undefined;
  return {
    directoryId: bytes.toString("hex", at + 4, at + 20),
    fileNumber: readInt64(bytes, at + 20),
    sequence: readInt64(bytes, at + 28),
  };
}

/**
 * The extents of a frame's directory, checked against the header. `file` and `position` (of the frame) are for the
 * `CorruptionError`.
 */
export function decodeDirectory(
  directory: Uint8Array,
  header: FrameHeader,
  file: string,
  position: number,
): readonly FrameExtent[] {
  const start = position + HEADER_BYTES;
  if (directory.length !== header.directoryBytes || crc32c(directory) !== header.directoryCrc) {
    throw new CorruptionError(file, start, `the directory of frame ${header.sequence} does not match its CRC`);
  }
  const reader = new ByteReader(directory, file, start);
  const extents: FrameExtent[] = [];
  while (reader.remaining > 0) {
    const at = reader.position;
    const extent: FrameExtent = {
      topicId: reader.hex(16) as TopicId,
      partition: reader.u32(),
      baseOffset: reader.u64() as Offset,
      nextOffset: reader.u64() as Offset,
      position: reader.u32(),
      lengthBytes: reader.u32(),
      maxTimestampMs: reader.i64(),
    };
    if (extent.nextOffset <= extent.baseOffset || extent.position + extent.lengthBytes > header.payloadBytes) {
      throw new CorruptionError(file, at, `an extent of frame ${header.sequence} that cannot be`);
    }
    extents.push(extent);
  }
  return extents;
}
