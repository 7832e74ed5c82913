import { CorruptionError, InvariantError, NotFoundError } from "../errors.ts";
import { crc32c } from "../record/crc32c.ts";
import { nextTurn } from "../runtime/turn.ts";
import { diskError } from "./disk-error.ts";
import { HEADER_BYTES, decodeDirectory, decodeHeader, type FrameHeader } from "./frame-codec.ts";
import type { Frame } from "./frame.ts";
import type { LiveFrame, LiveFrames } from "./live-frames.ts";
import type { ReadHandles } from "./read-handles.ts";
import { readUpTo } from "./whole-io.ts";

/** Summed in one turn of the event loop. */
const BYTES_PER_TURN = 2 * 1024 * 1024;

/**
 * Reads live frames. A frame may be freed, and its place written again, while it is read: what was read counts only if the frame
 * is live afterwards, else it is a `NotFoundError`: by then its records are in the object store.
 */
export class FrameReader {
  readonly #handles: ReadHandles;
  readonly #live: LiveFrames;
  readonly #pathOf: (slot: number) => string;

  constructor(handles: ReadHandles, live: LiveFrames, pathOf: (slot: number) => string) {
    this.#handles = handles;
    this.#live = live;
    this.#pathOf = pathOf;
  }

  async *frames(after: number): AsyncGenerator<Frame> {
    for (let sequence = after; ;) {
      const row = this.#live.after(sequence);
      if (row === undefined) return;
      ({ sequence } = row);
      const path = this.#pathOf(row.slot);
      const bytes = await this.#read(row, row.position, HEADER_BYTES + row.directoryBytes).catch((error: unknown) => {
        if (error instanceof NotFoundError) return undefined;
        throw error;
      });
      if (bytes === undefined) continue;
      const header = headerOf(bytes, row, path);
      const extents = decodeDirectory(bytes.subarray(HEADER_BYTES), header, path, row.position);
      const { epoch, createdAtMs, payloadBytes } = header;
      yield { sequence, epoch, createdAtMs, extents, payloadBytes };
    }
  }

  async payload(sequence: number): Promise<Uint8Array> {
    const row = this.#row(sequence);
    const path = this.#pathOf(row.slot);
    const bytes = await this.#read(row, row.position, HEADER_BYTES + row.directoryBytes + row.payloadBytes);
    const header = headerOf(bytes, row, path);
    let crc = 0;
    for (let at = HEADER_BYTES; at < bytes.length; at += BYTES_PER_TURN) {
      if (at > HEADER_BYTES) await nextTurn();
      crc = crc32c(bytes.subarray(at, at + BYTES_PER_TURN), crc);
    }
    if (crc !== header.bodyCrc) {
      throw new CorruptionError(path, row.position, `frame ${sequence} does not match its CRC`);
    }
    return bytes.subarray(HEADER_BYTES + row.directoryBytes);
  }

  async piece(sequence: number, position: number, lengthBytes: number): Promise<Uint8Array> {
    const row = this.#row(sequence);
    if (position < 0 || lengthBytes < 0 || position + lengthBytes > row.payloadBytes) {
      throw new InvariantError(
        `bytes ${position} … ${position + lengthBytes} of frame ${sequence}, which has ${row.payloadBytes}`,
      );
    }
    return this.#read(row, row.position + HEADER_BYTES + row.directoryBytes + position, lengthBytes);
  }

  #row(sequence: number): LiveFrame {
    const row = this.#live.get(sequence);
    if (row === undefined) throw freedError(sequence);
    return row;
  }

  async #read(row: LiveFrame, position: number, bytes: number): Promise<Buffer> {
    const path = this.#pathOf(row.slot);
    let read: Buffer;
    try {
      read = await this.#handles.use(path, (file) => readUpTo(file, bytes, position));
    } catch (error) {
      if (this.#live.get(row.sequence) === undefined) throw freedError(row.sequence);
      throw diskError("read", path, error);
    }
    if (this.#live.get(row.sequence) === undefined) throw freedError(row.sequence);
    if (read.length < bytes) {
      throw new CorruptionError(path, position + read.length, `the file ends within frame ${row.sequence}`);
    }
    return read;
  }
}

function headerOf(bytes: Buffer, row: LiveFrame, path: string): FrameHeader {
  const header = decodeHeader(bytes, 0);
  if (header?.sequence !== row.sequence) {
    throw new CorruptionError(path, row.position, `the header of frame ${row.sequence} is not whole any more`);
  }
  return header;
}

function freedError(sequence: number): NotFoundError {
  return new NotFoundError(`frame ${sequence} of the journal`, "it was freed: its records are in the object store");
}
