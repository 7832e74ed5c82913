import type { LogRecord, RecordHeader } from "./record.ts";
import { utf8Bytes, writeUtf8 } from "./utf8.ts";
import { sizeOfVarint, sizeOfVarlong, writeVarint, writeVarlong } from "./varint.ts";

/**
 * One record of a RecordBatch v2:
 *
 * ```
 * length varint (of what follows) │ attributes 1 = 0 │ timestampDelta varlong │ offsetDelta varint
 * keyLength varint (−1: null) │ key │ valueLength varint (−1: null) │ value
 * headerCount varint │ each: keyLength varint │ key, UTF-8 │ valueLength varint (−1: null) │ value
 * ```
 */

/** `set` has a fixed cost of about 16 ns; below this a loop is faster. */
const SET_BYTES_MIN = 24;

/** Bytes of a record behind its length field. Counts in plain numbers: a record far above any limit still gets its true size. */
export function recordBodyBytes(record: LogRecord, timestampDelta: number, offsetDelta: number): number {
  const { headers } = record;
  return (
    1 +
    sizeOfVarlong(timestampDelta) +
    sizeOfVarint(offsetDelta) +
    nullableBytes(record.key) +
    nullableBytes(record.value) +
    (headers === undefined || headers.length === 0 ? 1 : headersBytes(headers))
  );
}

/**
 * Writes a checked record with its length field, copying its bytes; returns the position behind it. REQUIRES: `bodyBytes` is
 * `recordBodyBytes` of the same arguments, and there is room for it and its length field.
 */
export function writeRecord(
  buffer: Buffer,
  at: number,
  bodyBytes: number,
  record: LogRecord,
  timestampDelta: number,
  offsetDelta: number,
): number {
  let position = writeVarint(buffer, at, bodyBytes);
  buffer[position++] = 0;
  position = writeVarlong(buffer, position, timestampDelta);
  position = writeVarint(buffer, position, offsetDelta);
  position = writeNullable(buffer, position, record.key);
  position = writeNullable(buffer, position, record.value);
  const { headers } = record;
  if (headers === undefined || headers.length === 0) {
    buffer[position++] = 0;
    return position;
  }
  position = writeVarint(buffer, position, headers.length);
  for (const header of headers) {
    const keyBytes = utf8Bytes(header.key);
    position = writeVarint(buffer, position, keyBytes);
    position = writeUtf8(buffer, position, header.key, keyBytes);
    position = writeNullable(buffer, position, header.value);
  }
  return position;
}

function headersBytes(headers: readonly RecordHeader[]): number {
  let total = sizeOfVarint(headers.length);
  for (const header of headers) {
    const keyBytes = utf8Bytes(header.key);
    total += sizeOfVarint(keyBytes) + keyBytes + nullableBytes(header.value);
  }
  return total;
}

function nullableBytes(bytes: Uint8Array | null | undefined): number {
  return bytes === null || bytes === undefined ? 1 : sizeOfVarint(bytes.length) + bytes.length;
}

function writeNullable(buffer: Buffer, at: number, bytes: Uint8Array | null | undefined): number {
  if (bytes === null || bytes === undefined) {
    // −1 in zigzag.
    buffer[at] = 1;
    return at + 1;
  }
  const start = writeVarint(buffer, at, bytes.length);
  if (bytes.length >= SET_BYTES_MIN) buffer.set(bytes, start);
  else for (let i = 0; i < bytes.length; i++) buffer[start + i] = bytes[i]!;
  return start + bytes.length;
}
