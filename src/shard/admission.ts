import { AbortedError, OverloadedError } from "../errors.ts";
import type { Clock, ScheduledTask } from "../runtime/clock.ts";

export interface AdmissionOptions {
  readonly clock: Clock;
  /** `flush.max_pending`. */
  readonly maxBytes: number;
  /** `flush.max_wait`. */
  readonly maxWaitMs: number;
}

interface Waiting {
  readonly bytes: number;
  readonly granted: () => void;
  readonly stop: () => void;
}

/**
 * Back-pressure: bounds the bytes that wait for their ack, over all shards of an engine. Appends enter in the order of the
 * calls, so records of one producer never overtake each other while they wait.
 */
export class Admission {
  readonly #options: AdmissionOptions;
  readonly #waiting: Waiting[] = [];
  #bytes = 0;

  constructor(options: AdmissionOptions) {
    this.#options = options;
  }

  get pendingBytes(): number {
    return this.#bytes;
  }

  /**
   * Calls `granted` once there is room, at once where there is; afterwards the caller owes `leave(bytes)`. Calls `refused` with
   * `OverloadedError` after `maxWaitMs`, or `AbortedError` when the signal fires first. Exactly one of the two is called.
   * REQUIRES: bytes ≤ maxBytes.
   */
  enter(bytes: number, granted: () => void, refused: (error: Error) => void, signal?: AbortSignal): void {
    if (signal?.aborted === true) {
      refused(new AbortedError("append", { cause: signal.reason }));
      return;
    }
    if (this.#waiting.length === 0 && this.#bytes + bytes <= this.#options.maxBytes) {
      this.#bytes += bytes;
      granted();
      return;
    }
    const drop = (error: Error): void => {
      waiting.stop();
      this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
      refused(error);
      // The one behind may be smaller and fit.
      this.#grant();
    };
    const onAbort = (): void => drop(new AbortedError("append", { cause: signal?.reason }));
    const { clock, maxBytes, maxWaitMs } = this.#options;
    const timer: ScheduledTask = clock.schedule(maxWaitMs, () =>
      drop(new OverloadedError(this.#bytes, maxBytes, maxWaitMs)),
    );
    const waiting: Waiting = {
      bytes,
      granted,
      stop: () => {
        timer.cancel();
        signal?.removeEventListener("abort", onAbort);
      },
    };
    signal?.addEventListener("abort", onAbort, { once: true });
    this.#waiting.push(waiting);
  }

  leave(bytes: number): void {
    this.#bytes -= bytes;
    this.#grant();
  }

  #grant(): void {
    for (;;) {
      const next = this.#waiting[0];
      if (next === undefined || this.#bytes + next.bytes > this.#options.maxBytes) return;
      this.#waiting.shift();
      this.#bytes += next.bytes;
      next.stop();
      next.granted();
    }
  }
}
