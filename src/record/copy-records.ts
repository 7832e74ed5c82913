import type { LogRecord, RecordHeader } from "./record.ts";

/**
 * The records with buffers of their own, for an append that has to wait. Need not be checked yet: what is no record, header or
 * buffer stays as it is, for `checkRecords` to refuse.
 */
export function copyRecords(records: readonly LogRecord[]): readonly LogRecord[] {
  return Array.isArray(records) ? records.map(copyRecord) : records;
}

function copyRecord(record: LogRecord): LogRecord {
  if (typeof record !== "object" || record === null) return record;
  const { key, value, headers, timestampMs } = record;
  return {
    value: copyBytes(value),
    ...(key === undefined ? {} : { key: copyBytes(key) }),
    ...(headers === undefined ? {} : { headers: Array.isArray(headers) ? headers.map(copyHeader) : headers }),
    ...(timestampMs === undefined ? {} : { timestampMs }),
  };
}

function copyHeader(header: RecordHeader): RecordHeader {
  if (typeof header !== "object" || header === null) return header;
  return { key: header.key, value: copyBytes(header.value) };
}

function copyBytes(bytes: Uint8Array | null): Uint8Array | null {
  return bytes instanceof Uint8Array ? new Uint8Array(bytes) : bytes;
}
