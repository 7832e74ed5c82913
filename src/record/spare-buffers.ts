/** Kept of all sizes together, for the whole process: about one large flush, which comes back as a whole. */
const KEPT_BYTES_MAX = 32 * 1024 * 1024;
/** Below this a batch is cheap to allocate, and there may be tens of thousands of them. */
const HANDED_OVER_BYTES_MIN = 16 * 1024;
/** Sizes between two powers of two that a batch is fitted to. */
const SIZES_PER_OCTAVE = 8;

/** By size; the size that was wanted last stands last. */
const kept = new Map<number, Buffer[]>();
let keptBytes = 0;
/** Buffers that left with a batch and may come back. */
const handedOver = new WeakMap<ArrayBufferLike, Buffer>();

/**
 * Memory for open batches, used again: a batch that grows from 1 KiB to 1 MiB leaves as much garbage behind as it holds, and
 * memory outside the heap drives the collector into full collections that stop the event loop for 5 ms and more.
 *
 * At least `bytes` long, rounded up to a power of two; holds old bytes. The caller's own until `giveBack`.
 */
export function takeBuffer(bytes: number): Buffer {
  return take(2 ** Math.ceil(Math.log2(bytes)));
}

/** REQUIRES: made by `takeBuffer`, given back once, and nobody reads or writes it any more. */
export function giveBack(buffer: Buffer): void {
  while (keptBytes + buffer.length > KEPT_BYTES_MAX) if (!dropOneOfAnotherSize(buffer.length)) return;
  keptBytes += buffer.length;
  const ofSize = kept.get(buffer.length);
  if (ofSize === undefined) kept.set(buffer.length, [buffer]);
  else ofSize.push(buffer);
}

/**
 * Memory of a sealed batch: `bytes` long, holds old bytes, and keeps at most an eighth more alive. It is the caller's to pass on, and
 * need not come back; whoever knows to be the last that reads it may `recycle` it. A log that is written at full speed otherwise
 * gets all its bytes from fresh pages, which cost more than the bytes themselves, and its garbage collected by full collections.
 */
export function takeForBatch(bytes: number): Buffer {
  if (bytes < HANDED_OVER_BYTES_MIN) return Buffer.allocUnsafeSlow(bytes);
  const step = 2 ** Math.floor(Math.log2(bytes)) / SIZES_PER_OCTAVE;
  return handOver(take(Math.ceil(bytes / step) * step), bytes);
}

/**
 * The same with what already stands in a buffer of `takeBuffer`, which the caller gives away; undefined where it is too large or too
 * small for that, and still the caller's.
 */
export function asBatch(buffer: Buffer, bytes: number): Buffer | undefined {
  const fits = bytes >= HANDED_OVER_BYTES_MIN && bytes * (1 + 1 / SIZES_PER_OCTAVE) >= buffer.length;
  return fits ? handOver(buffer, bytes) : undefined;
}

function handOver(buffer: Buffer, bytes: number): Buffer {
  handedOver.set(buffer.buffer, buffer);
  return buffer.subarray(0, bytes);
}

/**
 * Takes the memory of a batch back, where it came from `takeForBatch` or `asBatch` and was not lent; else does nothing. REQUIRES: nobody
 * reads these bytes, or any others of the same batch, after this call. Once for each batch.
 */
export function recycle(batch: Uint8Array): void {
  const buffer = handedOver.get(batch.buffer);
  if (buffer === undefined) return;
  handedOver.delete(batch.buffer);
  giveBack(buffer);
}

/** These bytes go to somebody who may keep them for ever: `recycle` will leave them alone. */
export function lend(batch: Uint8Array): void {
  handedOver.delete(batch.buffer);
}

function take(size: number): Buffer {
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
