import type { AppendReceipt, Epoch, Offset, TopicId } from "../domain.ts";
import { partitionKey } from "../domain.ts";
import type { TierlogError } from "../errors.ts";
import { BatchBuilder, type SealedBatch } from "../record/batch-builder.ts";
import { readBatchHeader } from "../record/batch.ts";
import type { Compression } from "../record/compression.ts";
import type { LogRecord } from "../record/record.ts";

/** The partition of an append, and how its batches are stored. */
export interface AppendTarget {
  readonly topicId: TopicId;
  readonly partition: number;
  readonly compression: Compression;
}

/** One append that waits for its ack. */
export interface Waiter {
  readonly resolve: (receipt: AppendReceipt) => void;
  readonly reject: (error: Error) => void;
  /** What it holds of `flush.max_pending`. */
  readonly bytes: number;
}

interface Claim {
  readonly waiter: Waiter;
  readonly partition: number;
  /** Where the append begins: in this batch or an earlier one of the same flush. */
  readonly first: PendingBatch;
  readonly firstDelta: number;
  /** End of the append, counted from this batch's base offset. */
  readonly nextDelta: number;
}

/** A batch on its way: an open builder, or an encoded batch. Its base offset is known when its link is committed. */
export class PendingBatch {
  readonly claims: Claim[] = [];
  readonly #source: BatchBuilder | Uint8Array;
  readonly #partition: PendingPartition;
  #baseOffset: Offset | undefined;
  /** Its link is live, or nobody knows. */
  #maybeStored = false;

  constructor(source: BatchBuilder | Uint8Array, partition: PendingPartition) {
    this.#source = source;
    this.#partition = partition;
  }

  get builder(): BatchBuilder | undefined {
    return this.#source instanceof BatchBuilder ? this.#source : undefined;
  }

  /** Header, CRC and compression: once, here. A promise only where the compression leaves the event loop. */
  seal(compression: Compression): SealedBatch | Promise<SealedBatch> {
    if (this.#source instanceof BatchBuilder) return this.#source.seal(compression);
    const header = readBatchHeader(this.#source, 0, { key: "encoded batch", position: 0 });
    return {
      bytes: this.#source,
      recordCount: header.recordCount,
      baseOffset: header.baseOffset,
      nextOffset: header.nextOffset,
      maxTimestampMs: header.maxTimestampMs,
    };
  }

  /** Its link is live: acknowledges the appends that end here. */
  committed(baseOffset: Offset, recordCount: number, epoch: Epoch): void {
    this.#partition.committed(recordCount);
    this.#baseOffset = baseOffset;
    this.#maybeStored = true;
    for (const claim of this.claims) {
      claim.waiter.resolve({
        partition: claim.partition,
        firstOffset: ((claim.first.#baseOffset ?? 0) + claim.firstDelta) as Offset,
        nextOffset: (baseOffset + claim.nextDelta) as Offset,
        level: "uploaded",
        epoch,
      });
    }
  }

  /**
   * Its link is not live, or not known to be: rejects the appends that end here. An append whose earlier batches may be stored
   * gets `partly`. REQUIRES: the batches before this one were settled first.
   */
  failed(error: TierlogError, partly: TierlogError): void {
    if (error.effect === "unknown") this.#maybeStored = true;
    for (const claim of this.claims) claim.waiter.reject(claim.first.#maybeStored ? partly : error);
  }
}

/** The batches of one partition in one flush, in offset order. */
export class PendingPartition {
  readonly target: AppendTarget;
  readonly batches: PendingBatch[] = [];
  readonly #batchBytesMax: number;
  #records = 0;

  constructor(target: AppendTarget, batchBytesMax: number) {
    this.target = target;
    this.#batchBytesMax = batchBytesMax;
  }

  /** Records that wait: those of committed links do not any more. */
  get records(): number {
    return this.#records;
  }

  committed(records: number): void {
    this.#records -= records;
  }

  /** REQUIRES: `checkRecords` passed. An append that fits one batch goes into one batch, so that it is stored whole or not at all. */
  appendRecords(records: readonly LogRecord[], nowMs: number, waiter: Waiter): void {
    let { pending, builder } = this.#open();
    let firstDelta = builder.recordCount;
    let first = pending;
    if (!builder.tryAppend(records, 0, records.length, nowMs)) {
      if (builder.recordCount > 0) ({ pending, builder } = this.#fresh());
      first = pending;
      firstDelta = 0;
      let taken = builder.appendSome(records, 0, nowMs);
      while (taken < records.length) {
        ({ pending, builder } = this.#fresh());
        taken += builder.appendSome(records, taken, nowMs);
      }
    }
    this.#records += records.length;
    pending.claims.push({
      waiter,
      partition: this.target.partition,
      first,
      firstDelta,
      nextDelta: builder.recordCount,
    });
  }

  /** REQUIRES: `checkEncodedBatch` passed. Takes `encoded` over. */
  appendEncoded(encoded: Uint8Array, recordCount: number, waiter: Waiter): void {
    const pending = new PendingBatch(encoded, this);
    this.batches.push(pending);
    this.#records += recordCount;
    pending.claims.push({
      waiter,
      partition: this.target.partition,
      first: pending,
      firstDelta: 0,
      nextDelta: recordCount,
    });
  }

  #open(): { pending: PendingBatch; builder: BatchBuilder } {
    const pending = this.batches.at(-1);
    return pending?.builder === undefined ? this.#fresh() : { pending, builder: pending.builder };
  }

  #fresh(): { pending: PendingBatch; builder: BatchBuilder } {
    // Base offset and epoch are patched in when the link is built: both lie outside the CRC.
    const builder = new BatchBuilder({ baseOffset: 0 as Offset, epoch: 0 as Epoch, maxBytes: this.#batchBytesMax });
    const pending = new PendingBatch(builder, this);
    this.batches.push(pending);
    return { pending, builder };
  }
}

/** Everything that the next flush will take. */
export class Gathering {
  readonly #partitions = new Map<string, PendingPartition>();
  #bytes = 0;
  readonly done: Promise<void>;
  #settle: { resolve: () => void; reject: (error: Error) => void } = {
    resolve: () => undefined,
    reject: () => undefined,
  };

  constructor() {
    this.done = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    // Each append has been told already; `flush()` may or may not look.
    this.done.catch(() => undefined);
  }

  get bytes(): number {
    return this.#bytes;
  }

  get isEmpty(): boolean {
    return this.#partitions.size === 0;
  }

  partitions(): IterableIterator<PendingPartition> {
    return this.#partitions.values();
  }

  /** Records that wait in this flush for a partition. */
  pendingRecords(key: string): number {
    return this.#partitions.get(key)?.records ?? 0;
  }

  partition(target: AppendTarget, batchBytesMax: number): PendingPartition {
    const key = partitionKey(target);
    let pending = this.#partitions.get(key);
    if (pending === undefined) {
      pending = new PendingPartition(target, batchBytesMax);
      this.#partitions.set(key, pending);
    }
    return pending;
  }

  add(bytes: number): void {
    this.#bytes += bytes;
  }

  finish(error?: Error): void {
    if (error === undefined) this.#settle.resolve();
    else this.#settle.reject(error);
  }
}
