import type { Config } from "../config/config.ts";
import type { ShardId, TopicId } from "../domain.ts";
import { InvalidArgumentError } from "../errors.ts";
import type { JournalDirectory } from "../journal/journal-directory.ts";
import { BufferedMultipartWriter } from "../object-store/buffered-multipart-writer.ts";
import { listLevel } from "../object-store/list-level.ts";
import { INDEX_PREFIX, parseShardDirectory } from "../object-store/object-names.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import type { OpenUploads } from "../object-store/open-uploads.ts";
import { PartBufferPool } from "../object-store/part-buffer-pool.ts";
import { COMPRESSION_ID } from "../record/compression.ts";
import { systemRuntime, type Runtime } from "../runtime/runtime.ts";
import { Timeout } from "../runtime/timeout.ts";
import { Admission } from "../shard/admission.ts";
import { ObjectCache } from "../shard/object-cache.ts";
import { ReadAhead } from "../shard/read-ahead.ts";
import { Shard } from "../shard/shard.ts";
import { SparseIndexes } from "../shard/sparse-indexes.ts";
import type { AlterTopicOptions, CreateTopicOptions, EngineApi, EngineMetrics, TopicDescription } from "./api.ts";
import { Catalog, checkPartitions } from "./catalog.ts";
import { connect, type Connection } from "./connect.ts";
import { findGarbage, ownerOf } from "./find-garbage.ts";
import type {
  CollectedGarbage,
  CollectGarbageOptions,
  FindGarbageOptions,
  GarbageSummary,
  ShardOwner,
} from "./garbage-reports.ts";
import { GarbageCollection } from "./gc.ts";
import { journalMetrics, openJournals, RecoveryReports, shardJournal } from "./journals.ts";
import { Merging } from "./merging.ts";
import { openUploadsOf } from "./open-uploads-of.ts";
import { closedEngine, type EngineContext } from "./partition.ts";
import type { CloseReport, RecoveryProgress, RecoveryReport } from "./reports.ts";
import { checkRetention, Retention, withRetention } from "./retention.ts";
import { uploadPartsMax } from "./s3-settings.ts";
import { openStoreFormat } from "./store-format.ts";
import { checkTopicAck } from "./topic-ack.ts";
import { checkTopicName } from "./topic-name.ts";
import { Topic } from "./topic.ts";

export interface OpenOptions {
  /** Never writes and never takes a shard over: for consumers and tools beside a running producer. */
  readonly readOnly?: boolean;
  /** false: topics may be changed, but nothing is appended. Needs no journal, so it works beside a process that has it. Default true. */
  readonly appends?: boolean;
  /** Parts of the runtime to replace: clock, randomness, file system, logger. */
  readonly runtime?: Partial<Runtime>;
  /** Instead of the store that the config names. The caller keeps it: `close()` leaves it open. */
  readonly objectStore?: ObjectStore;
}

interface Parts extends Connection {
  readonly config: Config;
  readonly runtime: Runtime;
  readonly readOnly: boolean;
  /** Appends are possible; never where `readOnly`. */
  readonly appends: boolean;
  readonly storeId: string;
  readonly catalog: Catalog;
  readonly journals: JournalDirectory | undefined;
  /** Opened by the config, not brought along by the caller. */
  readonly ownsStore: boolean;
}

/** A streaming-log engine over one store: see `EngineApi`. */
export class Engine implements EngineApi {
  readonly storeId: string;
  readonly readOnly: boolean;
  readonly #parts: Parts;
  readonly #cache: ObjectCache;
  readonly #sparseIndexes: SparseIndexes;
  readonly #partBuffers: PartBufferPool;
  readonly #admission: Admission;
  readonly #shards = new Map<number, Shard>();
  readonly #context: EngineContext;
  readonly #recoveries: RecoveryReports;
  readonly #retention: Retention;
  readonly #merging: Merging;
  readonly #gc: GarbageCollection;
  #closing: Promise<CloseReport> | undefined;

  /**
   * Opens the store that `config` names; creates it where it is empty, unless `readOnly`. Reads the catalog, no index chain, and
   * takes nothing over: the first append to a shard does. Only where the local journal holds records that are not in the store, it takes
   * their shards over and goes on with them. Its first use of a bucket, for writing, is preceded by a probe of what the
   * server can do. Errors: `ConfigError`, `NotFoundError` (read-only, no store), `UnsupportedProviderError`, `ObjectStoreError`,
   * `UnsupportedVersionError`, `CorruptionError`, `LockHeldError` (another process has the journal).
   */
  static async open(config: Config, options: OpenOptions = {}): Promise<Engine> {
    const runtime: Runtime = { ...systemRuntime, ...options.runtime };
    const readOnly = options.readOnly ?? false;
    const connection = await connect({ config, runtime, readOnly, objectStore: options.objectStore });
    try {
      const { store, writerId } = connection;
      const { storeId } = await openStoreFormat(store, runtime, readOnly);
      const catalog = new Catalog({ store, runtime, writerId });
      await catalog.refresh();
      const outlives = config.storage.kind !== "memory" || options.objectStore !== undefined;
      const appends = !readOnly && options.appends !== false;
      const journals = !appends ? undefined : await openJournals(config, runtime, { storeId, outlives });
      const ownsStore = options.objectStore === undefined;
      const parts = { ...connection, config, runtime, readOnly, appends, storeId, catalog, journals, ownsStore };
      const engine = new Engine(parts);
      try {
        await engine.#resume({ upload: false });
        // Empty now, and not used any more: another process may have it.
        if (config.storage.object.ackAfterUpload) await journals?.close();
        if (appends) {
          engine.#retention.start();
          engine.#merging.start();
          engine.#gc.start();
        }
      } catch (error) {
        await engine.close().catch(() => undefined);
        throw error;
      }
      return engine;
    } catch (error) {
      await connection.close();
      throw error;
    }
  }

  private constructor(parts: Parts) {
    const { config, runtime, store, catalog } = parts;
    this.#parts = parts;
    this.#recoveries = new RecoveryReports(runtime, () => catalog.list());
    this.storeId = parts.storeId;
    this.readOnly = parts.readOnly;
    this.#cache = new ObjectCache({ store, tailBytes: config.cache.tailSizeBytes, cacheBytes: config.cache.sizeBytes });
    this.#sparseIndexes = new SparseIndexes({ cache: this.#cache, logger: runtime.logger });
    const { multipartPartSizeBytes, partsInFlight } = config.storage.object;
    this.#partBuffers = new PartBufferPool({
      partSizeBytes: multipartPartSizeBytes,
      buffersMax: uploadPartsMax(partsInFlight),
    });
    this.#admission = new Admission({
      clock: runtime.clock,
      maxBytes: config.flush.maxPendingBytes,
      maxWaitMs: config.flush.maxWaitMs,
    });
    this.#retention = new Retention({
      config: config.retention,
      runtime,
      catalog,
      shards: () => this.#shards.values(),
    });
    this.#merging = new Merging({
      config,
      runtime,
      store,
      cache: this.#cache,
      sparseIndexes: this.#sparseIndexes,
      shards: () => this.#shards.values(),
      partSizeBytes: multipartPartSizeBytes,
      isBusy: () => this.#isBusy(),
    });
    this.#gc = new GarbageCollection({
      config: config.gc,
      boundaryStep: config.index.checkpointEvery,
      runtime,
      store,
      uploads: this.#openUploads,
      catalog,
      shards: () => this.#shards.values(),
    });
    this.#context = {
      catalog,
      cache: this.#cache,
      sparseIndexes: this.#sparseIndexes,
      readAhead: new ReadAhead({
        cache: this.#cache,
        sparseIndexes: this.#sparseIndexes,
        cacheBytes: config.cache.sizeBytes,
      }),
      runtime,
      appends: parts.appends,
      ackAfterUpload: config.storage.object.ackAfterUpload || !parts.appends,
      batchBytesMax: config.batch.maxBytes,
      shard: (id) => this.#shard(id),
      throwIfClosed: () => this.#throwIfClosed(),
    };
  }

  async createTopic(name: string, options: CreateTopicOptions): Promise<TopicDescription> {
    this.#throwIfNotWritable();
    checkTopicName(name);
    checkPartitions(options.partitions);
    const compression = options.compression ?? "none";
    if (!Object.hasOwn(COMPRESSION_ID, compression)) {
      throw new InvalidArgumentError(
        "compression",
        compression,
        `unknown codec, possible are ${Object.keys(COMPRESSION_ID).join(", ")}`,
      );
    }
    const { runtime, config, catalog } = this.#parts;
    checkTopicAck(options.ack, config);
    checkRetention(options);
    const id = runtime.random.bytes(16);
    // Where a topic begins is spread too, or shard 0 would hold every topic of one partition.
    const first = new DataView(id.buffer, id.byteOffset).getUint32(0) % config.shards;
    const topic: TopicDescription = {
      name,
      id: Buffer.from(id).toString("hex") as TopicId,
      partitions: options.partitions,
      compression,
      ...(options.ack === undefined ? {} : { ack: options.ack }),
      ...(options.retentionMs === undefined ? {} : { retentionMs: options.retentionMs }),
      ...(options.retentionBytes === undefined ? {} : { retentionBytes: options.retentionBytes }),
      shards: Array.from({ length: options.partitions }, (_, partition) => (first + partition) % config.shards),
      createdAt: new Date(runtime.clock.now()).toISOString(),
    };
    await catalog.create(topic);
    return topic;
  }

  async alterTopic(name: string, options: AlterTopicOptions): Promise<TopicDescription> {
    this.#throwIfNotWritable();
    const { retentionMs, retentionBytes } = options;
    checkRetention({
      ...(retentionMs === undefined || retentionMs === "default" ? {} : { retentionMs }),
      ...(retentionBytes === undefined || retentionBytes === "default" ? {} : { retentionBytes }),
    });
    await this.#parts.catalog.alter(name, (topic) => withRetention(topic, options));
    return await this.#parts.catalog.find(name);
  }

  async listTopics(): Promise<readonly TopicDescription[]> {
    this.#throwIfClosed();
    await this.#parts.catalog.refresh();
    return this.#parts.catalog.list();
  }

  async describeTopic(name: string): Promise<TopicDescription> {
    this.#throwIfClosed();
    return this.#parts.catalog.find(name);
  }

  async deleteTopic(name: string): Promise<void> {
    this.#throwIfNotWritable();
    await this.#parts.catalog.delete(name);
  }

  async topic(name: string): Promise<Topic> {
    this.#throwIfClosed();
    // With a journal appends go on while the store is away: they need their topic.
    const mayBeOld = !this.#context.ackAfterUpload;
    return new Topic(this.#context, await this.#parts.catalog.find(name, mayBeOld));
  }

  async flush(): Promise<void> {
    this.#throwIfClosed();
    await this.#parts.catalog.checked();
    // Behind all that wait for room now; they come in as others go out.
    const last = { waits: true };
    const entered = (): void => {
      last.waits = false;
    };
    this.#admission.enter(0, entered, entered);
    while (last.waits) await this.#flushShards();
    await this.#flushShards();
  }

  async #flushShards(): Promise<void> {
    await all([...this.#shards.values()].map((shard) => shard.flush()));
  }

  metrics(): EngineMetrics {
    const total = {
      flushes: 0,
      committedLinks: 0,
      appendedRecords: 0,
      appendedBytes: 0,
      storedBytes: 0,
      bufferedLost: 0,
      checkpointsWritten: 0,
      checkpointsFailed: 0,
      checkpointFallbacks: 0,
    };
    for (const shard of this.#shards.values()) {
      const metrics = shard.metrics();
      for (const name of Object.keys(total) as (keyof typeof total)[]) total[name] += metrics[name];
    }
    const { partLimiter } = this.#parts;
    return {
      store: this.#parts.storeMetrics(),
      probeRequests: this.#parts.probeRequests,
      uploads: { partLimit: partLimiter.limit, partsInFlight: partLimiter.inFlight, throttled: partLimiter.throttled },
      ...total,
      pendingBytes: this.#admission.pendingBytes,
      journal: journalMetrics(this.#shards.values(), this.#parts.config),
      merge: this.#merging.metrics(),
      cache: this.#cache.metrics(),
      footersRebuilt: this.#sparseIndexes.rebuilt,
      gc: this.#gc.metrics(),
    };
  }

  async listShards(): Promise<readonly ShardOwner[]> {
    this.#throwIfClosed();
    const shards = await this.#writtenShards();
    return await all(shards.map(async (shard) => ownerOf(await shard.refresh())));
  }

  async findGarbage(options: FindGarbageOptions): Promise<GarbageSummary> {
    this.#throwIfClosed();
    const { store, catalog } = this.#parts;
    return findGarbage({ store, catalog, uploads: this.#openUploads, shards: await this.#writtenShards() }, options);
  }

  async collectGarbage(options: CollectGarbageOptions = {}): Promise<CollectedGarbage> {
    this.#throwIfNotWritable();
    return this.#gc.collect(await this.#writtenShards(), options);
  }

  /** Of the bucket; undefined where nothing of an upload outlives its process, or the caller brought the store along. */
  get #openUploads(): (() => Promise<OpenUploads>) | undefined {
    const { config, runtime, ownsStore } = this.#parts;
    return config.storage.kind === "object" && ownsStore ? () => openUploadsOf(config, runtime) : undefined;
  }

  async #writtenShards(): Promise<readonly Shard[]> {
    const { directories } = await listLevel(this.#parts.store, INDEX_PREFIX);
    return directories
      .map(parseShardDirectory)
      .filter((id) => id !== undefined)
      .map((id) => this.#shard(id));
  }

  async recover(onProgress?: (progress: RecoveryProgress) => void): Promise<readonly RecoveryReport[]> {
    this.#throwIfNotWritable();
    await this.#resume({ upload: true }, onProgress);
    return this.#recoveries.list;
  }

  recoveryReports(): readonly RecoveryReport[] {
    return this.#recoveries.list;
  }

  /** Looks after what is in the journals of all shards that have one. */
  async #resume(
    options: { readonly upload: boolean },
    onProgress?: (progress: RecoveryProgress) => void,
  ): Promise<void> {
    const shards = (this.#parts.journals?.shards() ?? []).map((id) => this.#shard(id));
    const report = (shard: Shard, records: number): void => {
      const { frames, bytes, records: left } = shard.lag ?? { frames: 0, bytes: 0, records: 0 };
      onProgress?.({ shard: shard.id, framesLeft: frames, bytesLeft: bytes, recordsUploaded: records - left });
    };
    const stops = (onProgress === undefined ? [] : shards).map((shard) => {
      const records = shard.lag?.records ?? 0;
      return shard.onCommit(() => report(shard, records));
    });
    try {
      await all(shards.map((shard) => shard.resume(options)));
    } finally {
      for (const stop of stops) stop();
    }
  }

  /** Appends wait for room, or the journal for the store: what can wait should. */
  #isBusy(): boolean {
    const { flush, journal } = this.#parts.config;
    if (this.#admission.pendingBytes > flush.maxPendingBytes / 2) return true;
    for (const { lag } of this.#shards.values()) if ((lag?.bytes ?? 0) > journal.maxSizeBytes / 2) return true;
    return false;
  }

  close(): Promise<CloseReport> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<CloseReport> {
    this.#retention.stop();
    const timeout = new Timeout(this.#parts.runtime.clock, this.#parts.config.shutdownTimeoutMs);
    // At once; what it clears away it does beside the shards, and in an outage it is not waited for.
    const background = Promise.all([this.#merging.stop(), this.#gc.stop()]);
    try {
      const shards = [...this.#shards.values()];
      const left = await all(shards.map(async (shard) => ({ shard: shard.id, ...(await shard.close()) })));
      return { journaled: left.filter(({ records }) => records > 0) };
    } finally {
      await timeout.before(background);
      await timeout.before(this.#cache.close());
      timeout.stop();
      await this.#parts.journals?.close();
      await this.#parts.close();
    }
  }

  #shard(id: number): Shard {
    const known = this.#shards.get(id);
    if (known !== undefined) return known;
    const { config, runtime, store, writerId, journals } = this.#parts;
    const shard = new Shard({
      shard: id as ShardId,
      journal: shardJournal(journals, id as ShardId, config, runtime),
      onRecovery: (recovery) => this.#recoveries.add(recovery),
      store,
      runtime,
      writerId,
      admission: this.#admission,
      cache: this.#cache,
      sparseIndexes: this.#sparseIndexes,
      openWriter: (key, signal) =>
        new BufferedMultipartWriter({
          store,
          key,
          pool: this.#partBuffers,
          partsInFlight: config.storage.object.partsInFlight,
          logger: runtime.logger,
          signal,
        }),
      settings: {
        shutdownTimeoutMs: config.shutdownTimeoutMs,
        checkpointEvery: config.index.checkpointEvery,
        graceMs: config.gc.graceMs,
        lingerMs: config.flush.lingerMs,
        flushBytesMax: config.flush.maxBytes,
        pendingBytesMax: config.flush.maxPendingBytes,
        batchBytesMax: config.batch.maxBytes,
        linkBytesMax: config.storage.object.multipartPartSizeBytes,
      },
    });
    this.#shards.set(id, shard);
    return shard;
  }

  #throwIfClosed(): void {
    if (this.#closing !== undefined) throw closedEngine();
  }

  #throwIfNotWritable(): void {
    this.#throwIfClosed();
    if (this.readOnly)
      throw new InvalidArgumentError(
        "engine",
        "read-only",
        "it was opened read-only: open it without readOnly to change topics",
      );
  }
}

/** Waits for all, then rejects with the first error: none is left running, none unhandled. */
async function all<T>(tasks: readonly Promise<T>[]): Promise<T[]> {
  await Promise.allSettled(tasks);
  return await Promise.all(tasks);
}
