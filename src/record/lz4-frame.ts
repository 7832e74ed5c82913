import type { Problem } from "./where.ts";

/**
 * Bounds of one LZ4 frame, found without decompressing it. Layout (lz4_Frame_format.md 1.6.x of the LZ4 project, numbers little-endian):
 *
 * ```
 * magic 04 22 4d 18 │ FLG │ BD │ content size 8? │ dictionary id 4? │ header checksum
 * block: size 4 (high bit: stored as it is) │ data │ checksum 4?      … repeated
 * end mark 00 00 00 00 │ content checksum 4?
 * FLG: version 2 bits = 01 │ independent blocks │ block checksums │ content size │ content checksum │ reserved │ dictionary id
 * BD: reserved │ block max size 3 bits: 4 = 64 KiB, 5 = 256 KiB, 6 = 1 MiB, 7 = 4 MiB │ reserved 4 bits
 * ```
 */
export interface Lz4FrameBounds {
  /** The decompressed size as the frame states it; undefined where it does not. */
  readonly contentBytes: number | undefined;
  /** Decompression yields no more than this, if it succeeds. */
  readonly decompressedBytesMax: number;
}

const MAGIC = 0x184d_2204;
const FLG_BLOCK_CHECKSUM = 0x10;
const FLG_CONTENT_SIZE = 0x08;
const FLG_CONTENT_CHECKSUM = 0x04;
const FLG_DICTIONARY = 0x01;
const STORED = 0x8000_0000;
/** A byte of a sequence adds at most 255 bytes to a literal or match length. */
const EXPANSION_MAX = 255;

/**
 * Walks the blocks of `frame`, which must be exactly one frame with its end mark: no second frame, no skippable frame, no
 * dictionary, nothing behind it. Hops from block to block; looks into them only where the sizes alone would allow more than
 * `exactAbove` bytes, so that a frame of many short blocks is not refused for what it could hold. Allocates nothing.
 */
export function lz4FrameBounds(frame: Uint8Array, exactAbove: number, problem: Problem): Lz4FrameBounds {
  const header = readHeader(frame, problem);
  const rough = walkBlocks(frame, header, roughBytes, problem);
  const bound = rough > exactAbove ? walkBlocks(frame, header, exactBytes, problem) : rough;
  if (header.contentBytes !== undefined && header.contentBytes > bound) {
    throw problem(6, `the LZ4 frame claims ${header.contentBytes} bytes, its blocks hold at most ${bound}`);
  }
  return { contentBytes: header.contentBytes, decompressedBytesMax: bound };
}

interface FrameHeader {
  readonly blocksAt: number;
  readonly blockBytesMax: number;
  readonly blockChecksumBytes: number;
  readonly contentChecksumBytes: number;
  readonly contentBytes: number | undefined;
}

function readHeader(frame: Uint8Array, problem: Problem): FrameHeader {
  if (frame.length < 7) throw problem(0, `an LZ4 frame of ${frame.length} bytes is cut off`);
  const magic = readUint32LE(frame, 0);
  if (magic !== MAGIC) throw problem(0, `no LZ4 frame: magic ${magic.toString(16).padStart(8, "0")}`);
  const flags = frame[4]!;
  const descriptor = frame[5]!;
  if (flags >>> 6 !== 1 || (flags & 0x02) !== 0) throw problem(4, `LZ4 frame flags ${flags} are not of version 1`);
  if ((flags & FLG_DICTIONARY) !== 0) throw problem(4, "the LZ4 frame needs a dictionary");
  const blockSizeId = descriptor >>> 4;
  if ((descriptor & 0x0f) !== 0 || blockSizeId < 4 || blockSizeId > 7) {
    throw problem(5, `LZ4 block descriptor ${descriptor} is not known`);
  }
  const hasContentSize = (flags & FLG_CONTENT_SIZE) !== 0;
  const blocksAt = hasContentSize ? 15 : 7;
  if (frame.length < blocksAt) throw problem(6, "the header of the LZ4 frame is cut off");
  return {
    blocksAt,
    blockBytesMax: 1 << (2 * blockSizeId + 8),
    blockChecksumBytes: (flags & FLG_BLOCK_CHECKSUM) === 0 ? 0 : 4,
    contentChecksumBytes: (flags & FLG_CONTENT_CHECKSUM) === 0 ? 0 : 4,
    // Beyond 2^53 this is rounded, and far above every bound all the same.
    contentBytes: hasContentSize ? readUint32LE(frame, 6) + readUint32LE(frame, 10) * 0x1_0000_0000 : undefined,
  };
}

/** Decompressed bytes of one compressed block at [start, end): an upper bound, or exact. */
type Measure = (frame: Uint8Array, start: number, end: number, blockBytesMax: number, problem: Problem) => number;

function walkBlocks(frame: Uint8Array, header: FrameHeader, measure: Measure, problem: Problem): number {
  let total = 0;
  let at = header.blocksAt;
  for (;;) {
    if (at + 4 > frame.length) throw problem(at, "the LZ4 frame is cut off before its end mark");
    const word = readUint32LE(frame, at);
    at += 4;
    if (word === 0) break;
    const size = word % STORED;
    if (size > header.blockBytesMax) {
      throw problem(at - 4, `an LZ4 block of ${size} bytes in a frame of at most ${header.blockBytesMax} per block`);
    }
    if (size + header.blockChecksumBytes > frame.length - at)
      throw problem(at, `an LZ4 block of ${size} bytes is cut off`);
    total += word >= STORED ? size : measure(frame, at, at + size, header.blockBytesMax, problem);
    at += size + header.blockChecksumBytes;
  }
  if (at + header.contentChecksumBytes !== frame.length) {
    throw problem(
      at,
      `${frame.length - at} bytes follow the end mark of the LZ4 frame, not ${header.contentChecksumBytes}`,
    );
  }
  return total;
}

function roughBytes(_frame: Uint8Array, start: number, end: number, blockBytesMax: number): number {
  return Math.min(blockBytesMax, (end - start) * EXPANSION_MAX);
}

/** Adds up the literal and match lengths of a block's sequences (lz4_Block_format.md). */
function exactBytes(frame: Uint8Array, start: number, end: number, blockBytesMax: number, problem: Problem): number {
  let total = 0;
  let at = start;
  while (at < end) {
    const token = frame[at++]!;
    let literals = token >>> 4;
    if (literals === 15) {
      for (let more = 255; more === 255 && at < end; literals += more) more = frame[at++]!;
    }
    at += literals;
    total += literals;
    // The last sequence is literals only.
    if (at >= end) break;
    at += 2;
    let match = (token & 15) + 4;
    if (match === 19) {
      for (let more = 255; more === 255 && at < end; match += more) more = frame[at++]!;
    }
    total += match;
  }
  if (at !== end || total > blockBytesMax) throw problem(start, "an LZ4 block does not fit its frame");
  return total;
}

function readUint32LE(bytes: Uint8Array, at: number): number {
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
}
