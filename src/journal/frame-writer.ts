import { alignedMemory } from "../runtime/aligned-memory.ts";
import {
  encodeBody,
  encodeHeader,
  encodeMark,
  frameTotalBytes,
  ENTRY_BYTES,
  type FramePlace,
  type JournalIdentity,
} from "./frame-codec.ts";
import type { FrameInput } from "./frame.ts";
import type { JournalFile } from "./journal-files.ts";

/** A larger buffer is given up after the frame that needed it. */
const KEPT_BYTES_MAX = 16 * 1024 * 1024;
const FIRST_BYTES = 64 * 1024;

/** Encodes frames, one at a time, into memory that is used again. */
export class FrameWriter {
  readonly #identity: JournalIdentity;
  readonly #blockBytes: number;
  readonly #direct: boolean;
  #buffer: Buffer | undefined;
  #input: FrameInput | undefined;
  #totalBytes = 0;
  #crcs = { directoryCrc: 0, bodyCrc: 0 };

  /** `direct`: memory as O_DIRECT needs it. */
  constructor(identity: JournalIdentity, blockBytes: number, direct: boolean) {
    this.#identity = identity;
    this.#blockBytes = blockBytes;
    this.#direct = direct;
  }

  /** Copies the payload; a promise as `encodeBody`. What is not settled by where the frame goes comes with `place`. */
  encode(input: FrameInput): Promise<void> | undefined {
    this.#input = input;
    this.#totalBytes = frameTotalBytes(input.extents.length, input.payloadBytes, this.#blockBytes);
    const buffer = this.#bufferOf(this.#totalBytes + this.#blockBytes);
    const crcs = encodeBody(buffer, input, this.#totalBytes);
    if (crcs instanceof Promise)
      return crcs.then((late) => {
        this.#crcs = late;
      });
    this.#crcs = crcs;
    return undefined;
  }

  /** The bytes that go to the file's position: the frame and its end mark, if there is room for one. Valid until `release`. */
  place(file: JournalFile, place: FramePlace): Uint8Array {
    const buffer = this.#buffer!;
    const { epoch, createdAtMs, extents, payloadBytes } = this.#input!;
    const totalBytes = this.#totalBytes;
    encodeHeader(buffer, {
      ...this.#identity,
      ...place,
      epoch,
      createdAtMs,
      directoryBytes: extents.length * ENTRY_BYTES,
      payloadBytes,
      totalBytes,
      ...this.#crcs,
    });
    if (file.position + totalBytes >= file.sizeBytes) return buffer.subarray(0, totalBytes);
    const { directoryId } = this.#identity;
    const { fileNumber, sequence } = place;
    encodeMark(buffer, totalBytes, { directoryId, fileNumber, sequence }, this.#blockBytes);
    return buffer.subarray(0, totalBytes + this.#blockBytes);
  }

  release(): void {
    this.#input = undefined;
    if ((this.#buffer?.length ?? 0) > KEPT_BYTES_MAX) this.#buffer = undefined;
  }

  #bufferOf(bytes: number): Buffer {
    if (this.#buffer === undefined || this.#buffer.length < bytes) {
      let size = FIRST_BYTES;
      while (size < bytes) size *= 2;
      if (this.#direct) {
        const memory = alignedMemory(size);
        this.#buffer = Buffer.from(memory.buffer, memory.byteOffset, memory.length);
      } else {
        this.#buffer = Buffer.allocUnsafeSlow(size);
      }
    }
    return this.#buffer;
  }
}
