import type { Config } from "../config/config.ts";
import { linkOverheadBytes } from "../index-chain/index-file.ts";
import { EXTENT_BYTES } from "../index-chain/link-entries.ts";
import type { RequestCounts } from "./request-counts.ts";

/** What is asked of an engine, evenly over time and partitions. */
export interface ForecastLoad {
  /** Of the values of all records. */
  readonly bytesPerSecond: number;
  readonly recordBytes: number;
  readonly partitions: number;
  /** Encoded bytes over those of the values: 1 without compression. */
  readonly compressedTo: number;
  /** How long the store takes for a small PUT. */
  readonly storeLatencyMs: number;
  /** How long records are kept; 0: for ever, then the stored bytes are those after a month. */
  readonly retentionMs: number;
  /** Processes elsewhere that follow all partitions at their end. */
  readonly readers: number;
}

/** How the flushes of one shard come out. */
export interface FlushForecast {
  readonly intervalMs: number;
  readonly perSecond: number;
  /** Links that name them: fewer where several are ready at once. */
  readonly linksPerSecond: number;
  readonly records: number;
  readonly extents: number;
  /** Of the shard. */
  readonly partitions: number;
  /** Of the batches. */
  readonly batchBytes: number;
  /** Inline in the index file; else in a data object of their own. */
  readonly isInline: boolean;
  /** Of the index file, or of the data object. */
  readonly objectBytes: number;
}

/** Header of a RecordBatch v2; what a record costs in it beside its value; what the engine counts for one while it waits. */
const BATCH_HEADER_BYTES = 61;
const RECORD_BYTES = 10;
const PENDING_RECORD_BYTES = 32;
/** As long as "host:pid:rand" usually is. */
const WRITER_ID_BYTES = 24;
/** A sync of the journal takes about so long: a batch per partition and frame. */
const FRAME_MS = 5;
const FOOTER_BYTES = 200;

export function forecastFlush(config: Config, load: ForecastLoad): FlushForecast {
  const { flush, journal, storage, shards } = config;
  const { ackAfterUpload, multipartPartSizeBytes } = storage.object;
  const used = Math.min(shards, load.partitions);
  const recordsPerSecond = load.bytesPerSecond / load.recordBytes / used;
  const partitions = load.partitions / used;
  // The timer begins with the first append behind the flush before: half a gap later, where they come evenly.
  const gatherMs = (ackAfterUpload ? flush.lingerMs : journal.uploadIntervalMs) + 500 / recordsPerSecond;
  const countedBytes = ackAfterUpload
    ? load.recordBytes + PENDING_RECORD_BYTES
    : load.recordBytes * load.compressedTo + RECORD_BYTES;
  const fullMs = (flush.maxBytes / countedBytes / recordsPerSecond) * 1000;
  const sizes = (intervalMs: number): Pick<FlushForecast, "records" | "extents" | "batchBytes"> => {
    const records = Math.max(1, (recordsPerSecond * intervalMs) / 1000);
    const extents = Math.min(partitions, records);
    const batches = ackAfterUpload ? extents : Math.min(records, (extents * Math.max(intervalMs, FRAME_MS)) / FRAME_MS);
    const batchBytes = records * (load.recordBytes + RECORD_BYTES) * load.compressedTo + batches * BATCH_HEADER_BYTES;
    return { records, extents, batchBytes };
  };
  const fits = ({ extents, batchBytes }: Pick<FlushForecast, "extents" | "batchBytes">): boolean =>
    linkOverheadBytes(extents, 1, WRITER_ID_BYTES) + batchBytes <= multipartPartSizeBytes;

  let intervalMs = Math.min(gatherMs, fullMs);
  // A small flush waits for the commit before it; what gathers meanwhile may make it a large one.
  if (intervalMs < load.storeLatencyMs && fits(sizes(intervalMs))) intervalMs = load.storeLatencyMs;
  const flushed = sizes(intervalMs);
  const isInline = fits(flushed);
  const perSecond = 1000 / intervalMs;
  return {
    intervalMs,
    perSecond,
    linksPerSecond: Math.min(perSecond, 1000 / Math.max(load.storeLatencyMs, 0.001)),
    ...flushed,
    partitions,
    isInline,
    objectBytes: isInline
      ? linkOverheadBytes(flushed.extents, 1, WRITER_ID_BYTES) + flushed.batchBytes
      : flushed.batchBytes + flushed.extents * EXTENT_BYTES + FOOTER_BYTES,
  };
}

/** Requests for one data object of so many bytes: one PUT up to a part, else a multipart upload. */
export function objectRequests(bytes: number, partBytes: number): RequestCounts {
  return bytes <= partBytes
    ? requests({ put: 1 })
    : requests({ createMultipart: 1, uploadPart: Math.ceil(bytes / partBytes), completeMultipart: 1 });
}

export function requests(some: Partial<RequestCounts>): RequestCounts {
  return {
    put: 0,
    createMultipart: 0,
    uploadPart: 0,
    completeMultipart: 0,
    abortMultipart: 0,
    get: 0,
    head: 0,
    list: 0,
    delete: 0,
    ...some,
  };
}
