/**
 * node suite-process.mjs OPTIONS, as a child of main.mjs: runs one suite and sends what it found. A process of its own: behind ten other
 * suites' memory and sockets the same PUTs take three times as long.
 */
import { SUITES } from "../suites/all.mjs";
import { makeRun } from "./run.mjs";
import { openWorkspace } from "./workspace.mjs";

const { suite: name, full, turns, turnMs, dir } = JSON.parse(process.argv[2]);
const suite = SUITES.find((one) => one.name === name);
const workspace = await openWorkspace(dir);
const run = makeRun({ suite: name, full, turns, turnMs, workspace, out: process.stderr });
const began = performance.now();
try {
  await suite.run(run);
} catch (error) {
  run.fail(name, error);
} finally {
  run.clearProgress();
  await workspace.close();
}
const { rows, skipped, failures, plots } = run;
const tookS = Math.round((performance.now() - began) / 1000);
process.send({ rows, skipped, failures, plots, tookS }, () => process.exit(0));
