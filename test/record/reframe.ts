import { crc32c } from "../../src/record/crc32c.ts";

/** `batch` with other bytes behind its header, codec LZ4, and with length and CRC to match. */
export function reframe(batch: Uint8Array, frame: Uint8Array, attributes = 3): Buffer {
  const bytes = Buffer.concat([batch.subarray(0, 61), frame]);
  bytes.writeUInt16BE(attributes, 21);
  return resealed(bytes);
}

/** Makes length and CRC of the one batch in `bytes` right again: for damage that only other checks can see. Changes `bytes`. */
export function resealed(bytes: Buffer): Buffer {
  bytes.writeInt32BE(bytes.length - 12, 8);
  bytes.writeUInt32BE(crc32c(bytes.subarray(21)), 17);
  return bytes;
}
