import {
  partitionKey,
  type AppendReceipt,
  type Offset,
  type PartitionId,
  type ShardId,
  type Watermarks,
} from "../domain.ts";
import { asTierlogError, ClosedError, InvalidArgumentError } from "../errors.ts";
import type { CheckpointMetrics } from "../index-chain/checkpoints.ts";
import { IndexChain, type Commit } from "../index-chain/index-chain.ts";
import type { ShardState } from "../index-chain/shard-state.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import { checkRecords } from "../record/batch-builder.ts";
import { checkEncodedBatch } from "../record/batch.ts";
import { copyRecords } from "../record/copy-records.ts";
import type { LogRecord } from "../record/record.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { Admission } from "./admission.ts";
import { FlushPipeline, type FlushPipelineOptions, type FlushSettings } from "./flush-pipeline.ts";
import type { ObjectCache } from "./object-cache.ts";
import type { AppendTarget, Waiter } from "./pending.ts";
import type { PreparedFlight } from "./prepare.ts";
import type { SparseIndexes } from "./sparse-indexes.ts";

export interface ShardSettings extends FlushSettings {
  readonly checkpointEvery: number;
  readonly pendingBytesMax: number;
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
  readonly sparseIndexes: SparseIndexes;
  readonly openWriter: FlushPipelineOptions["openWriter"];
}

export interface ShardMetrics extends CheckpointMetrics {
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
  readonly #pipeline: FlushPipeline;
  #folded = false;
  #closed = false;
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
      logger: options.runtime.logger,
      checkpointEvery: options.settings.checkpointEvery,
    });
    const { shard, runtime, writerId, settings, openWriter } = options;
    this.#pipeline = new FlushPipeline({
      shard,
      chain: this.#chain,
      runtime,
      writerId,
      settings,
      openWriter,
      onCommit: (commit, flights) => this.#committed(commit, flights),
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
    return this.#pipeline.flushes;
  }

  metrics(): ShardMetrics {
    return {
      flushes: this.#pipeline.flushes,
      committedLinks: this.#committedLinks,
      appendedRecords: this.#appendedRecords,
      appendedBytes: this.#appendedBytes,
      storedBytes: this.#storedBytes,
      ...this.#chain.checkpointMetrics(),
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
    if (input instanceof Uint8Array) this.#pipeline.addEncoded(target, input, encodedRecords, waiter);
    else this.#pipeline.addRecords(target, input, waiter);
    this.#appendedRecords += input instanceof Uint8Array ? encodedRecords : input.length;
    this.#appendedBytes += waiter.bytes;
  }

  /** Sends everything pending now and waits for it; rejects with the error that its appends got. */
  flush(): Promise<void> {
    return this.#pipeline.flush();
  }

  /** Refuses new appends, sends what is pending, gives the shard up. Safe to repeat. Rejects when something pending failed. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    try {
      await this.flush();
    } finally {
      await this.#pipeline.settled();
      await this.#release();
      await this.#chain.close();
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
    const pending = this.#pipeline.pendingRecords(partitionKey(id));
    return { start, uploaded, durable: uploaded, end: (uploaded + pending) as Offset };
  }

  /** Calls `listener` after every commit of this process, and when the shard closes. Returns how to stop it. */
  onCommit(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #committed(commit: Commit, flights: readonly PreparedFlight[]): void {
    const { cache, sparseIndexes } = this.#options;
    this.#committedLinks++;
    this.#storedBytes += commit.bytes.length;
    cache.keepTail(commit.key, [{ position: 0, bytes: commit.bytes }]);
    for (const { object, chunks, extents } of flights) {
      if (object === undefined) continue;
      this.#storedBytes += object.sizeBytes;
      cache.keepTail(object.key, chunks);
      sparseIndexes.keep(object.key, extents);
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
