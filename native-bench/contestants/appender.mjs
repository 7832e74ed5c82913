import { closedLoop } from "../load/closed-loop.mjs";

/**
 * An appender, `{ append(producer): Promise, close() }`, as a contestant under a closed loop.
 *
 * @param open      makes the appender, or answers `{ skipped }`
 * @param options   `producers`, and `bytes` of one append
 */
export function appender(open, { producers, bytes }) {
  return {
    async open() {
      const opened = await open();
      if (opened.skipped !== undefined) return opened;
      // Files are made, connections opened.
      await opened.append(0);
      return {
        async turn(ms) {
          const found = await closedLoop(opened.append, producers, ms);
          return { ...found, bytesPerSecond: found.rate * bytes };
        },
        close: () => opened.close(),
      };
    },
  };
}
