import type { Offset } from "../domain.ts";

export interface RecordHeader {
  readonly key: string;
  /** null is kept apart from empty. */
  readonly value: Uint8Array | null;
}

/** What a producer appends. The buffers are copied before `append` first waits: the caller may reuse them at once. */
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
