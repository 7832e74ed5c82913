import type { Offset } from "../domain.ts";
import type { BatchHeader } from "./batch-header.ts";
import { RecordWalk } from "./record-walk.ts";
import { NO_HEADERS, type RecordHeader, type StoredRecord } from "./record.ts";
import { holdsUtf8, readUtf8 } from "./utf8.ts";
import { VarintReader } from "./varint.ts";
import type { Problem } from "./where.ts";

/** One byte each: key length, value length. */
const HEADER_BYTES_MIN = 2;

/**
 * Walks the uncompressed records at `bytes[start, …)`, to the end of `bytes`, and checks their framing: every length within its
 * record, offset deltas 0, 1, 2 …, timestamps integers ≥ 0, exactly `header.recordCount` records and nothing behind them. With
 * `into`, the records are pushed there as views of `bytes`; without, the walk allocates nothing per record. Returns the highest
 * timestamp, whatever the header says about it.
 */
export function walkRecords(
  bytes: Uint8Array,
  start: number,
  header: BatchHeader,
  problem: Problem,
  into?: StoredRecord[],
): number {
  const at = new RecordWalk(start);
  let reader: VarintReader | undefined;
  for (;;) {
    at.skipPlain(bytes, header, into);
    if (at.index === header.recordCount) break;
    reader ??= readerOf(bytes, problem);
    reader.position = at.position;
    const timestampMs = anyRecord(reader, bytes, header, at.index, problem, into);
    if (timestampMs > at.maxTimestampMs) at.maxTimestampMs = timestampMs;
    at.position = reader.position;
    at.index++;
  }
  const left = bytes.length - at.position;
  if (left !== 0) throw problem(at.position, `${left} bytes follow the last record`);
  return at.maxTimestampMs;
}

function readerOf(bytes: Uint8Array, problem: Problem): VarintReader {
  return new VarintReader(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length), 0, bytes.length, problem);
}

/** Reads record `index`, whatever its shape, and steps behind it. Returns its timestamp. */
function anyRecord(
  reader: VarintReader,
  bytes: Uint8Array,
  header: BatchHeader,
  index: number,
  problem: Problem,
  into: StoredRecord[] | undefined,
): number {
  const length = reader.varint("a record length");
  const recordEnd = reader.skip(length, "a record") + length;
  reader.position = recordEnd - length;
  reader.end = recordEnd;
  // Attributes of a record: unused in v2, ignored by Kafka too.
  reader.byte("a record");
  const timestampAt = reader.position;
  const timestampMs = header.baseTimestampMs + reader.varlong("a timestamp delta");
  if (!Number.isSafeInteger(timestampMs) || timestampMs < 0) {
    throw problem(timestampAt, `timestamp ${timestampMs} is negative or no safe integer`);
  }
  const offsetAt = reader.position;
  const offsetDelta = reader.varint("an offset delta");
  if (offsetDelta !== index) throw problem(offsetAt, `offset delta ${offsetDelta} on record ${index} of its batch`);

  const keyLength = nullableLength(reader, "a key", problem);
  const keyAt = reader.skip(Math.max(0, keyLength), "a key");
  const valueLength = nullableLength(reader, "a value", problem);
  const valueAt = reader.skip(Math.max(0, valueLength), "a value");
  const headers = into === undefined ? skipHeaders(reader, problem) : readHeaders(reader, bytes, problem);
  if (reader.position !== recordEnd) {
    throw problem(
      reader.position,
      `${recordEnd - reader.position} bytes are left over in record ${index} of its batch`,
    );
  }
  reader.end = bytes.length;
  into?.push({
    offset: (header.baseOffset + index) as Offset,
    timestampMs,
    key: keyLength < 0 ? null : bytes.subarray(keyAt, keyAt + keyLength),
    value: valueLength < 0 ? null : bytes.subarray(valueAt, valueAt + valueLength),
    headers,
  });
  return timestampMs;
}

/**
 * Steps through the uncompressed records at `bytes[start, …)` and tells `visit` where each stands in its batch and its timestamp,
 * until it answers true. Keys, values and headers are not looked at.
 */
export function walkTimestamps(
  bytes: Uint8Array,
  start: number,
  header: BatchHeader,
  problem: Problem,
  visit: (index: number, timestampMs: number) => boolean,
): void {
  const reader = readerOf(bytes, problem);
  reader.position = start;
  for (let index = 0; index < header.recordCount; index++) {
    const length = reader.varint("a record length");
    const recordEnd = reader.skip(length, "a record") + length;
    reader.position = recordEnd - length;
    reader.end = recordEnd;
    reader.byte("a record");
    const timestampMs = header.baseTimestampMs + reader.varlong("a timestamp delta");
    const offsetAt = reader.position;
    const offsetDelta = reader.varint("an offset delta");
    if (offsetDelta !== index) throw problem(offsetAt, `offset delta ${offsetDelta} on record ${index} of its batch`);
    if (visit(index, timestampMs)) return;
    reader.position = recordEnd;
    reader.end = bytes.length;
  }
}

function readHeaders(reader: VarintReader, bytes: Uint8Array, problem: Problem): readonly RecordHeader[] {
  const count = headerCount(reader, problem);
  if (count === 0) return NO_HEADERS;
  const headers: RecordHeader[] = [];
  for (let i = 0; i < count; i++) {
    const keyLength = reader.varint("a header key length");
    const keyAt = reader.skip(keyLength, "a header key");
    const key = readUtf8(reader.buffer, keyAt, keyAt + keyLength);
    if (key === undefined) throw problem(keyAt, "a header key is not UTF-8");
    const valueLength = nullableLength(reader, "a header value", problem);
    const valueAt = reader.skip(Math.max(0, valueLength), "a header value");
    headers.push({ key, value: valueLength < 0 ? null : bytes.subarray(valueAt, valueAt + valueLength) });
  }
  return headers;
}

/** The checks of `readHeaders` without its values. */
function skipHeaders(reader: VarintReader, problem: Problem): readonly RecordHeader[] {
  const count = headerCount(reader, problem);
  for (let i = 0; i < count; i++) {
    const keyLength = reader.varint("a header key length");
    const keyAt = reader.skip(keyLength, "a header key");
    if (!holdsUtf8(reader.buffer, keyAt, keyAt + keyLength)) throw problem(keyAt, "a header key is not UTF-8");
    reader.skip(Math.max(0, nullableLength(reader, "a header value", problem)), "a header value");
  }
  return NO_HEADERS;
}

function headerCount(reader: VarintReader, problem: Problem): number {
  const at = reader.position;
  const count = reader.varint("a header count");
  const left = reader.end - reader.position;
  if (count < 0 || count > left / HEADER_BYTES_MIN) throw problem(at, `${count} headers in ${left} bytes`);
  return count;
}

/** −1 is null. */
function nullableLength(reader: VarintReader, what: string, problem: Problem): number {
  const at = reader.position;
  const length = reader.varint(what);
  if (length < -1) throw problem(at, `${what} of ${length} bytes`);
  return length;
}
