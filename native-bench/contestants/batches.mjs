import { BatchBuilder } from "../../dist/record/batch-builder.js";
import { crc32c } from "../../dist/record/crc32c.js";
import { recycle } from "../../dist/record/spare-buffers.js";
import { payloads } from "../load/payload.mjs";

export const NOW_MS = 1_700_000_000_000;
/** Above what the records below take with their framing. */
const MAX_BYTES = 1024 * 1024;

/** Records of about 64 KiB together. */
export function recordsOf(bytes) {
  return payloads(bytes, Math.ceil((64 * 1024) / bytes)).map((value) => ({ value }));
}

export function encode(records) {
  const builder = new BatchBuilder({ baseOffset: 0, epoch: 1, maxBytes: MAX_BYTES });
  builder.tryAppend(records, 0, records.length, NOW_MS);
  return builder.seal("none");
}

/** As the engine does it, batch after batch: the memory of one that nobody reads any more serves the next. */
export function encodeOnAndOn(records) {
  recycle(encode(records).bytes);
}

/** How one writes it who has not measured: small buffers, put together at the end. The same bytes as `encode` makes. */
export function encodeNaively(records) {
  const parts = records.map(({ value }, i) => {
    const body = Buffer.concat([
      Buffer.from([0]),
      varint(0),
      varint(i),
      varint(-1),
      varint(value.length),
      value,
      varint(0),
    ]);
    return Buffer.concat([varint(body.length), body]);
  });
  const body = Buffer.concat(parts);
  const header = Buffer.alloc(61);
  header.writeBigInt64BE(0n, 0);
  header.writeInt32BE(body.length + 49, 8);
  header.writeInt32BE(1, 12);
  header.writeInt8(2, 16);
  header.writeInt32BE(records.length - 1, 23);
  header.writeBigInt64BE(BigInt(NOW_MS), 27);
  header.writeBigInt64BE(BigInt(NOW_MS), 35);
  header.writeBigInt64BE(-1n, 43);
  header.writeInt16BE(-1, 51);
  header.writeInt32BE(-1, 53);
  header.writeInt32BE(records.length, 57);
  const whole = Buffer.concat([header, body]);
  whole.writeUInt32BE(crc32c(whole.subarray(21)), 17);
  return whole;
}

/** Zigzag, as Kafka's. */
function varint(value) {
  const bytes = [];
  for (let rest = ((value << 1) ^ (value >> 31)) >>> 0; ; rest >>>= 7) {
    if (rest < 0x80) {
      bytes.push(rest);
      return Buffer.from(bytes);
    }
    bytes.push((rest & 0x7f) | 0x80);
  }
}
