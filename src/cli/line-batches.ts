import type { Clock } from "../runtime/clock.ts";
import { sleep } from "../runtime/clock.ts";
import { LineSplitter } from "./line-splitter.ts";

/** What a record costs in a batch beside its bytes, at most; and the batch itself. */
const RECORD_OVERHEAD_BYTES = 32;
const BATCH_OVERHEAD_BYTES = 128;

export interface LineBatch {
  readonly lines: readonly Uint8Array[];
  /** As the engine counts them. */
  readonly bytes: number;
}

export interface LineBatchesOptions {
  readonly chunks: AsyncGenerator<Uint8Array>;
  readonly clock: Clock;
  /** Ends the reading, in the middle of a wait for input too. An unfinished line is then left out. */
  readonly ended: AbortSignal;
  readonly batchLines: number;
  readonly batchBytesMax: number;
  /** After so long without input an unfinished batch goes out: who types a line wants to see it stored. */
  readonly pauseMs: number;
}

type Event = { readonly kind: "chunk"; readonly chunk: Uint8Array } | { readonly kind: "end" | "pause" | "ended" };

/** Groups the lines of an input into appends. */
export class LineBatches {
  readonly #options: LineBatchesOptions;
  #lines: Uint8Array[] = [];
  #bytes = BATCH_OVERHEAD_BYTES;
  #next: Promise<IteratorResult<Uint8Array, unknown>> | undefined;

  constructor(options: LineBatchesOptions) {
    this.#options = options;
  }

  async *read(): AsyncGenerator<LineBatch> {
    const splitter = new LineSplitter(this.#options.batchBytesMax);
    for (;;) {
      const event = await this.#event();
      try {
        if (event.kind === "chunk") yield* this.#group(splitter.push(event.chunk));
        else if (event.kind === "end") yield* this.#group(splitter.end());
      } catch (error) {
        // A line that is too long is an error of its own: those before it are good.
        if (this.#lines.length > 0) yield this.#take();
        throw error;
      }
      if (event.kind !== "chunk" && this.#lines.length > 0) yield this.#take();
      if (event.kind === "end" || event.kind === "ended") return;
    }
  }

  *#group(lines: Iterable<Uint8Array>): Generator<LineBatch> {
    const { batchLines, batchBytesMax } = this.#options;
    for (const line of lines) {
      const bytes = line.length + RECORD_OVERHEAD_BYTES;
      // An append that fits one batch is stored whole or not at all.
      if (this.#lines.length > 0 && this.#bytes + bytes > batchBytesMax) yield this.#take();
      this.#lines.push(line);
      this.#bytes += bytes;
      if (this.#lines.length >= batchLines) yield this.#take();
    }
  }

  #take(): LineBatch {
    const batch = { lines: this.#lines, bytes: this.#bytes };
    this.#lines = [];
    this.#bytes = BATCH_OVERHEAD_BYTES;
    return batch;
  }

  async #event(): Promise<Event> {
    const { chunks, clock, ended, pauseMs } = this.#options;
    this.#next ??= chunks.next();
    // It is looked at below; but `ended` may come first, and a read that fails after that concerns nobody.
    this.#next.catch(() => undefined);
    // After the call above: it can be what ends the reading.
    if (ended.aborted) return { kind: "ended" };
    const stop = new AbortController();
    const onEnded = (): void => stop.abort();
    ended.addEventListener("abort", onEnded, { once: true });
    const waiting: Promise<Event>[] = [
      this.#next.then((result) => (result.done === true ? { kind: "end" } : { kind: "chunk", chunk: result.value })),
      new Promise((resolve) => {
        stop.signal.addEventListener("abort", () => resolve({ kind: "ended" }), { once: true });
      }),
    ];
    if (this.#lines.length > 0) {
      // Rejects when stopped: the race is over then.
      waiting.push(
        sleep(clock, pauseMs, stop.signal).then(
          () => ({ kind: "pause" }),
          () => ({ kind: "ended" }),
        ),
      );
    }
    try {
      const event = await Promise.race(waiting);
      if (event.kind === "chunk" || event.kind === "end") this.#next = undefined;
      return event;
    } finally {
      ended.removeEventListener("abort", onEnded);
      stop.abort();
    }
  }
}
