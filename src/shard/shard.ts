import {
  partitionKey,
  type AckLevel,
  type AppendReceipt,
  type Offset,
  type PartitionId,
  type ShardId,
  type Watermarks,
} from "../domain.ts";
import { asTierlogError, ClosedError, InvalidArgumentError, InvariantError, isTierlogError } from "../errors.ts";
import type { CheckpointMetrics } from "../index-chain/checkpoints.ts";
import { IndexChain, type Commit } from "../index-chain/index-chain.ts";
import type { LinkEntry } from "../index-chain/link-entries.ts";
import type { ShardState } from "../index-chain/shard-state.ts";
import type { Journal } from "../journal/journal.ts";
import type { JournalMetrics } from "../journal/reports.ts";
import { GivenUpObjects } from "../merge/given-up.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import { checkRecords } from "../record/batch-builder.ts";
import { checkEncodedBatch, withMaxTimestamp } from "../record/batch.ts";
import { copyRecords } from "../record/copy-records.ts";
import type { LogRecord } from "../record/record.ts";
import { giveBack } from "../record/spare-buffers.ts";
import { Mutex } from "../runtime/mutex.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { Timeout } from "../runtime/timeout.ts";
import type { Admission } from "./admission.ts";
import type { ChangePlan } from "./change-item.ts";
import { FlushPipeline } from "./flush-pipeline.ts";
import { JournaledPipeline, type JournaledSettings, type UploadLag } from "./journaled-pipeline.ts";
import type { ObjectCache } from "./object-cache.ts";
import { readCommitted } from "./partition-reader.ts";
import { waiting, type AppendTarget, type Waiter } from "./pending.ts";
import type { FlushSettings, Pipeline, PipelineOptions } from "./pipeline.ts";
import type { PlacedBatch, PreparedFlight } from "./prepare.ts";
import { recordsBytes } from "./records-bytes.ts";
import { lossOf, NOTHING_REPLAYED, takeOver, type EmptiedJournal, type ShardRecovery } from "./recovery.ts";
import type { SparseIndexes } from "./sparse-indexes.ts";
import type { JournaledTimes } from "./upload-queue.ts";

export interface ShardSettings extends FlushSettings {
  readonly checkpointEvery: number;
  readonly graceMs: number;
  readonly pendingBytesMax: number;
  /** How long `close` may go on sending what is pending. */
  readonly shutdownTimeoutMs: number;
}

/** The journal of one shard. */
export interface ShardJournal {
  readonly settings: JournaledSettings;
  /** Everything appended goes through it. false: there is only what an earlier process left in it. */
  readonly inUse: boolean;
  /** "create" always gives one. */
  readonly open: () => Promise<Journal | undefined>;
}

export interface ShardOptions {
  readonly shard: ShardId;
  /** Settling. */
  readonly store: ObjectStore;
  readonly runtime: Runtime;
  readonly writerId: string;
  readonly settings: ShardSettings;
  readonly journal: ShardJournal | undefined;
  readonly admission: Admission;
  readonly cache: ObjectCache;
  readonly sparseIndexes: SparseIndexes;
  readonly openWriter: PipelineOptions["openWriter"];
  readonly onRecovery: (recovery: ShardRecovery) => void;
}

export interface ShardMetrics extends CheckpointMetrics {
  readonly flushes: number;
  readonly committedLinks: number;
  readonly appendedRecords: number;
  readonly appendedBytes: number;
  readonly storedBytes: number;
  readonly bufferedLost: number;
}

/** What stays in the journal of a closed shard. */
export interface Undrained {
  readonly records: number;
  readonly bytes: number;
}

/** For what is left to do when time is up: closing files, letting go of what waits for an answer. */
const END_MS = 2000;

/**
 * The unit of ownership: a group of partitions with one writer, one flush queue and one index chain. The first append takes the
 * shard over; reading never does.
 */
export class Shard {
  /** Data objects of this shard that no link names any more, or will: for whoever frees space. */
  readonly givenUp = new GivenUpObjects();
  readonly #options: ShardOptions;
  readonly #chain: IndexChain;
  readonly #pipeline: Pipeline;
  /** `#pipeline`, where the journal is in use. */
  readonly #journaled: JournaledPipeline | undefined;
  /** Of an earlier process, where the journal is not in use any more; gone once it was emptied. */
  #leftover: ShardJournal | undefined;
  /** The same, closed, once everything in it is in the chain. */
  #emptied: EmptiedJournal | undefined;
  #folded = false;
  #closed = false;
  #committedLinks = 0;
  #appendedRecords = 0;
  #appendedBytes = 0;
  #storedBytes = 0;
  readonly #listeners = new Set<() => void>();
  readonly #changes = new Mutex();
  /** The least of all limits. */
  readonly #appendBytesMax: number;

  constructor(options: ShardOptions) {
    this.#options = options;
    const { shard, store, writerId, runtime, settings, journal } = options;
    this.#chain = new IndexChain({
      store,
      shard,
      writerId,
      clock: runtime.clock,
      random: runtime.random,
      logger: runtime.logger,
      checkpointEvery: settings.checkpointEvery,
      graceMs: settings.graceMs,
      onObjectDead: (object) => this.givenUp.add(object),
    });
    this.#appendBytesMax = Math.min(
      settings.pendingBytesMax,
      journal?.inUse === true ? journal.settings.appendBytesMax : Number.POSITIVE_INFINITY,
    );
    if (journal?.inUse === true) {
      this.#journaled = this.#journaledPipeline(journal);
      this.#pipeline = this.#journaled;
    } else {
      this.#leftover = journal;
      this.#pipeline = new FlushPipeline({ ...this.#pipelineOptions(), takeOver: () => this.#takeOver() });
    }
  }

  #pipelineOptions(): PipelineOptions {
    const { shard, runtime, writerId, settings, openWriter, admission } = this.#options;
    return {
      shard,
      chain: this.#chain,
      runtime,
      writerId,
      settings,
      openWriter,
      onGivenUp: (object) => this.givenUp.add(object),
      leave: (bytes) => admission.leave(bytes),
      onCommit: (commit, flights) => this.#committed(commit, flights),
    };
  }

  #journaledPipeline({ open, settings }: ShardJournal): JournaledPipeline {
    const { shard, cache, sparseIndexes, onRecovery } = this.#options;
    return new JournaledPipeline({
      ...this.#pipelineOptions(),
      journaled: settings,
      openJournal: async () => {
        const journal = await open();
        if (journal === undefined) throw new InvariantError(`shard ${shard} lost its journal while it was open`);
        return journal;
      },
      readCommitted: (id, from, end) => readCommitted(this, cache, sparseIndexes, id, from, end),
      onRecovery,
      onDurable: () => this.#notify(),
    });
  }

  /** Without a journal: what an earlier process left in one comes first. */
  async #takeOver(): Promise<void> {
    await this.#drainLeftover();
    if (this.#chain.isOwner) return;
    const { diskLost } = await takeOver(this.#chain, undefined, this.#emptied);
    if (!diskLost) return;
    const { shard, onRecovery } = this.#options;
    const nothing = { replayed: NOTHING_REPLAYED, setAside: undefined, tornTail: undefined };
    onRecovery({ shard, outcome: "disk-lost", ...nothing, ...(await lossOf(this.#chain)) });
  }

  async #drainLeftover(): Promise<void> {
    const journal = await this.#leftover?.open();
    if (this.#leftover === undefined || journal === undefined) return;
    const pipeline = this.#journaledPipeline({ ...this.#leftover, open: () => Promise.resolve(journal) });
    try {
      await pipeline.resume();
      await pipeline.flush();
      this.#leftover = undefined;
      this.#emptied = journal;
      // A turn of its own: behind a fence that names the journal, whoever comes next would have to take its disk for lost.
      if (this.#chain.isOwner) await takeOver(this.#chain, undefined, journal);
    } finally {
      await pipeline.end(new ClosedError(`journal of shard ${this.id}`));
    }
  }

  /**
   * Looks after what an earlier process left in the journal: see `JournaledPipeline.resume`. With `upload` it waits until all of it
   * is in the chain.
   */
  async resume(options: { readonly upload: boolean }): Promise<void> {
    if (this.#journaled === undefined) {
      await this.#drainLeftover();
      return;
    }
    await this.#journaled.resume();
    if (options.upload) await this.#journaled.flush();
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
      bufferedLost: this.#pipeline.bufferedLost,
      ...this.#chain.checkpointMetrics(),
    };
  }

  /** What the journal holds that is not in the chain; undefined where there is none. */
  get lag(): UploadLag | undefined {
    return this.#journaled?.lag;
  }

  journalMetrics(): JournalMetrics | undefined {
    return this.#journaled?.journal?.metrics();
  }

  /**
   * Appends to one partition of this shard; resolves when `level` is reached. REQUIRES: "journaled" only where the journal is in
   * use. Errors and what they leave behind: see `PartitionApi.append`.
   */
  append(
    target: AppendTarget,
    input: readonly LogRecord[] | Uint8Array,
    level: AckLevel,
    signal?: AbortSignal,
  ): Promise<AppendReceipt> {
    const { promise, waiter } = waiting(level);
    try {
      if (this.#closed) throw new ClosedError(`shard ${this.id}`);
      const { admission, settings } = this.#options;
      let body = input;
      let encodedRecords = 0;
      if (input instanceof Uint8Array) {
        const { recordCount, maxTimestampMs } = checkEncodedBatch(input, settings.batchBytesMax);
        encodedRecords = recordCount;
        // At once, while the CRC that was checked still speaks for the bytes.
        body = withMaxTimestamp(input, maxTimestampMs);
      } else {
        checkRecords(input, settings.batchBytesMax);
      }
      const bytes = input instanceof Uint8Array ? input.length : recordsBytes(input);
      this.#checkSize(bytes);
      if (signal === undefined && admission.tryEnter(bytes)) this.#enter(target, body, encodedRecords, bytes, waiter);
      else this.#enterLater(target, body, encodedRecords, bytes, waiter, signal);
    } catch (error) {
      waiter.reject(asTierlogError(error));
    }
    return promise;
  }

  /** REQUIRES: `bytes` are admitted. */
  #enter(
    target: AppendTarget,
    input: readonly LogRecord[] | Uint8Array,
    encodedRecords: number,
    bytes: number,
    waiter: Waiter,
  ): void {
    try {
      // It may have waited for room: the shard can be closed by now, and what it would enter never flushed.
      if (this.#closed) throw new ClosedError(`shard ${this.id}`);
      this.#enqueue(target, input, encodedRecords, bytes, waiter);
    } catch (error) {
      this.#options.admission.leave(bytes);
      waiter.reject(asTierlogError(error));
    }
  }

  #enterLater(
    target: AppendTarget,
    input: readonly LogRecord[] | Uint8Array,
    encodedRecords: number,
    bytes: number,
    waiter: Waiter,
    signal: AbortSignal | undefined,
  ): void {
    let body = input;
    let waits = true;
    this.#options.admission.enter(
      bytes,
      () => {
        waits = false;
        this.#enter(target, body, encodedRecords, bytes, waiter);
      },
      (error) => {
        waits = false;
        waiter.reject(asTierlogError(error));
      },
      signal,
    );
    // The caller may reuse array and buffers as soon as it has its promise.
    if (waits && !(input instanceof Uint8Array)) body = copyRecords(input);
  }

  #checkSize(bytes: number): void {
    const { settings, journal } = this.#options;
    if (bytes <= this.#appendBytesMax) return;
    const limits = [{ name: "flush.max_pending", max: settings.pendingBytesMax }];
    if (this.#journaled !== undefined && journal !== undefined) {
      limits.push({ name: "journal.file_size, less the framing", max: journal.settings.appendBytesMax });
    }
    for (const { name, max } of limits) {
      if (bytes <= max) continue;
      throw new InvalidArgumentError(
        "append",
        bytes,
        `${bytes} bytes in one append, the limit is ${max} (${name}): split it`,
      );
    }
  }

  #enqueue(
    target: AppendTarget,
    input: readonly LogRecord[] | Uint8Array,
    encodedRecords: number,
    bytes: number,
    waiter: Waiter,
  ): void {
    if (input instanceof Uint8Array) this.#pipeline.addEncoded(target, input, encodedRecords, bytes, waiter);
    else this.#pipeline.addRecords(target, input, bytes, waiter);
    this.#appendedRecords += input instanceof Uint8Array ? encodedRecords : input.length;
    this.#appendedBytes += bytes;
  }

  /**
   * Takes the shard over unless it is ours (with a journal: goes on with its frames first), and sends the entries that `plan` finds for
   * the state then, in one link; none: nothing is sent. One change at a time: each is planned for the state that the one before it left.
   * Resolves when they are folded; whether a replace or a boundary took effect is for the caller to see in the state. Rejects with what
   * `plan` throws, else as an append does.
   */
  change(plan: ChangePlan): Promise<void> {
    return this.#changes.run(async () => {
      let planned: readonly LinkEntry[] = [];
      if (this.#closed) throw new ClosedError(`shard ${this.id}`);
      await this.#pipeline.change((state) => {
        if (this.#closed) throw new ClosedError(`shard ${this.id}`);
        return (planned = plan(state));
      });
      for (const { newStart, ...id } of planned.flatMap((entry) => (entry.type === "trim" ? entry.trims : []))) {
        const start = this.#chain.state.extents(id)?.startOffset ?? 0;
        if (start < newStart)
          throw new InvariantError(`${partitionKey(id)} was trimmed to ${newStart} and begins at ${start}`);
      }
    });
  }

  /** Sends everything pending to the store now and waits until it is there; rejects with the error that its appends got. */
  flush(): Promise<void> {
    return this.#pipeline.flush();
  }

  /**
   * Refuses new appends, sends what is pending for as long as `shutdownTimeoutMs` allows, gives the shard up. Safe to repeat. What
   * had to stay in the journal comes out. Rejects when something pending failed.
   */
  async close(): Promise<Undrained> {
    if (this.#closed) return { records: 0, bytes: 0 };
    this.#closed = true;
    const { shutdownTimeoutMs } = this.#options.settings;
    const timeout = new Timeout(this.#options.runtime.clock, shutdownTimeoutMs);
    const error = new ClosedError(
      `shard ${this.id} (what was pending could not be stored within ${shutdownTimeoutMs} ms, system.shutdown_timeout)`,
    );
    let undrained: Undrained = { records: 0, bytes: 0 };
    try {
      // What is in the journal is safe there: that it is not in the store yet is told, and is nobody's failure.
      const flushed = this.#journaled === undefined ? this.flush() : this.#journaled.drain().catch(() => undefined);
      if (!(await timeout.before(flushed)) && this.#journaled === undefined) throw error.withEffect("unknown");
    } finally {
      undrained = this.#journaled?.undrained ?? undrained;
      // Only where nothing is left that a successor would have to miss.
      if (!timeout.isOver && undrained.records === 0) await timeout.before(this.#release());
      const ending = this.#pipeline.end(error).then(() => this.#chain.close());
      await timeout.before(
        ending.catch((reason: unknown) => this.#warn("was not closed in order", reason)),
        END_MS,
      );
      timeout.stop();
      this.#notify();
    }
    return { records: undrained.records, bytes: undrained.bytes };
  }

  /** The view to read from, up to date: an owner's own (which may lag by seconds behind a successor), or folded on to the end of the chain. */
  async refresh(): Promise<ShardState> {
    // While its turn is in doubt and the store away, readers of the journal go on with what is known.
    if (this.#chain.isOwner || this.#journaled?.holdsTail !== true) await this.#chain.refresh();
    this.#folded = true;
    return this.#chain.state;
  }

  /** As `refresh`, but an owner asks the store as well, and is none any more where a successor is found. */
  async refold(): Promise<ShardState> {
    if (this.#chain.isOwner) {
      await this.#chain.prove().catch((error: unknown) => {
        if (!isTierlogError(error) || error.kind !== "fenced") throw error;
      });
    }
    return await this.refresh();
  }

  /** The view without asking the store, or undefined where nothing was ever folded, or too long ago. */
  get knownState(): ShardState | undefined {
    return (this.#folded || this.#chain.isOwner) && this.#chain.isViewProved ? this.#chain.state : undefined;
  }

  /** See `IndexChain`. */
  ensureProved(): Promise<void> {
    return this.#chain.ensureProved();
  }

  /** See `IndexChain`. */
  get keptCheckpoints(): IndexChain["keptCheckpoints"] {
    return this.#chain.keptCheckpoints;
  }

  /** See `IndexChain`. */
  checkpointNow(): Promise<boolean> {
    return this.#chain.checkpointNow();
  }

  /** The view as far as it was folded, maybe empty. */
  get chainState(): ShardState {
    return this.#chain.state;
  }

  /** As of the last fold, and of the journal. */
  watermarks(id: PartitionId): Watermarks {
    const extents = this.#chain.state.extents(id);
    const start = extents?.startOffset ?? (0 as Offset);
    const uploaded = extents?.nextOffset ?? (0 as Offset);
    const durable = Math.max(uploaded, this.#journaled?.durableEnd(id) ?? 0) as Offset;
    const pending = this.#pipeline.pendingRecords(partitionKey(id));
    return { start, uploaded, durable, end: (durable + pending) as Offset };
  }

  /** Where a partition ends in chain and journal; undefined where only the chain tells. */
  durableEnd(id: PartitionId): Offset | undefined {
    return this.#journaled?.durableEnd(id);
  }

  /** Batches of a partition from the one that holds `from` on that are in the journal and not in the chain; undefined: none is. */
  async readJournaled(id: PartitionId, from: number, maxBytes: number): Promise<readonly PlacedBatch[] | undefined> {
    return await this.#journaled?.read(id, from, maxBytes);
  }

  /** See `UploadQueue.timesBehind`; undefined where nothing is in the journal that is not in the chain. */
  journaledTimes(id: PartitionId, from: number): JournaledTimes | undefined {
    return this.#journaled?.timesBehind(id, from);
  }

  /** Calls `listener` after every commit and every journaled frame of this process, and when the shard closes. Returns how to stop it. */
  onCommit(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #notify(): void {
    for (const listener of this.#listeners) listener();
  }

  #committed(commit: Commit, flights: readonly { readonly prepared: PreparedFlight | undefined }[]): void {
    const { cache, sparseIndexes } = this.#options;
    this.#storedBytes += commit.bytes.length;
    // Else it is a change: nobody reads bytes of it.
    if (commit.link.entries.some(({ type }) => type === "append")) {
      this.#committedLinks++;
      cache.keepTail(commit.key, [{ position: 0, bytes: commit.bytes, spare: commit.spare }]);
    }
    for (const { prepared } of flights) {
      if (prepared === undefined) continue;
      const { object, chunks, extents } = prepared;
      if (object === undefined) {
        // Their bytes are in the link; of the chunks nobody knows.
        for (const { spare } of chunks) if (spare !== undefined) giveBack(spare);
        continue;
      }
      this.#storedBytes += object.sizeBytes;
      cache.keepTail(object.key, chunks);
      sparseIndexes.keep(object.key, extents);
    }
    this.#notify();
  }

  /** Tells the next owner that nothing of ours is under way. Losing this link costs nobody anything. */
  async #release(): Promise<void> {
    if (!this.#chain.isOwner) return;
    try {
      await this.#chain.commit([{ type: "release" }], []);
    } catch (error) {
      this.#warn("was not released", error);
    }
  }

  #warn(what: string, error: unknown): void {
    this.#options.runtime.logger.warn(`the shard ${what}`, { shard: this.id, error: String(error) });
  }
}
