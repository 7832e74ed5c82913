import { formatQuantity, parseQuantity, type Parsed, type QuantityKind } from "./quantity.ts";

const decimal = "is in decimal units; write KiB, MiB or GiB (1 MiB = 1,048,576 bytes)";

const SIZE: QuantityKind = {
  noun: "a size",
  example: "8 MiB",
  units: [
    { name: "B", factor: 1 },
    { name: "KiB", factor: 1024 },
    { name: "MiB", factor: 1024 ** 2 },
    { name: "GiB", factor: 1024 ** 3 },
  ],
  separator: " ",
  // "MB" is a million bytes to some and 1,048,576 to others: a guess could be 7 % off either way.
  refused: new Map([
    ["kB", decimal],
    ["KB", decimal],
    ["MB", decimal],
    ["GB", decimal],
  ]),
};

/** Bytes of "8 MiB". */
export function parseSize(text: string): Parsed<number> {
  return parseQuantity(SIZE, text);
}

/** 8388608 as "8 MiB", exactly: 8388609 stays "8388609 B". */
export function formatSize(bytes: number): string {
  return formatQuantity(SIZE, bytes);
}
