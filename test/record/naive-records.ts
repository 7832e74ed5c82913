import { hex, type PlainRecord } from "./support.ts";

/**
 * The records of an uncompressed batch, read byte by byte after Kafka's description of its format and nothing else; undefined where they
 * do not follow it. What is compared with it shares no code with it.
 */
export function naiveRecords(batch: Buffer): PlainRecord[] | undefined {
  const baseOffset = Number(batch.readBigInt64BE(0));
  const baseTimestampMs = batch.readBigInt64BE(27);
  let at = 61;
  const number = (bits: 32 | 64): bigint => {
    let zigzag = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = batch[at++];
      if (byte === undefined || shift >= BigInt(bits)) throw new RangeError("no varint");
      zigzag |= BigInt(byte & 0x7f) << shift;
      if (byte >= 0x80) continue;
      if (zigzag >= 1n << BigInt(bits)) throw new RangeError("too many bits");
      return zigzag % 2n === 0n ? zigzag / 2n : -(zigzag + 1n) / 2n;
    }
  };
  const bytes = (nullable: boolean): Buffer | null => {
    const length = Number(number(32));
    if (length === -1 && nullable) return null;
    if (length < 0 || at + length > batch.length) throw new RangeError("no length");
    at += length;
    return batch.subarray(at - length, at);
  };
  const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  const one = (index: number): PlainRecord => {
    const length = Number(number(32));
    const end = at + length;
    if (length < 0 || end > batch.length) throw new RangeError("no record");
    at++;
    const timestampMs = Number(baseTimestampMs + number(64));
    if (!Number.isSafeInteger(timestampMs) || timestampMs < 0) throw new RangeError("no time");
    if (number(32) !== BigInt(index)) throw new RangeError("not dense");
    const key = hex(bytes(true));
    const value = hex(bytes(true));
    const count = Number(number(32));
    if (count < 0) throw new RangeError("no count");
    const headers = Array.from({ length: count }, () => {
      const name = utf8.decode(bytes(false));
      return [name, hex(bytes(true))] as const;
    });
    if (at !== end) throw new RangeError("not its length");
    return { offset: baseOffset + index, timestampMs, key, value, headers };
  };
  try {
    const records = Array.from({ length: batch.readInt32BE(57) }, (_, index) => one(index));
    return at === batch.length ? records : undefined;
  } catch (error) {
    if (error instanceof RangeError || error instanceof TypeError) return undefined;
    throw error;
  }
}
