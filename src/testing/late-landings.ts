import type { Clock, ScheduledTask } from "../runtime/clock.ts";

/** Requests whose clients were told nothing and that take effect later. */
export class LateLandings {
  readonly #clock: Clock;
  readonly #waiting = new Map<() => Promise<void>, ScheduledTask | undefined>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Not yet begun. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** Runs `land`, which never rejects, after `delayMs`; `Infinity`: only when told to. */
  hold(land: () => Promise<void>, delayMs: number): void {
    // Infinity would make Node's timer run at once.
    const task = Number.isFinite(delayMs) ? this.#clock.schedule(delayMs, () => void this.#begin(land)) : undefined;
    this.#waiting.set(land, task);
  }

  /** Begins all that wait, oldest first, each after the one before it has landed. */
  async landAll(): Promise<void> {
    for (const land of this.#waiting.keys()) await this.#begin(land);
  }

  /** Those that wait never land. */
  drop(): void {
    for (const task of this.#waiting.values()) task?.cancel();
    this.#waiting.clear();
  }

  async #begin(land: () => Promise<void>): Promise<void> {
    this.#waiting.get(land)?.cancel();
    if (this.#waiting.delete(land)) await land();
  }
}
