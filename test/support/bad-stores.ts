import type { ObjectKey } from "../../src/domain.ts";
import { ObjectStoreError } from "../../src/errors.ts";
import type { ListOptions, ObjectInfo, ObjectStore, StoredObject } from "../../src/object-store/object-store.ts";

/** Object stores that do what real ones were seen to do. Each wraps a good one. */

export type BadStore = (inner: ObjectStore) => ObjectStore;

/** Takes conditions without minding them. */
export const ignoresConditions: BadStore = (inner) => ({
  ...inner,
  put: (key, body) => inner.put(key, body, { condition: { kind: "none" } }),
});

/** Looks, and writes a moment later. */
export const racesConditions: BadStore = (inner) => ({
  ...inner,
  async put(key, body, options) {
    if (options.condition.kind !== "if-absent") return inner.put(key, body, options);
    if ((await inner.head(key)) !== undefined) return { kind: "condition-failed" };
    await moment();
    return inner.put(key, body, { condition: { kind: "none" } });
  },
});

/** Races in one round of `every`. */
export const racesSometimes =
  (every: number): BadStore =>
  (inner) => {
    const racing = racesConditions(inner);
    return {
      ...inner,
      put: (key, body, options) =>
        (Number(/race-(\d+)$/.exec(key)?.[1] ?? 0) % every === every - 1 ? racing : inner).put(key, body, options),
    };
  };

/** 501 NotImplemented. */
export const refusesConditions: BadStore = (inner) => ({
  ...inner,
  put: (key, body, options) =>
    options.condition.kind === "none"
      ? inner.put(key, body, options)
      : Promise.reject(failure("put", key, { status: 501, retryable: false })),
});

/** Of two that write at once the second is answered 500; none of them was stored. */
export const failsLosers: BadStore = (inner) => ({
  ...inner,
  async put(key, body, options) {
    const outcome = await inner.put(key, body, options);
    if (outcome.kind === "written") return outcome;
    throw failure("put", key, { status: 500, retryable: true, unknown: true });
  },
});

/** Stores, and says that it failed. */
export const losesAnswers: BadStore = (inner) => ({
  ...inner,
  async put(key, body, options) {
    const outcome = await inner.put(key, body, options);
    if (outcome.kind === "condition-failed" || options.condition.kind === "none") return outcome;
    throw failure("put", key, { retryable: true, unknown: true });
  },
});

/** Of puts that come together it takes one, and answers 503 to the others. */
export const takesOneAtATime: BadStore = (inner) => {
  let busy = false;
  return {
    ...inner,
    async put(key, body, options) {
      if (busy) throw failure("put", key, { status: 503, retryable: true, unknown: true });
      busy = true;
      try {
        await moment();
        return await inner.put(key, body, options);
      } finally {
        busy = false;
      }
    },
  };
};

/** Every put fails before it is stored. */
export const isDown: BadStore = (inner) => ({
  ...inner,
  put: (key) => Promise.reject(failure("put", key, { status: 503, retryable: true })),
});

/** The first read of what was written says that it is not there. */
export const staleReads: BadStore = (inner) => {
  const fresh = new Set<ObjectKey>();
  const old = async <T extends StoredObject | ObjectInfo>(key: ObjectKey, found: Promise<T | undefined>) =>
    fresh.delete(key) ? undefined : found;
  return {
    ...inner,
    async put(key, body, options) {
      const outcome = await inner.put(key, body, options);
      if (outcome.kind === "written") fresh.add(key);
      return outcome;
    },
    get: (key, options) => old(key, inner.get(key, options)),
    head: (key, options) => old(key, inner.head(key, options)),
  };
};

/** Remembers that a key was missing, and says so once more after it was written. */
export const remembersMissing: BadStore = (inner) => {
  const missing = new Set<ObjectKey>();
  return {
    ...inner,
    async get(key, options) {
      if (missing.delete(key)) return undefined;
      const found = await inner.get(key, options);
      if (found === undefined) missing.add(key);
      return found;
    },
  };
};

/** As the S3 store answers a listing that is out of order. */
export const unorderedListing: BadStore = (inner) => ({
  ...inner,
  async *list(prefix: string, options?: ListOptions) {
    let before: ObjectInfo | undefined;
    for await (const info of inner.list(prefix, options)) {
      if (before !== undefined) throw failure("list", prefix, { retryable: false });
      before = info;
      yield info;
    }
  },
});

/** Listings end with the thousandth key, as if there were no more. */
export const onePage: BadStore = (inner) => ({
  ...inner,
  async *list(prefix: string, options?: ListOptions) {
    let count = 0;
    for await (const info of inner.list(prefix, options)) {
      if (count++ === 1000) return;
      yield info;
    }
  },
});

/** Sends the whole object whatever was asked for. */
export const ignoresRanges: BadStore = (inner) => ({ ...inner, get: (key) => inner.get(key) });

/** 403 for one operation. */
export const denies =
  (operation: "get" | "put" | "delete" | "list" | "createMultipart"): BadStore =>
  (inner) => ({
    ...inner,
    [operation]: (of: ObjectKey | readonly ObjectKey[]) => {
      const refused = failure(operation, String(of), { status: 403, retryable: false });
      if (operation !== "list") return Promise.reject(refused);
      return (async function* () {
        await moment();
        yield* [] as ObjectInfo[];
        throw refused;
      })();
    },
  });

/** Uploads are visible before they are complete. */
export const showsParts: BadStore = (inner) => ({
  ...inner,
  async createMultipart(key, options) {
    await inner.put(key, Buffer.from("early"), { condition: { kind: "none" } });
    return inner.createMultipart(key, options);
  },
});

function moment(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

function failure(
  operation: string,
  key: string,
  details: { readonly status?: number; readonly retryable: boolean; readonly unknown?: boolean },
): ObjectStoreError {
  const { status, retryable, unknown } = details;
  return new ObjectStoreError(
    `${operation} ${key}: injected`,
    { operation, key, status, retryable },
    { effect: unknown === true ? "unknown" : "none" },
  );
}
