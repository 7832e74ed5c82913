import { sleep, type Clock } from "../runtime/clock.ts";

export interface PaceOptions {
  readonly clock: Clock;
  readonly bytesPerSecond: number;
  /** The machine has more urgent things to do: merging stands still meanwhile. */
  readonly isBusy: () => boolean;
}

const LOOK_AGAIN_MS = 50;

/** Holds merging to a number of bytes a second; what one second leaves over may be used in the next. */
export class Pace {
  readonly #options: PaceOptions;
  #left: number;
  #filledAtMs: number;

  constructor(options: PaceOptions) {
    this.#options = options;
    this.#left = options.bytesPerSecond;
    this.#filledAtMs = options.clock.monotonic();
  }

  /** Counts `bytes` about to be written, and waits until they may be. Rejects as soon as `signal` fires. */
  async spend(bytes: number, signal: AbortSignal): Promise<void> {
    const { clock, bytesPerSecond, isBusy } = this.#options;
    while (isBusy()) await sleep(clock, LOOK_AGAIN_MS, signal);
    const nowMs = clock.monotonic();
    this.#left = Math.min(bytesPerSecond, this.#left + ((nowMs - this.#filledAtMs) / 1000) * bytesPerSecond);
    this.#filledAtMs = nowMs;
    this.#left -= bytes;
    if (this.#left < 0) await sleep(clock, Math.ceil((-this.#left / bytesPerSecond) * 1000), signal);
  }
}
