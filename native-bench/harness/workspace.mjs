import { spawn } from "node:child_process";
import { rmSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/**
 * The one directory that a suite writes below, and the processes that it started. Both are gone afterwards, also after Ctrl-C, and
 * where the parent process is gone.
 *
 * @param where  on the disk that is to be measured
 */
export async function openWorkspace(where = tmpdir()) {
  const directory = await mkdtemp(join(where, "tierlog-bench-"));
  const children = new Set();
  let paths = 0;

  const stop = () => {
    for (const child of children) child.kill("SIGKILL");
    rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
  };
  const interrupted = () => {
    stop();
    process.exit(130);
  };
  process.once("SIGINT", interrupted).once("SIGTERM", interrupted).once("disconnect", interrupted);

  return {
    directory,
    /** A name below the directory that nothing has yet. */
    path: (name) => join(directory, `${name}-${++paths}`),
    /** A child that cannot outlive this process; its standard error is ours. */
    spawn(command, args, options = {}) {
      const child = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"], ...options });
      children.add(child);
      child.once("exit", () => children.delete(child));
      return child;
    },
    async close() {
      process.off("SIGINT", interrupted).off("SIGTERM", interrupted).off("disconnect", interrupted);
      const ended = [...children].map((child) => new Promise((resolve) => child.once("exit", resolve)));
      for (const child of children) child.kill("SIGKILL");
      await Promise.all(ended);
      await rm(directory, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}
