import {
  partitionKey,
  type AppendReceipt,
  type Offset,
  type PartitionId,
  type ShardId,
  type Watermarks,
} from "../domain.ts";
import { asTierlogError, ClosedError, InvalidArgumentError, type TierlogError } from "../errors.ts";
import { IndexChain } from "../index-chain/index-chain.ts";
import type { ShardState } from "../index-chain/shard-state.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import { checkRecords } from "../record/batch-builder.ts";
import { checkEncodedBatch } from "../record/batch.ts";
import { copyRecords } from "../record/copy-records.ts";
import type { LogRecord } from "../record/record.ts";
import type { ScheduledTask } from "../runtime/clock.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { Admission } from "./admission.ts";
import { buildLink, packLinks, type PackedBatch, type PackedLink, type PackedRun } from "./link-packer.ts";
import type { ObjectCache } from "./object-cache.ts";
import { Gathering, type AppendTarget, type Waiter } from "./pending.ts";

export interface ShardSettings {
  readonly lingerMs: number;
  readonly flushBytesMax: number;
  readonly pendingBytesMax: number;
  readonly batchBytesMax: number;
  /** Of an index file: one part. */
  readonly linkBytesMax: number;
}

export interface ShardOptions {
  readonly shard: ShardId;
  /** Settling. */
  readonly store: ObjectStore;
  readonly runtime: Runtime;
  readonly writerId: string;
  readonly settings: ShardSettings;
  readonly admission: Admission;
  readonly cache: ObjectCache;
}

export interface ShardMetrics {
  readonly flushes: number;
  readonly committedLinks: number;
  readonly appendedRecords: number;
  readonly appendedBytes: number;
  readonly storedBytes: number;
}

/** Bytes that a record costs beside its key, value and headers, at most: varints, offset and timestamp deltas. */
const RECORD_OVERHEAD_BYTES = 32;

/**
 * The unit of ownership: a group of partitions with one writer, one flush queue and one index chain. The first append takes the
 * shard over; reading never does.
 */
export class Shard {
  readonly #options: ShardOptions;
  readonly #chain: IndexChain;
  #gathering = new Gathering();
  #inFlight: Gathering | undefined;
  #linger: ScheduledTask | undefined;
  #due = false;
  #running = false;
  #loop: Promise<void> | undefined;
  #acquiring: Promise<void> | undefined;
  #folded = false;
  #closed = false;
  #flushes = 0;
  #committedLinks = 0;
  #appendedRecords = 0;
  #appendedBytes = 0;
  #storedBytes = 0;
  readonly #listeners = new Set<() => void>();

  constructor(options: ShardOptions) {
    this.#options = options;
    this.#chain = new IndexChain({
      store: options.store,
      shard: options.shard,
      writerId: options.writerId,
      clock: options.runtime.clock,
      random: options.runtime.random,
    });
  }

  get id(): ShardId {
    return this.#options.shard;
  }

  get isOwner(): boolean {
    return this.#chain.isOwner;
  }

  /** Counts the flushes begun: appends made under the same number ride together. */
  get flushNumber(): number {
    return this.#flushes;
  }

  metrics(): ShardMetrics {
    return {
      flushes: this.#flushes,
      committedLinks: this.#committedLinks,
      appendedRecords: this.#appendedRecords,
      appendedBytes: this.#appendedBytes,
      storedBytes: this.#storedBytes,
    };
  }

  /**
   * Appends to one partition of this shard; resolves when the link that holds it is live. Errors and what they leave behind:
   * see `PartitionApi.append`.
   */
  append(target: AppendTarget, input: readonly LogRecord[] | Uint8Array, signal?: AbortSignal): Promise<AppendReceipt> {
    return new Promise((resolve, reject) => {
      const { admission, settings } = this.#options;
      if (this.#closed) throw new ClosedError(`shard ${this.id}`);
      const encodedRecords =
        input instanceof Uint8Array ? checkEncodedBatch(input, settings.batchBytesMax).recordCount : 0;
      if (!(input instanceof Uint8Array)) checkRecords(input, settings.batchBytesMax);
      const bytes = input instanceof Uint8Array ? input.length : recordsBytes(input);
      if (bytes > settings.pendingBytesMax) {
        throw new InvalidArgumentError(
          "append",
          bytes,
          `${bytes} bytes in one append, the limit is ${settings.pendingBytesMax} (flush.max_pending): split it`,
        );
      }
      const waiter: Waiter = {
        bytes,
        resolve: (receipt) => {
          admission.leave(bytes);
          resolve(receipt);
        },
        reject: (error) => {
          admission.leave(bytes);
          reject(error);
        },
      };
      let body = input;
      let waits = true;
      admission.enter(
        bytes,
        () => {
          waits = false;
          try {
            // It may have waited for room: the shard can be closed by now, and what it would enter never flushed.
            if (this.#closed) throw new ClosedError(`shard ${this.id}`);
            this.#enqueue(target, body, encodedRecords, waiter);
          } catch (error) {
            waiter.reject(asTierlogError(error));
          }
        },
        (error) => {
          waits = false;
          reject(error);
        },
        signal,
      );
      // The caller may reuse array and buffers as soon as it has its promise.
      if (waits && !(input instanceof Uint8Array)) body = copyRecords(input);
    });
  }

  #enqueue(
    target: AppendTarget,
    input: readonly LogRecord[] | Uint8Array,
    encodedRecords: number,
    waiter: Waiter,
  ): void {
    const { settings, runtime } = this.#options;
    const partition = this.#gathering.partition(target, settings.batchBytesMax);
    if (input instanceof Uint8Array) {
      partition.appendEncoded(input, encodedRecords, waiter);
      this.#appendedRecords += encodedRecords;
    } else {
      partition.appendRecords(input, runtime.clock.now(), waiter);
      this.#appendedRecords += input.length;
    }
    this.#appendedBytes += waiter.bytes;
    this.#gathering.add(waiter.bytes);
    // The fence travels while the flush gathers.
    if (!this.#chain.isOwner && this.#inFlight === undefined) {
      this.#acquire().catch((error: unknown) => this.#failGathering(asTierlogError(error).withEffect("none")));
    }
    if (this.#gathering.bytes >= settings.flushBytesMax) this.#wake();
    else this.#linger ??= runtime.clock.schedule(settings.lingerMs, () => this.#wake());
  }

  /** Sends everything pending now and waits for it; rejects with the error that its appends got. */
  async flush(): Promise<void> {
    const running = this.#inFlight?.done;
    const next = this.#gathering;
    if (!next.isEmpty) {
      this.#wake();
      await next.done;
    }
    await running;
  }

  /** Takes the shard over now, without an append. */
  acquire(): Promise<void> {
    if (this.#closed) return Promise.reject(new ClosedError(`shard ${this.id}`));
    return this.#acquire();
  }

  /** Refuses new appends, sends what is pending, gives the shard up. Safe to repeat. Rejects when something pending failed. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    try {
      await this.flush();
    } finally {
      this.#linger?.cancel();
      await this.#loop;
      await this.#release();
      for (const listener of this.#listeners) listener();
    }
  }

  /** The view to read from, up to date: an owner's own (which may lag by seconds behind a successor), or folded on to the end of the chain. */
  async refresh(): Promise<ShardState> {
    await this.#chain.refresh();
    this.#folded = true;
    return this.#chain.state;
  }

  /** The view without asking the store, or undefined where nothing was ever folded. */
  get knownState(): ShardState | undefined {
    return this.#folded || this.#chain.isOwner ? this.#chain.state : undefined;
  }

  /** The view as far as it was folded, maybe empty. */
  get chainState(): ShardState {
    return this.#chain.state;
  }

  /** As of the last fold. */
  watermarks(id: PartitionId): Watermarks {
    const extents = this.#chain.state.extents(id);
    const start = extents?.startOffset ?? (0 as Offset);
    const uploaded = extents?.nextOffset ?? (0 as Offset);
    const key = partitionKey(id);
    const pending = this.#gathering.pendingRecords(key) + (this.#inFlight?.pendingRecords(key) ?? 0);
    return { start, uploaded, durable: uploaded, end: (uploaded + pending) as Offset };
  }

  /** Calls `listener` after every commit of this process, and when the shard closes. Returns how to stop it. */
  onCommit(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #acquire(): Promise<void> {
    if (this.#chain.isOwner) return Promise.resolve();
    this.#acquiring ??= this.#takeOver().finally(() => {
      this.#acquiring = undefined;
    });
    return this.#acquiring;
  }

  async #takeOver(): Promise<void> {
    const epoch = await this.#chain.takeOver();
    this.#options.runtime.logger.info("took the shard over", { shard: this.id, epoch });
  }

  #wake(): void {
    this.#due = true;
    if (this.#running) return;
    this.#running = true;
    this.#loop = this.#run();
  }

  /** One flush at a time; the next one gathers meanwhile. */
  async #run(): Promise<void> {
    while (this.#due && !this.#gathering.isEmpty) {
      this.#due = false;
      this.#linger?.cancel();
      this.#linger = undefined;
      const flush = this.#gathering;
      this.#gathering = new Gathering();
      this.#inFlight = flush;
      const error = await this.#send(flush);
      this.#inFlight = undefined;
      flush.finish(error);
    }
    // In the same turn as the check above: a wake between the two would be lost.
    this.#due = false;
    this.#running = false;
  }

  /** Commits a flush link by link and settles every append in it. Returns the error that stopped it, if any. */
  async #send(flush: Gathering): Promise<Error | undefined> {
    this.#flushes++;
    const unsent = new Set([...flush.partitions()].flatMap((partition) => partition.batches));
    try {
      await this.#acquire();
      const links = packLinks(
        await seal(flush),
        this.#options.settings.linkBytesMax,
        Buffer.byteLength(this.#options.writerId),
      );
      for (const link of links) {
        try {
          await this.#commit(link);
        } catch (error) {
          const reason = asTierlogError(error);
          for (const { batches } of link) {
            for (const { pending } of batches) {
              pending.failed(reason, reason.withEffect("unknown"));
              unsent.delete(pending);
            }
          }
          throw reason;
        }
        for (const { batches } of link) for (const { pending } of batches) unsent.delete(pending);
      }
      return undefined;
    } catch (error) {
      const reason = asTierlogError(error);
      const none = reason.withEffect("none");
      const partly = reason.withEffect("unknown");
      for (const batch of unsent) batch.failed(none, partly);
      this.#failGathering(none);
      return reason;
    }
  }

  /**
   * What gathered behind a failed flush fails with it: its producers would else wait a whole deadline each, and records that
   * were appended after a lost one must not be acknowledged before the producer knows of the loss.
   */
  #failGathering(none: TierlogError): void {
    const behind = this.#gathering;
    if (behind.isEmpty) return;
    this.#linger?.cancel();
    this.#linger = undefined;
    this.#gathering = new Gathering();
    for (const partition of behind.partitions()) for (const batch of partition.batches) batch.failed(none, none);
    behind.finish(none);
  }

  async #commit(link: PackedLink): Promise<void> {
    const state = this.#chain.state;
    const { entries, payload, batches } = buildLink(link, state, state.epoch);
    const commit = await this.#chain.commit(entries, payload);
    this.#committedLinks++;
    this.#storedBytes += commit.bytes.length;
    this.#options.cache.keepTail(commit.key, commit.bytes);
    for (const { pending, baseOffset, recordCount } of batches) {
      pending.committed(baseOffset, recordCount, commit.link.epoch);
    }
    for (const listener of this.#listeners) listener();
  }

  /** Tells the next owner that nothing of ours is under way. Losing this link costs nobody anything. */
  async #release(): Promise<void> {
    if (!this.#chain.isOwner) return;
    try {
      await this.#chain.commit([{ type: "release" }], []);
    } catch (error) {
      this.#options.runtime.logger.warn("the shard was not released", { shard: this.id, error: String(error) });
    }
  }
}

/** All batches of a flush, sealed; those compressed off the loop run side by side. */
function seal(flush: Gathering): Promise<readonly PackedRun[]> {
  return Promise.all(
    [...flush.partitions()].map(async ({ target, batches }): Promise<PackedRun> => {
      const sealing = batches.map(async (pending): Promise<PackedBatch> => ({
        pending,
        sealed: await pending.seal(target.compression),
      }));
      return { target, batches: await Promise.all(sealing) };
    }),
  );
}

function recordsBytes(records: readonly LogRecord[]): number {
  let bytes = 0;
  for (const record of records) {
    bytes += RECORD_OVERHEAD_BYTES + (record.key?.length ?? 0) + (record.value?.length ?? 0);
    if (record.headers !== undefined) {
      for (const header of record.headers) bytes += 8 + header.key.length * 3 + (header.value?.length ?? 0);
    }
  }
  return bytes;
}
