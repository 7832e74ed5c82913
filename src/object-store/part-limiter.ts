import { AbortedError, InvalidArgumentError } from "../errors.ts";
import type { Clock } from "../runtime/clock.ts";
import { silentLogger, type Logger } from "../runtime/logger.ts";

/** After this many parts without a complaint of the store one more may go at a time. */
export const CLEAN_PARTS_PER_STEP = 8;

/**
 * How many parts may be on their way at a time, over all uploads to one store: halved when the store says "slow down" (429, 503),
 * to no less than 1, and raised by one after `CLEAN_PARTS_PER_STEP` parts without that, up to `partsMax`. Stores limit requests per
 * client, not per upload, and some fail parts that come side by side.
 *
 * The settling wrapper, which hides such answers from the writers, reports them and sends every attempt of a part by `run`: a part
 * that waits for its next attempt takes no place.
 */
export class PartLimiter {
  readonly partsMax: number;
  readonly #clock: Clock;
  readonly #logger: Logger;
  #limit: number;
  #inFlight = 0;
  #cleanParts = 0;
  #cleanAtMs = Number.NEGATIVE_INFINITY;
  #cuts = 0;
  #throttled = 0;
  /** In the order of their calls. */
  readonly #waiting = new Set<() => void>();

  constructor(options: { readonly partsMax: number; readonly clock: Clock; readonly logger?: Logger }) {
    const { partsMax } = options;
    if (!Number.isSafeInteger(partsMax) || partsMax < 1) {
      throw new InvalidArgumentError("partsMax", partsMax, "must be an integer ≥ 1");
    }
    this.partsMax = partsMax;
    this.#limit = partsMax;
    this.#clock = options.clock;
    this.#logger = options.logger ?? silentLogger;
  }

  /** Parts that may be on their way now. */
  get limit(): number {
    return this.#limit;
  }

  /** Parts on their way. More than `limit` for a moment after a cut. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** When a part last came through, by the monotonic clock. */
  get cleanAtMs(): number {
    return this.#cleanAtMs;
  }

  /** Answers "slow down" so far, to whatever request. */
  get throttled(): number {
    return this.#throttled;
  }

  /**
   * Runs one attempt of one part as soon as the limit has room; in the order of the calls. Rejects with `AbortedError` when `signal`
   * fires before: then `send` is not called.
   */
  async run<T>(send: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    if (signal?.aborted === true) throw aborted(signal);
    if (this.#inFlight >= this.#limit || this.#waiting.size > 0) await this.#turn(signal);
    else this.#inFlight += 1;
    try {
      const result = await send();
      this.#partIsClean();
      return result;
    } finally {
      this.#inFlight -= 1;
      this.#admit();
    }
  }

  /** To be called when an attempt of any request begins; the result, when its answer is "slow down". */
  attemptBegins(): () => void {
    const cuts = this.#cuts;
    return () => {
      this.#throttled += 1;
      this.#cleanParts = 0;
      // One cut for all requests that were under way together: each of them tells of the same crowd.
      if (cuts === this.#cuts) this.#cut();
    };
  }

  #cut(): void {
    this.#cuts += 1;
    // What really was on its way counts: halving a limit that nobody had reached would change nothing.
    const crowd = this.#inFlight === 0 ? this.#limit : Math.min(this.#limit, this.#inFlight);
    const limit = Math.max(1, Math.floor(crowd / 2));
    if (limit === this.#limit) return;
    this.#limit = limit;
    this.#logger.warn("the store asks for fewer requests, sending fewer parts at a time", { parts: limit });
  }

  #partIsClean(): void {
    this.#cleanParts += 1;
    this.#cleanAtMs = this.#clock.monotonic();
    if (this.#cleanParts < CLEAN_PARTS_PER_STEP || this.#limit === this.partsMax) return;
    this.#cleanParts = 0;
    this.#limit += 1;
  }

  /** Waits until this call is admitted, and counted. */
  #turn(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const admit = (): void => {
        signal?.removeEventListener("abort", onAbort);
        resolve();
      };
      const onAbort = (): void => {
        this.#waiting.delete(admit);
        reject(aborted(signal));
      };
      this.#waiting.add(admit);
      signal?.addEventListener("abort", onAbort, { once: true });
    });
  }

  #admit(): void {
    for (const admit of this.#waiting) {
      if (this.#inFlight >= this.#limit) return;
      this.#waiting.delete(admit);
      // Counted here and not when it goes on: nobody may come in between.
      this.#inFlight += 1;
      admit();
    }
  }
}

function aborted(signal: AbortSignal | undefined): AbortedError {
  return new AbortedError("waiting to send a part", { cause: signal?.reason });
}
