import type { ETag, ObjectKey } from "../domain.ts";
import { AbortedError, ClosedError } from "../errors.ts";
import { checkRange, resolveRange } from "./byte-range.ts";
import { checkCondition } from "./etag.ts";
import { MemoryUploads } from "./memory-multipart.ts";
import { checkKey, compareKeys } from "./object-key.ts";
import type { ListOptions, ObjectInfo, ObjectStore, PutCondition } from "./object-store.ts";

const PAGE_KEYS = 1000;

interface Stored {
  readonly bytes: Uint8Array;
  readonly etag: ETag;
}

/**
 * What a memory store keeps. It outlives the stores opened on it: a test "restarts a process" by opening another store on the
 * same bucket, and two stores on one bucket are two processes.
 */
export class MemoryBucket {
  readonly #objects = new Map<ObjectKey, Stored>();
  /** Undefined after a key came or went: sorted again by the next listing, not by every put. */
  #sorted: readonly ObjectKey[] | undefined;
  #generation = 0;
  readonly uploads = new MemoryUploads();

  read(key: ObjectKey): Stored | undefined {
    return this.#objects.get(key);
  }

  /** Keeps `bytes` itself, so hand over a copy. */
  write(key: ObjectKey, bytes: Uint8Array): ETag {
    if (!this.#objects.has(key)) this.#sorted = undefined;
    this.#generation += 1;
    const etag = `memory-${this.#generation}` as ETag;
    this.#objects.set(key, { bytes, etag });
    return etag;
  }

  remove(key: ObjectKey): void {
    if (this.#objects.delete(key)) this.#sorted = undefined;
  }

  /** Ascending by UTF-8 bytes. */
  keys(): readonly ObjectKey[] {
    this.#sorted ??= [...this.#objects.keys()].sort(compareKeys);
    return this.#sorted;
  }
}

/**
 * The reference implementation: every call takes effect at one point in time, and nothing it was given or gave out is shared.
 * Nothing survives the process.
 */
export function createMemoryStore(bucket: MemoryBucket = new MemoryBucket()): ObjectStore {
  let closed = false;

  /** Every call goes through here first: usable store, signal not fired. */
  const enter = (operation: string, signal: AbortSignal | undefined): void => {
    if (closed) throw new ClosedError("object store");
    if (signal?.aborted === true) throw new AbortedError(operation, { cause: signal.reason });
  };

  const page = (prefix: string, after: string | undefined): readonly ObjectKey[] => {
    const keys = bucket.keys();
    let index = lowerBound(keys, after === undefined || compareKeys(after, prefix) < 0 ? prefix : after);
    if (keys[index] === after) index += 1;
    const found: ObjectKey[] = [];
    for (let key = keys[index]; key?.startsWith(prefix) === true && found.length < PAGE_KEYS; key = keys[index]) {
      found.push(key);
      index += 1;
    }
    return found;
  };

  return {
    async get(key, options) {
      checkKey(key);
      checkRange(options?.range);
      enter("get", options?.signal);
      const stored = bucket.read(key);
      if (stored === undefined) return undefined;
      const { start, end } = resolveRange(options?.range, stored.bytes.length);
      const body = options?.into?.(end - start) ?? new Uint8Array(end - start);
      body.set(stored.bytes.subarray(start, end));
      return { body, sizeBytes: stored.bytes.length, etag: stored.etag };
    },

    async head(key, options) {
      checkKey(key);
      enter("head", options?.signal);
      const stored = bucket.read(key);
      return stored && { key, sizeBytes: stored.bytes.length, etag: stored.etag };
    },

    async put(key, body, options) {
      checkKey(key);
      checkCondition(options.condition);
      enter("put", options.signal);
      if (!holds(options.condition, bucket.read(key))) return { kind: "condition-failed" };
      // `Buffer.slice` would share the memory; this copies whatever kind of view `body` is.
      return { kind: "written", etag: bucket.write(key, new Uint8Array(body)) };
    },

    async createMultipart(key, options) {
      checkKey(key);
      enter("createMultipart", options?.signal);
      return bucket.uploads.start(key, enter, (bytes) => bucket.write(key, bytes));
    },

    async *list(prefix: string, options?: ListOptions): AsyncGenerator<ObjectInfo> {
      let after: string | undefined = options?.startAfter;
      for (;;) {
        enter("list", options?.signal);
        options?.onRequest?.();
        const keys = page(prefix, after);
        for (const key of keys) {
          const stored = bucket.read(key);
          if (stored !== undefined) yield { key, sizeBytes: stored.bytes.length, etag: stored.etag };
          after = key;
        }
        if (keys.length < PAGE_KEYS) return;
      }
    },

    async delete(keys, options) {
      for (const key of keys) checkKey(key);
      enter("delete", options?.signal);
      if (keys.length > 0) options?.onRequest?.();
      for (const key of keys) bucket.remove(key);
    },

    async close() {
      closed = true;
    },
  };
}

function holds(condition: PutCondition, current: Stored | undefined): boolean {
  if (condition.kind === "if-absent") return current === undefined;
  return condition.kind === "none" || current?.etag === condition.etag;
}

/** Index of the first key ≥ `bound`. */
function lowerBound(keys: readonly string[], bound: string): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareKeys(keys[middle] ?? "", bound) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
