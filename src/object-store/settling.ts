import type { ETag, ObjectKey } from "../domain.ts";
import { InvalidArgumentError, ObjectStoreError, isTierlogError } from "../errors.ts";
import type { GetOptions, ListOptions, ObjectInfo, ObjectStore, PutOptions, PutOutcome } from "./object-store.ts";
import { RetriedCall, isRetryable, retried, type RetrySettings } from "./retry.ts";
import { settlingUpload } from "./settling-multipart.ts";

type Identity = NonNullable<PutOptions["identity"]>;

/** What a read-back found under the key of a put whose own answer settles nothing. */
type ReadBack =
  | { readonly kind: "ours"; readonly etag: ETag }
  | { readonly kind: "foreign"; readonly etag: ETag; readonly sizeBytes: number }
  | { readonly kind: "absent" };

/**
 * Retries, deadlines and the settling of lost answers, for any store. Sits above `metered`.
 *
 * - get, head, a page of a listing, delete and an unconditional put are repeated with full-jitter backoff while their error is
 *   retryable and the deadline has not passed; then the last error comes out, with `attempts`. (An unconditional put that ended
 *   in an error may still land later: send no other bytes to its key then.)
 * - put "if-absent" answers "written" only after a clean 200, or after its identity bytes were found in the store; and
 *   "condition-failed" only after other bytes were found there. A 412 alone proves neither, not even the first one: a proxy may
 *   have repeated our request after its answer was lost. While nothing is found there, the same bytes are sent again.
 *   With the default `identity` two writers of equal bytes are both told "written".
 * - put "if-match" is sent once (again only when it surely was not sent). After a lost answer or a 412 the whole object is
 *   compared: equal → "written"; other bytes → "condition-failed" after a 412, else an error of effect "unknown".
 * - Errors of a put carry effect "none" only if no attempt can have landed.
 * - createMultipart is repeated too; each attempt whose answer was lost leaves an empty upload behind. What then is done with the
 *   upload stands in settling-multipart.ts.
 *
 * `deadlineMs` counts per call, for a listing since its last key. A store must let go soon after the signal of an attempt
 * fires; the wrapper waits for it, because it still may read the body.
 */
export function settling(inner: ObjectStore, settings: RetrySettings): ObjectStore {
  checkSettings(settings);

  async function putIfAbsent(key: ObjectKey, body: Uint8Array, options: PutOptions): Promise<PutOutcome> {
    const identity = checkIdentity(options.identity, body);
    const call = new RetriedCall(settings, "put", key, options.signal);
    for (;;) {
      const sent = await send(call, key, body, options);
      if (sent.kind === "written") return sent;
      if (sent.kind === "not-sent") {
        await call.pause(sent.error);
        continue;
      }
      call.checkDeadline(sent.error);
      const found = await readBack(call, key, body, identity);
      if (found.kind === "ours") {
        settings.logger?.info("a put without a clear answer was found stored", { key, attempts: call.attempts });
        return { kind: "written", etag: found.etag };
      }
      if (found.kind === "foreign") return { kind: "condition-failed" };
      // Absent now does not mean absent for ever: an earlier attempt may still land. The same bytes again are safe either way.
      await call.pause(sent.error);
    }
  }

  async function putIfMatch(key: ObjectKey, body: Uint8Array, options: PutOptions): Promise<PutOutcome> {
    const call = new RetriedCall(settings, "put", key, options.signal);
    for (;;) {
      const sent = await send(call, key, body, options);
      if (sent.kind === "written") return sent;
      if (sent.kind === "not-sent") {
        await call.pause(sent.error);
        continue;
      }
      call.checkDeadline(sent.error);
      const found = await readBack(call, key, body, { start: 0, end: body.length });
      if (found.kind === "ours") return { kind: "written", etag: found.etag };
      if (sent.kind === "condition-failed") return { kind: "condition-failed" };
      throw call.failure(sent.error);
    }
  }

  /** One attempt. Throws what ends the call. "not-sent": nothing can have come of this attempt. */
  async function send(
    call: RetriedCall,
    key: ObjectKey,
    body: Uint8Array,
    options: PutOptions,
  ): Promise<
    | Extract<PutOutcome, { kind: "written" }>
    | { readonly kind: "not-sent" | "unknown" | "condition-failed"; readonly error: unknown }
  > {
    try {
      const outcome = await call.attempt((signal) => inner.put(key, body, { ...options, signal }));
      if (outcome.kind === "written") return outcome;
      // Until the read-back says whose object it is: ours may be the one that is there.
      call.effect = "unknown";
      return { kind: "condition-failed", error: notThere(key) };
    } catch (error) {
      const sent = !isTierlogError(error) || error.effect === "unknown";
      if (sent) call.effect = "unknown";
      if (!isRetryable(error)) throw call.failure(error);
      return { kind: sent ? "unknown" : "not-sent", error };
    }
  }

  /**
   * "foreign" only if two reads say so: one whose bytes were damaged on their way would else tell a writer that its own object is
   * another's.
   */
  async function readBack(call: RetriedCall, key: ObjectKey, body: Uint8Array, identity: Identity): Promise<ReadBack> {
    const first = await readOnce(call, key, body, identity);
    const mayBeDamaged = first.kind === "foreign" && first.sizeBytes === body.length;
    return mayBeDamaged ? readOnce(call, key, body, identity) : first;
  }

  async function readOnce(call: RetriedCall, key: ObjectKey, body: Uint8Array, identity: Identity): Promise<ReadBack> {
    if (identity.start === identity.end) {
      const info = await retried(call, (signal) => inner.head(key, { signal }));
      if (info === undefined) return { kind: "absent" };
      return { kind: info.sizeBytes === body.length ? "ours" : "foreign", etag: info.etag, sizeBytes: info.sizeBytes };
    }
    const stored = await retried(call, (signal) => inner.get(key, { signal, range: identity }));
    if (stored === undefined) return { kind: "absent" };
    const ours =
      stored.sizeBytes === body.length && equalBytes(stored.body, body.subarray(identity.start, identity.end));
    return { kind: ours ? "ours" : "foreign", etag: stored.etag, sizeBytes: stored.sizeBytes };
  }

  async function putAnyway(key: ObjectKey, body: Uint8Array, options: PutOptions): Promise<PutOutcome> {
    const call = new RetriedCall(settings, "put", key, options.signal);
    for (;;) {
      const sent = await send(call, key, body, options);
      if (sent.kind === "written") return sent;
      if (sent.kind === "condition-failed") return { kind: "condition-failed" };
      await call.pause(sent.error);
    }
  }

  async function* list(prefix: string, options?: ListOptions): AsyncGenerator<ObjectInfo> {
    const call = new RetriedCall(settings, "list", prefix, options?.signal);
    let startAfter = options?.startAfter;
    for (;;) {
      // Aborts the store's request when one page takes too long; a new listing then goes on behind the last key.
      const pages = new AbortController();
      const listed = inner.list(prefix, {
        ...options,
        ...(startAfter === undefined ? {} : { startAfter }),
        signal: pages.signal,
      });
      const iterator = listed[Symbol.asyncIterator]();
      try {
        for (;;) {
          const next = await call.attempt((signal) => following(signal, pages, () => iterator.next()));
          if (next.done === true) return;
          startAfter = next.value.key;
          yield next.value;
          call.progressed();
        }
      } catch (error) {
        await call.pause(error);
      } finally {
        await iterator.return?.();
      }
    }
  }

  return {
    get: (key, options) =>
      retried(new RetriedCall(settings, "get", key, options?.signal), (signal) =>
        inner.get(key, { ...options, signal } satisfies GetOptions),
      ),
    head: (key, options) =>
      retried(new RetriedCall(settings, "head", key, options?.signal), (signal) => inner.head(key, { signal })),
    put(key, body, options) {
      const { kind } = options.condition;
      if (kind === "if-absent") return putIfAbsent(key, body, options);
      return kind === "if-match" ? putIfMatch(key, body, options) : putAnyway(key, body, options);
    },
    async createMultipart(key, options) {
      const call = new RetriedCall(settings, "createMultipart", key, options?.signal);
      const upload = await retried(call, (signal) => inner.createMultipart(key, { signal }));
      return settlingUpload(inner, upload, settings);
    },
    list,
    async delete(keys, options) {
      const what = keys.length === 1 ? (keys[0] ?? "") : `${keys.length} objects`;
      const call = new RetriedCall(settings, "delete", what, options?.signal);
      await retried(call, (signal) => inner.delete(keys, { ...options, signal }));
    },
    close: () => inner.close(),
  };
}

/** Runs `request` with `controller` aborted as soon as `signal` is. */
async function following<T>(signal: AbortSignal, controller: AbortController, request: () => Promise<T>): Promise<T> {
  const onAbort = (): void => controller.abort(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await request();
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

/** Node's timers turn a longer delay into 1 ms. */
const TIMER_MS_MAX = 2 ** 31 - 1;

function checkSettings(settings: RetrySettings): void {
  checkTime("deadlineMs", settings.deadlineMs);
  if (settings.requestTimeoutMs !== undefined) checkTime("requestTimeoutMs", settings.requestTimeoutMs);
}

function checkTime(name: string, valueMs: number): void {
  if (!(valueMs > 0 && valueMs <= TIMER_MS_MAX)) {
    throw new InvalidArgumentError(name, valueMs, `must be above 0 and at most ${TIMER_MS_MAX}`);
  }
}

function checkIdentity(identity: Identity | undefined, body: Uint8Array): Identity {
  if (identity === undefined) return { start: 0, end: body.length };
  const { start, end } = identity;
  if (!Number.isSafeInteger(start) || !Number.isSafeInteger(end) || start < 0 || end <= start || end > body.length) {
    throw new InvalidArgumentError(
      "identity",
      identity,
      `${start} … ${end} is not a range of at least one byte within the body of ${body.length} bytes`,
    );
  }
  return identity;
}

function notThere(key: ObjectKey): ObjectStoreError {
  return new ObjectStoreError(
    `put ${key}: HTTP 412, but the object that should be in the way was not found`,
    { operation: "put", key, status: 412, retryable: true },
    { effect: "unknown" },
  );
}

function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
