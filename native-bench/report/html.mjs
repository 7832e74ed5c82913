import { cellsOf } from "../harness/format.mjs";
import { targetText } from "../targets.mjs";
import { escapeHtml, plotSvg } from "./plot.mjs";
import { PLOTS } from "./plots.mjs";
import { STYLE } from "./style.mjs";

const COLUMNS = [
  ["what", "row"],
  ["unit", "unit"],
  ["value", "median"],
  ["spread", "spread"],
  ["peer", "peer or limit"],
  ["ratio", "ratio"],
  ["ratioSpread", "of turns"],
  ["target", "target"],
  ["verdict", "verdict"],
];
const NUMBERS = new Set(["value", "spread", "ratio", "ratioSpread", "target"]);

/** A whole page that needs nothing else: no script, no font, no image from elsewhere. `found` is what `--json` writes. */
export function htmlReport(found) {
  const { machine, run, rows, skipped, failures, plots, blindSpots, suites, startedAt } = found;
  const withTarget = rows.filter(({ verdict }) => verdict !== "-");
  const met = withTarget.filter(({ verdict }) => verdict === "met").length;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>tierlog benchmark, ${escapeHtml(startedAt.slice(0, 10))}</title>
<style>${STYLE}</style>
</head>
<body>
<main>
<h1>tierlog benchmark</h1>
<p class="lead">${met} of ${withTarget.length} measured targets met. ${rows.length} rows, ${run.turns} turns of each contestant, ${run.full ? "all points" : "quick run"}, ${escapeHtml(startedAt.replace("T", " ").slice(0, 16))} UTC.</p>
${
  failures.length === 0
    ? ""
    : list(
        "Failed to run",
        failures.map(({ what, error }) => `${what}: ${error.split("\n", 1)[0]}`),
        "bad",
      )
}
<section class="plots">
${PLOTS.map((plot) => figure(plot, plots[plot.name] ?? {})).join("\n")}
</section>
<h2>Table</h2>
<p>Medians of turns taken in turn; ratios are of the same turn, so what slows the machine down for a while slows both sides.</p>
${suites
  .map((suite) =>
    tableOf(
      suite,
      rows.filter((row) => row.suite === suite.name),
    ),
  )
  .join("\n")}
${
  skipped.length === 0
    ? ""
    : list(
        "Skipped",
        skipped.map(({ what, why }) => `${what}: ${why}`),
      )
}
<h2>Where and how</h2>
<dl>
${pairs({ Processor: machine.cpu, Memory: machine.memory, Disk: machine.disk, System: machine.system, Load: machine.load, Node: machine.node })}
${pairs(machine.versions)}
</dl>
${list("Blind spots", blindSpots)}
</main>
</body>
</html>
`;
}

function figure({ title, note, x, y }, series) {
  return `<figure><h2>${escapeHtml(title)}</h2>${plotSvg({ title, x, y, series })}<figcaption>${escapeHtml(note)}</figcaption></figure>`;
}

function tableOf({ name, mode }, rows) {
  if (rows.length === 0) return "";
  const lines = rows.map((row) => {
    const cells = cellsOf(row, targetText);
    const columns = COLUMNS.map(([key]) => {
      const kind = key === "verdict" ? ` class="${cells.verdict}"` : NUMBERS.has(key) ? ` class="number"` : "";
      const sign = key === "verdict" && cells.verdict !== "" ? (cells.verdict === "met" ? "✓ " : "✗ ") : "";
      return `<td${kind}>${sign}${escapeHtml(cells[key])}</td>`;
    });
    return `<tr>${columns.join("")}</tr>`;
  });
  const titles = COLUMNS.map(([key, title]) => `<th${NUMBERS.has(key) ? ` class="number"` : ""}>${title}</th>`);
  return (
    `<h3>${escapeHtml(name)}</h3><p class="mode">${escapeHtml(mode)}</p>` +
    `<div class="scroll"><table><thead><tr>${titles.join("")}</tr></thead><tbody>${lines.join("")}</tbody></table></div>`
  );
}

const list = (title, items, kind = "") =>
  `<h2>${title}</h2><ul class="${kind}">${items.map((item) => `<li>${escapeHtml(item)}</li>`).join("")}</ul>`;

const pairs = (values) =>
  Object.entries(values)
    .map(([name, value]) => `<div><dt>${escapeHtml(name)}</dt><dd>${escapeHtml(value)}</dd></div>`)
    .join("");
