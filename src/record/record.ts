import type { Offset } from "../domain.ts";

export interface RecordHeader {
  readonly key: string;
  /** null is kept apart from empty. */
  readonly value: Uint8Array | null;
}

export const NO_HEADERS: readonly RecordHeader[] = Object.freeze([]);

/** What a producer appends. Array and buffers are copied before `append` returns: the caller may use them again at once. */
export interface LogRecord {
  /** Absent means null; null is kept apart from empty. */
  readonly key?: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers?: readonly RecordHeader[];
  /** Milliseconds since 1970, an integer ≥ 0; default: the clock when appended. */
  readonly timestampMs?: number;
}

/** A record as read back. Key and value are views into a shared buffer: read only. */
export interface StoredRecord {
  readonly offset: Offset;
  readonly timestampMs: number;
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers: readonly RecordHeader[];
}

/** Where a record stands that was looked for by time. */
export interface TimestampedOffset {
  readonly offset: Offset;
  /** Of that record. */
  readonly timestampMs: number;
}
