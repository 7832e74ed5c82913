import type { ObjectKey } from "../domain.ts";
import { InvariantError } from "../errors.ts";
import type { ReadPlan } from "./read-plan.ts";

/** Where the bytes of a shard's extents come from. */
export interface MergeSource {
  /** What is still kept of what this process wrote, without a request; undefined where not all of it is. Read only. */
  fromTail(key: ObjectKey, start: number, end: number): Uint8Array | undefined;
  /** From the store, and not kept for readers. `MissingObjectError`, `CorruptionError` where the object is shorter. */
  fetch(key: ObjectKey, start: number, end: number, signal: AbortSignal): Promise<Uint8Array>;
}

export interface SourceReaderOptions {
  readonly plan: ReadPlan;
  readonly source: MergeSource;
  /** Of what is fetched ahead. */
  readonly memoryBytes: number;
  readonly signal: AbortSignal;
}

/** At a time: readers share the connections, and come first. */
const FETCHES_MAX = 4;

/** Fetches the reads of a plan ahead of those who take them, in their order, as far as memory allows. */
export class SourceReader {
  readonly #options: SourceReaderOptions;
  readonly #bytes: (Promise<Uint8Array> | undefined)[] = [];
  readonly #uses: number[];
  #next = 0;
  #fetching = 0;
  #heldBytes = 0;
  #heldBytesMax = 0;
  #fetchedBytes = 0;
  #requests = 0;

  constructor(options: SourceReaderOptions) {
    this.#options = options;
    this.#uses = options.plan.reads.map(({ uses }) => uses);
  }

  get fetchedBytes(): number {
    return this.#fetchedBytes;
  }

  get requests(): number {
    return this.#requests;
  }

  /** Of what was held at a time. */
  get heldBytesMax(): number {
    return this.#heldBytesMax;
  }

  /** The bytes of the read of this number, read only. REQUIRES: numbers in order, each as often as the plan says, `done` after each. */
  take(number: number): Promise<Uint8Array> {
    // Beyond the bound if need be: it holds because of how reads are planned, and waiting could be for ever.
    while (this.#next <= number) this.#begin();
    this.#readAhead();
    const bytes = this.#bytes[number];
    if (bytes === undefined) throw new InvariantError(`read ${number} of a merge is over`);
    return bytes;
  }

  done(number: number): void {
    const uses = (this.#uses[number] ?? 0) - 1;
    this.#uses[number] = uses;
    if (uses > 0) return;
    const read = this.#options.plan.reads[number];
    this.#bytes[number] = undefined;
    this.#heldBytes -= read === undefined ? 0 : read.end - read.start;
    this.#readAhead();
  }

  #readAhead(): void {
    const { plan, memoryBytes, signal } = this.#options;
    while (!signal.aborted && this.#fetching < FETCHES_MAX) {
      const next = plan.reads[this.#next];
      if (next === undefined || this.#heldBytes + next.end - next.start > memoryBytes) return;
      this.#begin();
    }
  }

  #begin(): void {
    const { plan, source, signal } = this.#options;
    const number = this.#next++;
    const read = plan.reads[number];
    if (read === undefined) throw new InvariantError(`a merge has no read ${number}`);
    const { key, start, end } = read;
    this.#heldBytes += end - start;
    this.#heldBytesMax = Math.max(this.#heldBytesMax, this.#heldBytes);
    const kept = source.fromTail(key, start, end);
    if (kept !== undefined) {
      this.#bytes[number] = Promise.resolve(kept);
      return;
    }
    this.#fetching++;
    this.#requests++;
    this.#fetchedBytes += end - start;
    const fetch = source.fetch(key, start, end, signal);
    this.#bytes[number] = fetch;
    const settled = (): void => {
      this.#fetching--;
      this.#readAhead();
    };
    // Its failure is told to who takes it.
    fetch.then(settled, settled);
  }
}
