import { AbortedError, InvalidArgumentError, InvariantError } from "../errors.ts";

/** A buffer on loan. */
export interface PartBuffer {
  /** Holds what the last borrower left. Not to be touched after `giveBack`. */
  readonly bytes: Uint8Array;
  /** REQUIRES: nobody reads or writes `bytes` any more, and it was not called before. */
  giveBack(): void;
}

interface Waiter {
  take(buffer: PartBuffer): void;
}

/**
 * A fixed number of part buffers, shared by all writers: the memory that uploads may take. A buffer is made when it is first
 * needed, never freed, and given to who has waited longest.
 *
 * A writer sends its full buffers before it takes the next one, so several cannot block each other for ever. But each may hold one
 * that is not full: with fewer buffers than open writers, a caller that fills them in turn waits for a buffer it alone could free.
 */
export class PartBufferPool {
  readonly partSizeBytes: number;
  readonly buffersMax: number;
  readonly #free: Uint8Array[] = [];
  /** In the order of their calls. */
  readonly #waiting = new Set<Waiter>();
  #made = 0;

  constructor(options: { readonly partSizeBytes: number; readonly buffersMax: number }) {
    checkCount("partSizeBytes", options.partSizeBytes);
    checkCount("buffersMax", options.buffersMax);
    this.partSizeBytes = options.partSizeBytes;
    this.buffersMax = options.buffersMax;
  }

  /** Buffers on loan. */
  get inUse(): number {
    return this.#made - this.#free.length;
  }

  /** Calls of `take` that wait for a buffer. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** Memory held, on loan or not. Only grows, up to buffersMax × partSizeBytes. */
  get sizeBytes(): number {
    return this.#made * this.partSizeBytes;
  }

  /** Waits for a free buffer. Rejects with `AbortedError` as soon as `signal` fires; then no buffer is on loan for this call. */
  take(signal?: AbortSignal): Promise<PartBuffer> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) {
        reject(aborted(signal));
        return;
      }
      const bytes = this.#free.pop() ?? this.#make();
      if (bytes !== undefined) {
        resolve(this.#lend(bytes));
        return;
      }
      const onAbort = (): void => {
        this.#waiting.delete(waiter);
        reject(aborted(signal));
      };
      const waiter: Waiter = {
        take(buffer) {
          signal?.removeEventListener("abort", onAbort);
          resolve(buffer);
        },
      };
      this.#waiting.add(waiter);
      signal?.addEventListener("abort", onAbort, { once: true });
    });
  }

  #make(): Uint8Array | undefined {
    if (this.#made === this.buffersMax) return undefined;
    this.#made += 1;
    // Memory of its own, not zeroed: every byte that is sent was written first.
    return Buffer.allocUnsafeSlow(this.partSizeBytes);
  }

  #lend(bytes: Uint8Array): PartBuffer {
    let lent = true;
    return {
      bytes,
      giveBack: () => {
        // Twice on the free list, it would be filled by two writers at a time.
        if (!lent) throw new InvariantError("a part buffer was given back twice");
        lent = false;
        const [next] = this.#waiting;
        if (next === undefined) {
          this.#free.push(bytes);
          return;
        }
        this.#waiting.delete(next);
        next.take(this.#lend(bytes));
      },
    };
  }
}

function checkCount(name: string, value: number): void {
  if (!Number.isSafeInteger(value) || value < 1) throw new InvalidArgumentError(name, value, "must be an integer ≥ 1");
}

function aborted(signal: AbortSignal | undefined): AbortedError {
  return new AbortedError("waiting for a part buffer", { cause: signal?.reason });
}
