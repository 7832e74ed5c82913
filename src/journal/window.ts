import type { RandomAccessFile } from "../runtime/random-access-file.ts";

/** Of memory, and of one read: more gains nothing. */
export const WINDOW_BYTES = 1024 * 1024;

/** Reads a file from front to back in large pieces; used for one file after the other. */
export class Window {
  readonly #buffer: Buffer;
  #file: RandomAccessFile | undefined;
  #start = 0;
  #end = 0;

  constructor(sizeBytes: number) {
    this.#buffer = Buffer.allocUnsafeSlow(sizeBytes);
  }

  open(file: RandomAccessFile): void {
    this.#file = file;
    this.#start = 0;
    this.#end = 0;
  }

  /**
   * At least `bytes` (at most the size of the window) from `position` on, more if they are there; fewer only at the end of the
   * file. Valid until the next call. Rejects with Node's own errors.
   */
  async at(position: number, bytes: number): Promise<Buffer> {
    if (position < this.#start || position + bytes > this.#end) await this.#fill(position, bytes);
    return this.#buffer.subarray(position - this.#start, this.#end - this.#start);
  }

  async #fill(position: number, bytes: number): Promise<void> {
    if (this.#file === undefined) return;
    this.#start = position;
    this.#end = position;
    while (this.#end - position < this.#buffer.length) {
      const read = await this.#file.read(this.#buffer.subarray(this.#end - position), this.#end);
      this.#end += read;
      if (read === 0 || this.#end - position >= bytes) return;
    }
  }
}
