/** `npm run bench`, `npm run bench:full`: see docs/performance.md, or `--help`. */
import { readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { parseArgs } from "node:util";

import { describeMachine } from "./harness/machine.mjs";
import { runSuite } from "./harness/run-suite.mjs";
import { htmlReport } from "./report/html.mjs";
import { writeMarkdown } from "./report/markdown.mjs";
import { headText, remarksText, tableText } from "./report/text.mjs";
import { SUITES } from "./suites/all.mjs";

const HELP = `usage: npm run bench -- [options]        quick, at most 3 minutes
       npm run bench:full -- [options]   all points, at most 40 minutes

  --suite NAME       only this suite; again for more of them (a quick run leaves out loop, merge and verify)
  --turns N          turns of each contestant (default 5)
  --turn-ms MS       of one turn, before a suite asks for more (default 100, with bench:full 1000)
  --dir DIRECTORY    where to write: on the disk that is to be measured (default: the system's temporary directory)
  --json FILE        everything that was found
  --html FILE        a report with plots, in one file
  --markdown         rewrites the table between the markers of docs/performance.md
  --from FILE        measures nothing: what an earlier --json wrote, for --html and --markdown
  --list             the suites
  --help`;

const GENERAL_BLIND_SPOTS = [
  "whether a sync really reaches the disk cannot be seen from within a virtual machine: believe ratios to a bare sync, not numbers",
  "clients, engine and null S3 sink share the cores; a server of its own would leave more to the client",
  "the sink has no TLS and checks nothing: figures are the cost of the client, not the speed of a store",
];

const { values } = parseArgs({
  options: {
    full: { type: "boolean", default: false },
    suite: { type: "string", multiple: true },
    turns: { type: "string", default: "5" },
    "turn-ms": { type: "string" },
    dir: { type: "string" },
    json: { type: "string" },
    html: { type: "string" },
    markdown: { type: "boolean", default: false },
    from: { type: "string" },
    list: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
  allowPositionals: false,
});

// The SDK's own switch: on a console full of figures its advice on Node versions is noise.
process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED ??= "true";
process.exitCode = await main();

async function main() {
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  if (values.list) {
    for (const { name, mode } of SUITES) console.log(`${name.padEnd(12)}${mode}`);
    return 0;
  }
  if (values.from !== undefined) {
    const found = JSON.parse(await readFile(values.from, "utf8"));
    console.log(headText(found));
    printFound(found);
    await write(found);
    return 0;
  }
  const turns = Number(values.turns);
  if (!Number.isSafeInteger(turns) || turns < 1 || turns > 1000) return refuse(`--turns ${values.turns}: 1 … 1000`);
  const turnMs = Number(values["turn-ms"] ?? (values.full ? 1000 : 100));
  if (!(turnMs >= 1 && turnMs <= 60_000)) return refuse(`--turn-ms ${values["turn-ms"]}: 1 … 60,000`);
  const unknown = values.suite?.find((name) => !SUITES.some((suite) => suite.name === name));
  if (unknown !== undefined)
    return refuse(`--suite ${unknown}: there are ${SUITES.map(({ name }) => name).join(", ")}`);
  const suites = SUITES.filter(
    ({ name, onlyFull }) => values.suite?.includes(name) ?? (values.full || onlyFull !== true),
  );

  const head = {
    machine: describeMachine(values.dir ?? tmpdir()),
    run: { turns, turnMs, full: values.full },
    suites: suites.map(({ name, mode }) => ({ name, mode })),
    blindSpots: [...GENERAL_BLIND_SPOTS, ...suites.flatMap((suite) => suite.blindSpots)],
    startedAt: new Date().toISOString(),
  };
  console.log(headText(head));
  const found = { ...head, rows: [], skipped: [], failures: [], plots: {}, took: {} };
  for (const { name } of suites) {
    const part = await runSuite({ suite: name, full: values.full, turns, turnMs, dir: values.dir });
    if (part === undefined) return 130;
    for (const list of ["rows", "skipped", "failures"]) found[list].push(...part[list]);
    Object.assign(found.plots, part.plots);
    found.took[name] = part.tookS;
  }
  printFound(found);
  await write(found);
  // A target that is missed is a finding; something that did not run is not one.
  return found.failures.length === 0 ? 0 : 1;
}

function printFound(found) {
  console.log(tableText(found.rows));
  const remarks = remarksText(found);
  if (remarks !== "") console.log(`\n${remarks}`);
}

async function write(found) {
  if (values.json !== undefined) await writeFile(values.json, `${JSON.stringify(found, null, 2)}\n`);
  if (values.html !== undefined) await writeFile(values.html, htmlReport(found));
  if (values.markdown) await writeMarkdown(found);
}

function refuse(problem) {
  console.error(`${problem}\n\n${HELP}`);
  return 2;
}
