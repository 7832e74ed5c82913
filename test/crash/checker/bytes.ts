/** What the checker found wrong with bytes: its message names object and position. */
export class Damage extends Error {}

const TABLE = Uint32Array.from({ length: 256 }, (_, i) => {
  let value = i;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0x82f6_3b78 : value >>> 1;
  return value;
});

/** CRC-32C (Castagnoli, reflected), bit by bit as in its definition: slow, and nobody else's code. */
export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffff_ffff;
  for (const byte of bytes) crc = TABLE[(crc ^ byte) & 0xff]! ^ (crc >>> 8);
  return ~crc >>> 0;
}

/** Reads big-endian numbers one behind the other. Everything that reaches past the end, or is no safe integer, is `Damage`. */
export class Reader {
  readonly where: string;
  position: number;
  readonly #bytes: Buffer;
  readonly #end: number;

  constructor(bytes: Uint8Array, where: string, position = 0, end = bytes.length) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.where = where;
    this.position = position;
    this.#end = end;
  }

  get left(): number {
    return this.#end - this.position;
  }

  fail(what: string): Damage {
    return new Damage(`${this.where} at ${this.position}: ${what}`);
  }

  expect(condition: boolean, what: string): void {
    if (!condition) throw this.fail(what);
  }

  u8(): number {
    return this.#bytes.readUInt8(this.#step(1));
  }

  u16(): number {
    return this.#bytes.readUInt16BE(this.#step(2));
  }

  u32(): number {
    return this.#bytes.readUInt32BE(this.#step(4));
  }

  i16(): number {
    return this.#bytes.readInt16BE(this.#step(2));
  }

  i32(): number {
    return this.#bytes.readInt32BE(this.#step(4));
  }

  u64(): number {
    return this.#safe(this.#bytes.readBigUInt64BE(this.#step(8)));
  }

  i64(): number {
    return this.#safe(this.#bytes.readBigInt64BE(this.#step(8)));
  }

  take(length: number): Buffer {
    const start = this.#step(length);
    return this.#bytes.subarray(start, start + length);
  }

  hex(length: number): string {
    return this.take(length).toString("hex");
  }

  string(): string {
    const bytes = this.take(this.u16());
    const text = bytes.toString("utf8");
    this.expect(Buffer.from(text).equals(bytes), "no UTF-8");
    return text;
  }

  /** Zigzag, as in Kafka's records. */
  varint(): number {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      this.expect(shift < 70n, "a varint of more than ten bytes");
      const byte = this.u8();
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) break;
    }
    return this.#safe(value & 1n ? -((value + 1n) / 2n) : value / 2n);
  }

  /** A count of things that take `bytesEach` at least: checked before anybody loops over it. */
  count(bytesEach: number): number {
    const count = this.u32();
    this.expect(count * bytesEach <= this.left, `a count of ${count} does not fit in ${this.left} bytes`);
    return count;
  }

  atEnd(): void {
    this.expect(this.left === 0, `${this.left} bytes too many`);
  }

  #step(length: number): number {
    this.expect(length >= 0 && length <= this.left, `${length} bytes wanted, ${this.left} left`);
    const start = this.position;
    this.position += length;
    return start;
  }

  #safe(value: bigint): number {
    const number = Number(value);
    this.expect(Number.isSafeInteger(number), `${value} is no safe integer`);
    return number;
  }
}

/** The four bytes behind `end` hold the CRC of what lies between `start` and `end`. */
export function checkCrc(bytes: Uint8Array, start: number, end: number, where: string): void {
  const stated = new Reader(bytes, where, end).u32();
  const found = crc32c(bytes.subarray(start, end));
  if (stated !== found) {
    throw new Damage(`${where}: CRC of bytes ${start} … ${end} is ${found.toString(16)}, not ${stated.toString(16)}`);
  }
}
