import type { Clock } from "./clock.ts";

/** A moment by both clocks: the monotonic one stands still while the machine is suspended, the other may be set back. */
export interface Instant {
  readonly monotonicMs: number;
  readonly wallMs: number;
}

export function instantOf(clock: Clock): Instant {
  return { monotonicMs: clock.monotonic(), wallMs: clock.now() };
}

/** By the clock that says more. Infinite for what never was. */
export function ageMs(clock: Clock, instant: Instant | undefined): number {
  if (instant === undefined) return Number.POSITIVE_INFINITY;
  return Math.max(clock.monotonic() - instant.monotonicMs, clock.now() - instant.wallMs);
}
