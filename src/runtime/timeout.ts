import type { Clock, ScheduledTask } from "./clock.ts";

/** One span of time for several waits, one after the other. */
export class Timeout {
  readonly #clock: Clock;
  readonly #task: ScheduledTask;
  readonly #over: Promise<void>;
  #isOver = false;

  constructor(clock: Clock, spanMs: number) {
    this.#clock = clock;
    let end = (): void => undefined;
    this.#over = new Promise((resolve) => {
      end = resolve;
    });
    this.#task = clock.schedule(spanMs, () => {
      this.#isOver = true;
      end();
    });
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /**
   * true: `work` was done before the time was up, or `graceMs` after this call if that is later; rejects if it rejected by then. What
   * becomes of it afterwards nobody hears.
   */
  async before(work: Promise<unknown>, graceMs = 0): Promise<boolean> {
    const done = work.then(() => true);
    done.catch(() => undefined);
    let grace: ScheduledTask | undefined;
    const over = this.#over.then(
      () =>
        new Promise<boolean>((resolve) => {
          if (graceMs === 0) resolve(false);
          else grace = this.#clock.schedule(graceMs, () => resolve(false));
        }),
    );
    try {
      return await Promise.race([done, over]);
    } finally {
      grace?.cancel();
    }
  }

  /** Ends it. REQUIRES: no wait follows. */
  stop(): void {
    this.#task.cancel();
  }
}
