import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);
const LIBRARIES = { lz4: ["-l:liblz4.so.1"] };

/**
 * Compiles one of the C programs of this directory into the workspace.
 *
 * @returns `(...arguments) => Promise<metrics>`, or undefined where it cannot be built here: no compiler, no library
 */
export async function buildProgram(workspace, name) {
  const source = fileURLToPath(new URL(`${name}.c`, import.meta.url));
  const program = workspace.path(name);
  try {
    await run("cc", ["-O2", "-o", program, source, ...(LIBRARIES[name] ?? [])], { timeout: 60_000 });
  } catch {
    return undefined;
  }
  return async (...given) => {
    const { stdout } = await run(program, given.map(String), { timeout: 120_000 });
    return JSON.parse(stdout);
  };
}
