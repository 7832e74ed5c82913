import { RecordTooLargeError } from "../errors.ts";

const LINE_FEED = 0x0a;

/**
 * Cuts a stream of bytes into lines. Only the line feed ends a line and only it is left out; what follows the last one is a
 * line too, unless it is empty. Lines are views of the chunks pushed, or copies where they span several.
 */
export class LineSplitter {
  readonly #maxLineBytes: number;
  /** The unfinished line. */
  #pieces: Uint8Array[] = [];
  #pieceBytes = 0;
  #lines = 0;

  /** A line above `maxLineBytes` is refused before it fills the memory. */
  constructor(maxLineBytes: number) {
    this.#maxLineBytes = maxLineBytes;
  }

  /** The lines that end in `chunk`. REQUIRES: run to its end before the next call. */
  *push(chunk: Uint8Array): Generator<Uint8Array> {
    let start = 0;
    for (let end = chunk.indexOf(LINE_FEED); end !== -1; end = chunk.indexOf(LINE_FEED, start)) {
      yield this.#take(chunk.subarray(start, end));
      start = end + 1;
    }
    if (start < chunk.length) this.#keep(chunk.subarray(start));
  }

  /** The last line, if it has no line feed. */
  *end(): Generator<Uint8Array> {
    if (this.#pieces.length > 0) yield this.#take(new Uint8Array(0));
  }

  #take(piece: Uint8Array): Uint8Array {
    if (this.#pieces.length === 0 && piece.length <= this.#maxLineBytes) {
      this.#lines++;
      return piece;
    }
    this.#keep(piece);
    const line = this.#pieces.length === 1 ? piece : Buffer.concat(this.#pieces);
    this.#pieces = [];
    this.#pieceBytes = 0;
    this.#lines++;
    return line;
  }

  #keep(piece: Uint8Array): void {
    this.#pieceBytes += piece.length;
    if (this.#pieceBytes > this.#maxLineBytes) {
      throw new RecordTooLargeError(
        `line ${this.#lines + 1} of the input (as far as it was read)`,
        this.#pieceBytes,
        this.#maxLineBytes,
      );
    }
    this.#pieces.push(piece);
  }
}
