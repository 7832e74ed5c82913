/**
 * Resolves in the next turn of the event loop, when I/O that is due has run. Not time, so not injected; and not `sleep(clock, 0)`:
 * Node runs a row of short timers in one turn when each takes longer than a millisecond.
 */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
