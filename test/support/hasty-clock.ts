import { systemClock, type Clock, type ScheduledTask } from "../../src/runtime/clock.ts";

/** The system's clock, but for one: timers of `delayMs` can be made to run now. For deadlines that a test need not sit out. */
export class HastyClock implements Clock {
  readonly #delayMs: number;
  readonly #waiting = new Set<() => void>();

  constructor(delayMs: number) {
    this.#delayMs = delayMs;
  }

  now(): number {
    return systemClock.now();
  }

  monotonic(): number {
    return systemClock.monotonic();
  }

  schedule(delayMs: number, callback: () => void, options?: { readonly background?: boolean }): ScheduledTask {
    if (delayMs !== this.#delayMs) return systemClock.schedule(delayMs, callback, options);
    const task = systemClock.schedule(delayMs, () => run(), options);
    const run = (): void => {
      cancel();
      callback();
    };
    const cancel = (): void => {
      task.cancel();
      this.#waiting.delete(run);
    };
    this.#waiting.add(run);
    return { cancel };
  }

  expire(): void {
    const due = [...this.#waiting];
    for (const run of due) run();
  }
}
