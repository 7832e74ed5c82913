import { isTierlogError } from "../../errors.ts";
import { BATCH_PREFIX_BYTES } from "../../record/batch-header.ts";
import {
  BATCH_HEADER_BYTES,
  checkStoredRecords,
  decodeRecords,
  readBatchHeader,
  verifyBatch,
  type BatchHeader,
} from "../../record/batch.ts";
import { readInt32, readInt64 } from "../../record/big-endian.ts";
import { damageItem, type ByteSource, type DumpItem } from "./dump-item.ts";

export interface BatchesWanted {
  /** Of the first batch in the source. */
  readonly start: number;
  readonly end: number;
  readonly depth: number;
  readonly records: boolean;
  /** The batches may end before `end`, with something else: nothing is said of it then. */
  readonly endsAnywhere?: boolean;
}

const WINDOW_BYTES = 4 * 1024 * 1024;
/** A batch that claims more is damaged. */
const BATCH_BYTES_MAX = 64 * 1024 * 1024;

/** Batches that lie back to back, with their records where asked for; behind a damaged one as long as its length leads to another. */
export async function* dumpBatches(source: ByteSource, wanted: BatchesWanted): AsyncGenerator<DumpItem> {
  const { end, depth, records } = wanted;
  let start = wanted.start;
  let windowBytes = WINDOW_BYTES;
  while (start < end) {
    const bytes = await source.read(start, Math.min(end, start + windowBytes));
    const isEnd = start + bytes.length >= end || bytes.length < Math.min(windowBytes, end - start);
    let at = 0;
    while (at < bytes.length) {
      const cutBytes = isEnd ? undefined : cutBatchBytes(bytes, at);
      if (cutBytes !== undefined && cutBytes <= BATCH_BYTES_MAX) {
        windowBytes = Math.max(WINDOW_BYTES, cutBytes + BATCH_HEADER_BYTES);
        break;
      }
      const where = { key: source.name, position: start };
      let header: BatchHeader;
      try {
        header = readBatchHeader(bytes, at, where);
      } catch (error) {
        if (wanted.endsAnywhere === true && isTierlogError(error) && error.kind === "data") return;
        yield damageItem(error, depth, start + at);
        return;
      }
      yield batchItem(header, start + at, depth);
      try {
        verifyBatch(bytes, at, where);
        const batch = bytes.subarray(at, at + header.lengthBytes);
        const place = { key: source.name, position: start + at };
        if (!records) checkStoredRecords(batch, place);
        else for (const record of decodeRecords(batch, place)) yield { type: "record", depth: depth + 1, record };
      } catch (error) {
        yield damageItem(error, depth + 1, start + at);
        if (!leadsOn(bytes, at, header)) return;
      }
      at += header.lengthBytes;
    }
    if (bytes.length === 0 || (isEnd && at >= bytes.length)) return;
    start += at;
  }
}

function cutBatchBytes(bytes: Uint8Array, at: number): number | undefined {
  const left = bytes.length - at;
  if (left < BATCH_HEADER_BYTES) return BATCH_HEADER_BYTES;
  const lengthBytes = readInt32(bytes, at + 8) + BATCH_PREFIX_BYTES;
  return lengthBytes > left ? lengthBytes : undefined;
}

/** Does another batch follow where this one should end? */
function leadsOn(bytes: Uint8Array, at: number, header: BatchHeader): boolean {
  const next = at + header.lengthBytes;
  return next + BATCH_HEADER_BYTES <= bytes.length && readInt64(bytes, next) === header.nextOffset;
}

function batchItem(header: BatchHeader, position: number, depth: number): DumpItem {
  const { baseOffset, nextOffset, recordCount, lengthBytes, epoch, compression, crc } = header;
  const { baseTimestampMs, maxTimestampMs } = header;
  return {
    type: "batch",
    depth,
    position,
    fields: {
      baseOffset,
      nextOffset,
      records: recordCount,
      lengthBytes,
      leaderEpoch: epoch,
      codec: compression,
      baseTimestampMs,
      maxTimestampMs,
      crc: crc.toString(16).padStart(8, "0"),
    },
  };
}
