import { ratios, summary } from "./statistics.mjs";

/** At least: files are made and code is compiled in it. */
const WARM_UP_MS = { full: 300, quick: 150 };
/**
 * Measures contestants in turn: A B C A B C …, so that a machine that slows down slows all of them down.
 *
 * A contestant is `{ open(): Promise<{ turn(ms): Promise<metrics>, close?(): Promise<void> }> }`: `turn` measures for about so many
 * milliseconds and answers with numbers by name. One that cannot be had here answers from `open` with `{ skipped: "why, and how to get it" }`.
 *
 * @param run          the run: turns, progress, rows
 * @param name         of the comparison, as in "append/journaled 256 × 1 KiB"
 * @param contestants  by short name
 * @param turnMs       of one turn; one before the first is not counted
 * @param warmUp       false: for turns that are long and begin anew each time
 * @returns `{ of(contestant, metric): number[] | undefined, names }`
 */
export async function compare(run, { name, contestants, turnMs, warmUp = true }) {
  const open = new Map();
  const found = new Map();
  try {
    for (const [contestant, { open: start }] of Object.entries(contestants)) {
      run.progress(`${name}: preparing ${contestant}`);
      const started = await guarded(run, name, contestant, start);
      if (started === undefined) continue;
      if (started.skipped !== undefined) {
        run.skip(`${name}: ${contestant}`, started.skipped);
        continue;
      }
      open.set(contestant, started);
      found.set(contestant, []);
    }
    for (let turn = warmUp ? -1 : 0; turn < run.turns; turn++) {
      for (const [contestant, { turn: measure }] of open) {
        run.progress(`${name}: ${contestant}, ${turn < 0 ? "warm-up" : `turn ${turn + 1} of ${run.turns}`}`);
        const metrics = await guarded(run, name, contestant, () =>
          measure(turn < 0 ? Math.max(turnMs / 3, WARM_UP_MS[run.full ? "full" : "quick"]) : turnMs),
        );
        if (metrics === undefined) {
          await close(run, name, contestant, open);
          found.delete(contestant);
        } else if (turn >= 0) found.get(contestant).push(metrics);
      }
    }
  } finally {
    for (const contestant of open.keys()) await close(run, name, contestant, open);
  }
  return {
    names: [...found.keys()],
    of(contestant, metric) {
      const turns = found.get(contestant)?.map((metrics) => metrics[metric]);
      return turns === undefined || turns.length === 0 || turns.includes(undefined) ? undefined : turns;
    },
  };
}

/** One contestant that fails does not take the others with it; the run then ends with an exit code that says so. */
async function guarded(run, name, contestant, act) {
  try {
    return await act();
  } catch (error) {
    run.fail(`${name}: ${contestant}`, error);
    return undefined;
  }
}

async function close(run, name, contestant, open) {
  const { close: end } = open.get(contestant);
  open.delete(contestant);
  await guarded(run, name, contestant, async () => end?.());
}

/**
 * Adds a row: what `own` measured, against what `other` did in the same turns.
 *
 * @param row  `{ id, what, unit, own: [contestant, metric], other?: [contestant, metric, title], convert?: of the other's value }`;
 *             `id` is what targets.mjs names. Nothing is added where one of them did not run.
 */
export function addRow(run, result, { id, what, unit, own, other, convert = (value) => value, details = {} }) {
  const values = result.of(own[0], own[1]);
  const theirs = other === undefined ? undefined : result.of(other[0], other[1])?.map((value) => convert(value));
  if (values === undefined || (other !== undefined && theirs === undefined)) return;
  run.addRow({
    id,
    what,
    unit,
    value: summary(values),
    against:
      theirs === undefined
        ? undefined
        : { title: other[2] ?? other[0], value: summary(theirs), ratio: ratios(values, theirs) },
    details,
  });
}
