import { CorruptionError, InvariantError, NotFoundError } from "../errors.ts";
import { crc32c } from "../record/crc32c.ts";
import { nextTurn } from "../runtime/turn.ts";
import { diskError } from "./disk-error.ts";
import { HEADER_BYTES, decodeDirectory, decodeHeader, type FrameHeader } from "./frame-codec.ts";
import type { Frame } from "./frame.ts";
import type { LiveFrame, LiveFrames } from "./live-frames.ts";
import type { ReadHandles } from "./read-handles.ts";
import { readUpTo } from "./whole-io.ts";

/** Frames up to this size are read with those behind them: one read each takes longer than all else that is done with them. */
const SMALL_FRAME_BYTES = 64 * 1024;
const RUN_BYTES = 1024 * 1024;
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

  /** Live frames above `after`, oldest first, without their payloads. */
  async *frames(after: number): AsyncGenerator<Frame> {
    for await (const { frame } of this.#walk(after, false)) yield frame;
  }

  /** The same with their payloads, checked. */
  async *framesWithPayloads(after: number): AsyncGenerator<{ readonly frame: Frame; readonly payload: Uint8Array }> {
    for await (const { frame, bytes, header, path, position } of this.#walk(after, true)) {
      await checkBody(bytes, header, path, position);
      yield { frame, payload: bytes.subarray(HEADER_BYTES + header.directoryBytes) };
    }
  }

  async *#walk(after: number, payloads: boolean): AsyncGenerator<Walked> {
    let run: Run | undefined;
    for (let sequence = after; ;) {
      const row = this.#live.after(sequence);
      if (row === undefined) return;
      ({ sequence } = row);
      const path = this.#pathOf(row.slot);
      const wanted = HEADER_BYTES + row.directoryBytes + (payloads ? row.payloadBytes : 0);
      if (run === undefined || !covers(run, row, path, wanted)) {
        run = await this.#readRun(row, path, wanted);
        if (run === undefined) continue;
      }
      const start = row.position - run.start;
      const bytes = run.bytes.subarray(start, start + wanted);
      const header = headerOf(bytes, row, path);
      const extents = decodeDirectory(
        bytes.subarray(HEADER_BYTES, HEADER_BYTES + header.directoryBytes),
        header,
        path,
        row.position,
      );
      const { epoch, createdAtMs, payloadBytes } = header;
      const frame = { sequence, epoch, createdAtMs, extents, payloadBytes };
      yield { frame, bytes, header, path, position: row.position };
    }
  }

  /** At least the `wanted` bytes of a frame, and small frames behind it with them. undefined: it was freed meanwhile. */
  async #readRun(row: LiveFrame, path: string, wanted: number): Promise<Run | undefined> {
    // Frames that are written from now on are not in what is read now, or not whole.
    const newest = this.#live.newest?.sequence ?? 0;
    const total = HEADER_BYTES + row.directoryBytes + row.payloadBytes;
    const ahead = total <= SMALL_FRAME_BYTES ? RUN_BYTES : 0;
    try {
      const bytes = await this.#read(row, row.position, wanted, Math.max(wanted, ahead));
      return { path, start: row.position, bytes, newest };
    } catch (error) {
      if (error instanceof NotFoundError) return undefined;
      throw error;
    }
  }

  async payload(sequence: number): Promise<Uint8Array> {
    const row = this.#row(sequence);
    const path = this.#pathOf(row.slot);
    const bytes = await this.#read(row, row.position, HEADER_BYTES + row.directoryBytes + row.payloadBytes);
    const header = headerOf(bytes, row, path);
    await checkBody(bytes, header, path, row.position);
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

  /** At least `bytes` from `position` on, up to `most` if they are there. */
  async #read(row: LiveFrame, position: number, bytes: number, most = bytes): Promise<Buffer> {
    const path = this.#pathOf(row.slot);
    let read: Buffer;
    try {
      read = await this.#handles.use(path, (file) => readUpTo(file, most, position));
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

interface Walked {
  readonly frame: Frame;
  readonly bytes: Buffer;
  readonly header: FrameHeader;
  readonly path: string;
  readonly position: number;
}

/** Bytes of a file, read in one go when `newest` was the newest frame. */
interface Run {
  readonly path: string;
  readonly start: number;
  readonly bytes: Buffer;
  readonly newest: number;
}

/** REQUIRES: the frame is live now. It was live then too, if it is not newer: live frames never change. */
function covers(run: Run, row: LiveFrame, path: string, wanted: number): boolean {
  return (
    run.path === path &&
    row.sequence <= run.newest &&
    row.position >= run.start &&
    row.position + wanted <= run.start + run.bytes.length
  );
}

async function checkBody(bytes: Buffer, header: FrameHeader, path: string, position: number): Promise<void> {
  let crc = 0;
  for (let at = HEADER_BYTES; at < bytes.length; at += BYTES_PER_TURN) {
    if (at > HEADER_BYTES) await nextTurn();
    crc = crc32c(bytes.subarray(at, at + BYTES_PER_TURN), crc);
  }
  if (crc !== header.bodyCrc) {
    throw new CorruptionError(path, position, `frame ${header.sequence} does not match its CRC`);
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
