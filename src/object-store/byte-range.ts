import { InvalidArgumentError } from "../errors.ts";
import type { ByteRange } from "./object-store.ts";

/** Throws `InvalidArgumentError` unless the bounds are safe integers ≥ 0 and `end` is not before `start`. */
export function checkRange(range: ByteRange | undefined): void {
  if (range === undefined) return;
  if ("suffix" in range) {
    if (!isPosition(range.suffix))
      throw new InvalidArgumentError("range.suffix", range.suffix, "must be an integer ≥ 0");
    return;
  }
  if (!isPosition(range.start)) throw new InvalidArgumentError("range.start", range.start, "must be an integer ≥ 0");
  if (range.end === undefined) return;
  if (!isPosition(range.end)) throw new InvalidArgumentError("range.end", range.end, "must be an integer ≥ 0");
  if (range.end < range.start) throw new InvalidArgumentError("range.end", range.end, "must not lie before the start");
}

/** The part of an object of `sizeBytes` that `range` names, with 0 ≤ start ≤ end ≤ sizeBytes. */
export function resolveRange(
  range: ByteRange | undefined,
  sizeBytes: number,
): { readonly start: number; readonly end: number } {
  if (range === undefined) return { start: 0, end: sizeBytes };
  if ("suffix" in range) return { start: Math.max(0, sizeBytes - range.suffix), end: sizeBytes };
  return { start: Math.min(range.start, sizeBytes), end: Math.min(range.end ?? sizeBytes, sizeBytes) };
}

function isPosition(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}
