import type { Problem } from "./where.ts";

/**
 * Zigzag varints as in Kafka's records (protobuf's sint32 and sint64): 7 bits a byte, lowest first, the high bit says that more
 * follow. A varint is a signed 32-bit number in at most 5 bytes, a varlong a signed 64-bit one in at most 10; here a varlong must
 * be a safe integer. Padded forms (`80 00` for 0) are read, as Kafka reads them, and never written.
 */

const VARINT_BYTES_MAX = 5;

/** Bytes of a signed 32-bit number. */
export function sizeOfVarint(value: number): number {
  const bits = ((value << 1) ^ (value >> 31)) >>> 0;
  if (bits < 0x80) return 1;
  if (bits < 0x4000) return 2;
  if (bits < 0x20_0000) return 3;
  return bits < 0x1000_0000 ? 4 : 5;
}

/** Bytes of a safe integer: 1 … 8. */
export function sizeOfVarlong(value: number): number {
  if (fitsVarint(value)) return sizeOfVarint(value);
  // One bit of the first byte is the sign.
  let size = 4;
  for (let rest = Math.floor(magnitude(value) / 0x800_0000); rest > 0; rest = Math.floor(rest / 0x80)) size++;
  return size;
}

/** Writes a signed 32-bit number; returns the position behind it. REQUIRES: there is room. */
export function writeVarint(bytes: Uint8Array, at: number, value: number): number {
  let position = at;
  let bits = ((value << 1) ^ (value >> 31)) >>> 0;
  while (bits > 0x7f) {
    bytes[position++] = (bits & 0x7f) | 0x80;
    bits >>>= 7;
  }
  bytes[position++] = bits;
  return position;
}

/** Writes a safe integer; returns the position behind it. REQUIRES: there is room. */
export function writeVarlong(bytes: Uint8Array, at: number, value: number): number {
  if (fitsVarint(value)) return writeVarint(bytes, at, value);
  let position = at;
  // Twice the magnitude may be no safe integer: the lowest 28 bits and the rest go separately.
  const high = Math.floor(magnitude(value) / 0x800_0000);
  let bits = (magnitude(value) % 0x800_0000) * 2 + (value < 0 ? 1 : 0);
  for (let i = 0; i < 4; i++) {
    bytes[position++] = i < 3 || high > 0 ? (bits & 0x7f) | 0x80 : bits & 0x7f;
    bits >>>= 7;
  }
  for (let rest = high; rest > 0; rest = Math.floor(rest / 0x80)) {
    bytes[position++] = rest > 0x7f ? (rest % 0x80) | 0x80 : rest;
  }
  return position;
}

/** Reads forward through bytes [position, end) of `buffer`. Every read is checked against `end` and throws what `problem` makes. */
export class VarintReader {
  readonly buffer: Buffer;
  position: number;
  end: number;
  readonly #problem: Problem;

  constructor(buffer: Buffer, position: number, end: number, problem: Problem) {
    this.buffer = buffer;
    this.position = position;
    this.end = end;
    this.#problem = problem;
  }

  varint(what: string): number {
    const start = this.position;
    let bits = 0;
    for (let read = 0; read < VARINT_BYTES_MAX; read++) {
      const byte = this.byte(what);
      if (read === VARINT_BYTES_MAX - 1 && byte > 0x0f) break;
      bits |= (byte & 0x7f) << (7 * read);
      if (byte < 0x80) return (bits >>> 1) ^ -(bits & 1);
    }
    throw this.#problem(start, `${what} is no 32-bit varint`);
  }

  varlong(what: string): number {
    const start = this.position;
    // Bits 0–27, 28–55 and 56–63.
    let low = 0;
    let middle = 0;
    let top = 0;
    for (let read = 0; read < 10; read++) {
      const byte = this.byte(what);
      const bits = byte & 0x7f;
      if (read < 4) low |= bits << (7 * read);
      else if (read < 8) middle |= bits << (7 * (read - 4));
      else top |= bits << (7 * (read - 8));
      if (byte >= 0x80) continue;
      const size = (low >>> 1) + middle * 0x800_0000;
      const value = (low & 1) === 0 ? size : -size - 1;
      if (top === 0 && Number.isSafeInteger(value)) return value;
      throw this.#problem(start, `${what} is no safe integer`);
    }
    throw this.#problem(start, `${what} is no 64-bit varint`);
  }

  byte(what: string): number {
    if (this.position >= this.end) throw this.#problem(this.position, `${what} is cut off`);
    return this.buffer[this.position++]!;
  }

  /** Steps over `count` bytes and returns where they start. */
  skip(count: number, what: string): number {
    const start = this.position;
    if (count < 0 || count > this.end - start) {
      throw this.#problem(start, `${what} has ${count} bytes, but ${this.end - start} are left`);
    }
    this.position = start + count;
    return start;
  }
}

function fitsVarint(value: number): boolean {
  return value === (value | 0);
}

/** The number without its sign bit, as zigzag counts it: 0 for 0 and −1, 1 for 1 and −2. */
function magnitude(value: number): number {
  return value < 0 ? -value - 1 : value;
}
