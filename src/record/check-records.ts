import { InvalidArgumentError, RecordTooLargeError } from "../errors.ts";
import { BATCH_HEADER_BYTES } from "./batch-header.ts";
import { recordBodyBytes } from "./record-encoder.ts";
import type { LogRecord } from "./record.ts";
import { utf8Bytes } from "./utf8.ts";
import { sizeOfVarint } from "./varint.ts";

/**
 * Checks every record, so that a bad one is refused before any is taken: types (callers may be untyped), timestamps, and that
 * each fits a batch of `maxBytes` alone, headers included. At least one record. `InvalidArgumentError` names
 * `records[i].field`; `RecordTooLargeError`.
 */
export function checkRecords(records: readonly LogRecord[], maxBytes: number): void {
  if (!Array.isArray(records)) throw new InvalidArgumentError("records", records, "must be an array of records");
  if (records.length === 0) throw new InvalidArgumentError("records", "[]", "must hold at least one record");
  for (let i = 0; i < records.length; i++) checkRecord(records[i] as unknown, i, maxBytes);
}

/** Every field may hold anything until it is checked. */
type Unchecked<T> = { readonly [Field in keyof T]?: unknown };

function checkRecord(candidate: unknown, index: number, maxBytes: number): void {
  if (typeof candidate !== "object" || candidate === null) {
    throw new InvalidArgumentError(`records[${index}]`, candidate, "must be a record");
  }
  const record: Unchecked<LogRecord> = candidate;
  if (record.key !== undefined && !isBytesOrNull(record.key)) {
    throw new InvalidArgumentError(`records[${index}].key`, record.key, "must be a Uint8Array, null or absent");
  }
  if (!isBytesOrNull(record.value)) {
    throw new InvalidArgumentError(`records[${index}].value`, record.value, "must be a Uint8Array or null");
  }
  if (
    record.timestampMs !== undefined &&
    !(Number.isSafeInteger(record.timestampMs) && Number(record.timestampMs) >= 0)
  ) {
    throw new InvalidArgumentError(
      `records[${index}].timestampMs`,
      record.timestampMs,
      `must be an integer from 0 to ${Number.MAX_SAFE_INTEGER} (milliseconds since 1970)`,
    );
  }
  if (record.headers !== undefined) checkHeaders(record.headers, index);

  // Alone in its batch a record has no deltas.
  const body = recordBodyBytes(record as LogRecord, 0, 0);
  const sizeBytes = BATCH_HEADER_BYTES + sizeOfVarint(body) + body;
  if (sizeBytes > maxBytes)
    throw new RecordTooLargeError(`records[${index}] with its batch header`, sizeBytes, maxBytes);
}

function checkHeaders(headers: unknown, index: number): void {
  if (!Array.isArray(headers)) {
    throw new InvalidArgumentError(`records[${index}].headers`, headers, "must be an array of {key, value} or absent");
  }
  for (let i = 0; i < headers.length; i++) {
    const header: unknown = headers[i];
    const name = `records[${index}].headers[${i}]`;
    if (typeof header !== "object" || header === null) {
      throw new InvalidArgumentError(name, header, "must be {key, value}");
    }
    const { key, value }: { readonly key?: unknown; readonly value?: unknown } = header;
    if (typeof key !== "string") throw new InvalidArgumentError(`${name}.key`, key, "must be a string");
    if (utf8Bytes(key) === -1) {
      throw new InvalidArgumentError(`${name}.key`, key, "holds half of a surrogate pair, which UTF-8 cannot");
    }
    if (!isBytesOrNull(value)) throw new InvalidArgumentError(`${name}.value`, value, "must be a Uint8Array or null");
  }
}

function isBytesOrNull(value: unknown): boolean {
  return value === null || value instanceof Uint8Array;
}
