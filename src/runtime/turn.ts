import type { ScheduledTask } from "./clock.ts";

/** Of one turn, at most, beside the step that it ends with: what comes from disk and network waits so long. */
const TURN_MS = 0.5;

const waiting: (() => void)[] = [];
let scheduled = false;

/**
 * Lets pending I/O and timers run before the caller goes on: for loops that could keep the event loop to themselves. Those that wait
 * here go on one by one, first come first served, at least one in each turn and no more than half a millisecond's worth: steps of
 * several tasks, short each, would block the loop together; one in each turn, however short, would keep all of them slow.
 */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    waiting.push(resolve);
    if (scheduled) return;
    scheduled = true;
    setImmediate(goOn);
  });
}

function goOn(): void {
  const endMs = performance.now() + TURN_MS;
  const step = (): void => {
    waiting.shift()?.();
    // A tick that a microtask asks for comes when the last microtask is done: by then the step is, too.
    queueMicrotask(() => process.nextTick(behindStep));
  };
  const behindStep = (): void => {
    if (waiting.length === 0) scheduled = false;
    else if (performance.now() < endMs) step();
    else setImmediate(goOn);
  };
  step();
}

/** Runs `callback` once everything that this turn of the event loop still has to do is done: what comes in meanwhile can ride with it. */
export function afterThisTurn(callback: () => void): ScheduledTask {
  const immediate = setImmediate(callback);
  return { cancel: () => clearImmediate(immediate) };
}
