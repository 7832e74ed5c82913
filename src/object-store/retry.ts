import { AbortedError, ObjectStoreError, isTierlogError, type Effect, type TierlogError } from "../errors.ts";
import { sleep, type Clock } from "../runtime/clock.ts";
import type { Logger } from "../runtime/logger.ts";
import type { Random } from "../runtime/random.ts";
import { startAttempt } from "./attempt.ts";
import type { PartLimiter } from "./part-limiter.ts";

/** Backoff before attempt n + 1: uniform in [0, min(cap, base · 2ⁿ)), so that callers failed together do not return together. */
export const BACKOFF_BASE_MS = 50;
export const BACKOFF_CAP_MS = 5_000;

/** From this attempt on each further one is logged: single hiccups are normal, a row of them is not. */
const LOG_FROM_ATTEMPT = 4;

export interface RetrySettings {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger?: Logger;
  /** Total time for one call, its retries and waits included. */
  readonly deadlineMs: number;
  /** Time for one attempt; default: what is left until the deadline. */
  readonly requestTimeoutMs?: number;
  /** Hears of every "slow down", which the retries hide from the callers; gives parts their turn. */
  readonly partLimiter?: PartLimiter;
}

/** One call of the settling wrapper: its deadline, its attempts, and whether a write of it may have landed. */
export class RetriedCall {
  readonly #settings: RetrySettings;
  readonly #operation: string;
  readonly #key: string;
  readonly #signal: AbortSignal | undefined;
  #startedAt: number;
  #attempts = 0;
  #waits = 0;
  /** What an error of this call has to say about its write. Reads and deletes leave it at "none". */
  effect: Effect = "none";

  constructor(settings: RetrySettings, operation: string, key: string, signal: AbortSignal | undefined) {
    this.#settings = settings;
    this.#operation = operation;
    this.#key = key;
    this.#signal = signal;
    this.#startedAt = settings.clock.monotonic();
  }

  get attempts(): number {
    return this.#attempts;
  }

  /** A listing that moves on has earned a new deadline. */
  progressed(): void {
    this.#startedAt = this.#settings.clock.monotonic();
    this.#attempts = 0;
    this.#waits = 0;
  }

  /**
   * Runs `request` once under the attempt's time limit. Waits until the store has let go, however late: it may still read the
   * body, and a body must not be handed back to its pool before.
   */
  async attempt<T>(request: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { clock, requestTimeoutMs, partLimiter } = this.#settings;
    if (this.#signal?.aborted === true) throw this.#aborted();
    this.#attempts += 1;
    const timeoutMs = Math.min(requestTimeoutMs ?? Number.POSITIVE_INFINITY, this.#remainingMs());
    const attempt = startAttempt(clock, timeoutMs, this.#signal);
    const onThrottled = partLimiter?.attemptBegins();
    try {
      return await request(attempt.signal);
    } catch (error) {
      if (isThrottled(error)) onThrottled?.();
      if (!attempt.timedOut() || !isTierlogError(error) || error.kind !== "aborted") throw error;
      throw new ObjectStoreError(
        `${this.#operation} ${this.#key}: no answer within ${Math.round(timeoutMs)} ms`,
        { operation: this.#operation, key: this.#key, retryable: true },
        { cause: error, effect: error.effect },
      );
    } finally {
      attempt.end();
    }
  }

  /**
   * `attempt` for a part: once the limiter has room. The time of the call stands still meanwhile, as long as other parts come through:
   * behind a store that went silent the parts would else wait a deadline for each one ahead of them.
   */
  async attemptPart<T>(request: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { clock, partLimiter } = this.#settings;
    if (partLimiter === undefined) return this.attempt(request);
    const waitsSince = clock.monotonic();
    return partLimiter.run(() => {
      this.#startedAt += Math.max(0, partLimiter.cleanAtMs - waitsSince);
      if (this.#remainingMs() <= 0) throw this.#noTurn();
      return this.attempt(request);
    }, this.#signal);
  }

  /**
   * Waits before the next attempt. Throws what the caller gets instead when there is none: `error` is not retryable, the
   * signal fired, or the deadline would pass before the wait ends.
   */
  async pause(error: unknown): Promise<void> {
    if (!isRetryable(error) || this.#signal?.aborted === true) throw this.failure(error);
    const { clock, random, logger } = this.#settings;
    const delayMs = random.float() * Math.min(BACKOFF_CAP_MS, BACKOFF_BASE_MS * 2 ** this.#waits);
    if (delayMs >= this.#remainingMs()) throw this.failure(error);
    this.#waits += 1;
    if (this.#attempts >= LOG_FROM_ATTEMPT) {
      logger?.warn("object store request failed again, trying on", {
        operation: this.#operation,
        key: this.#key,
        attempts: this.#attempts,
        delayMs: Math.round(delayMs),
        problem: error.message,
      });
    }
    try {
      await sleep(clock, delayMs, this.#signal);
    } catch {
      // Only the signal ends a wait early.
      throw this.#aborted();
    }
    this.checkDeadline(error);
  }

  /** Throws what the caller gets if the time is over; for a next attempt that follows without a `pause`. */
  checkDeadline(error: unknown): void {
    if (this.#remainingMs() <= 0) throw this.failure(error);
  }

  /** What the call throws when it ends with `error`: with the attempts made, and the effect of all of them, not of the last. */
  failure(error: unknown): unknown {
    // The signal explains a request that was cut short. An answer such as "access denied" came in spite of it and says more.
    const cutShort = isRetryable(error) || (isTierlogError(error) && error.kind === "aborted");
    if (cutShort && this.#signal?.aborted === true) return this.#aborted();
    if (isObjectStoreError(error)) {
      const elapsedMs = Math.round(this.#settings.clock.monotonic() - this.#startedAt);
      const tries = this.#attempts === 1 ? "" : ` (${this.#attempts} attempts in ${elapsedMs} ms)`;
      return new ObjectStoreError(
        `${error.message}${tries}`,
        {
          operation: error.operation,
          key: error.key,
          status: error.status,
          attempts: this.#attempts,
          retryable: error.retryable,
          failedKeys: error.failedKeys,
        },
        { cause: error, effect: this.effect },
      );
    }
    if (this.effect === "none") return error;
    return new ObjectStoreError(
      `${this.#operation} ${this.#key}: ${error instanceof Error ? error.message : String(error)}, after an attempt whose answer was lost`,
      { operation: this.#operation, key: this.#key, attempts: this.#attempts, retryable: false },
      { cause: error, effect: "unknown" },
    );
  }

  #remainingMs(): number {
    return this.#startedAt + this.#settings.deadlineMs - this.#settings.clock.monotonic();
  }

  #noTurn(): ObjectStoreError {
    return new ObjectStoreError(`${this.#operation} ${this.#key}: no part came through while it waited for its turn`, {
      operation: this.#operation,
      key: this.#key,
      retryable: true,
    });
  }

  #aborted(): AbortedError {
    return new AbortedError(`${this.#operation} ${this.#key}`, { cause: this.#signal?.reason, effect: this.effect });
  }
}

/** Runs an idempotent request until it succeeds, fails for good, or its time is over. */
export async function retried<T>(call: RetriedCall, request: (signal: AbortSignal) => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await call.attempt(request);
    } catch (error) {
      await call.pause(error);
    }
  }
}

export function isRetryable(error: unknown): error is ObjectStoreError {
  return isObjectStoreError(error) && error.retryable;
}

/** The store asks for fewer requests. By status: the code beside it has many names, or is missing. */
function isThrottled(error: unknown): boolean {
  return isObjectStoreError(error) && (error.status === 429 || error.status === 503);
}

function isObjectStoreError(error: unknown): error is ObjectStoreError {
  return isTierlogError(error) && hasCode(error, "TIERLOG_OBJECT_STORE");
}

/** By code, not by class: a store may come from another copy of the package. */
function hasCode(error: TierlogError, code: string): boolean {
  return error.code === code;
}
