import type { LogRecord } from "../record/record.ts";

/** Bytes that a record costs beside its key, value and headers, at most: varints, offset and timestamp deltas. */
const RECORD_OVERHEAD_BYTES = 32;

/** What records count for in `flush.max_pending`: at most a little more than they take when they are encoded. */
export function recordsBytes(records: readonly LogRecord[]): number {
  let bytes = 0;
  for (const record of records) {
    bytes += RECORD_OVERHEAD_BYTES + (record.key?.length ?? 0) + (record.value?.length ?? 0);
    if (record.headers !== undefined) {
      for (const header of record.headers) bytes += 8 + header.key.length * 3 + (header.value?.length ?? 0);
    }
  }
  return bytes;
}
