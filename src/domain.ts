/**
 * The branded values that all rooms speak. A brand costs nothing at run time; it keeps an offset from being passed where a
 * byte position is wanted.
 */

declare const brand: unique symbol;
type Brand<T, Name extends string> = T & { readonly [brand]: Name };

/** Position of a record in its partition: a safe integer ≥ 0 (64 bit on the wire). */
export type Offset = Brand<number, "Offset">;

/** Number of a writer's turn on a shard, 1 for the first. Only grows. Fits a signed 32-bit integer (partitionLeaderEpoch). */
export type Epoch = Brand<number, "Epoch">;

/** Position of an index file in its shard's index chain, from 0, dense. */
export type Seq = Brand<number, "Seq">;

/** Number of a shard, 0 … 9999. */
export type ShardId = Brand<number, "ShardId">;

/** Full name of an object within a store, as in `index/0000/00000000000000000000.idx`. */
export type ObjectKey = Brand<string, "ObjectKey">;

/** An entity tag without quotes and without `W/`. Opaque: never computed, only compared and sent back. */
export type ETag = Brand<string, "ETag">;

/** 32 lower-case hex digits. A topic created again under the same name has another id. */
export type TopicId = Brand<string, "TopicId">;

/** One partition of one topic; the name of the topic plays no part. */
export interface PartitionId {
  readonly topicId: TopicId;
  /** 0 … partitions − 1. */
  readonly partition: number;
}

/** A key for maps; not stored anywhere. */
export function partitionKey(id: PartitionId): string {
  return `${id.topicId}/${id.partition}`;
}

export const MAX_EPOCH = 0x7fff_ffff;

/** Ack levels, weakest first (see the ack table in README.md). */
export type AckLevel = "buffered" | "journaled" | "uploaded";

export interface AppendReceipt {
  readonly partition: number;
  readonly firstOffset: Offset;
  /** First offset after the append. */
  readonly nextOffset: Offset;
  /** The level that was reached. */
  readonly level: AckLevel;
  readonly epoch: Epoch;
}

/** start ≤ uploaded ≤ durable ≤ end, always. */
export interface Watermarks {
  /** First readable offset. */
  readonly start: Offset;
  /** Everything below is in the object store and named by the chain. */
  readonly uploaded: Offset;
  /** Everything below survives a crash of this process. */
  readonly durable: Offset;
  /** The offset that the next append gets. */
  readonly end: Offset;
}
