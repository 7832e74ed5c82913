import { formatSize } from "../config/size.ts";

/** 1234567 as "1,234,567". */
export function formatCount(count: number): string {
  return String(Math.round(count)).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** For reading, not for parsing: three digits or so, as in "12.3 MiB". */
export function formatBytes(bytes: number): string {
  if (bytes < 1024) return formatSize(bytes);
  let value = bytes;
  let unit = "B";
  for (const next of ["KiB", "MiB", "GiB", "TiB"]) {
    if (value < 1024) break;
    value /= 1024;
    unit = next;
  }
  return `${value < 100 ? value.toFixed(1) : formatCount(value)} ${unit}`;
}

/** Also what is too short for `formatMilliseconds`. */
export function formatLatency(milliseconds: number): string {
  return milliseconds < 1 ? `${Math.round(milliseconds * 1000)} µs` : formatMilliseconds(milliseconds);
}

export function formatMilliseconds(milliseconds: number): string {
  return `${milliseconds < 10 ? milliseconds.toFixed(1) : formatCount(milliseconds)} ms`;
}
