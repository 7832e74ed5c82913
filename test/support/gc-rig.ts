import type { ObjectKey } from "../../src/domain.ts";
import type { Engine, OpenOptions } from "../../src/engine/engine.ts";
import type { ObjectStore } from "../../src/object-store/object-store.ts";
import { systemClock, type Clock } from "../../src/runtime/clock.ts";
import type { Logger } from "../../src/runtime/logger.ts";

export const GRACE_MS = 3_600_000;
/** Of the configuration of these tests; nothing else uses this delay. */
export const ROUND_MS = 654_321;
const PACE_MS = 500;

/** An engine whose rounds of garbage collection a test begins, and whose clocks it moves. */
export interface Collector {
  readonly engine: Engine;
  readonly clock: GcClock;
  /** One round; resolves when it has ended. */
  readonly round: () => Promise<void>;
}

/** The system's time, moved ahead; rounds run only when a test says so, and pauses between deletes not at all. */
export class GcClock implements Clock {
  aheadMs = 0;
  /** Of the wall clock alone. */
  wallAheadMs = 0;
  #timers: (() => void)[] = [];
  #scheduled = 0;

  now(): number {
    return Math.floor(systemClock.now() + this.aheadMs + this.wallAheadMs);
  }

  monotonic(): number {
    return systemClock.monotonic() + this.aheadMs;
  }

  schedule(delayMs: number, callback: () => void, options?: { readonly background?: boolean }) {
    if (delayMs !== ROUND_MS)
      return systemClock.schedule(
        delayMs > 0 && delayMs <= PACE_MS && options === undefined ? 1 : delayMs,
        callback,
        options,
      );
    this.#scheduled++;
    this.#timers.push(callback);
    return { cancel: () => (this.#timers = this.#timers.filter((timer) => timer !== callback)) };
  }

  async round(): Promise<void> {
    const count = this.#scheduled;
    const timer = this.#timers.shift();
    if (timer === undefined) throw new Error("no round is due");
    timer();
    while (this.#scheduled === count) await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

export async function openCollector(
  open: (options: OpenOptions) => Promise<Engine>,
  logger?: Logger,
): Promise<Collector> {
  const clock = new GcClock();
  const engine = await open({ runtime: { clock, ...(logger === undefined ? {} : { logger }) } });
  return { engine, clock, round: () => clock.round() };
}

export async function keysOf(store: ObjectStore, prefix = ""): Promise<ObjectKey[]> {
  const keys: ObjectKey[] = [];
  for await (const { key } of store.list(prefix)) keys.push(key);
  return keys;
}
