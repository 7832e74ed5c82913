/** Bounds the appends that wait for their ack, so that input is read no faster than it is stored. */
export class AppendWindow {
  readonly #maxBytes: number;
  readonly #maxAppends: number;
  #bytes = 0;
  #appends = 0;
  #failure: { readonly error: unknown } | undefined;
  #wake: (() => void) | undefined;

  constructor(limits: { readonly maxBytes: number; readonly maxAppends: number }) {
    this.#maxBytes = limits.maxBytes;
    this.#maxAppends = limits.maxAppends;
  }

  /** Resolves when another append may start; rejects with the first error of those before it. One caller at a time. */
  async room(): Promise<void> {
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure.error;
      if (this.#bytes < this.#maxBytes && this.#appends < this.#maxAppends) return;
      await this.#change();
    }
  }

  /** REQUIRES: `room()` resolved. */
  add(bytes: number, append: Promise<unknown>): void {
    this.#bytes += bytes;
    this.#appends++;
    const settled = (): void => {
      this.#bytes -= bytes;
      this.#appends--;
      this.#wake?.();
    };
    append.then(settled, (error: unknown) => {
      this.#failure ??= { error };
      settled();
    });
  }

  /** Waits until every append is settled; then rejects with the first error, if there was one. */
  async drain(): Promise<void> {
    while (this.#appends > 0) await this.#change();
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  #change(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}
