import { verdictOf, targetFor } from "../targets.mjs";

/**
 * One suite's run: what it was asked for, and what it has found.
 *
 * @param options  `{ suite, full, turns, turnMs, workspace, out }`; `out` takes progress, where it is a terminal
 */
export function makeRun({ suite, full, turns, turnMs, workspace, out }) {
  const rows = [];
  const plots = {};
  const skipped = [];
  const failures = [];
  const resources = new Map();

  return {
    full,
    turns,
    workspace,
    rows,
    plots,
    skipped,
    failures,
    /** Of one turn, in ms: long enough to mean something, short enough for the time that the run may take. */
    turnMs,
    progress(text) {
      if (out.isTTY) out.write(`\r\u001B[2K${text.slice(0, (out.columns ?? 80) - 1)}`);
    },
    clearProgress() {
      if (out.isTTY) out.write("\r\u001B[2K");
    },
    addRow(row) {
      const target = targetFor(row.id);
      rows.push({ suite, ...row, target, verdict: verdictOf(row, target) });
    },
    /** A point of a plot of the report. */
    addPoint(plot, series, x, y) {
      plots[plot] ??= {};
      plots[plot][series] ??= [];
      plots[plot][series].push([x, y]);
    },
    skip(what, why) {
      skipped.push({ suite, what, why });
    },
    fail(what, error) {
      failures.push({ suite, what, error: error?.stack ?? String(error) });
    },
    /** Started once, by whoever first asks, and kept for all of the suite. */
    shared(name, start) {
      if (!resources.has(name)) resources.set(name, start());
      return resources.get(name);
    },
  };
}
