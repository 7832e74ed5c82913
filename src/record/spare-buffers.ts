/** Kept of all sizes together, for the whole process: two flushes of the default `flush.max_bytes`, one that gathers and one on its way. */
const KEPT_BYTES_MAX = 64 * 1024 * 1024;
const SIZE_MIN = 1024;
/** Less is not worth keeping in a list of its own: thousands of partitions have batches of some hundred bytes. */
const MEMORY_BYTES_MIN = 4096;
/** Steps between two powers of two: what is taken is at most an eighth larger than what was asked for. */
const STEPS = 8;

/** By size; the size that was taken last is the last one. */
const kept = new Map<number, Buffer[]>();
let keptBytes = 0;

/**
 * Memory for batches, used again: memory outside the heap that is only left behind drives the collector into full collections, which
 * stop the event loop for 5 ms and more and cost more than all copying.
 *
 * At least `bytes` long, from 1 KiB on at most an eighth longer; holds old bytes. The caller's own until `giveBack`; whoever does not
 * give it back leaves it to the collector.
 */
export function takeBuffer(bytes: number): Buffer {
  const size = sizeOf(bytes);
  const ofSize = kept.get(size);
  const buffer = ofSize?.pop();
  if (ofSize === undefined || buffer === undefined) return Buffer.allocUnsafeSlow(size);
  keptBytes -= size;
  kept.delete(size);
  if (ofSize.length > 0) kept.set(size, ofSize);
  return buffer;
}

/** Memory for just so many bytes. */
export interface Memory {
  readonly bytes: Buffer;
  /** For `giveBack`, as soon as nobody reads or writes `bytes` any more. undefined: too small for that, the collector takes it. */
  readonly spare: Buffer | undefined;
}

/** As `takeBuffer`, cut to `sizeBytes`. */
export function takeMemory(sizeBytes: number): Memory {
  if (sizeBytes < MEMORY_BYTES_MIN) return { bytes: Buffer.allocUnsafeSlow(sizeBytes), spare: undefined };
  const spare = takeBuffer(sizeBytes);
  return { bytes: spare.subarray(0, sizeBytes), spare };
}

/** REQUIRES: made by `takeBuffer`, given back once, and nobody reads or writes it any more. */
export function giveBack(buffer: Buffer): void {
  const size = buffer.length;
  if (size > KEPT_BYTES_MAX) return;
  while (keptBytes + size > KEPT_BYTES_MAX) dropOne(size);
  keptBytes += size;
  const ofSize = kept.get(size);
  if (ofSize === undefined) kept.set(size, [buffer]);
  else ofSize.push(buffer);
}

/** Of a size that nobody took lately: else one kind of load would leave no room for what the next one needs. */
function dropOne(wanted: number): void {
  for (const [size, buffers] of kept) {
    if (size === wanted && kept.size > 1) continue;
    buffers.pop();
    keptBytes -= size;
    if (buffers.length === 0) kept.delete(size);
    return;
  }
}

function sizeOf(bytes: number): number {
  if (bytes <= SIZE_MIN) return SIZE_MIN;
  const step = 2 ** Math.floor(Math.log2(bytes - 1)) / STEPS;
  return Math.ceil(bytes / step) * step;
}
