import type { Writable } from "node:stream";

import { TierlogError } from "../errors.ts";
import type { Clock } from "../runtime/clock.ts";
import { errorCode } from "../runtime/file-system.ts";

/** Whoever read our output went away, as `head` does: not a failure, but no reason to go on. */
export class BrokenPipe extends Error {}

/** Output could not be written, as on a full disk. */
export class OutputError extends TierlogError {
  readonly kind = "unavailable";
  readonly code = "TIERLOG_OUTPUT";
}

export interface OutputOptions {
  readonly stdout: Writable;
  readonly stderr: Writable;
  /** stderr is a terminal: it gets progress. */
  readonly terminal: boolean;
  /** Of stdout, where it is a terminal. */
  readonly columns?: number | undefined;
  readonly json: boolean;
  readonly clock: Clock;
}

/** A terminal that is written to more often than it can be read only costs time. */
const PROGRESS_MS = 100;

/** Data goes to stdout, everything meant for a person to stderr; with `json` stderr holds JSON lines only. */
export class Output {
  readonly json: boolean;
  readonly #options: OutputOptions;
  readonly #stdoutGone = new AbortController();
  #progressShown = false;
  #progressMs = Number.NEGATIVE_INFINITY;

  constructor(options: OutputOptions) {
    this.json = options.json;
    this.#options = options;
    options.stdout.on("error", (error) => this.#stdoutGone.abort(asOutputError(error)));
    // Nobody is left to tell.
    options.stderr.on("error", () => undefined);
  }

  /** Fires when stdout can take no more; its reason is a `BrokenPipe` or an `OutputError`. */
  get stdoutGone(): AbortSignal {
    return this.#stdoutGone.signal;
  }

  /** Of the terminal that stdout is; undefined: it is none. */
  get columns(): number | undefined {
    return this.#options.columns;
  }

  get isTerminal(): boolean {
    return this.#options.terminal && !this.json;
  }

  /** Resolves when the bytes are handed on: awaiting it is the back-pressure. Rejects with a `BrokenPipe` or an `OutputError`. */
  write(data: string | Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#stdoutGone.signal.aborted) {
        reject(this.#stdoutGone.signal.reason as Error);
        return;
      }
      this.clearProgress();
      this.#options.stdout.write(data, (error) => {
        if (error === null || error === undefined) resolve();
        else reject(asOutputError(error));
      });
    });
  }

  writeLine(text: string): Promise<void> {
    return this.write(`${text}\n`);
  }

  writeJson(value: unknown): Promise<void> {
    return this.writeLine(JSON.stringify(value));
  }

  /** For a person, on stderr; `fields` are what a program would want of it. */
  message(text: string, fields: Record<string, unknown> = {}): void {
    this.clearProgress();
    this.#options.stderr.write(this.json ? `${JSON.stringify({ message: text, ...fields })}\n` : `${text}\n`);
  }

  /** A line that the next one replaces; only on a terminal, and not oftener than a person can read. */
  progress(text: string): void {
    if (!this.isTerminal) return;
    const nowMs = this.#options.clock.monotonic();
    if (nowMs - this.#progressMs < PROGRESS_MS) return;
    this.#progressMs = nowMs;
    this.#options.stderr.write(`\r\u001B[2K${text}`);
    this.#progressShown = true;
  }

  clearProgress(): void {
    if (this.#progressShown) this.#options.stderr.write("\r\u001B[2K");
    this.#progressShown = false;
  }

  /** The last thing on stderr. */
  error(error: TierlogError): void {
    this.clearProgress();
    const text = this.json ? JSON.stringify({ error: error.toJSON() }) : `tierlog: ${error.message}`;
    this.#options.stderr.write(`${text}\n`);
  }
}

function asOutputError(error: Error): Error {
  if (errorCode(error) === "EPIPE") return new BrokenPipe("nobody reads stdout any more");
  return new OutputError(`stdout cannot be written: ${error.message}`, { cause: error });
}
