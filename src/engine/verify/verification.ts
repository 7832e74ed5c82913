import { setMaxListeners } from "node:events";

import type { TopicId } from "../../domain.ts";
import { AbortedError } from "../../errors.ts";
import type { CallOptions, ObjectStore } from "../../object-store/object-store.ts";
import type { Clock } from "../../runtime/clock.ts";
import type { Findings } from "./finding.ts";

export interface VerifyProgress {
  /** As in "reading the chain of shard 3". */
  readonly doing: string;
  /** Of the work at hand. */
  readonly objects: number;
  readonly objectsTotal: number;
  /** Of batches, with deep checks only. */
  readonly bytes: number;
  readonly bytesTotal: number;
  readonly elapsedMs: number;
}

export interface VerificationOptions {
  /** Settling. Only read. */
  readonly store: ObjectStore;
  readonly findings: Findings;
  readonly clock: Clock;
  readonly signal: AbortSignal | undefined;
  readonly onProgress: ((progress: VerifyProgress) => void) | undefined;
}

/** What the checks of one run share. */
export class Verification {
  readonly store: ObjectStore;
  readonly findings: Findings;
  /** For the calls of the store. */
  readonly calls: CallOptions;
  /** Only extents of this topic are looked at. */
  onlyTopic: TopicId | undefined;
  readonly #options: VerificationOptions;
  readonly #startedAtMs: number;
  #doing = "";
  readonly #done = { objects: 0, objectsTotal: 0, bytes: 0, bytesTotal: 0 };

  constructor(options: VerificationOptions) {
    this.#options = options;
    this.store = options.store;
    this.findings = options.findings;
    this.calls = options.signal === undefined ? {} : { signal: listenedTo(options.signal) };
    this.#startedAtMs = options.clock.monotonic();
  }

  get elapsedMs(): number {
    return this.#options.clock.monotonic() - this.#startedAtMs;
  }

  /** Begins some work of known size. */
  begin(doing: string, objectsTotal: number, bytesTotal = 0): void {
    this.#doing = doing;
    Object.assign(this.#done, { objects: 0, objectsTotal, bytes: 0, bytesTotal });
    this.#tell();
  }

  /** Some of it is done. Throws `AbortedError` once the signal has fired. */
  did(objects: number, bytes = 0): void {
    this.#done.objects += objects;
    this.#done.bytes += bytes;
    this.#tell();
  }

  #tell(): void {
    const { signal, onProgress } = this.#options;
    if (signal?.aborted === true) throw new AbortedError("verify", { cause: signal.reason });
    onProgress?.({ doing: this.#doing, ...this.#done, elapsedMs: this.elapsedMs });
  }
}

/** Follows `signal`. Node takes more than ten calls that listen to one signal for a leak, and says so on stderr. */
function listenedTo(signal: AbortSignal): AbortSignal {
  const own = AbortSignal.any([signal]);
  setMaxListeners(0, own);
  return own;
}

/**
 * Runs `work` for each item, at most `atOnce` at a time, started in order. Rejects with the first error, after those that were started
 * have ended.
 */
export async function eachOf<T>(items: Iterable<T>, atOnce: number, work: (item: T) => Promise<void>): Promise<void> {
  const iterator = items[Symbol.iterator]();
  let failed = false;
  const lane = async (): Promise<void> => {
    for (let next = iterator.next(); next.done !== true && !failed; next = iterator.next()) {
      try {
        await work(next.value);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  const lanes = Array.from({ length: atOnce }, lane);
  await Promise.allSettled(lanes);
  await Promise.all(lanes);
}
