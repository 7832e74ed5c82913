import type { AckLevel, AppendReceipt, Epoch, Offset, TopicId } from "../domain.ts";
import { InvariantError } from "../errors.ts";
import { BatchBuilder, type SealedBatch } from "../record/batch-builder.ts";
import { readBatchHeader } from "../record/batch.ts";
import type { Compression } from "../record/compression.ts";
import type { LogRecord } from "../record/record.ts";
import type { FlushMemory } from "../record/spare-buffers.ts";

/** The partition of appends, and how their batches are stored. */
export interface AppendTarget {
  readonly topicId: TopicId;
  readonly partition: number;
  /** `partitionKey` of the two, made once. */
  readonly key: string;
  readonly compression: Compression;
}

/** One append that waits for its ack: one object, there may be hundreds of thousands in a second. */
export class Waiter {
  readonly level: AckLevel;
  readonly resolve: (receipt: AppendReceipt) => void;
  readonly reject: (error: Error) => void;
  /** Where the append begins: in the batch that it waits with, or in an earlier one of the same flush. */
  first: PendingBatch | undefined;
  firstDelta = 0;
  /** End of the append, counted from the base offset of the batch that it waits with. */
  nextDelta = 0;

  constructor(level: AckLevel, resolve: Waiter["resolve"], reject: Waiter["reject"]) {
    this.level = level;
    this.resolve = resolve;
    this.reject = reject;
  }
}

let resolveNew: Waiter["resolve"];
let rejectNew: Waiter["reject"];
const takeBoth = (resolve: Waiter["resolve"], reject: Waiter["reject"]): void => {
  resolveNew = resolve;
  rejectNew = reject;
};

/** A waiter and what it settles. One function for all of them: a closure for each append is work for the garbage collector. */
export function waiting(level: AckLevel): { readonly promise: Promise<AppendReceipt>; readonly waiter: Waiter } {
  const promise = new Promise<AppendReceipt>(takeBoth);
  return { promise, waiter: new Waiter(level, resolveNew, rejectNew) };
}

const RANK: Record<AckLevel, number> = { buffered: 0, journaled: 1, uploaded: 2 };

/** A batch on its way: an open builder, or an encoded batch. Gets its base offset when its flush is taken. */
export class PendingBatch {
  readonly #partition: number;
  #waiters: Waiter[] = [];
  #source: BatchBuilder | Uint8Array | undefined;
  #baseOffset: Offset | undefined;

  constructor(source: BatchBuilder | Uint8Array, partition: number) {
    this.#source = source;
    this.#partition = partition;
  }

  /** undefined for an encoded batch, and once sealed. */
  get builder(): BatchBuilder | undefined {
    return this.#source instanceof BatchBuilder ? this.#source : undefined;
  }

  /** Appends that end here and wait for their ack. */
  get waiting(): number {
    return this.#waiters.length;
  }

  /** An append that began at `firstDelta` of `first` ends here, at `nextDelta`. */
  endHere(waiter: Waiter, first: PendingBatch, firstDelta: number, nextDelta: number): void {
    waiter.first = first;
    waiter.firstDelta = firstDelta;
    waiter.nextDelta = nextDelta;
    this.#waiters.push(waiter);
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
  seal(compression: Compression, memory: FlushMemory): SealedBatch | Promise<SealedBatch> {
    const source = this.#source;
    this.#source = undefined;
    if (source === undefined) throw new InvariantError("a batch was sealed twice");
    if (source instanceof BatchBuilder) return source.seal(compression, (bytes) => memory.take(bytes));
    const { recordCount, baseOffset, nextOffset, maxTimestampMs } = headerOf(source);
    // A copy: offsets are written into it, the same batch may be on its way to several partitions, and after the ack the buffer
    // is the caller's again, while readers at the tail still use these bytes.
    const bytes = memory.take(source.length);
    bytes.set(source);
    return { bytes, recordCount, baseOffset, nextOffset, maxTimestampMs };
  }

  /** Acknowledges the appends that end here and asked for no more than `level`: how many. REQUIRES: `assign` was called. */
  reached(level: AckLevel, epoch: Epoch): number {
    const waiters = this.#waiters;
    if (waiters.length === 0) return 0;
    const rank = RANK[level];
    const { baseOffset } = this;
    const partition = this.#partition;
    let left = 0;
    for (const waiter of waiters) {
      if (RANK[waiter.level] > rank) {
        waiters[left++] = waiter;
        continue;
      }
      waiter.resolve({
        partition,
        firstOffset: ((waiter.first ?? this).baseOffset + waiter.firstDelta) as Offset,
        nextOffset: (baseOffset + waiter.nextDelta) as Offset,
        level,
        epoch,
      });
    }
    const reached = waiters.length - left;
    waiters.length = left;
    return reached;
  }

  /** Rejects the appends that end here and still wait. */
  failed(error: Error): void {
    for (const waiter of this.#waiters.splice(0)) waiter.reject(error);
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
  /** Of the first batch; those behind it fill theirs. */
  readonly #expectedBytes: number;
  /** Of the last of `batches`; undefined where that is an encoded one. */
  #builder: BatchBuilder | undefined;
  #records = 0;

  /** `expectedBytes`: what the partition will probably have in this flush. */
  constructor(target: AppendTarget, batchBytesMax: number, expectedBytes = 0) {
    this.target = target;
    this.#batchBytesMax = batchBytesMax;
    this.#expectedBytes = expectedBytes;
  }

  get records(): number {
    return this.#records;
  }

  /** Of the records that are being encoded. REQUIRES: nothing is sealed. */
  get builtBytes(): number {
    return this.batches.reduce((sum, { builder }) => sum + (builder?.sizeBytes ?? 0), 0);
  }

  /** REQUIRES: `checkRecords` passed. An append that fits one batch goes into one batch. Nobody waits without a `waiter`. */
  appendRecords(records: readonly LogRecord[], nowMs: number, waiter: Waiter | undefined): void {
    if (this.#builder === undefined) this.#open();
    let firstDelta = this.#builder!.recordCount;
    let first = this.batches.at(-1)!;
    if (!this.#builder!.tryAppend(records, 0, records.length, nowMs)) {
      if (firstDelta > 0) this.#open();
      first = this.batches.at(-1)!;
      firstDelta = 0;
      let taken = this.#builder!.appendSome(records, 0, nowMs);
      while (taken < records.length) {
        this.#open();
        taken += this.#builder!.appendSome(records, taken, nowMs);
      }
    }
    this.#records += records.length;
    if (waiter !== undefined) this.batches.at(-1)!.endHere(waiter, first, firstDelta, this.#builder!.recordCount);
  }

  /** REQUIRES: `checkEncodedBatch` passed. Takes `encoded` over. */
  appendEncoded(encoded: Uint8Array, recordCount: number, waiter: Waiter | undefined): void {
    const pending = new PendingBatch(encoded, this.target.partition);
    this.batches.push(pending);
    this.#builder = undefined;
    this.#records += recordCount;
    if (waiter !== undefined) pending.endHere(waiter, pending, 0, recordCount);
  }

  #open(): void {
    // Base offset and epoch are patched in when the flush is taken: both lie outside the CRC.
    const maxBytes = this.#batchBytesMax;
    const expectedBytes = this.batches.length === 0 ? this.#expectedBytes : maxBytes;
    const builder = new BatchBuilder({ baseOffset: 0 as Offset, epoch: 0 as Epoch, maxBytes, expectedBytes });
    this.#builder = builder;
    this.batches.push(new PendingBatch(builder, this.target.partition));
  }
}

/** Of a partition in one flush. Copying less than this on the way costs less than to keep its size in mind. */
const BUSY_BYTES_MIN = 32 * 1024;
/** Of what was expected of a flush that came to less: small ones and large ones often take turns. */
const EXPECTED_KEPT = 7 / 8;
/** More than that is not set aside for what may not come again. */
const EXPECTED_EXTRA_BYTES_MAX = 4 * 1024 * 1024;
const NOTHING_EXPECTED: ReadonlyMap<string, number> = new Map();

/** Everything that the next flush will take, over all partitions of the shard. */
export class Gathering {
  /** Settles with its appends. */
  readonly done: Promise<void>;
  /** Appends in it that were acknowledged as buffered: if it is given up, nobody waits to be told. */
  bufferedAcks = 0;
  readonly #partitions = new Map<string, PendingPartition>();
  readonly #expected: ReadonlyMap<string, number>;
  #bytes = 0;
  #appends = 0;
  #settle: { resolve: () => void; reject: (error: Error) => void } = {
    resolve: () => undefined,
    reject: () => undefined,
  };

  /** `expected`: of the flush before, see `busyPartitions`. */
  constructor(expected: ReadonlyMap<string, number> = NOTHING_EXPECTED) {
    this.#expected = expected;
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

  /** Bytes of the partitions that have many: the next flush begins theirs as large. REQUIRES: nothing is sealed. */
  busyPartitions(): ReadonlyMap<string, number> {
    const busy = new Map<string, number>();
    let extraLeft = EXPECTED_EXTRA_BYTES_MAX;
    for (const [key, { builtBytes }] of this.#partitions) {
      const extra = Math.max(0, Math.floor((this.#expected.get(key) ?? 0) * EXPECTED_KEPT) - builtBytes);
      const bytes = extra <= extraLeft ? builtBytes + extra : builtBytes;
      extraLeft -= bytes - builtBytes;
      if (bytes >= BUSY_BYTES_MIN) busy.set(key, bytes);
    }
    return busy;
  }

  /** Records that wait here for a partition. */
  pendingRecords(key: string): number {
    return this.#partitions.get(key)?.records ?? 0;
  }

  partition(target: AppendTarget, batchBytesMax: number): PendingPartition {
    let pending = this.#partitions.get(target.key);
    if (pending === undefined) {
      pending = new PendingPartition(target, batchBytesMax, this.#expected.get(target.key));
      this.#partitions.set(target.key, pending);
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
    for (const batch of this.#batches()) if (batch.waiting > 0) return true;
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
