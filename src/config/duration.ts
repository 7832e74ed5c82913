import { formatQuantity, parseQuantity, type Parsed, type QuantityKind } from "./quantity.ts";

export const DURATION: QuantityKind = {
  noun: "a time",
  example: "250ms",
  units: [
    { name: "ms", factor: 1 },
    { name: "s", factor: 1000 },
    { name: "m", factor: 60_000 },
    { name: "h", factor: 3_600_000 },
    { name: "d", factor: 86_400_000 },
  ],
  separator: "",
};

/** Milliseconds of "250ms". */
export function parseDuration(text: string): Parsed<number> {
  return parseQuantity(DURATION, text);
}

/** 15000 as "15s", exactly: 15001 stays "15001ms". */
export function formatDuration(milliseconds: number): string {
  return formatQuantity(DURATION, milliseconds);
}
