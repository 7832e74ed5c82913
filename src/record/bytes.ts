import { isUtf8 } from "node:buffer";

import { CorruptionError, InvariantError } from "../errors.ts";

/** Appends big-endian fields to a buffer that grows. */
export class ByteWriter {
  #bytes: Buffer;
  #position = 0;

  constructor(capacityBytes: number) {
    this.#bytes = Buffer.allocUnsafe(capacityBytes);
  }

  get position(): number {
    return this.#position;
  }

  /** A view of what was written so far; valid until the next write. */
  bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#position);
  }

  u8(value: number): void {
    this.#room(1);
    this.#position = this.#bytes.writeUInt8(value, this.#position);
  }

  u16(value: number): void {
    this.#room(2);
    this.#position = this.#bytes.writeUInt16BE(value, this.#position);
  }

  u32(value: number): void {
    this.#room(4);
    this.#position = this.#bytes.writeUInt32BE(value, this.#position);
  }

  u32At(position: number, value: number): void {
    this.#bytes.writeUInt32BE(value, position);
  }

  /** A safe integer ≥ 0 as 64 bits. */
  u64(value: number): void {
    if (!Number.isSafeInteger(value) || value < 0) throw new InvariantError(`${value} is not an offset or a size`);
    this.u32(Math.floor(value / 0x1_0000_0000));
    this.u32(value >>> 0);
  }

  /** A safe integer as 64 bits, two's complement. */
  i64(value: number): void {
    if (!Number.isSafeInteger(value)) throw new InvariantError(`${value} is not a safe integer`);
    this.#room(8);
    this.#position = this.#bytes.writeBigInt64BE(BigInt(value), this.#position);
  }

  /** 2 · `size` hex digits as `size` bytes. */
  hex(digits: string, size: number): void {
    this.#room(size);
    if (this.#bytes.write(digits, this.#position, size, "hex") !== size || digits.length !== 2 * size) {
      throw new InvariantError(`not ${size} bytes of hex: ${digits}`);
    }
    this.#position += size;
  }

  /** Length (16 bits) and UTF-8 bytes. */
  string(text: string): void {
    const size = Buffer.byteLength(text);
    if (size > 0xffff) throw new InvariantError(`string of ${size} bytes`);
    this.u16(size);
    this.#room(size);
    this.#position += this.#bytes.write(text, this.#position);
  }

  zeros(size: number): void {
    this.#room(size);
    this.#bytes.fill(0, this.#position, this.#position + size);
    this.#position += size;
  }

  #room(size: number): void {
    if (this.#position + size <= this.#bytes.length) return;
    const grown = Buffer.allocUnsafe(Math.max(this.#bytes.length * 2, this.#position + size));
    this.#bytes.copy(grown, 0, 0, this.#position);
    this.#bytes = grown;
  }
}

/** Reads big-endian fields; every read past the end is a `CorruptionError` that names the object and the byte. */
export class ByteReader {
  readonly #bytes: Buffer;
  readonly #key: string;
  readonly #start: number;
  #position = 0;

  /** `start` is the position of `bytes` within the object `key`, for messages. */
  constructor(bytes: Uint8Array, key: string, start: number) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#key = key;
    this.#start = start;
  }

  /** Within the object. */
  get position(): number {
    return this.#start + this.#position;
  }

  /** Bytes not read yet. */
  get remaining(): number {
    return this.#bytes.length - this.#position;
  }

  u8(): number {
    return this.#bytes.readUInt8(this.#take(1));
  }

  u16(): number {
    return this.#bytes.readUInt16BE(this.#take(2));
  }

  u32(): number {
    return this.#bytes.readUInt32BE(this.#take(4));
  }

  /** 64 bits that must be a safe integer. */
  u64(): number {
    const at = this.#take(8);
    const value = this.#bytes.readUInt32BE(at) * 0x1_0000_0000 + this.#bytes.readUInt32BE(at + 4);
    if (!Number.isSafeInteger(value)) throw this.#corrupt(at, `number ${value} is beyond 2^53 − 1`);
    return value;
  }

  i64(): number {
    const at = this.#take(8);
    const value = Number(this.#bytes.readBigInt64BE(at));
    if (!Number.isSafeInteger(value)) throw this.#corrupt(at, `number ${value} is beyond ±2^53`);
    return value;
  }

  hex(size: number): string {
    const at = this.#take(size);
    return this.#bytes.toString("hex", at, at + size);
  }

  string(): string {
    const size = this.u16();
    const at = this.#take(size);
    // Decoding would put U+FFFD in its place without a word: another name.
    if (!isUtf8(this.#bytes.subarray(at, at + size))) throw this.#corrupt(at, `${size} bytes of text are not UTF-8`);
    return this.#bytes.toString("utf8", at, at + size);
  }

  /** A count of items of `itemBytes` each, which must fit in what is left: nothing is allocated for a number that lies. */
  count(itemBytes: number): number {
    const at = this.#position;
    const count = this.u32();
    const left = this.#bytes.length - this.#position;
    if (count * itemBytes > left)
      throw this.#corrupt(at, `${count} items of ${itemBytes} bytes, but only ${left} bytes are left`);
    return count;
  }

  /** A reader over the next `size` bytes. */
  slice(size: number): ByteReader {
    const start = this.position;
    const at = this.#take(size);
    return new ByteReader(this.#bytes.subarray(at, at + size), this.#key, start);
  }

  /** Nothing may be left. */
  end(): void {
    const left = this.#bytes.length - this.#position;
    if (left !== 0) throw this.#corrupt(this.#position, `${left} bytes too many`);
  }

  #take(size: number): number {
    const at = this.#position;
    if (at + size > this.#bytes.length)
      throw this.#corrupt(at, `${size} bytes wanted, ${this.#bytes.length - at} are there`);
    this.#position = at + size;
    return at;
  }

  #corrupt(at: number, problem: string): CorruptionError {
    return new CorruptionError(this.#key, this.#start + at, problem);
  }
}
