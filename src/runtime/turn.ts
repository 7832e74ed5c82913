import type { ScheduledTask } from "./clock.ts";

const waiting: (() => void)[] = [];

/**
 * Lets pending I/O and timers run before the caller goes on: for loops that could keep the event loop to themselves. Of all that
 * wait here one goes on in each turn, first come first served: steps of several tasks, short each, would block the loop together.
 */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    waiting.push(resolve);
    if (waiting.length === 1) setImmediate(goOn);
  });
}

function goOn(): void {
  waiting.shift()?.();
  if (waiting.length > 0) setImmediate(goOn);
}

/** Runs `callback` once everything that this turn of the event loop still has to do is done: what comes in meanwhile can ride with it. */
export function afterThisTurn(callback: () => void): ScheduledTask {
  const immediate = setImmediate(callback);
  return { cancel: () => clearImmediate(immediate) };
}
