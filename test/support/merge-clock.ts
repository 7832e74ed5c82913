import { systemClock, type Clock, type ScheduledTask } from "../../src/runtime/clock.ts";

/** `merge.check_interval` of an engine whose looks a test makes: no other timer has it. */
export const LOOK_MS = 54_321;
export const MAX_AGE_MS = 600_000;

/** The system's clock, but merging looks when the test says so, and its time can be put forward. */
export class MergeClock implements Clock {
  #aheadMs = 0;
  #look: (() => void) | undefined;
  #looks = 0;

  now(): number {
    return systemClock.now();
  }

  monotonic(): number {
    return systemClock.monotonic() + this.#aheadMs;
  }

  schedule(delayMs: number, callback: () => void, options?: { readonly background?: boolean }): ScheduledTask {
    if (delayMs !== LOOK_MS) return systemClock.schedule(delayMs, callback, options);
    this.#look = callback;
    this.#looks++;
    return { cancel: () => (this.#look = undefined) };
  }

  /** Makes merging look, and waits until it has done what it found. */
  async look(): Promise<void> {
    const look = this.#look;
    const looks = this.#looks;
    if (look === undefined) throw new Error("nobody looks");
    look();
    while (this.#looks === looks) await new Promise((resolve) => setImmediate(resolve));
  }

  /** Everything inline is settled, old, and merged; then whatever else is due. */
  async mergeAll(): Promise<void> {
    // Twice: what is old is told by the links that were there that long ago.
    for (let i = 0; i < 2; i++) {
      await this.look();
      this.#aheadMs += MAX_AGE_MS;
    }
    await this.look();
  }
}
