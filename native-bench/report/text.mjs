import { cellsOf } from "../harness/format.mjs";
import { targetText } from "../targets.mjs";

const COLUMNS = [
  ["row", "what", "left"],
  ["unit", "unit", "left"],
  ["median", "value", "right"],
  ["spread", "spread", "right"],
  ["peer or limit", "peer", "left"],
  ["ratio", "ratio", "right"],
  ["of turns", "ratioSpread", "right"],
  ["target", "target", "right"],
  ["verdict", "verdict", "left"],
];

/** What must be known before a figure is believed. */
export function headText({ machine, run, suites, blindSpots }) {
  const versions = Object.entries(machine.versions).map(([name, version]) => `${name} ${version}`);
  return [
    `machine    ${machine.cpu}, ${machine.memory}; ${machine.disk}; ${machine.system}; load ${machine.load}`,
    `versions   node ${machine.node}, ${versions.join(", ")}`,
    `turns      ${run.turns} of ${run.turnMs} ms each, contestants in turn; medians, and ratios within each turn`,
    ...suites.map(({ name, mode }) => `${name.padEnd(11)}${mode}`),
    "blind spots",
    ...blindSpots.map((spot) => `  - ${spot}`),
    "",
  ].join("\n");
}

export function tableText(rows) {
  const cells = rows.map((row) => cellsOf(row, targetText));
  const widths = COLUMNS.map(([title, key]) => Math.max(title.length, ...cells.map((row) => row[key].length)));
  const line = (values) =>
    values
      .map((value, i) => (COLUMNS[i][2] === "left" ? value.padEnd(widths[i]) : value.padStart(widths[i])))
      .join("  ")
      .trimEnd();
  return [line(COLUMNS.map(([title]) => title)), ...cells.map((row) => line(COLUMNS.map(([, key]) => row[key])))].join(
    "\n",
  );
}

/** What did not run, and why. */
export function remarksText({ skipped, failures, took }) {
  const seconds = Object.entries(took).map(([suite, s]) => `${suite} ${s}`);
  return [
    `took       ${seconds.join(", ")} s`,
    ...skipped.map(({ what, why }) => `skipped    ${what}: ${why}`),
    ...failures.map(({ what, error }) => `FAILED     ${what}: ${error}`),
  ].join("\n");
}
