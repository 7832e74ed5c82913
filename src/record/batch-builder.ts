import type { Epoch, Offset } from "../domain.ts";
import { InvalidArgumentError, InvariantError } from "../errors.ts";
import { BATCH_HEADER_BYTES, CRC_AT, CRC_FROM, writeBatchHeader } from "./batch-header.ts";
import { writeInt32 } from "./big-endian.ts";
import { compressLz4, type Compression } from "./compression.ts";
import { crc32c } from "./crc32c.ts";
import { recordBodyBytes, writeRecord } from "./record-encoder.ts";
import type { LogRecord } from "./record.ts";
import { asMemory, giveBack, takeBuffer, takeMemory } from "./spare-buffers.ts";
import { sizeOfVarint } from "./varint.ts";

export { checkRecords } from "./check-records.ts";

/** Thousands of partitions may have an open batch. */
const FIRST_BUFFER_BYTES = 1024;
const NO_BUFFER = Buffer.alloc(0);
/** Lengths and deltas in a batch are signed 32-bit numbers; half of their range leaves no sum near its end. */
const MAX_BYTES_LIMIT = 2 ** 30;

export interface SealedBatch {
  /**
   * One RecordBatch v2, the caller's own: nothing of the builder refers to it, and it holds at most half as much again alive. Its memory
   * may be used again once its last reader says so: see `recycle`.
   */
  readonly bytes: Uint8Array;
  readonly recordCount: number;
  readonly baseOffset: Offset;
  /** First offset after the batch. */
  readonly nextOffset: Offset;
  readonly maxTimestampMs: number;
}

/**
 * One open batch: records are encoded as they come, header, CRC and compression follow once, at `seal`, which ends the builder.
 * Use after `seal` is an `InvariantError`, as is sealing nothing. Timestamps are CreateTime and may decrease.
 *
 * REQUIRES of all records: they passed `checkRecords`.
 */
export class BatchBuilder {
  readonly #baseOffset: Offset;
  readonly #epoch: Epoch;
  readonly #maxBytes: number;
  #buffer: Buffer;
  #sizeBytes = BATCH_HEADER_BYTES;
  #recordCount = 0;
  #baseTimestampMs = 0;
  #maxTimestampMs = 0;
  #sealed = false;

  /**
   * `maxBytes` bounds the whole batch before compression, its header included. `expectedBytes`: what it will probably come to; a batch
   * that grows is copied on its way, about once.
   */
  constructor(options: {
    readonly baseOffset: Offset;
    readonly epoch: Epoch;
    readonly maxBytes: number;
    readonly expectedBytes?: number;
  }) {
    const { baseOffset, epoch, maxBytes, expectedBytes = 0 } = options;
    if (!Number.isSafeInteger(maxBytes) || maxBytes <= BATCH_HEADER_BYTES || maxBytes > MAX_BYTES_LIMIT) {
      throw new InvalidArgumentError(
        "maxBytes",
        maxBytes,
        `must be an integer above ${BATCH_HEADER_BYTES} and at most ${MAX_BYTES_LIMIT}`,
      );
    }
    // A batch holds fewer records than bytes.
    if (!Number.isSafeInteger(baseOffset + maxBytes) || baseOffset < 0) {
      throw new InvalidArgumentError(
        "baseOffset",
        baseOffset,
        "must be an integer ≥ 0 with room for a batch behind it",
      );
    }
    this.#baseOffset = baseOffset;
    this.#epoch = epoch;
    this.#maxBytes = maxBytes;
    this.#buffer = takeBuffer(Math.min(Math.max(FIRST_BUFFER_BYTES, expectedBytes), maxBytes));
  }

  get recordCount(): number {
    return this.#recordCount;
  }

  /** The offset that the next record gets. */
  get nextOffset(): Offset {
    return (this.#baseOffset + this.#recordCount) as Offset;
  }

  /** Size of the batch so far, uncompressed, with its header. */
  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /**
   * Takes all of records[start, end) or, where they do not fit, none: false, and the builder is as before. Copies keys, values
   * and headers: the caller may reuse its buffers. Records without a timestamp get `nowMs`.
   */
  tryAppend(records: readonly LogRecord[], start: number, end: number, nowMs: number): boolean {
    this.#checkUsable(nowMs);
    const sizeBytes = this.#sizeBytes;
    const recordCount = this.#recordCount;
    const maxTimestampMs = this.#maxTimestampMs;
    for (let i = start; i < end; i++) {
      if (this.#add(records[i], nowMs, end - i)) continue;
      // The base timestamp needs no way back: the first record sets it.
      this.#sizeBytes = sizeBytes;
      this.#recordCount = recordCount;
      this.#maxTimestampMs = maxTimestampMs;
      return false;
    }
    return true;
  }

  /** Takes as many of records[start, …) as fit and returns how many; 0 if not even the first does. Else as `tryAppend`. */
  appendSome(records: readonly LogRecord[], start: number, nowMs: number): number {
    this.#checkUsable(nowMs);
    let i = start;
    while (i < records.length && this.#add(records[i], nowMs, records.length - i)) i++;
    return i - start;
  }

  /**
   * Ends the builder. The answer comes at once for "none" and for up to 32 KiB of records, else as a promise. With "lz4", a
   * batch that LZ4 does not make smaller is stored with codec none. `take` makes the memory of the sealed batch.
   */
  seal(compression: Compression, take: (bytes: number) => Buffer = takeMemory): SealedBatch | Promise<SealedBatch> {
    if (this.#sealed) throw new InvariantError("the batch is sealed already");
    if (this.#recordCount === 0) throw new InvariantError("a batch without records cannot be sealed");
    this.#sealed = true;
    const buffer = this.#buffer;
    // Whoever keeps the builder keeps no bytes.
    this.#buffer = NO_BUFFER;
    if (compression === "none") return this.#finish(buffer, undefined, take);
    const frame = compressLz4(buffer.subarray(BATCH_HEADER_BYTES, this.#sizeBytes));
    return frame instanceof Uint8Array
      ? this.#finish(buffer, frame, take)
      : frame.then((late) => this.#finish(buffer, late, take));
  }

  /** `left`: how many there are to come, this one included. */
  #add(record: LogRecord | undefined, nowMs: number, left: number): boolean {
    if (record === undefined) throw new InvariantError("append beyond the end of the records");
    const timestampMs = record.timestampMs ?? nowMs;
    const timestampDelta = this.#recordCount === 0 ? 0 : timestampMs - this.#baseTimestampMs;
    const body = recordBodyBytes(record, timestampDelta, this.#recordCount);
    const end = this.#sizeBytes + sizeOfVarint(body) + body;
    if (end > this.#maxBytes) return false;
    // The others may be as large: growing step by step copies what is there again and again.
    if (end > this.#buffer.length)
      this.#grow(Math.min(this.#sizeBytes + left * (end - this.#sizeBytes), this.#maxBytes));
    writeRecord(this.#buffer, this.#sizeBytes, body, record, timestampDelta, this.#recordCount);
    if (this.#recordCount === 0) {
      this.#baseTimestampMs = timestampMs;
      this.#maxTimestampMs = timestampMs;
    } else if (timestampMs > this.#maxTimestampMs) {
      this.#maxTimestampMs = timestampMs;
    }
    this.#sizeBytes = end;
    this.#recordCount++;
    return true;
  }

  #grow(neededBytes: number): void {
    const larger = takeBuffer(Math.max(neededBytes, Math.min(2 * this.#buffer.length, this.#maxBytes)));
    larger.set(this.#buffer.subarray(0, this.#sizeBytes));
    giveBack(this.#buffer);
    this.#buffer = larger;
  }

  #checkUsable(nowMs: number): void {
    if (this.#sealed) throw new InvariantError("the batch is sealed already");
    if (!Number.isSafeInteger(nowMs) || nowMs < 0) {
      throw new InvalidArgumentError("nowMs", nowMs, "must be an integer ≥ 0 (milliseconds since 1970)");
    }
  }

  /** Takes `buffer` over. `frame`: the compressed records in it; it counts only where it is smaller. */
  #finish(buffer: Buffer, frame: Uint8Array | undefined, take: (bytes: number) => Buffer): SealedBatch {
    const smaller = frame !== undefined && BATCH_HEADER_BYTES + frame.length < this.#sizeBytes ? frame : undefined;
    let bytes = smaller === undefined ? asMemory(buffer, this.#sizeBytes) : undefined;
    if (bytes === undefined) {
      bytes = take(smaller === undefined ? this.#sizeBytes : BATCH_HEADER_BYTES + smaller.length);
      if (smaller === undefined) bytes.set(buffer.subarray(0, this.#sizeBytes));
      else bytes.set(smaller, BATCH_HEADER_BYTES);
      giveBack(buffer);
    }
    writeBatchHeader(bytes, {
      baseOffset: this.#baseOffset,
      epoch: this.#epoch,
      compression: smaller === undefined ? "none" : "lz4",
      recordCount: this.#recordCount,
      baseTimestampMs: this.#baseTimestampMs,
      maxTimestampMs: this.#maxTimestampMs,
    });
    writeInt32(bytes, CRC_AT, crc32c(bytes.subarray(CRC_FROM)));
    return {
      bytes,
      recordCount: this.#recordCount,
      baseOffset: this.#baseOffset,
      nextOffset: this.nextOffset,
      maxTimestampMs: this.#maxTimestampMs,
    };
  }
}
