import { createHash } from "node:crypto";

import { decompressFrameSync } from "lz4-napi";

import { crc32c, Reader } from "./bytes.ts";

/** A record as the checker finds it. `id` is the first word of its value. */
export interface FoundRecord {
  readonly offset: number;
  readonly epoch: number;
  readonly id: string;
  /** Tells its timestamp, key, value and headers from others. */
  readonly content: string;
}

export interface ExpectedRun {
  readonly baseOffset: number;
  readonly nextOffset: number;
  readonly leaderEpoch: number;
  readonly maxTimestamp: number;
}

const HEADER_BYTES = 61;
const LZ4 = 3;

/**
 * Decodes Kafka RecordBatches v2 (magic 2) that lie back to back and must hold exactly the offsets of `run`: "Record Batch" in
 * Apache Kafka's message format documentation; what tierlog leaves out of it stands in docs/store-layout.md.
 */
export function decodeBatches(bytes: Uint8Array, run: ExpectedRun, where: string): FoundRecord[] {
  const records: FoundRecord[] = [];
  let next = run.baseOffset;
  let newest = -1;
  for (let at = 0; at < bytes.length;) {
    const reader = new Reader(bytes, where, at);
    const baseOffset = reader.i64();
    reader.expect(baseOffset === next, `a batch with base offset ${baseOffset}, ${next} is due`);
    const length = reader.i32();
    reader.expect(length >= HEADER_BYTES - 12 && length <= reader.left, `a batch of ${length} bytes`);
    const batch = bytes.subarray(at, at + 12 + length);
    const leaderEpoch = reader.i32();
    reader.expect(leaderEpoch === run.leaderEpoch, `leader epoch ${leaderEpoch}, ${run.leaderEpoch} is due`);
    reader.expect(reader.u8() === 2, "magic is not 2");
    reader.expect(reader.u32() === crc32c(batch.subarray(21)), "CRC of the batch is wrong");
    const attributes = reader.u16();
    reader.expect(attributes === 0 || attributes === LZ4, `attributes ${attributes}`);
    const lastDelta = reader.i32();
    const baseTimestamp = reader.i64();
    const maxTimestamp = reader.i64();
    newest = Math.max(newest, maxTimestamp);
    // Producer id, epoch, sequence.
    reader.take(14);
    const count = reader.i32();
    reader.expect(count >= 1 && lastDelta === count - 1, `${count} records, last offset delta ${lastDelta}`);
    const stored = batch.subarray(HEADER_BYTES);
    const body = attributes === LZ4 ? decompressFrameSync(Buffer.from(stored)) : stored;
    records.push(...decodeRecords(body, { baseOffset, count, leaderEpoch, baseTimestamp, maxTimestamp }, where));
    next += count;
    at += batch.length;
  }
  const end = new Reader(bytes, where, bytes.length);
  end.expect(next === run.nextOffset, `the batches end at offset ${next}, not ${run.nextOffset}`);
  end.expect(newest === run.maxTimestamp, `greatest timestamp ${newest}, not ${run.maxTimestamp}`);
  return records;
}

interface BatchHead {
  readonly baseOffset: number;
  readonly count: number;
  readonly leaderEpoch: number;
  readonly baseTimestamp: number;
  readonly maxTimestamp: number;
}

function decodeRecords(body: Uint8Array, head: BatchHead, where: string): FoundRecord[] {
  const reader = new Reader(body, `${where}, batch at offset ${head.baseOffset}`);
  const records: FoundRecord[] = [];
  for (let index = 0; index < head.count; index++) {
    const length = reader.varint();
    const end = reader.position + length;
    reader.take(1);
    const timestamp = head.baseTimestamp + reader.varint();
    reader.expect(timestamp <= head.maxTimestamp, `timestamp ${timestamp} above the greatest of its batch`);
    const delta = reader.varint();
    reader.expect(delta === index, `offset delta ${delta} of record ${index}`);
    const contentAt = reader.position;
    nullable(reader);
    const value = nullable(reader);
    for (let header = reader.varint(); header > 0; header--) {
      reader.take(reader.varint());
      nullable(reader);
    }
    reader.expect(reader.position === end, `a record of ${length} bytes ends ${reader.position - end} bytes off`);
    const text = value?.toString("latin1") ?? "";
    const space = text.indexOf(" ");
    const id = space < 0 ? text : text.slice(0, space);
    const hash = createHash("sha1").update(body.subarray(contentAt, end)).digest("hex").slice(0, 16);
    records.push({ offset: head.baseOffset + index, epoch: head.leaderEpoch, id, content: `${timestamp} ${hash}` });
  }
  reader.atEnd();
  return records;
}

function nullable(reader: Reader): Buffer | undefined {
  const length = reader.varint();
  return length < 0 ? undefined : reader.take(length);
}
