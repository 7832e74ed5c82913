import type { Clock, ScheduledTask } from "../../src/runtime/clock.ts";

interface Timer extends ScheduledTask {
  readonly at: number;
  readonly callback: () => void;
}

/** Time that stands still until a test moves it. Wall clock and monotonic clock are the same, from 0. */
export class VirtualClock implements Clock {
  #nowMs = 0;
  readonly #timers = new Set<Timer>();

  now(): number {
    return this.#nowMs;
  }

  monotonic(): number {
    return this.#nowMs;
  }

  schedule(delayMs: number, callback: () => void): ScheduledTask {
    const timer: Timer = {
      at: this.#nowMs + delayMs,
      callback,
      cancel: () => {
        this.#timers.delete(timer);
      },
    };
    this.#timers.add(timer);
    return timer;
  }

  /** Timers not yet run or cancelled: 0 after a call that cleaned up. */
  get pending(): number {
    return this.#timers.size;
  }

  /** Moves on to the next timer and runs it; false when there is none. */
  runNext(): boolean {
    const next = [...this.#timers].sort((a, b) => a.at - b.at)[0];
    if (next === undefined) return false;
    this.#timers.delete(next);
    this.#nowMs = Math.max(this.#nowMs, next.at);
    next.callback();
    return true;
  }

  /** Moves on by `spanMs`, and runs on its way what falls due, with turns of the event loop behind each. */
  async advance(spanMs: number): Promise<void> {
    const endMs = this.#nowMs + spanMs;
    await turns();
    for (;;) {
      let next: Timer | undefined;
      for (const timer of this.#timers)
        if (timer.at <= endMs && (next === undefined || timer.at < next.at)) next = timer;
      if (next === undefined) break;
      this.#timers.delete(next);
      this.#nowMs = Math.max(this.#nowMs, next.at);
      next.callback();
      await turns();
    }
    this.#nowMs = endMs;
  }

  /** The result of `promise`, with time running on whenever nothing else can happen. For work without real I/O. */
  async run<T>(promise: Promise<T>): Promise<T> {
    let settled = false;
    const done = promise.finally(() => {
      settled = true;
    });
    // Reported by the `await` at the end; until then it is not unhandled.
    done.catch(() => undefined);
    for (;;) {
      await new Promise((resolve) => setImmediate(resolve));
      if (settled) return done;
      if (!this.runNext()) throw new Error("nothing is scheduled, and the promise is still pending");
    }
  }
}

/** What was set off goes on as far as it can without the clock, or nearly. */
async function turns(): Promise<void> {
  for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve));
}
