/** Kept of all sizes together, for the whole process. */
const KEPT_BYTES_MAX = 16 * 1024 * 1024;

const kept = new Map<number, Buffer[]>();
let keptBytes = 0;

/**
 * Memory for open batches, used again: a batch that grows from 1 KiB to 1 MiB leaves as much garbage behind as it holds, and
 * memory outside the heap drives the collector into full collections that stop the event loop for 5 ms and more.
 *
 * At least `bytes` long, rounded up to a power of two; holds old bytes. The caller's own until `giveBack`.
 */
export function takeBuffer(bytes: number): Buffer {
  const size = 2 ** Math.ceil(Math.log2(bytes));
  const buffer = kept.get(size)?.pop();
  if (buffer === undefined) return Buffer.allocUnsafeSlow(size);
  keptBytes -= size;
  return buffer;
}

/** REQUIRES: made by `takeBuffer`, given back once, and nobody reads or writes it any more. */
export function giveBack(buffer: Buffer): void {
  if (keptBytes + buffer.length > KEPT_BYTES_MAX) return;
  keptBytes += buffer.length;
  const ofSize = kept.get(buffer.length);
  if (ofSize === undefined) kept.set(buffer.length, [buffer]);
  else ofSize.push(buffer);
}
