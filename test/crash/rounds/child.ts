import { spawn, type ChildProcess } from "node:child_process";
import { createInterface } from "node:readline";

import type { Ack, AckLog } from "../checker/ack-log.ts";

export interface ChildOptions {
  readonly script: URL;
  readonly argument: string;
  readonly env: NodeJS.ProcessEnv;
  readonly log: AckLog;
  /** A command that runs the process, as in `strace …`. */
  readonly under?: readonly string[];
  /** Given each line of a kind that is not in the table of `Child`, and the acks. */
  readonly onLine?: (kind: string, words: readonly string[]) => void;
}

/**
 * A process that uses the engine, and what it prints, one line each:
 *
 * | line | meaning |
 * | --- | --- |
 * | `P pid` | first of all |
 * | `O` | the engine is open |
 * | `S id topicId partition` | an append begins |
 * | `A id topicId partition level offset epoch` | it is acknowledged |
 * | `F id effect code` | it failed |
 * | `H ms` | the process stood still for so long |
 * | `R json`, `L json` | a recovery report; what close left in the journal |
 * | `C code` | it ends |
 */
export class Child {
  readonly #process: ChildProcess;
  readonly #log: AckLog;
  readonly #onLine: ChildOptions["onLine"];
  readonly #waiting = new Set<() => void>();
  readonly #exited: Promise<void>;
  #pid: number | undefined;
  #ended = false;
  opened = false;
  stderr = "";
  /** Acks by level, refusals by code, since the start. */
  readonly acked = { buffered: 0, journaled: 0, uploaded: 0 };
  readonly failed = new Map<string, number>();
  /** Partitions with an ack. */
  readonly partitions = new Set<number>();
  /** Ids sent of which nothing was heard yet. */
  readonly #unanswered = new Set<string>();
  /**
   * Acks that were printed after the process had noticed that it had stood still; not those `uploaded` ones of what it had sent
   * before, as they may have been stored before too.
   */
  afterPause: Ack[] = [];
  #sentBeforePause: ReadonlySet<string> = new Set();
  paused = false;
  readonly reports: unknown[] = [];
  left: unknown;
  /** The code of `C`. */
  end: string | undefined;

  constructor({ script, argument, env, log, under = [], onLine }: ChildOptions) {
    this.#log = log;
    this.#onLine = onLine;
    const path = script.pathname;
    const [command = process.execPath, ...rest] = under;
    const node = under.length === 0 ? [] : [process.execPath];
    this.#process = spawn(command, [...rest, ...node, path, argument], { env, stdio: ["ignore", "pipe", "pipe"] });
    this.#process.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.stderr += text;
    });
    const closed = new Promise<void>((resolve, reject) => {
      this.#process.on("error", reject);
      this.#process.on("close", () => resolve());
    });
    this.#exited = this.#read(closed);
  }

  /** Waits until `condition` holds; rejects if the process ends before, or in a minute. It is asked after every line. */
  async until(what: string, condition: () => boolean): Promise<void> {
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      this.#wake();
    }, 60_000);
    try {
      while (!condition()) {
        if (this.#ended || late)
          throw new Error(`${late ? "a minute passed" : "the process ended"} before ${what}: ${this.describe()}`);
        await new Promise<void>((resolve) => this.#waiting.add(resolve));
      }
    } finally {
      clearTimeout(timer);
    }
  }

  describe(): string {
    const { acked, failed, pending, end, stderr } = this;
    return JSON.stringify({ acked, failed: [...failed], pending, end, stderr: stderr.slice(-4000) });
  }

  get pending(): number {
    return this.#unanswered.size;
  }

  /** It stood still and went on, and nobody minded. */
  forgetPause(): void {
    this.paused = false;
    this.afterPause = [];
  }

  /** It has ended, by itself or by a signal. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Acks that promise something. */
  get durable(): number {
    return this.acked.journaled + this.acked.uploaded;
  }

  signal(name: "SIGKILL" | "SIGSTOP" | "SIGCONT" | "SIGTERM"): void {
    // The pid is that of the process itself: under strace it is a grandchild, which would outlive its tracer.
    if (this.#pid === undefined) this.#process.kill(name);
    else if (!this.#ended) process.kill(this.#pid, name);
  }

  /** Everything that it printed has been read. */
  async exited(): Promise<void> {
    await this.#exited;
  }

  async kill(): Promise<void> {
    // Without its pid only the tracer would die, and the process go on without it.
    await this.until("its pid", () => this.#pid !== undefined || this.#ended);
    if (!this.#ended) {
      try {
        this.signal("SIGKILL");
      } catch (error) {
        // Gone between its end and our hearing of it.
        if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
      }
    }
    await this.exited();
  }

  async #read(closed: Promise<void>): Promise<void> {
    try {
      for await (const line of createInterface({ input: this.#process.stdout! })) {
        this.#line(line);
        this.#wake();
      }
      await closed;
    } finally {
      this.#ended = true;
      this.#wake();
    }
  }

  #wake(): void {
    for (const resolve of this.#waiting) resolve();
    this.#waiting.clear();
  }

  #line(line: string): void {
    const [kind, id = "", ...rest] = line.split(" ");
    if (kind === "P") this.#pid = Number(id);
    else if (kind === "O") this.opened = true;
    else if (kind === "S" && rest.length === 2) {
      this.#log.send(id, rest[0]!, Number(rest[1]));
      this.#unanswered.add(id);
    } else if (kind === "A" && rest.length === 5) this.#ack(id, rest as [string, string, string, string, string]);
    else if (kind === "F" && rest.length === 2) {
      if (rest[0] === "none") this.#log.refuse(id);
      this.failed.set(rest[1]!, (this.failed.get(rest[1]!) ?? 0) + 1);
      this.#unanswered.delete(id);
    } else if (kind === "H") this.#pause();
    else if (kind === "R") this.reports.push(JSON.parse(line.slice(2)));
    else if (kind === "L") this.left = JSON.parse(line.slice(2));
    else if (kind === "C") this.end = id;
    else if (kind !== undefined) this.#onLine?.(kind, [id, ...rest]);
  }

  #pause(): void {
    if (!this.paused) this.#sentBeforePause = new Set(this.#unanswered);
    this.paused = true;
  }

  #ack(id: string, [topicId, partition, level, offset, epoch]: [string, string, string, string, string]): void {
    if (!isLevel(level)) throw new Error(`level ${level}`);
    const ack: Ack = { id, topicId, partition: Number(partition), level, offset: Number(offset), epoch: Number(epoch) };
    this.#log.ack(ack);
    this.acked[ack.level]++;
    this.partitions.add(ack.partition);
    this.#unanswered.delete(id);
    this.#onLine?.("A", [id]);
    const storedBefore = ack.level === "uploaded" && this.#sentBeforePause.has(id);
    if (this.paused && ack.level !== "buffered" && !storedBefore) this.afterPause.push(ack);
  }
}

function isLevel(text: string): text is Ack["level"] {
  return text === "buffered" || text === "journaled" || text === "uploaded";
}
