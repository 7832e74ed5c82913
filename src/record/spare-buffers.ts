/** Kept of all sizes together, for the whole process: two flushes of the default `flush.max_bytes`, one that gathers and one on its way. */
const KEPT_BYTES_MAX = 64 * 1024 * 1024;
const SIZE_MIN = 1024;
/** Below this memory is cheap to allocate, and there may be tens of thousands of batches. */
const HANDED_OVER_BYTES_MIN = 16 * 1024;
/** Of memory that small batches share. */
const SHARED_BYTES_MAX = 64 * 1024;
/**
 * Sizes between two powers of two. Of more sizes the right one is missing whenever a load changes, and all is fresh memory again until
 * enough of it was made.
 */
const SIZES_PER_OCTAVE = 2;
/** A batch holds so many times its bytes at most. */
const HELD_MAX = 1.5;
/** An open batch may, for as long as it is open. */
const OPEN_HELD_MAX = 2;

/** By size; the size that was wanted last stands last. */
const kept = new Map<number, Buffer[]>();
let keptBytes = 0;
/** Buffers that left with a batch or an index file and may come back. */
const handedOver = new WeakMap<ArrayBufferLike, Buffer>();
/** Memory with several batches in it. */
const shared = new WeakSet<ArrayBufferLike>();

/**
 * Memory for open batches, used again: memory outside the heap that is only left behind drives the collector into full collections,
 * which stop the event loop for 5 ms and more and cost more than all copying.
 *
 * At least `bytes` long, from 1 KiB on at most twice as long; holds old bytes. The caller's own until `giveBack`; whoever does not
 * give it back leaves it to the collector.
 */
export function takeBuffer(bytes: number): Buffer {
  return takeUpTo(bytes, bytes * OPEN_HELD_MAX);
}

/** The smallest that is kept and does not exceed `bytesMax`, or a new one. */
function takeUpTo(bytes: number, bytesMax: number): Buffer {
  const size = sizeOf(bytes);
  for (let fit = size; fit <= bytesMax; fit = sizeOf(fit + 1)) {
    const ofSize = kept.get(fit);
    const buffer = ofSize?.pop();
    if (ofSize === undefined || buffer === undefined) continue;
    kept.delete(fit);
    if (ofSize.length > 0) kept.set(fit, ofSize);
    keptBytes -= fit;
    return buffer;
  }
  return Buffer.allocUnsafeSlow(size);
}

/** REQUIRES: made by `takeBuffer`, given back once, and nobody reads or writes it any more. */
export function giveBack(buffer: Buffer): void {
  const size = buffer.length;
  while (keptBytes + size > KEPT_BYTES_MAX) if (!dropOneOfAnotherSize(size)) return;
  keptBytes += size;
  const ofSize = kept.get(size);
  if (ofSize === undefined) kept.set(size, [buffer]);
  else ofSize.push(buffer);
}

/**
 * Memory of a sealed batch or an index file: `bytes` long, holds old bytes, and keeps at most half as much again alive (`heldBytes`).
 * It is the caller's to pass on, and need not come back; whoever knows to be the last that reads it may `recycle` it. A log that is
 * written at full speed otherwise gets all its bytes from fresh pages, which cost more than the bytes themselves.
 */
export function takeMemory(bytes: number): Buffer {
  return bytes < HANDED_OVER_BYTES_MIN
    ? Buffer.allocUnsafeSlow(bytes)
    : handOver(takeUpTo(bytes, bytes * HELD_MAX), bytes);
}

/**
 * The same with what already stands in a buffer of `takeBuffer`, which the caller gives away; undefined where it is too large or too
 * small for that, and still the caller's.
 */
export function asMemory(buffer: Buffer, bytes: number): Buffer | undefined {
  const fits = bytes >= HANDED_OVER_BYTES_MIN && bytes * HELD_MAX >= buffer.length;
  return fits ? handOver(buffer, bytes) : undefined;
}

function handOver(buffer: Buffer, bytes: number): Buffer {
  handedOver.set(buffer.buffer, buffer);
  return buffer.subarray(0, bytes);
}

/**
 * Takes memory back where it came, as it is, from `takeMemory` or `asMemory` and was not lent; else does nothing. REQUIRES: nobody
 * reads these bytes, or any others of the same memory, after this call.
 */
export function recycle(memory: Uint8Array): void {
  if (memory.length < HANDED_OVER_BYTES_MIN) return;
  const buffer = handedOver.get(memory.buffer);
  if (buffer === undefined) return;
  handedOver.delete(memory.buffer);
  giveBack(buffer);
}

/** What `memory` keeps alive besides other memory of its flush; at least its length. REQUIRES: it was not lent. */
export function heldBytes(memory: Uint8Array): number {
  if (memory.length < HANDED_OVER_BYTES_MIN) return memory.length;
  return handedOver.get(memory.buffer)?.length ?? memory.length;
}

/**
 * What to give to somebody who may keep it for ever: these bytes, and `recycle` will leave them alone, or a copy where they stand in
 * memory that is shared.
 */
export function lend(memory: Uint8Array): Uint8Array {
  if (shared.has(memory.buffer)) return new Uint8Array(memory);
  handedOver.delete(memory.buffer);
  return memory;
}

/**
 * Memory of the batches of one flush: the small ones share it, because a thousand pieces of 1 KiB cost more to allocate and to collect
 * than to fill. It is held until the last of them is dropped, so no others may be in it than those that are dropped together.
 */
export class FlushMemory {
  #piece: Buffer = Buffer.alloc(0);
  #used = 0;
  #taken = 0;

  /** As `takeMemory`. */
  take(bytes: number): Buffer {
    if (bytes >= HANDED_OVER_BYTES_MIN) return takeMemory(bytes);
    if (this.#used + bytes > this.#piece.length) {
      // As much again as was taken: a flush of one small batch holds no more than that.
      this.#piece = Buffer.allocUnsafeSlow(Math.max(bytes, Math.min(this.#taken, SHARED_BYTES_MAX)));
      this.#used = 0;
      if (this.#piece.length > bytes) shared.add(this.#piece.buffer);
    }
    const memory = this.#piece.subarray(this.#used, this.#used + bytes);
    this.#used += bytes;
    this.#taken += bytes;
    return memory;
  }
}

/** Of the size that nobody wanted for longest; false where there is no other. */
function dropOneOfAnotherSize(size: number): boolean {
  for (const [other, buffers] of kept) {
    if (other === size) continue;
    buffers.pop();
    if (buffers.length === 0) kept.delete(other);
    keptBytes -= other;
    return true;
  }
  return false;
}

function sizeOf(bytes: number): number {
  if (bytes <= SIZE_MIN) return SIZE_MIN;
  const step = 2 ** Math.floor(Math.log2(bytes - 1)) / SIZES_PER_OCTAVE;
  return Math.ceil(bytes / step) * step;
}
