import type { ObjectKey } from "../domain.ts";
import { InvariantError } from "../errors.ts";
import { heldBytes, lend, recycle } from "../record/spare-buffers.ts";
import type { TailChunk } from "./prepare.ts";

/** What is kept of an object that was just written. */
interface TailObject {
  readonly key: ObjectKey;
  /** In order of position; undefined from the front on as they are dropped. */
  readonly chunks: (TailChunk | undefined)[];
  /** Bytes that each chunk keeps alive. */
  readonly held: number[];
  /** Index of the oldest that is not dropped. */
  oldest: number;
}

/** The newest objects that this process wrote, whole or in part: consumers at the tail cost no request. */
export class TailCache {
  readonly #bytesMax: number;
  readonly #objects = new Map<ObjectKey, TailObject>();
  /** The same, oldest first. */
  readonly #order: (TailObject | undefined)[] = [];
  #oldest = 0;
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** Held now. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Is all of [start, end) kept? */
  has(key: ObjectKey, start: number, end: number): boolean {
    return this.#partsOf(key, start, end) !== undefined;
  }

  /** Takes the chunks over: their memory is used again when they leave, unless they were read. */
  keep(key: ObjectKey, chunks: readonly TailChunk[]): void {
    // One that alone is too large would drive all others out and then not be kept either.
    const kept: TailObject = { key, chunks: [], held: [], oldest: 0 };
    for (const chunk of chunks) {
      const held = heldBytes(chunk.bytes);
      if (held > this.#bytesMax) {
        recycle(chunk.bytes);
        continue;
      }
      kept.chunks.push(chunk);
      kept.held.push(held);
      this.#bytes += held;
    }
    if (kept.chunks.length > 0) {
      this.#objects.set(key, kept);
      this.#order.push(kept);
    }
    while (this.#bytes > this.#bytesMax) this.#dropOldest();
    // The order is a queue: its dead front goes when it is half of it, which costs O(1) an object.
    if (this.#oldest > 1024 && this.#oldest * 2 > this.#order.length) {
      this.#order.splice(0, this.#oldest);
      this.#oldest = 0;
    }
  }

  /** Bytes [start, end), read only; undefined: not all of it is kept. Copies only where the range spans chunks. */
  read(key: ObjectKey, start: number, end: number): Uint8Array | undefined {
    const parts = this.#partsOf(key, start, end);
    if (parts === undefined) return undefined;
    const [part] = parts;
    if (part === undefined || parts.length > 1) return Buffer.concat(parts);
    // Once it is read nobody knows for how long: readers keep views of it.
    return lend(part);
  }

  #partsOf(key: ObjectKey, start: number, end: number): readonly Uint8Array[] | undefined {
    const object = this.#objects.get(key);
    if (object === undefined) return undefined;
    const { chunks } = object;
    let at = firstEndingBehind(object, start);
    const parts: Uint8Array[] = [];
    for (let position = start; position < end; at++) {
      const chunk = chunks[at];
      if (chunk === undefined || chunk.position > position) return undefined;
      const part = chunk.bytes.subarray(position - chunk.position, end - chunk.position);
      parts.push(part);
      position += part.length;
    }
    return parts;
  }

  /** The oldest chunk of the oldest object. Nothing is moved up: an object may have tens of thousands. */
  #dropOldest(): void {
    const object = this.#order[this.#oldest];
    const chunk = object?.chunks[object.oldest];
    if (object === undefined || chunk === undefined) throw new InvariantError(`${this.#bytes} bytes in an empty tail`);
    this.#bytes -= object.held[object.oldest] ?? 0;
    object.chunks[object.oldest++] = undefined;
    recycle(chunk.bytes);
    if (object.oldest < object.chunks.length) return;
    this.#objects.delete(object.key);
    // Up to a thousand dead ones stand there until the queue is cut: they would hold a thousand index files alive.
    this.#order[this.#oldest++] = undefined;
  }
}

/** Index of the first chunk of those kept that reaches past `position`. */
function firstEndingBehind({ chunks, oldest }: TailObject, position: number): number {
  let low = oldest;
  let high = chunks.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const chunk = chunks[middle];
    if (chunk !== undefined && chunk.position + chunk.bytes.length <= position) low = middle + 1;
    else high = middle;
  }
  return low;
}
