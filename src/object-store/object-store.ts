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

export interface BodyOptions extends CallOptions {
  /** CRC-32C of `body`, where the caller knows it: a store that sends or keeps one need not compute it. */
  readonly crc32c?: number | undefined;
}

export interface GetOptions extends CallOptions {
  readonly range?: ByteRange;
  /**
   * Memory for the body, exactly `bytes` long, asked for once that length is known, anew by each attempt. A store may do without.
   * Only what came back as `body` may be used again: an attempt that failed, or was given up, may still write to what it was given.
   */
  readonly into?: (bytes: number) => Uint8Array;
}

export interface PutOptions extends BodyOptions {
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
  /** When it was stored, by the store's clock; only of a listing, and only where the store tells. For people: nothing may depend on it. */
  readonly modifiedAtMs?: number;
}

/** A part as the store acknowledged it. */
export interface UploadedPart {
  /** 1 … 10,000; the order of the parts within the object. */
  readonly partNumber: number;
  readonly etag: ETag;
  readonly sizeBytes: number;
}

/**
 * "gone": the store knows no such upload. It was completed or aborted before, by us or by a lifecycle rule; the key tells which.
 * The settling wrapper asks it, and answers "completed" only.
 */
export type CompleteOutcome = { readonly kind: "completed" } | { readonly kind: "gone" };

/**
 * An object under way in parts. Nothing is visible under `key` before `complete`. An upload that is neither completed nor aborted
 * keeps its bytes in the store. It does not outlive its handle: there is no way to go on with one after a crash.
 */
export interface MultipartUpload {
  readonly key: ObjectKey;
  readonly uploadId: string;
  /**
   * Stores one part; in any order, in parallel. The same number again replaces. Every part but the last (by number) needs at
   * least 5 MiB, which is looked at by `complete`; all but the last should be of one size, because some stores insist. The store
   * reads `body` until the promise settles: the caller must not change it before. An upload that is gone is an `ObjectStoreError`.
   */
  putPart(partNumber: number, body: Uint8Array, options?: BodyOptions): Promise<UploadedPart>;
  /** What the store holds, by ascending number; undefined when the upload is gone. */
  listParts(options?: PagedOptions): Promise<readonly UploadedPart[] | undefined>;
  /**
   * Makes the object: visible, whole and durable once it resolves to "completed". Replaces what is under the key. There is no
   * condition, because not every store minds one here: the key must be a name that nobody else uses.
   *
   * REQUIRES: `parts` is every part uploaded, as acknowledged, by ascending number, and none is still under way. A store that
   * misses one, or meets one below 5 MiB before the last, throws an `ObjectStoreError` and makes nothing.
   */
  complete(parts: readonly UploadedPart[], options?: CallOptions): Promise<CompleteOutcome>;
  /** Drops upload and parts. Safe to repeat; after a `complete` it does nothing. A part still under way may stay behind. */
  abort(options?: CallOptions): Promise<void>;
}

/**
 * What the engine needs of an object store. A store makes ONE attempt per call and reports what happened; retries, deadlines
 * and the settling of lost answers are the work of the settling wrapper.
 *
 * Errors: `ObjectStoreError`, with `retryable`, and with effect "unknown" on a put (or the completion of an upload) that may have
 * been stored; `AbortedError` when `signal` fired (it then may have been stored as well: effect "unknown").
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
  /** Starts an upload in parts. One whose answer is lost stays behind, empty, until a lifecycle rule or a sweep takes it. */
  createMultipart(key: ObjectKey, options?: CallOptions): Promise<MultipartUpload>;
  /** Every key that starts with `prefix`, in ascending order of UTF-8 bytes, fetched page by page as the caller goes on. */
  list(prefix: string, options?: ListOptions): AsyncIterable<ObjectInfo>;
  /** Keys that do not exist count as deleted. An error may name those that were not in `failedKeys`; all others then were. */
  delete(keys: readonly ObjectKey[], options?: PagedOptions): Promise<void>;
  /** Frees sockets and handles. No call may follow. Safe to repeat. */
  close(): Promise<void>;
}
