import { EXIT_BY_SIGNAL } from "./exit-code.ts";

type SignalName = keyof typeof EXIT_BY_SIGNAL;

/**
 * Ctrl-C and SIGTERM. A command that asks for `signal` is told by it and ends by itself; a second signal, or the first one to
 * a command that never asked, ends the process at once.
 */
export class Interruption {
  readonly #controller = new AbortController();
  readonly #endProcess: (exitCode: number) => void;
  #exitCode: number | undefined;
  #observed = false;
  #lastWords: (() => void) | undefined;

  constructor(endProcess: (exitCode: number) => void) {
    this.#endProcess = endProcess;
  }

  get signal(): AbortSignal {
    this.#observed = true;
    return this.#controller.signal;
  }

  /** undefined: nobody interrupted. */
  get exitCode(): number | undefined {
    return this.#exitCode;
  }

  /** Called when a second signal ends the process before the clean-up did: says what is left, without waiting for anything. */
  onSecond(lastWords: () => void): void {
    this.#lastWords = lastWords;
  }

  /** `work`'s result; the exit code of the signal where `work` rejects after one: there is nothing to explain then. */
  async exitCodeOf(work: (signal: AbortSignal) => Promise<number>): Promise<number> {
    try {
      return await work(this.signal);
    } catch (error) {
      if (this.#exitCode === undefined) throw error;
      return this.#exitCode;
    }
  }

  receive(name: SignalName): void {
    if (this.#exitCode !== undefined) this.#lastWords?.();
    if (!this.#observed || this.#exitCode !== undefined) this.#endProcess(EXIT_BY_SIGNAL[name]);
    this.#exitCode = EXIT_BY_SIGNAL[name];
    this.#controller.abort(new Error(`interrupted by ${name}`));
  }
}
