import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";

const PROGRAM = fileURLToPath(new URL("suite-process.mjs", import.meta.url));

/**
 * Runs one suite in a process of its own.
 *
 * @param options  `{ suite, full, turns, turnMs, dir }`: its name, and what `makeRun` and `openWorkspace` take
 * @returns `{ rows, skipped, failures, plots, tookS }`; undefined: it was interrupted, and has cleaned up
 */
export async function runSuite(options) {
  const child = fork(PROGRAM, [JSON.stringify(options)], { stdio: ["ignore", "inherit", "inherit", "ipc"] });
  let interrupted = false;
  const interrupt = () => {
    interrupted = true;
    child.kill("SIGTERM");
  };
  process.on("SIGINT", interrupt).on("SIGTERM", interrupt);
  let found;
  child.once("message", (message) => (found = message));
  const ended = await new Promise((resolve) => child.once("exit", (code, signal) => resolve(signal ?? code)));
  process.off("SIGINT", interrupt).off("SIGTERM", interrupt);
  if (interrupted) return undefined;
  const failures = [{ suite: options.suite, what: options.suite, error: `its process ended with ${ended}` }];
  return found ?? { rows: [], skipped: [], failures, plots: {}, tookS: 0 };
}
