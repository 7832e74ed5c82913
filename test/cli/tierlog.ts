import { Readable, Writable } from "node:stream";

import { Interruption } from "../../src/cli/interruption.ts";
import { run } from "../../src/cli/run.ts";
import { systemRuntime } from "../../src/runtime/runtime.ts";

class Capture extends Writable {
  text = "";

  override _write(chunk: Buffer, _: string, done: () => void): void {
    this.text += chunk.toString();
    done();
  }
}

export interface Ended {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** One command line in `cwd`, in this process, with nothing of the machine's environment. */
export async function tierlog(
  cwd: string,
  argv: readonly string[],
  { stdin = "", terminal = false }: { readonly stdin?: string; readonly terminal?: boolean } = {},
): Promise<Ended> {
  const [stdout, stderr] = [new Capture(), new Capture()];
  const exitCode = await run(argv, {
    stdin: Readable.from([Buffer.from(stdin)]),
    stdout,
    stderr,
    stderrIsTerminal: terminal,
    env: {},
    cwd,
    version: "1.2.3",
    runtime: systemRuntime,
    interruption: new Interruption(() => undefined),
  });
  return { exitCode, stdout: stdout.text, stderr: stderr.text };
}
