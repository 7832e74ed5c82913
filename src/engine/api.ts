import type { AckLevel, AppendReceipt, Offset, TopicId, Watermarks } from "../domain.ts";
import type { AsideReport, JournalMetrics, TornTail } from "../journal/reports.ts";
import type { StoreMetrics } from "../object-store/metered.ts";
import type { Compression } from "../record/compression.ts";
import type { LogRecord, StoredRecord } from "../record/record.ts";

/** A streaming-log engine over one store. Made by `Engine.open`. */
export interface EngineApi {
  /** Random id of the store, made when it was first opened for writing. */
  readonly storeId: string;
  readonly readOnly: boolean;
  /** `InvalidArgumentError` for a bad name, a bad number of partitions or a name that is taken. */
  createTopic(name: string, options: CreateTopicOptions): Promise<TopicDescription>;
  listTopics(): Promise<readonly TopicDescription[]>;
  /** `NotFoundError` if there is no such topic. */
  describeTopic(name: string): Promise<TopicDescription>;
  /** `NotFoundError` if there is no such topic. Appends to it then fail, here at once, elsewhere within 5 s. */
  deleteTopic(name: string): Promise<void>;
  /** `NotFoundError` if there is no such topic. Takes nothing over and reads no index chain. */
  topic(name: string): Promise<TopicApi>;
  /**
   * Sends everything appended before this call to the store, also what still waits for room, and waits until it is there. Rejects with
   * the first error.
   */
  flush(): Promise<void>;
  /**
   * Takes over the shards whose journal holds records that are not in the store, and uploads them; `open` begins that by itself.
   * Resolves when all are uploaded or set aside, with what was found; rejects with the first error.
   */
  recover(onProgress?: (progress: RecoveryProgress) => void): Promise<readonly RecoveryReport[]>;
  /** What taking shards over has found since `open`, oldest first, at most 1,000. */
  recoveryReports(): readonly RecoveryReport[];
  /** Plain numbers since `open`. */
  metrics(): EngineMetrics;
  /**
   * Refuses new appends, sends what is pending to the store, for as long as `system.shutdown_timeout` allows, then frees sockets, files
   * and timers. Safe to repeat. Resolves with what had to stay in the journal: the next `open` goes on with it. Rejects with the first
   * shard's error if something pending could not be stored anywhere (its appends were rejected with that error too).
   */
  close(): Promise<CloseReport>;
}

export interface CloseReport {
  /** Shards of which not everything that was journaled is in the store. */
  readonly journaled: readonly { readonly shard: number; readonly records: number; readonly bytes: number }[];
}

export interface RecoveryProgress {
  readonly shard: number;
  readonly recordsLeft: number;
  readonly bytesLeft: number;
}

/** What taking one shard over found in journals, ours and others'. */
export interface RecoveryReport {
  readonly shard: number;
  /**
   * "replayed": records of our journal went on into the store. "set-aside": they must not, another writer's turn came between; see
   * `tierlog journal salvage`. "disk-lost": the last owner acknowledged from a journal that is not here, and did not leave in order.
   */
  readonly outcome: "nothing" | "replayed" | "set-aside" | "disk-lost";
  readonly replayed: { readonly frames: number; readonly records: number; readonly bytes: number };
  readonly setAside?: AsideReport;
  readonly tornTail?: TornTail;
  /** The first offset of each partition that may be lost; how many records were, nobody knows. */
  readonly mayBeLost?: readonly {
    readonly topic: string;
    readonly topicId: TopicId;
    readonly partition: number;
    readonly firstOffset: Offset;
  }[];
  /** ISO 8601: when the last records that did come to the store were committed. */
  readonly lastCommitAt?: string;
}

export interface CreateTopicOptions {
  /** 1 … 100,000. */
  readonly partitions: number;
  /** Default "none". */
  readonly compression?: Compression;
}

export interface TopicDescription {
  readonly name: string;
  readonly id: TopicId;
  readonly partitions: number;
  readonly compression: Compression;
  /** Shard of each partition. */
  readonly shards: readonly number[];
  /** ISO 8601. */
  readonly createdAt: string;
}

export interface TopicApi {
  readonly description: TopicDescription;
  /** `InvalidArgumentError` unless 0 ≤ `number` < partitions. */
  partition(number: number): PartitionApi;
  /**
   * Spreads records over partitions: keyed ones by Kafka's murmur2 of the key, unkeyed ones to one partition that changes with
   * every flush. Resolves when all are acknowledged, one receipt per partition touched; rejects when all are settled, with effect
   * "none" only if no partition may have stored anything.
   */
  append(records: readonly LogRecord[], options?: AppendOptions): Promise<readonly AppendReceipt[]>;
}

export interface AppendOptions {
  /**
   * What the ack waits for. Default: what the topic says, else what `ack_after_upload` says. "journaled" where `ack_after_upload` is
   * true is an `InvalidArgumentError`: there is no journal. "buffered": memory of this process is enough.
   */
  readonly ack?: AckLevel;
  /** While the append waits for room. */
  readonly signal?: AbortSignal;
}

export interface PartitionApi {
  readonly topic: string;
  readonly number: number;
  /**
   * Appends records, or one encoded RecordBatch v2 whose buffer the engine owns until the ack, at consecutive offsets. Resolves
   * when they have reached the level that was asked for; the receipt names it. Stored whole or not at all, however many batches it
   * takes: one frame of the journal holds them, one link names them all.
   */
  append(records: readonly LogRecord[] | EncodedAppend, options?: AppendOptions): Promise<AppendReceipt>;
  /**
   * Encoded batches from the one that holds `from` on, up to about `maxBytes` but at least one; empty at the end of the log.
   * `OffsetOutOfRangeError` outside start … uploaded, or start … durable where the level of the topic is "journaled".
   */
  read(options: ReadOptions): Promise<ReadResult>;
  /** Decoded records from `from` on. Ends at the end of the log as it is found there; with `follow` it waits for more. */
  records(options: RecordsOptions): AsyncIterable<StoredRecord>;
  watermarks(): Promise<Watermarks>;
  inspect(): Promise<PartitionInspection>;
}

export interface EncodedAppend {
  readonly encodedBatch: Uint8Array;
}

export interface ReadOptions {
  readonly from: number;
  /** Default 1 MiB. */
  readonly maxBytes?: number;
  readonly signal?: AbortSignal;
}

export interface ReadResult {
  /** One RecordBatch v2 each, checked against CRC and directory; the first may begin below `from`. Read only: shared with the cache. */
  readonly batches: readonly Uint8Array[];
  /** Where to go on. */
  readonly nextOffset: Offset;
  readonly watermarks: Watermarks;
}

export interface RecordsOptions {
  readonly from: number | "earliest" | "latest";
  readonly follow?: boolean;
  readonly signal?: AbortSignal;
}

export interface PartitionInspection {
  readonly partition: number;
  readonly shard: number;
  readonly watermarks: Watermarks;
  /** Of the whole shard: what is in the journal of this process and not in the store, and how old it is. */
  readonly lag?: { readonly records: number; readonly bytes: number; readonly ms: number };
  /** Extents of this partition and their bytes. */
  readonly extents: number;
  readonly bytes: number;
  /** Objects that hold them. */
  readonly objects: number;
  /** Of the shard: live links, files found (live and void), current epoch, and who holds it. */
  readonly links: number;
  readonly nextSeq: number;
  readonly epoch: number;
  readonly owner: string;
}

export interface EngineMetrics {
  readonly store: StoreMetrics;
  /** Sent by the probe of the store when this engine was opened; not part of `store`. 0 where a stored result was believed. */
  readonly probeRequests: number;
  /** Parts that may be on their way at a time (halved when the store says "slow down"), that are, and such answers so far. */
  readonly uploads: { readonly partLimit: number; readonly partsInFlight: number; readonly throttled: number };
  readonly flushes: number;
  /** Links committed that carry records. */
  readonly committedLinks: number;
  readonly appendedRecords: number;
  readonly appendedBytes: number;
  /** Bytes of index files and data objects committed. */
  readonly storedBytes: number;
  readonly pendingBytes: number;
  /** Appends acknowledged as buffered that were given up afterwards. */
  readonly bufferedLost: number;
  /** Of the journals of all shards; undefined where `ack_after_upload` is true. */
  readonly journal: EngineJournalMetrics | undefined;
  /** Checkpoints written and read back whole; attempts that failed (made again as many links later). */
  readonly checkpointsWritten: number;
  readonly checkpointsFailed: number;
  /** Checkpoints that should have been started from and could not be read. */
  readonly checkpointFallbacks: number;
  /** Extents of data objects whose footer could not be used. */
  readonly footersRebuilt: number;
  readonly cache: {
    readonly tailHits: number;
    readonly hits: number;
    readonly misses: number;
    /** Reads that failed a check and were fetched again. */
    readonly refetched: number;
    readonly bytes: number;
  };
}

export interface EngineJournalMetrics extends Omit<JournalMetrics, "oldestLiveCreatedAtMs" | "oDirect"> {
  /** In the journal and not in the store, and the age of the oldest of it. */
  readonly lagRecords: number;
  readonly lagBytes: number;
  readonly lagMs: number;
}
