import { S3Refusal } from "./refusal.ts";

/**
 * The bytes that a Range header asks for: start and end (exclusive). undefined: all of them, also where the header is none that
 * S3 minds (inverted, several ranges, another unit). Throws `InvalidRange` where nothing of the object lies in it.
 */
export function readRange(
  header: string | undefined,
  size: number,
): { readonly start: number; readonly end: number } | undefined {
  const [, first, last] = /^bytes=(\d*)-(\d*)$/.exec(header?.trim() ?? "") ?? [];
  if (first === undefined || last === undefined || (first === "" && last === "")) return undefined;
  if (first === "") {
    const suffix = Number(last);
    if (suffix === 0 || size === 0) throw notSatisfiable(header, size);
    return { start: Math.max(0, size - suffix), end: size };
  }
  const start = Number(first);
  if (last !== "" && Number(last) < start) return undefined;
  if (start >= size) throw notSatisfiable(header, size);
  return { start, end: last === "" ? size : Math.min(Number(last) + 1, size) };
}

function notSatisfiable(header: string | undefined, size: number): S3Refusal {
  return new S3Refusal("InvalidRange", {
    elements: { RangeRequested: header ?? "", ActualObjectSize: String(size) },
    headers: { "content-range": `bytes */${size}` },
  });
}
