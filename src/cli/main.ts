#!/usr/bin/env node
import { createRequire } from "node:module";

import { systemRuntime } from "../runtime/runtime.ts";
import { Interruption } from "./interruption.ts";
import { silenceNodeVersionWarning } from "./node-version-warning.ts";
import { run } from "./run.ts";

silenceNodeVersionWarning(process.env);

const interruption = new Interruption((exitCode) => process.exit(exitCode));
for (const name of ["SIGINT", "SIGTERM"] as const) process.on(name, () => interruption.receive(name));

const { version } = createRequire(import.meta.url)("../../package.json") as { version: string };

const exitCode = await run(process.argv.slice(2), {
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  stderrIsTerminal: process.stderr.isTTY,
  stdoutColumns: process.stdout.isTTY ? process.stdout.columns : undefined,
  env: process.env,
  cwd: process.cwd(),
  version,
  runtime: systemRuntime,
  interruption,
});
// Not left to the event loop: a stdin that was not read to its end would keep the process alive.
process.exit(exitCode);
