import {
  partitionKey,
  type AckLevel,
  type AppendReceipt,
  type Offset,
  type PartitionId,
  type Watermarks,
} from "../domain.ts";
import { AbortedError, ClosedError, InvalidArgumentError, OffsetOutOfRangeError } from "../errors.ts";
import type { LinkEntry } from "../index-chain/link-entries.ts";
import type { ShardState } from "../index-chain/shard-state.ts";
import { decodeRecords } from "../record/batch.ts";
import { copyRecords } from "../record/copy-records.ts";
import type { LogRecord, StoredRecord, TimestampedOffset } from "../record/record.ts";
import { sleep } from "../runtime/clock.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { ObjectCache } from "../shard/object-cache.ts";
import { readBatches } from "../shard/partition-reader.ts";
import type { AppendTarget } from "../shard/pending.ts";
import type { ReadAhead } from "../shard/read-ahead.ts";
import type { Shard } from "../shard/shard.ts";
import type { SparseIndexes } from "../shard/sparse-indexes.ts";
import { findLatest, findOffsetAt, type TimestampLookupOptions } from "../shard/timestamp-lookup.ts";
import type {
  AppendOptions,
  EncodedAppend,
  PartitionApi,
  PartitionInspection,
  ReadOptions,
  ReadResult,
  RecordsOptions,
  TopicDescription,
  TrimOptions,
} from "./api.ts";
import type { Catalog } from "./catalog.ts";

const READ_BYTES = 1024 * 1024;
const ACK_LEVELS: readonly AckLevel[] = ["buffered", "journaled", "uploaded"];
/** How often a follower of somebody else's partition looks for news: one GET each time. */
const FOLLOW_POLL_MS = 250;

/** What the handles of one engine share. */
export interface EngineContext {
  readonly catalog: Catalog;
  readonly cache: ObjectCache;
  readonly sparseIndexes: SparseIndexes;
  readonly readAhead: ReadAhead;
  readonly runtime: Runtime;
  readonly appends: boolean;
  readonly ackAfterUpload: boolean;
  readonly batchBytesMax: number;
  shard(id: number): Shard;
  throwIfClosed(): void;
}

export class Partition implements PartitionApi {
  readonly topic: string;
  readonly number: number;
  readonly #context: EngineContext;
  readonly #description: TopicDescription;
  readonly #id: PartitionId;
  readonly #target: AppendTarget;
  readonly #shard: Shard;

  constructor(context: EngineContext, description: TopicDescription, number: number, shard: Shard) {
    this.topic = description.name;
    this.number = number;
    this.#context = context;
    this.#description = description;
    this.#id = { topicId: description.id, partition: number };
    this.#target = { ...this.#id, key: partitionKey(this.#id), compression: description.compression };
    this.#shard = shard;
  }

  /** Which flush an append made now rides in. */
  get flushNumber(): number {
    return this.#shard.flushNumber;
  }

  append(input: readonly LogRecord[] | EncodedAppend, options: AppendOptions = {}): Promise<AppendReceipt> {
    const { catalog, appends, ackAfterUpload } = this.#context;
    try {
      this.#context.throwIfClosed();
      if (!appends)
        throw new InvalidArgumentError(
          "engine",
          "read-only",
          "it was opened read-only, or with appends: false: open it without them to append",
        );
      const body = isEncoded(input) ? input.encodedBatch : input;
      const level = this.#level(options.ack);
      // With a journal appends go on while the store is away, and with it the catalog.
      const checking = catalog.check(this.#description, !ackAfterUpload);
      if (checking === undefined) return this.#shard.append(this.#target, body, level, options.signal);
      const own = body instanceof Uint8Array ? body : copyRecords(body);
      return checking.then(() => this.#shard.append(this.#target, own, level, options.signal));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** What an append waits for: what it asks for, else what its topic does, else what the config says. */
  #level(asked: AckLevel | undefined): AckLevel {
    const { ackAfterUpload } = this.#context;
    const level = asked ?? this.#description.ack ?? (ackAfterUpload ? "uploaded" : "journaled");
    if (!ACK_LEVELS.includes(level)) {
      throw new InvalidArgumentError("ack", level, `unknown level, possible are ${ACK_LEVELS.join(", ")}`);
    }
    if (level === "journaled" && ackAfterUpload) {
      const whose = asked === undefined ? `topic ${this.topic} asks for it` : "it was asked for";
      throw new InvalidArgumentError(
        "ack",
        level,
        `${whose}, but there is no journal: system.storage.object.ack_after_upload is true`,
      );
    }
    return level;
  }

  /** Readers see a record once the level of its topic is reached. */
  get #visible(): "journaled" | "uploaded" {
    return this.#description.ack ?? (this.#context.ackAfterUpload ? "uploaded" : "journaled");
  }

  async read(options: ReadOptions): Promise<ReadResult> {
    this.#context.throwIfClosed();
    throwIfAborted(options.signal);
    const { from, maxBytes = READ_BYTES } = options;
    checkOffset(from);
    if (!Number.isSafeInteger(maxBytes) || maxBytes < 1)
      throw new InvalidArgumentError("maxBytes", maxBytes, "must be an integer ≥ 1");
    const { cache, sparseIndexes, readAhead } = this.#context;
    const { batches, nextOffset } = await readBatches(
      this.#shard,
      cache,
      sparseIndexes,
      this.#id,
      from,
      maxBytes,
      this.#visible,
    );
    const bytes = batches.reduce((sum, batch) => sum + batch.length, 0);
    readAhead.didRead(this.#shard, this.#id, from, nextOffset, bytes);
    throwIfAborted(options.signal);
    return { batches, nextOffset, watermarks: this.#shard.watermarks(this.#id) };
  }

  async *records(options: RecordsOptions): AsyncGenerator<StoredRecord> {
    const { follow = false, signal } = options;
    let offset: Offset = await this.#startOf(options.from);
    for (;;) {
      // Before the read: a commit that happens while the read runs must end the wait below, or its records are seen late.
      const news = this.#newsAfter(signal, follow);
      try {
        const { batches, nextOffset } = await this.read({ from: offset, ...(signal === undefined ? {} : { signal }) });
        for (const batch of batches) {
          for (const record of decodeRecords(batch, { key: `${this.topic}/${this.number}`, position: 0 })) {
            if (record.offset >= offset) yield record;
          }
        }
        offset = nextOffset;
        if (batches.length > 0) continue;
        if (!follow) return;
        await news.wait();
      } finally {
        news.stop();
      }
    }
  }

  offsetAt(at: number | Date | "max-timestamp"): Promise<TimestampedOffset | undefined>;
  offsetAt(at: "earliest" | "latest"): Promise<{ readonly offset: Offset }>;
  async offsetAt(
    at: number | Date | "max-timestamp" | "earliest" | "latest",
  ): Promise<TimestampedOffset | { readonly offset: Offset } | undefined> {
    this.#context.throwIfClosed();
    if (at === "earliest" || at === "latest") return { offset: await this.#startOf(at) };
    if (at === "max-timestamp") return await findLatest(this.#lookup);
    return (await findOffsetAt(this.#lookup, timestampOf("at", at))).found;
  }

  get #lookup(): TimestampLookupOptions {
    const { cache, sparseIndexes } = this.#context;
    return { shard: this.#shard, cache, sparseIndexes, id: this.#id, level: this.#visible };
  }

  async watermarks(): Promise<Watermarks> {
    this.#context.throwIfClosed();
    await this.#shard.refresh();
    return this.#shard.watermarks(this.#id);
  }

  async trim({ before }: TrimOptions): Promise<Offset> {
    const { catalog, appends, ackAfterUpload } = this.#context;
    this.#context.throwIfClosed();
    if (!appends)
      throw new InvalidArgumentError(
        "engine",
        "read-only",
        "it was opened read-only, or with appends: false: open it without them to trim",
      );
    checkOffset(before, "before");
    await catalog.check(this.#description, !ackAfterUpload);
    // Before the shard is taken over: what changes nothing, or cannot be, is no reason to.
    if (this.#trimTo(before, await this.#shard.refresh()).length > 0)
      await this.#shard.change((state) => this.#trimTo(before, state));
    return this.#shard.watermarks(this.#id).start;
  }

  #trimTo(before: number, state: ShardState): readonly LinkEntry[] {
    const { startOffset: oldStart, nextOffset: end } = state.extents(this.#id) ?? {
      startOffset: 0 as Offset,
      nextOffset: 0 as Offset,
    };
    if (before <= oldStart) return [];
    if (before > end) {
      const { durable } = this.#shard.watermarks(this.#id);
      const hint =
        before <= durable
          ? `the records from ${end} on are only in the journal: flush, then trim`
          : "a trim reaches to the end of what is uploaded";
      throw new OffsetOutOfRangeError(before, oldStart, end, hint);
    }
    return [{ type: "trim", trims: [{ ...this.#id, oldStart, newStart: before as Offset }] }];
  }

  async inspect(): Promise<PartitionInspection> {
    this.#context.throwIfClosed();
    const state = await this.#shard.refresh();
    const extents = state.extents(this.#id);
    const { lag } = this.#shard;
    return {
      partition: this.number,
      shard: this.#shard.id,
      watermarks: this.#shard.watermarks(this.#id),
      ...(lag === undefined ? {} : { lag: { records: lag.records, bytes: lag.bytes, ms: lag.ms } }),
      extents: extents?.count ?? 0,
      bytes: extents?.bytes ?? 0,
      objects: extents?.objects() ?? 0,
      links: state.liveLinks,
      nextSeq: state.nextSeq,
      epoch: state.epoch,
      owner: state.released ? "" : (state.fence?.writerId ?? ""),
    };
  }

  async #startOf(from: RecordsOptions["from"]): Promise<Offset> {
    if (from === "earliest") return (await this.watermarks()).start;
    if (from === "latest") {
      const { uploaded, durable } = await this.watermarks();
      return this.#visible === "journaled" ? durable : uploaded;
    }
    if (from instanceof Date) {
      this.#context.throwIfClosed();
      const { found, end } = await findOffsetAt(this.#lookup, timestampOf("from", from));
      return found?.offset ?? end;
    }
    checkOffset(from);
    return from as Offset;
  }

  /** Where this process writes the shard a commit ends the wait, else a poll. */
  #newsAfter(signal: AbortSignal | undefined, follow: boolean): { wait: () => Promise<void>; stop: () => void } {
    if (!follow) return { wait: () => Promise.resolve(), stop: () => undefined };
    const stopped = new AbortController();
    let heard = false;
    const unsubscribe = this.#shard.onCommit(() => {
      heard = true;
      stopped.abort();
    });
    const onAbort = (): void => stopped.abort();
    signal?.addEventListener("abort", onAbort, { once: true });
    return {
      wait: async () => {
        if (!heard && signal?.aborted !== true) {
          // An owner is told by its own commits; the poll then only notices that it was fenced or closed (see IndexChain.refresh).
          await sleep(this.#context.runtime.clock, FOLLOW_POLL_MS, stopped.signal).catch(() => undefined);
        }
        throwIfAborted(signal);
        this.#context.throwIfClosed();
      },
      stop: () => {
        unsubscribe();
        signal?.removeEventListener("abort", onAbort);
      },
    };
  }
}

/** Callers may be untyped: what is neither is refused as records. */
function isEncoded(input: readonly LogRecord[] | EncodedAppend): input is EncodedAppend {
  return typeof input === "object" && input !== null && "encodedBatch" in input;
}

function checkOffset(offset: number, name = "from"): void {
  if (!Number.isSafeInteger(offset) || offset < 0)
    throw new InvalidArgumentError(name, offset, "must be an integer ≥ 0");
}

/** Milliseconds since 1970. Callers may be untyped. */
function timestampOf(argument: string, at: number | Date): number {
  const timestampMs = at instanceof Date ? at.getTime() : at;
  if (Number.isSafeInteger(timestampMs)) return timestampMs;
  const allowed =
    argument === "from"
      ? ""
      : ', or one of "earliest", "latest", "max-timestamp"; "2026-11-20" is new Date("2026-11-20")';
  throw new InvalidArgumentError(
    argument,
    at,
    `must be a valid Date or an integer (milliseconds since 1970)${allowed}`,
  );
}

function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw new AbortedError("read", { cause: signal.reason });
}

/** `ClosedError` for handles whose engine is gone. */
export function closedEngine(): ClosedError {
  return new ClosedError("the engine");
}
