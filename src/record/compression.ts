import { compressFrame, compressFrameSync, decompressFrameSync } from "lz4-napi";

import { lz4FrameBounds } from "./lz4-frame.ts";
import type { Problem } from "./where.ts";

/** Codec of a batch. The numbers are Kafka's (RecordBatch v2, attributes bits 0–2) and are stored: never change them. */
export const COMPRESSION_ID = { none: 0, lz4: 3 } as const;

export type Compression = keyof typeof COMPRESSION_ID;

/** Above this a hop to the thread pool costs less than what it takes off the event loop (about 50 µs of LZ4). */
const SYNC_BYTES_MAX = 32 * 1024;

/**
 * One LZ4 frame of `payload`: at once up to 32 KiB, else from the thread pool. `payload` must not change until then; the result
 * is the caller's.
 */
export function compressLz4(payload: Buffer): Uint8Array | Promise<Uint8Array> {
  return payload.length <= SYNC_BYTES_MAX ? compressFrameSync(payload) : compressFrame(payload);
}

/**
 * The content of `frame`, exactly one LZ4 frame, in a buffer of its own that the caller owns. What would decompress to more than
 * `maxBytes` is refused before anything is allocated; refusals and damage throw what `problem` makes, with positions in `frame`.
 */
export function decompressLz4(frame: Uint8Array, maxBytes: number, problem: Problem): Uint8Array {
  // lz4-napi has no limit of its own, stops without a word after the first of several frames and takes a frame without its end
  // mark for whole: all of that is checked here.
  const bounds = lz4FrameBounds(frame, maxBytes, problem);
  if (bounds.decompressedBytesMax > maxBytes) {
    throw problem(0, `the LZ4 frame decompresses to ${bounds.decompressedBytesMax} bytes, the limit is ${maxBytes}`);
  }
  let content: Uint8Array;
  try {
    content = decompressFrameSync(Buffer.from(frame.buffer, frame.byteOffset, frame.length));
  } catch (error) {
    throw problem(0, `the LZ4 frame is damaged: ${error instanceof Error ? error.message : String(error)}`);
  }
  // lz4-napi compares them too, today; nothing in its contract says so.
  if (bounds.contentBytes !== undefined && bounds.contentBytes !== content.length) {
    throw problem(6, `the LZ4 frame claims ${bounds.contentBytes} bytes and holds ${content.length}`);
  }
  return content;
}
