import type { Clock } from "../runtime/clock.ts";
import type { ListOptions, MultipartUpload, ObjectInfo, ObjectStore } from "./object-store.ts";

/** Counts of the requests that reached the store, each attempt on its own. */
export interface StoreMetrics {
  readonly put: OperationMetrics;
  readonly createMultipart: OperationMetrics;
  readonly uploadPart: OperationMetrics;
  readonly completeMultipart: OperationMetrics;
  readonly abortMultipart: OperationMetrics;
  readonly get: OperationMetrics;
  readonly head: OperationMetrics;
  /** Of keys, and of the parts of an upload. */
  readonly list: OperationMetrics;
  readonly delete: OperationMetrics;
}

export interface OperationMetrics {
  /** Requests sent; a listing counts its pages. */
  readonly requests: number;
  /** Of them those that ended in an error (a failed condition and a missing object are answers). */
  readonly errors: number;
  /** Bytes of bodies sent (put, uploadPart) or received (get). */
  readonly bytes: number;
  /** Time spent in them, summed over requests. */
  readonly ms: number;
}

export function totalRequests(metrics: StoreMetrics): number {
  return Object.values(metrics).reduce((sum, { requests }) => sum + requests, 0);
}

interface Meter {
  requests: number;
  errors: number;
  bytes: number;
  ms: number;
}

export interface MeteredStore {
  readonly store: ObjectStore;
  /** A snapshot; the counts only grow. */
  metrics(): StoreMetrics;
}

/**
 * Counts what goes to `inner`. Sits beneath the settling wrapper, so that each attempt counts: what is billed, not what was
 * asked for. A call refused before it was sent (a bad key) counts too, as an error. Bytes of a put count even when it fails:
 * they went over the wire.
 */
export function metered(inner: ObjectStore, clock: Clock): MeteredStore {
  const meters = {
    put: meter(),
    createMultipart: meter(),
    uploadPart: meter(),
    completeMultipart: meter(),
    abortMultipart: meter(),
    get: meter(),
    head: meter(),
    list: meter(),
    delete: meter(),
  };

  async function timed<T>(into: Meter, call: () => Promise<T>): Promise<T> {
    const startedAt = clock.monotonic();
    try {
      return await call();
    } catch (error) {
      into.errors += 1;
      throw error;
    } finally {
      into.ms += clock.monotonic() - startedAt;
    }
  }

  async function* list(prefix: string, options?: ListOptions): AsyncGenerator<ObjectInfo> {
    const counted = countRequests(meters.list, options);
    const iterator = inner.list(prefix, counted)[Symbol.asyncIterator]();
    try {
      for (;;) {
        // Only the waiting counts, not what the caller does between two keys.
        const next = await timed(meters.list, () => iterator.next());
        if (next.done === true) return;
        yield next.value;
      }
    } finally {
      // The caller stopped early: the store must hear of it, or an open page stays open.
      await iterator.return?.();
    }
  }

  function counted(upload: MultipartUpload): MultipartUpload {
    return {
      key: upload.key,
      uploadId: upload.uploadId,
      putPart(partNumber, body, options) {
        meters.uploadPart.requests += 1;
        meters.uploadPart.bytes += body.length;
        return timed(meters.uploadPart, () => upload.putPart(partNumber, body, options));
      },
      listParts: (options) => timed(meters.list, () => upload.listParts(countRequests(meters.list, options))),
      complete(parts, options) {
        meters.completeMultipart.requests += 1;
        return timed(meters.completeMultipart, () => upload.complete(parts, options));
      },
      abort(options) {
        meters.abortMultipart.requests += 1;
        return timed(meters.abortMultipart, () => upload.abort(options));
      },
    };
  }

  const store: ObjectStore = {
    async get(key, options) {
      meters.get.requests += 1;
      const object = await timed(meters.get, () => inner.get(key, options));
      meters.get.bytes += object?.body.length ?? 0;
      return object;
    },
    head(key, options) {
      meters.head.requests += 1;
      return timed(meters.head, () => inner.head(key, options));
    },
    put(key, body, options) {
      meters.put.requests += 1;
      meters.put.bytes += body.length;
      return timed(meters.put, () => inner.put(key, body, options));
    },
    async createMultipart(key, options) {
      meters.createMultipart.requests += 1;
      return counted(await timed(meters.createMultipart, () => inner.createMultipart(key, options)));
    },
    list,
    delete: (keys, options) => timed(meters.delete, () => inner.delete(keys, countRequests(meters.delete, options))),
    close: () => inner.close(),
  };

  return {
    store,
    metrics: () => ({
      put: { ...meters.put },
      createMultipart: { ...meters.createMultipart },
      uploadPart: { ...meters.uploadPart },
      completeMultipart: { ...meters.completeMultipart },
      abortMultipart: { ...meters.abortMultipart },
      get: { ...meters.get },
      head: { ...meters.head },
      list: { ...meters.list },
      delete: { ...meters.delete },
    }),
  };
}

function meter(): Meter {
  return { requests: 0, errors: 0, bytes: 0, ms: 0 };
}

/** `options` with a hook that counts, and still calls the caller's own. */
function countRequests<Options extends { readonly onRequest?: () => void }>(
  into: Meter,
  options: Options | undefined,
): Options & { readonly onRequest: () => void } {
  return {
    ...(options as Options),
    onRequest: () => {
      into.requests += 1;
      options?.onRequest?.();
    },
  };
}
