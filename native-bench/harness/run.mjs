import { verdictOf, targetFor } from "../targets.mjs";

/**
 * One run: what it was asked for, and what it has found.
 *
 * @param options  `{ full, turns, workspace, out }`; `out` takes progress, where it is a terminal
 */
export function makeRun({ full, turns, turnMs, workspace, out }) {
  const rows = [];
  const plots = {};
  const skipped = [];
  const failures = [];
  const resources = new Map();
  const took = {};
  let suite = "";
  let enteredAt = 0;

  return {
    full,
    turns,
    workspace,
    rows,
    plots,
    skipped,
    failures,
    /** Seconds, by suite. */
    took,
    /** Of one turn, in ms: long enough to mean something, short enough for the time that the run may take. */
    turnMs,
    enterSuite(name) {
      suite = name;
      enteredAt = performance.now();
    },
    leaveSuite() {
      took[suite] = Math.round((performance.now() - enteredAt) / 1000);
    },
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
    /** Started once, by whichever suite first asks, and kept for all. */
    shared(name, start) {
      if (!resources.has(name)) resources.set(name, start());
      return resources.get(name);
    },
  };
}
