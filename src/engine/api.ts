import type { AckLevel, AppendReceipt, Offset, TopicId, Watermarks } from "../domain.ts";
import type { JournalMetrics } from "../journal/reports.ts";
import type { GarbageMetrics } from "../merge/sweeper.ts";
import type { StoreMetrics } from "../object-store/metered.ts";
import type { Compression } from "../record/compression.ts";
import type { LogRecord, StoredRecord, TimestampedOffset } from "../record/record.ts";
import type {
  CollectedGarbage,
  CollectGarbageOptions,
  FindGarbageOptions,
  GarbageSummary,
  ShardOwner,
} from "./garbage-reports.ts";
import type { CloseReport, RecoveryProgress, RecoveryReport } from "./reports.ts";

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
  /**
   * Changes what is given of a topic and nothing else; its new description. The engines that own its shards follow with their next look
   * at the catalog. `NotFoundError`, `InvalidArgumentError`.
   */
  alterTopic(name: string, options: AlterTopicOptions): Promise<TopicDescription>;
  /** `NotFoundError` if there is no such topic. Appends to it then fail, here at once, elsewhere within 5 s. */
  deleteTopic(name: string): Promise<void>;
  /** `NotFoundError` if there is no such topic. Takes nothing over and reads no index chain. */
  topic(name: string): Promise<TopicApi>;
  /**
   * Sends everything appended before this call to the store, also what still waits for room, and waits until it is there. Rejects with
   * the first error.
   */
  flush(): Promise<void>;
  /** Plain numbers since `open`. */
  metrics(): EngineMetrics;
  /**
   * Takes over every shard that has a journal here and brings what it holds to the object store; resolves when it is there, or set aside,
   * shard by shard. Safe to repeat after a failure or a crash. `LockHeldError`, `CorruptionError`, `FencedError`, and what appends reject
   * with.
   */
  recover(onProgress?: (progress: RecoveryProgress) => void): Promise<readonly RecoveryReport[]>;
  /** What taking shards over has found in journals since `open`, oldest first; the newest 1,000. */
  recoveryReports(): readonly RecoveryReport[];
  /** The shards that were ever written to, and who holds them. Folds their chains; takes nothing over. */
  listShards(): Promise<readonly ShardOwner[]>;
  /**
   * Looks for what `collectGarbage` would delete, in all shards of the store. Reads and lists, also read-only; takes nothing over. Rejects
   * as reads do, and when its signal fires.
   */
  findGarbage(options: FindGarbageOptions): Promise<GarbageSummary>;
  /**
   * Takes over every shard of the store, as an append would, and frees what nobody needs in them (docs/gc.md). Takes at least
   * `system.gc.grace`. An engine does the same in the background for the shards that it owns. Ends early when its signal fires.
   */
  collectGarbage(options?: CollectGarbageOptions): Promise<CollectedGarbage>;
  /**
   * Refuses new appends, sends what is pending, waits for the acks, then frees sockets and timers. Safe to repeat. Resolves to what is
   * journaled and could not be uploaded in time. Rejects with the first shard's error if something pending could not be stored (its
   * appends were rejected with that error too).
   */
  close(): Promise<CloseReport>;
}

export interface CreateTopicOptions {
  /** 1 … 100,000. */
  readonly partitions: number;
  /** Default "none". */
  readonly compression?: Compression;
  /**
   * When appends to this topic are acknowledged, and so when readers see them. Default: as `system.storage.object.ack_after_upload` of
   * the engine that appends says. "journaled" is refused where that is true: such an engine has no journal.
   */
  readonly ack?: TopicAck;
  /** Records are trimmed once all of their extent are older, by their timestamps. Default: `system.retention.ms` of the owner. */
  readonly retentionMs?: RetentionLimit;
  /** Of each partition: its oldest extents are trimmed while the rest holds so much. Default: `system.retention.bytes` of the owner. */
  readonly retentionBytes?: RetentionLimit;
}

/** An integer ≥ 1, or no limit whatever the configuration says. */
export type RetentionLimit = number | "off";

/** As in `CreateTopicOptions`; "default": as the configuration says. What is absent stays as it is. */
export interface AlterTopicOptions {
  readonly retentionMs?: RetentionLimit | "default";
  readonly retentionBytes?: RetentionLimit | "default";
}

/** The ack levels that a topic can ask for. */
export type TopicAck = Exclude<AckLevel, "buffered">;

export interface TopicDescription {
  readonly name: string;
  readonly id: TopicId;
  readonly partitions: number;
  readonly compression: Compression;
  /** Absent: as the configuration of the engine that appends says. */
  readonly ack?: TopicAck;
  /** Absent: as the configuration of the engine that owns a shard says. */
  readonly retentionMs?: RetentionLimit;
  readonly retentionBytes?: RetentionLimit;
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
  /** Default: as the topic says, else `system.storage.object.ack_after_upload`. "journaled" is refused where that is true. */
  readonly ack?: AckLevel;
  /** Ends a wait for room; what has been taken is not taken back. */
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
  /**
   * Looks for a record by its timestamp, among those that `read` serves. Timestamps are the producers' (CreateTime) and may decrease:
   * the answer is the first offset, in the order of offsets, whose timestamp is `at` or later, and undefined where there is none. `at`
   * is a `Date` or an integer of milliseconds since 1970; a negative one is a time before 1970 like any other. "max-timestamp": the
   * record with the highest timestamp, of several the first; undefined where the partition is empty. An answer from the known view
   * costs no request for it; then at most one for the index of a large data object, and one for records, unless they are cached.
   */
  offsetAt(at: number | Date | "max-timestamp"): Promise<TimestampedOffset | undefined>;
  /** "earliest": the start of the log. "latest": its end, where the next record goes. Both exist in an empty partition too. */
  offsetAt(at: "earliest" | "latest"): Promise<{ readonly offset: Offset }>;
  watermarks(): Promise<Watermarks>;
  /**
   * Moves the start of the partition to `before`: what lies below it is not read any more, whether or not it is an edge of a batch.
   * Resolves to the start then, once every reader that asks the store sees it; where the partition begins at `before` or behind it
   * already, nothing is done. Like an append it takes the shard over. The space of what is trimmed is freed later (docs/gc.md).
   * `OffsetOutOfRangeError` beyond what is uploaded: records that are only in the journal cannot be trimmed, flush first.
   */
  trim(options: TrimOptions): Promise<Offset>;
  inspect(): Promise<PartitionInspection>;
}

export interface EncodedAppend {
  readonly encodedBatch: Uint8Array;
}

export interface TrimOptions {
  /** The new start: start … uploaded of the watermarks; what is smaller changes nothing. */
  readonly before: number;
}

export interface ReadOptions {
  readonly from: number;
  /** Default 1 MiB. */
  readonly maxBytes?: number;
  readonly signal?: AbortSignal;
}

export interface ReadResult {
  /** One RecordBatch v2 each, checked against CRC and directory; the first may begin below `from`. Read only: at the tail shared with the cache. */
  readonly batches: readonly Uint8Array[];
  /** Where to go on. */
  readonly nextOffset: Offset;
  readonly watermarks: Watermarks;
}

export interface RecordsOptions {
  /**
   * An offset, or where to look for it. A `Date`: the first offset whose timestamp is that late, behind which earlier records may
   * follow; where there is none, the end of the log as it is then.
   */
  readonly from: number | Date | "earliest" | "latest";
  readonly follow?: boolean;
  readonly signal?: AbortSignal;
}

export interface PartitionInspection {
  readonly partition: number;
  readonly shard: number;
  readonly watermarks: Watermarks;
  /** What is journaled and not uploaded, and the age of its oldest record; absent where this engine has no journal of the shard. */
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
  /** Of merging in the background. */
  readonly merge: MergeMetrics;
  /** Extents of data objects whose footer could not be used. */
  readonly footersRebuilt: number;
  /** What freeing space has done and left (docs/gc.md). */
  readonly gc: GarbageMetrics;
  readonly cache: {
    readonly tailHits: number;
    readonly hits: number;
    readonly misses: number;
    /** GETs made before anybody asked, for readers that go on in order. */
    readonly readAheads: number;
    /** Reads that failed a check and were fetched again. */
    readonly refetched: number;
    readonly bytes: number;
  };
}

export interface MergeMetrics {
  /** Jobs under way: 0 or 1. */
  readonly running: number;
  /** Jobs whose object took the place of what it was made of. */
  readonly merges: number;
  /** Encoded bytes superseded, and bytes of the objects written for it. */
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** Extents superseded, and those in their place. */
  readonly extentsIn: number;
  readonly extentsOut: number;
  /** GETs of its sources; what this process wrote lately is not fetched. */
  readonly requests: number;
  /** Extents left where they are because their bytes fail their checks or are not there: each is logged. */
  readonly damaged: number;
  /** Jobs that another one of the same extents came before. */
  readonly voided: number;
  /** Jobs that ended with an error; what they were for is tried again. */
  readonly failed: number;
}

export interface EngineJournalMetrics extends Omit<JournalMetrics, "oldestLiveCreatedAtMs" | "oDirect"> {
  /** In the journal and not in the store, and the age of the oldest of it. */
  readonly lagRecords: number;
  readonly lagBytes: number;
  readonly lagMs: number;
}
