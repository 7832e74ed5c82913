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
  /** undefined: it gave up. */
  granted: (() => void) | undefined;
  readonly stop: () => void;
}

/**
 * Back-pressure: bounds the bytes that wait for their ack, over all shards of an engine. Appends enter in the order of the
 * calls, so records of one producer never overtake each other while they wait.
 */
export class Admission {
  readonly #options: AdmissionOptions;
  /** In the order of the calls, from `#next` on. One that gives up stays until its turn: a hundred thousand may do so at once. */
  readonly #waiting: Waiting[] = [];
  #next = 0;
  #bytes = 0;
  #granting = false;

  constructor(options: AdmissionOptions) {
    this.#options = options;
  }

  get pendingBytes(): number {
    return this.#bytes;
  }

  /** true: there is room, nobody waits for it, and the caller owes `leave(bytes)` now. */
  tryEnter(bytes: number): boolean {
    if (this.#next !== this.#waiting.length || this.#bytes + bytes > this.#options.maxBytes) return false;
    this.#bytes += bytes;
    return true;
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
    if (this.tryEnter(bytes)) {
      granted();
      return;
    }
    const drop = (error: Error): void => {
      waiting.stop();
      waiting.granted = undefined;
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
    // One that is granted may leave at once (its shard is closed): the loop below goes on, a call within a call for each of
    // thousands would exhaust the stack.
    if (this.#granting) return;
    this.#granting = true;
    try {
      for (; this.#next < this.#waiting.length; this.#next++) {
        const next = this.#waiting[this.#next];
        if (next?.granted === undefined) continue;
        if (this.#bytes + next.bytes > this.#options.maxBytes) break;
        this.#bytes += next.bytes;
        next.stop();
        next.granted();
      }
      // Half at a time: to take each one off the front would move all the others.
      if (this.#next * 2 >= this.#waiting.length) {
        this.#waiting.splice(0, this.#next);
        this.#next = 0;
      }
    } finally {
      this.#granting = false;
    }
  }
}
