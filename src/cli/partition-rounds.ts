import type { PartitionApi } from "../engine/api.ts";
import { decodeRecords } from "../record/batch.ts";
import type { StoredRecord } from "../record/record.ts";

/** Bytes asked for in one round, over all partitions. */
const ROUND_BYTES = 8 * 1024 * 1024;
const READ_BYTES_MIN = 16 * 1024;
const READ_BYTES_MAX = 1024 * 1024;
const READS_AT_ONCE = 16;

/** A run of records of one partition. */
export interface PartitionRecords {
  readonly partition: number;
  readonly records: readonly StoredRecord[];
}

interface Position {
  readonly partition: PartitionApi;
  offset: number;
  /** Was at the end of the log when last read. */
  ended: boolean;
}

/**
 * Reads partitions side by side, a piece of each per round. One object holds many partitions: one partition after the other
 * would fetch every object once per partition, as soon as the log is larger than the cache.
 */
export class PartitionRounds {
  readonly #positions: readonly Position[];
  readonly #readBytes: number;

  constructor(partitions: readonly { readonly partition: PartitionApi; readonly offset: number }[]) {
    this.#positions = partitions.map(({ partition, offset }) => ({ partition, offset, ended: false }));
    const share = Math.floor(ROUND_BYTES / Math.max(1, partitions.length));
    this.#readBytes = Math.min(READ_BYTES_MAX, Math.max(READ_BYTES_MIN, share));
  }

  /** Everything up to the end of each partition as it is found there. May be run again later, for what came since. */
  async *run(): AsyncGenerator<PartitionRecords> {
    for (const position of this.#positions) position.ended = false;
    for (;;) {
      const open = this.#positions.filter(({ ended }) => !ended);
      if (open.length === 0) return;
      for (let i = 0; i < open.length; i += READS_AT_ONCE) {
        const reads = await Promise.all(open.slice(i, i + READS_AT_ONCE).map((position) => this.#read(position)));
        for (const read of reads) yield* read;
      }
    }
  }

  async #read(position: Position): Promise<PartitionRecords[]> {
    const { partition, offset } = position;
    const { batches, nextOffset, watermarks } = await partition.read({ from: offset, maxBytes: this.#readBytes });
    position.offset = nextOffset;
    position.ended = batches.length === 0 || nextOffset >= watermarks.uploaded;
    return batches.map((batch) => {
      const records = decodeRecords(batch, { key: `${partition.topic}/${partition.number}`, position: 0 });
      const first = records[0];
      return {
        partition: partition.number,
        records:
          first !== undefined && first.offset < offset ? records.filter((record) => record.offset >= offset) : records,
      };
    });
  }
}
