import type { ETag, ObjectKey } from "../domain.ts";

/** "if-absent" is `If-None-Match: *`, "if-match" is `If-Match: etag`. */
export type PutCondition =
  | { readonly kind: "none" }
  | { readonly kind: "if-absent" }
  | { readonly kind: "if-match"; readonly etag: ETag };

/** A failed condition is an answer, not an error: somebody else was first. */
export type PutOutcome = { readonly kind: "written"; readonly etag: ETag } | { readonly kind: "condition-failed" };

/** `start` … `end` (exclusive, to the end of the object when absent), or the last `suffix` bytes. Cut at the end of the object. */
export type ByteRange = { readonly start: number; readonly end?: number } | { readonly suffix: number };

export interface CallOptions {
  readonly signal?: AbortSignal;
}

export interface GetOptions extends CallOptions {
  readonly range?: ByteRange;
}

export interface PutOptions extends CallOptions {
  readonly condition: PutCondition;
  /**
   * Only read by the settling wrapper, only with "if-absent": the bytes of `body` that no other writer can have sent (they hold
   * a random writeId). After a lost answer the same range of the stored object tells whether it is ours. Default: all of it.
   */
  readonly identity?: { readonly start: number; readonly end: number };
}

/** Calls that may need several requests. */
export interface PagedOptions extends CallOptions {
  /** Called just before each request is sent, so that a wrapper can count what one call really costs. */
  readonly onRequest?: () => void;
}

export interface ListOptions extends PagedOptions {
  /** Exclusive. */
  readonly startAfter?: ObjectKey;
}

export interface StoredObject {
  /** One contiguous buffer, owned by the caller. Empty where the range lies past the end. */
  readonly body: Uint8Array;
  /** Size of the whole object, whatever the range. */
  readonly sizeBytes: number;
  readonly etag: ETag;
}

export interface ObjectInfo {
  readonly key: ObjectKey;
  readonly sizeBytes: number;
  readonly etag: ETag;
}

/**
 * What the engine needs of an object store. A store makes ONE attempt per call and reports what happened; retries, deadlines
 * and the settling of lost answers are the work of the settling wrapper.
 *
 * Errors: `ObjectStoreError`, with `retryable`, and with effect "unknown" on a put that may have been stored; `AbortedError`
 * when `signal` fired (a put then may have been stored as well: effect "unknown").
 *
 * Keys: 1 … 1024 bytes of UTF-8 (an S3 store's own prefix counts); `..` and `//` are legal, characters that XML 1.0 cannot
 * carry are not (see object-key.ts); else `InvalidArgumentError`.
 */
export interface ObjectStore {
  /** Resolves to undefined when no such object exists. */
  get(key: ObjectKey, options?: GetOptions): Promise<StoredObject | undefined>;
  /** Resolves to undefined when no such object exists. */
  head(key: ObjectKey, options?: CallOptions): Promise<ObjectInfo | undefined>;
  /**
   * Visible, whole and durable once it resolves to "written". The store reads `body` until the promise settles: the caller
   * must not change it before.
   */
  put(key: ObjectKey, body: Uint8Array, options: PutOptions): Promise<PutOutcome>;
  /** Every key that starts with `prefix`, in ascending order of UTF-8 bytes, fetched page by page as the caller goes on. */
  list(prefix: string, options?: ListOptions): AsyncIterable<ObjectInfo>;
  /** Keys that do not exist count as deleted. */
  delete(keys: readonly ObjectKey[], options?: PagedOptions): Promise<void>;
  /** Frees sockets and handles. No call may follow. Safe to repeat. */
  close(): Promise<void>;
}
