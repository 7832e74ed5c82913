/**
 * Turns "write these values, all at once" into one append at a time, as a user of a store without a group commit would: while a write
 * is on its way the next values gather.
 *
 * @param write  `(values) => Promise`, one call at a time
 */
export function grouped(write) {
  let waiting = [];
  let busy = false;
  const go = () => {
    const batch = waiting;
    waiting = [];
    busy = true;
    write(batch.map(({ value }) => value)).then(
      () => settle(batch),
      (error) => settle(batch, error),
    );
  };
  const settle = (batch, error) => {
    for (const { resolve, reject } of batch) {
      if (error === undefined) resolve();
      else reject(error);
    }
    busy = false;
    if (waiting.length > 0) go();
  };
  return (value) =>
    new Promise((resolve, reject) => {
      waiting.push({ value, resolve, reject });
      // All of one turn of the loop go together.
      if (!busy && waiting.length === 1) setImmediate(() => busy || go());
    });
}
