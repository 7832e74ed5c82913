import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const MAIN = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));

export interface Finished {
  readonly exitCode: number | null;
  readonly stdout: Buffer;
  readonly stderr: string;
}

/** A running command line, with what it wrote so far. */
export class Running {
  readonly child: ChildProcess;
  readonly #stdout: Buffer[] = [];
  readonly #stderr: Buffer[] = [];
  readonly finished: Promise<Finished>;

  constructor(child: ChildProcess) {
    this.child = child;
    child.stdout?.on("data", (chunk: Buffer) => this.#stdout.push(chunk));
    child.stderr?.on("data", (chunk: Buffer) => this.#stderr.push(chunk));
    child.stdin?.on("error", () => undefined);
    this.finished = once(child, "close").then(() => ({
      exitCode: child.exitCode,
      stdout: this.stdout,
      stderr: Buffer.concat(this.#stderr).toString(),
    }));
  }

  get stdout(): Buffer {
    return Buffer.concat(this.#stdout);
  }

  /** Waits until `enough` holds of stdout. */
  async until(enough: (stdout: string) => boolean): Promise<void> {
    for (const deadline = Date.now() + 15_000; !enough(this.stdout.toString());) {
      if (Date.now() > deadline) throw new Error(`not seen in time, only: ${this.stdout.toString()}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}

/** A directory of its own with the command line in it. */
export class Workplace {
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  static async make(): Promise<Workplace> {
    return new Workplace(await mkdtemp(join(tmpdir(), "tierlog-e2e-")));
  }

  async remove(): Promise<void> {
    await rm(this.path, { recursive: true, force: true });
  }

  start(argv: readonly string[], env: Record<string, string> = {}): Running {
    // Nothing of the machine that the tests run on may count.
    const inherited = Object.entries(process.env).filter(([name]) => !/^(TIERLOG|AWS)_/.test(name));
    return new Running(
      spawn(process.execPath, [MAIN, ...argv], {
        cwd: this.path,
        env: { ...Object.fromEntries(inherited), ...env },
        stdio: ["pipe", "pipe", "pipe"],
      }),
    );
  }

  run(argv: readonly string[], input: Uint8Array | string = "", env: Record<string, string> = {}): Promise<Finished> {
    const running = this.start(argv, env);
    running.child.stdin?.end(input);
    return running.finished;
  }

  /** Runs what must succeed; resolves to its stdout. */
  async done(argv: readonly string[], input: Uint8Array | string = ""): Promise<Buffer> {
    const { exitCode, stdout, stderr } = await this.run(argv, input);
    if (exitCode !== 0) throw new Error(`tierlog ${argv.join(" ")} ended with ${String(exitCode)}: ${stderr}`);
    return stdout;
  }
}

export function jsonLines(text: Buffer | string): Record<string, unknown>[] {
  return text
    .toString()
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}
