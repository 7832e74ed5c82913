import type { Offset } from "../domain.ts";
import type { BatchHeader } from "./batch-header.ts";
import { NO_HEADERS, type StoredRecord } from "./record.ts";

/** Lengths, attributes and deltas in front of a key have at most 3 + 1 + 4 + 3 + 2 bytes. */
const READ_BYTES = 16;

/**
 * Where a walk through the records of a batch stands. `skipPlain` takes it on through those of the usual shape (no headers, less than
 * 1 MiB, a key of less than 8 KiB, a timestamp within a day of the one of their batch), in a third of the time that looking at any
 * record takes.
 */
export class RecordWalk {
  index = 0;
  position: number;
  maxTimestampMs = 0;

  constructor(position: number) {
    this.position = position;
  }

  /**
   * Steps over records until one has another shape, is damaged or ends less than 16 bytes before the end of `bytes`: that one, of
   * which nothing is known, is the caller's to read. With `into`, the records are pushed there as views of `bytes`.
   */
  skipPlain(
    bytes: Uint8Array,
    { baseOffset, baseTimestampMs, recordCount }: BatchHeader,
    into: StoredRecord[] | undefined,
  ): void {
    const limit = bytes.length;
    let { index, position: at, maxTimestampMs } = this;
    for (; index < recordCount; index++) {
      // No read up to the key goes further.
      if (limit - at < READ_BYTES) break;
      let position = at;

      let byte = bytes[position++]!;
      let bits = byte & 0x7f;
      if (byte > 0x7f) {
        byte = bytes[position++]!;
        bits |= (byte & 0x7f) << 7;
        if (byte > 0x7f) {
          byte = bytes[position++]!;
          bits |= byte << 14;
          if (byte > 0x7f) break;
        }
      }
      const end = position + (bits >>> 1);
      if ((bits & 1) !== 0 || end > limit) break;

      // Attributes of a record: unused in v2, ignored by Kafka too.
      position++;

      byte = bytes[position++]!;
      bits = byte & 0x7f;
      if (byte > 0x7f) {
        byte = bytes[position++]!;
        bits |= (byte & 0x7f) << 7;
        if (byte > 0x7f) {
          byte = bytes[position++]!;
          bits |= (byte & 0x7f) << 14;
          if (byte > 0x7f) {
            byte = bytes[position++]!;
            bits |= byte << 21;
            if (byte > 0x7f) break;
          }
        }
      }
      const timestampMs = baseTimestampMs + ((bits >>> 1) ^ -(bits & 1));
      if (timestampMs < 0 || timestampMs > Number.MAX_SAFE_INTEGER) break;

      byte = bytes[position++]!;
      bits = byte & 0x7f;
      if (byte > 0x7f) {
        byte = bytes[position++]!;
        bits |= (byte & 0x7f) << 7;
        if (byte > 0x7f) {
          byte = bytes[position++]!;
          bits |= byte << 14;
          if (byte > 0x7f) break;
        }
      }
      if (bits !== index * 2) break;

      byte = bytes[position++]!;
      bits = byte & 0x7f;
      if (byte > 0x7f) {
        byte = bytes[position++]!;
        bits |= byte << 7;
        if (byte > 0x7f) break;
      }
      const keyLength = (bits >>> 1) ^ -(bits & 1);
      if (keyLength < -1) break;
      const keyAt = position;
      if (keyLength > 0) position += keyLength;

      if (limit - position < READ_BYTES) break;
      byte = bytes[position++]!;
      bits = byte & 0x7f;
      if (byte > 0x7f) {
        byte = bytes[position++]!;
        bits |= (byte & 0x7f) << 7;
        if (byte > 0x7f) {
          byte = bytes[position++]!;
          bits |= byte << 14;
          if (byte > 0x7f) break;
        }
      }
      const valueLength = (bits >>> 1) ^ -(bits & 1);
      if (valueLength < -1) break;
      const valueAt = position;
      if (valueLength > 0) position += valueLength;

      // The last byte counts the headers.
      if (position !== end - 1 || bytes[position] !== 0) break;

      if (timestampMs > maxTimestampMs) maxTimestampMs = timestampMs;
      into?.push({
        offset: (baseOffset + index) as Offset,
        timestampMs,
        key: keyLength < 0 ? null : bytes.subarray(keyAt, keyAt + keyLength),
        value: valueLength < 0 ? null : bytes.subarray(valueAt, valueAt + valueLength),
        headers: NO_HEADERS,
      });
      at = end;
    }
    this.index = index;
    this.position = at;
    this.maxTimestampMs = maxTimestampMs;
  }
}
