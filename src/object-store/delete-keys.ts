import type { ObjectKey } from "../domain.ts";
import { ObjectStoreError } from "../errors.ts";
import { Semaphore } from "../runtime/mutex.ts";
import type { ObjectStore } from "./object-store.ts";

const AT_ONCE = 16;

/** Deletes up to 1,000 keys: in one request, or one by one where the store takes no request for many. Errors as of `ObjectStore.delete`. */
export async function deleteKeys(
  store: ObjectStore,
  keys: readonly ObjectKey[],
  signal: AbortSignal | undefined,
): Promise<void> {
  const calls = signal === undefined ? {} : { signal };
  try {
    await store.delete(keys, calls);
  } catch (error) {
    if (keys.length === 1 || !isUnknownRequest(error)) throw error;
    const semaphore = new Semaphore(AT_ONCE);
    const outcomes = await Promise.allSettled(keys.map((key) => semaphore.run(() => store.delete([key], calls))));
    const failed = keys.filter((_, i) => outcomes[i]?.status === "rejected");
    const first = outcomes.find((outcome) => outcome.status === "rejected");
    if (first === undefined) return;
    const reason: unknown = first.reason;
    if (!(reason instanceof ObjectStoreError)) throw reason;
    const { message, operation, key, status, attempts, retryable } = reason;
    throw new ObjectStoreError(
      message,
      { operation, key, status, attempts, retryable, failedKeys: failed },
      { cause: reason, effect: reason.effect },
    );
  }
}

function isUnknownRequest(error: unknown): boolean {
  if (!(error instanceof ObjectStoreError) || error.failedKeys !== undefined) return false;
  return error.status === 400 || error.status === 501 || error.status === 405;
}
