import { readFile, writeFile } from "node:fs/promises";

import { cellsOf } from "../harness/format.mjs";
import { TARGETS, targetText } from "../targets.mjs";

const BEGIN = "<!-- measured: begin. Written by npm run bench:full -- --markdown -->";
const END = "<!-- measured: end -->";
const FILE = new URL("../../docs/performance.md", import.meta.url);

/** Puts what was found between the two markers of docs/performance.md; the rest of it stays. */
export async function writeMarkdown(found) {
  const text = await readFile(FILE, "utf8");
  await writeFile(FILE, withMeasured(text, found));
}

/** `text` with what stands between its markers replaced; throws where they are not there. */
export function withMeasured(text, found) {
  const [begin, end] = [text.indexOf(BEGIN), text.indexOf(END)];
  if (begin < 0 || end < begin) throw new Error(`docs/performance.md has no "${BEGIN}" before "${END}"`);
  return `${text.slice(0, begin + BEGIN.length)}\n\n${measuredText(found)}\n${text.slice(end)}`;
}

function measuredText({ machine, run, rows, skipped, startedAt }) {
  const versions = Object.entries(machine.versions).map(([name, version]) => `${name} ${version}`);
  const named = new Map(rows.map((row) => [row.id, row]));
  const targets = TARGETS.map((target) => {
    const row = named.get(target.row);
    if (row === undefined) return line(target.title, "not measured", "", targetText(target), "");
    const { value, unit, ratio, ratioSpread, spread, verdict } = cellsOf(row, targetText);
    const measured = target.value === undefined ? `${ratio} ×` : `${value} ${unit}`;
    const around = target.value === undefined ? ratioSpread : spread;
    return line(target.title, measured, around, targetText(target), verdict);
  });
  const all = rows.map((row) => {
    const { what, unit, value, spread, peer, ratio, ratioSpread } = cellsOf(row, targetText);
    return line(what, `${value} ${unit}`, spread, peer, ratio, ratioSpread);
  });
  return [
    `Measured on ${startedAt.slice(0, 10)}: ${machine.cpu}, ${machine.memory}, ${machine.disk}, ${machine.system}, node ${machine.node};`,
    `${run.turns} turns of ${run.turnMs} ms. ${versions.join(", ")}.`,
    "",
    "| target | measured | of turns | wanted | verdict |",
    "| --- | --- | --- | --- | --- |",
    ...targets,
    "",
    "| row | median | spread | peer or limit | ratio | of turns |",
    "| --- | --- | --- | --- | --- | --- |",
    ...all,
    ...(skipped.length === 0 ? [] : ["", ...skipped.map(({ what, why }) => `- Skipped: ${what}: ${why}`)]),
    "",
  ].join("\n");
}

/** Of a table. A bar in a cell would begin the next one. */
function line(...cells) {
  return `|${cells.map((cell) => (cell === "" ? " " : ` ${cell.replaceAll("|", "\\|")} `)).join("|")}|`;
}
