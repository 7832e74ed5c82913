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

/** What one read gave. */
interface Piece {
  readonly position: Position;
  readonly from: number;
  readonly batches: readonly Uint8Array[];
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
        // One batch at a time: decompressed and as records, a round is many times what was read.
        for (const { position, from, batches } of reads) {
          for (const batch of batches) yield decode(position.partition, batch, from);
        }
      }
    }
  }

  async #read(position: Position): Promise<Piece> {
    const { partition, offset: from } = position;
    const { batches, nextOffset, watermarks } = await partition.read({ from, maxBytes: this.#readBytes });
    position.offset = nextOffset;
    position.ended = batches.length === 0 || nextOffset >= watermarks.uploaded;
    return { position, from, batches };
  }
}

function decode(partition: PartitionApi, batch: Uint8Array, from: number): PartitionRecords {
  const records = decodeRecords(batch, { key: `${partition.topic}/${partition.number}`, position: 0 });
  const first = records[0];
  return {
    partition: partition.number,
    // A batch may begin below the offset that was asked for.
    records: first !== undefined && first.offset < from ? records.filter(({ offset }) => offset >= from) : records,
  };
}
