/** Kept of all sizes together, for the whole process: two flushes of the default `flush.max_bytes`, one that gathers and one on its way. */
const KEPT_BYTES_MAX = 64 * 1024 * 1024;
const SIZE_MIN = 1024;
/** Below this memory is cheap to allocate, and there may be tens of thousands of batches. */
const HANDED_OVER_BYTES_MIN = 16 * 1024;
/** Sizes between two powers of two: what is taken is at most an eighth larger than what was asked for. */
const SIZES_PER_OCTAVE = 8;

/** By size; the size that was wanted last stands last. */
const kept = new Map<number, Buffer[]>();
let keptBytes = 0;
/** Buffers that left with a batch or an index file and may come back. */
const handedOver = new WeakMap<ArrayBufferLike, Buffer>();

/**
 * Memory for open batches, used again: memory outside the heap that is only left behind drives the collector into full collections,
 * which stop the event loop for 5 ms and more and cost more than all copying.
 *
 * At least `bytes` long, from 1 KiB on at most an eighth longer; holds old bytes. The caller's own until `giveBack`; whoever does not
 * give it back leaves it to the collector.
 */
export function takeBuffer(bytes: number): Buffer {
  const size = sizeOf(bytes);
  const ofSize = kept.get(size);
  const buffer = ofSize?.pop();
  if (ofSize !== undefined) {
    kept.delete(size);
    if (ofSize.length > 0) kept.set(size, ofSize);
  }
  if (buffer === undefined) return Buffer.allocUnsafeSlow(size);
  keptBytes -= size;
  return buffer;
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
 * Memory of a sealed batch or an index file: `bytes` long, holds old bytes, and keeps at most an eighth more alive. It is the caller's
 * to pass on, and need not come back; whoever knows to be the last that reads it may `recycle` it. A log that is written at full speed
 * otherwise gets all its bytes from fresh pages, which cost more than the bytes themselves.
 */
export function takeMemory(bytes: number): Buffer {
  return bytes < HANDED_OVER_BYTES_MIN ? Buffer.allocUnsafeSlow(bytes) : handOver(takeBuffer(bytes), bytes);
}

/**
 * The same with what already stands in a buffer of `takeBuffer`, which the caller gives away; undefined where it is too large or too
 * small for that, and still the caller's.
 */
export function asMemory(buffer: Buffer, bytes: number): Buffer | undefined {
  const fits = bytes >= HANDED_OVER_BYTES_MIN && bytes * (1 + 1 / SIZES_PER_OCTAVE) >= buffer.length;
  return fits ? handOver(buffer, bytes) : undefined;
}

function handOver(buffer: Buffer, bytes: number): Buffer {
  handedOver.set(buffer.buffer, buffer);
  return buffer.subarray(0, bytes);
}

/**
 * Takes memory back where it came from `takeMemory` or `asMemory` and was not lent; else does nothing. REQUIRES: nobody reads these
 * bytes, or any others of the same memory, after this call.
 */
export function recycle(memory: Uint8Array): void {
  const buffer = handedOver.get(memory.buffer);
  if (buffer === undefined) return;
  handedOver.delete(memory.buffer);
  giveBack(buffer);
}

/** These bytes go to somebody who may keep them for ever: `recycle` will leave them alone. */
export function lend(memory: Uint8Array): void {
  handedOver.delete(memory.buffer);
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
