import type { Clock, ScheduledTask } from "../../src/runtime/clock.ts";

interface Timer extends ScheduledTask {
  readonly at: number;
  readonly callback: () => void;
}

/** Time that stands still until a test moves it. Wall clock and monotonic clock are the same, from 0, but for `jumpWall`. */
export class VirtualClock implements Clock {
  #nowMs = 0;
  #wallAheadMs = 0;
  readonly #timers = new Set<Timer>();

  now(): number {
    return Math.floor(this.#nowMs + this.#wallAheadMs);
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

  /** The wall clock jumps; the monotonic one and all timers stand still, as in a suspended machine. */
  jumpWall(ms: number): void {
    this.#wallAheadMs += ms;
  }

  /** Time goes on by `ms` while nothing runs: timers that fell due run late, later. */
  stall(ms: number): void {
    this.#nowMs += ms;
  }

  /**
   * Time goes on by `ms`: runs the timers that fall due, each with all that follows from it in `turns` of the event loop. For work
   * without real I/O.
   */
  async advance(ms: number, turns = QUIET_TURNS): Promise<void> {
    const until = this.#nowMs + ms;
    for (;;) {
      await quiet(turns);
      let due: Timer | undefined;
      for (const timer of this.#timers) if (timer.at <= until && (due === undefined || timer.at < due.at)) due = timer;
      if (due === undefined) break;
      this.#timers.delete(due);
      this.#nowMs = Math.max(this.#nowMs, due.at);
      due.callback();
    }
    this.#nowMs = until;
  }

  /** The result of `promise`, with time running on whenever nothing else can happen. For work without real I/O. */
  async run<T>(promise: Promise<T>): Promise<T> {
    let settled = false;
    const isSettled = (): boolean => settled;
    const done = promise.finally(() => {
      settled = true;
    });
    // Reported by the `await` at the end; until then it is not unhandled.
    done.catch(() => undefined);
    for (;;) {
      for (let turn = 0; turn < QUIET_TURNS && !isSettled(); turn++) await nextTurn();
      // Long work in short steps needs no timer.
      for (let turn = 0; turn < PATIENCE_TURNS && !isSettled() && this.pending === 0; turn++) await nextTurn();
      if (isSettled()) return done;
      if (!this.runNext()) throw new Error("nothing is scheduled, and the promise is still pending");
    }
  }
}

/** Turns of the event loop in which work without real I/O comes as far as it can without time. */
const QUIET_TURNS = 25;

const PATIENCE_TURNS = 10_000;

/** Everything that needs no time is done. For work without real I/O. */
export async function quiet(turns = QUIET_TURNS): Promise<void> {
  for (let turn = 0; turn < turns; turn++) await nextTurn();
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
