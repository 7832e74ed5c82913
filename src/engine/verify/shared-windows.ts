/** Fetched and checked at once; more only where one batch is larger. */
export const WINDOW_BYTES = 8 * 1024 * 1024;

/**
 * Memory that other threads see, used again and again: fresh memory is zeroed and mapped page by page, which takes longer than the copy.
 * Holds as many windows as were ever lent at once.
 */
export class SharedWindows {
  readonly #free: SharedArrayBuffer[] = [];

  /** A copy of `bytes`. REQUIRES: it is given back, once nobody reads it. */
  lend(bytes: Uint8Array): Uint8Array {
    const buffer =
      bytes.length > WINDOW_BYTES
        ? new SharedArrayBuffer(bytes.length)
        : (this.#free.pop() ?? new SharedArrayBuffer(WINDOW_BYTES));
    const copy = new Uint8Array(buffer, 0, bytes.length);
    copy.set(bytes);
    return copy;
  }

  giveBack({ buffer }: Uint8Array): void {
    if (buffer instanceof SharedArrayBuffer && buffer.byteLength === WINDOW_BYTES) this.#free.push(buffer);
  }
}
