/** Lets pending I/O and timers run before the caller goes on: for loops that could keep the event loop to themselves. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
