import { partitionKey, type AckLevel, type AppendReceipt, type Epoch, type Offset, type TopicId } from "../domain.ts";
import { InvariantError } from "../errors.ts";
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
  readonly level: AckLevel;
}

const LEVELS: readonly AckLevel[] = ["buffered", "journaled", "uploaded"];

interface Claim {
  readonly waiter: Waiter;
  readonly partition: number;
  /** Where the append begins: in this batch or an earlier one of the same flush. */
  readonly first: PendingBatch;
  readonly firstDelta: number;
  /** End of the append, counted from this batch's base offset. */
  readonly nextDelta: number;
}

/** A batch on its way: an open builder, or an encoded batch. Gets its base offset when its flush is taken. */
export class PendingBatch {
  #claims: Claim[] = [];
  #source: BatchBuilder | Uint8Array | undefined;
  #baseOffset: Offset | undefined;

  constructor(source: BatchBuilder | Uint8Array) {
    this.#source = source;
  }

  /** undefined for an encoded batch, and once sealed. */
  get builder(): BatchBuilder | undefined {
    return this.#source instanceof BatchBuilder ? this.#source : undefined;
  }

  /** Appends that end here and wait for their ack. */
  get claims(): number {
    return this.#claims.length;
  }

  claim(claim: Claim): void {
    this.#claims.push(claim);
  }

  /** REQUIRES: `assign` was called. */
  get baseOffset(): Offset {
    if (this.#baseOffset === undefined) throw new InvariantError("a batch without an offset");
    return this.#baseOffset;
  }

  /** Gives the batch its place; returns where the next one goes. */
  assign(baseOffset: Offset): Offset {
    this.#baseOffset = baseOffset;
    const records =
      this.#source instanceof Uint8Array ? encodedRecords(this.#source) : (this.builder?.recordCount ?? 0);
    return (baseOffset + records) as Offset;
  }

  /**
   * Header, CRC and compression: once, here. A promise only where the compression leaves the event loop. The records' own buffer
   * is let go: of a flush on its way only what is sent stays in memory.
   */
  seal(compression: Compression): SealedBatch | Promise<SealedBatch> {
    const source = this.#source;
    this.#source = undefined;
    if (source === undefined) throw new InvariantError("a batch was sealed twice");
    if (source instanceof BatchBuilder) return source.seal(compression);
    const { recordCount, baseOffset, nextOffset, maxTimestampMs } = headerOf(source);
    // A copy: offsets are written into it, the same batch may be on its way to several partitions, and after the ack the buffer
    // is the caller's again, while readers at the tail still use these bytes.
    return { bytes: new Uint8Array(source), recordCount, baseOffset, nextOffset, maxTimestampMs };
  }

  /** Acknowledges the appends that end here and asked for no more than `level`: how many. REQUIRES: `assign` was called. */
  reached(level: AckLevel, epoch: Epoch): number {
    const claims = this.#claims;
    if (claims.length === 0) return 0;
    const rank = LEVELS.indexOf(level);
    const left: Claim[] = [];
    for (const claim of claims) {
      const { waiter, partition, first, firstDelta, nextDelta } = claim;
      if (LEVELS.indexOf(waiter.level) > rank) {
        left.push(claim);
        continue;
      }
      waiter.resolve({
        partition,
        firstOffset: (first.baseOffset + firstDelta) as Offset,
        nextOffset: (this.baseOffset + nextDelta) as Offset,
        level,
        epoch,
      });
    }
    this.#claims = left;
    return claims.length - left.length;
  }

  /** Rejects the appends that end here and still wait. */
  failed(error: Error): void {
    const claims = this.#claims;
    this.#claims = [];
    for (const { waiter } of claims) waiter.reject(error);
  }
}

function headerOf(encoded: Uint8Array): ReturnType<typeof readBatchHeader> {
  return readBatchHeader(encoded, 0, { key: "encodedBatch", position: 0 });
}

function encodedRecords(encoded: Uint8Array): number {
  return headerOf(encoded).recordCount;
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

  get records(): number {
    return this.#records;
  }

  /** REQUIRES: `checkRecords` passed. An append that fits one batch goes into one batch. Nobody waits without a `waiter`. */
  appendRecords(records: readonly LogRecord[], nowMs: number, waiter: Waiter | undefined): void {
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
    if (waiter === undefined) return;
    const { partition } = this.target;
    pending.claim({ waiter, partition, first, firstDelta, nextDelta: builder.recordCount });
  }

  /** REQUIRES: `checkEncodedBatch` passed. Takes `encoded` over. */
  appendEncoded(encoded: Uint8Array, recordCount: number, waiter: Waiter | undefined): void {
    const pending = new PendingBatch(encoded);
    this.batches.push(pending);
    this.#records += recordCount;
    if (waiter === undefined) return;
    const { partition } = this.target;
    pending.claim({ waiter, partition, first: pending, firstDelta: 0, nextDelta: recordCount });
  }

  #open(): { pending: PendingBatch; builder: BatchBuilder } {
    const pending = this.batches.at(-1);
    return pending?.builder === undefined ? this.#fresh() : { pending, builder: pending.builder };
  }

  #fresh(): { pending: PendingBatch; builder: BatchBuilder } {
    // Base offset and epoch are patched in when the flush is taken: both lie outside the CRC.
    const builder = new BatchBuilder({ baseOffset: 0 as Offset, epoch: 0 as Epoch, maxBytes: this.#batchBytesMax });
    const pending = new PendingBatch(builder);
    this.batches.push(pending);
    return { pending, builder };
  }
}

/** Everything that the next flush will take, over all partitions of the shard. */
export class Gathering {
  /** Settles with its appends. */
  readonly done: Promise<void>;
  /** Appends in it that were acknowledged as buffered: if it is given up, nobody waits to be told. */
  bufferedAcks = 0;
  readonly #partitions = new Map<string, PendingPartition>();
  #bytes = 0;
  #appends = 0;
  #settle: { resolve: () => void; reject: (error: Error) => void } = {
    resolve: () => undefined,
    reject: () => undefined,
  };

  constructor() {
    this.done = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    // Each append is told by itself; `flush()` may or may not look.
    this.done.catch(() => undefined);
  }

  get bytes(): number {
    return this.#bytes;
  }

  get appends(): number {
    return this.#appends;
  }

  get partitionCount(): number {
    return this.#partitions.size;
  }

  get isEmpty(): boolean {
    return this.#partitions.size === 0;
  }

  partitions(): IterableIterator<PendingPartition> {
    return this.#partitions.values();
  }

  /** Records that wait here for a partition. */
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

  /** Counts an append of so many bytes. */
  add(bytes: number): void {
    this.#bytes += bytes;
    this.#appends++;
  }

  /**
   * Gives each batch its place behind where `endOf` says that its partition ends; returns where the partitions end then. May be
   * called again, as long as nothing is sealed.
   */
  assignOffsets(endOf: (target: AppendTarget, key: string) => Offset): Map<string, Offset> {
    const ends = new Map<string, Offset>();
    for (const [key, { target, batches }] of this.#partitions) {
      let offset = endOf(target, key);
      for (const batch of batches) offset = batch.assign(offset);
      ends.set(key, offset);
    }
    return ends;
  }

  /** Does an append still wait for its ack? */
  get isAwaited(): boolean {
    for (const batch of this.#batches()) if (batch.claims > 0) return true;
    return false;
  }

  /** Acknowledges the appends that asked for no more than `level`. REQUIRES: offsets are assigned. */
  reached(level: AckLevel, epoch: Epoch): void {
    let acked = 0;
    for (const batch of this.#batches()) acked += batch.reached(level, epoch);
    if (level === "buffered") this.bufferedAcks += acked;
  }

  /** Its link is live: acknowledges all appends. */
  settled(epoch: Epoch): void {
    this.reached("uploaded", epoch);
    this.#settle.resolve();
  }

  /** It is given up. */
  failed(error: Error): void {
    for (const batch of this.#batches()) batch.failed(error);
    this.#settle.reject(error);
  }

  *#batches(): Generator<PendingBatch> {
    for (const { batches } of this.#partitions.values()) yield* batches;
  }
}
