import type { Config } from "../config/config.ts";
import type { Epoch, Offset } from "../domain.ts";
import { extentRows, FrozenExtents, setRow, type ObjectNumber } from "../index-chain/extent-rows.ts";
import { SizeTiers } from "../merge/size-tiers.ts";
import { objectRequests, requests, type FlushForecast } from "./flush-forecast.ts";
import { addRequests, scaleRequests, type RequestCounts } from "./request-counts.ts";

/** Of one shard, per second, once as much is merged as comes in. */
export interface MergeForecast {
  readonly requests: RequestCounts;
  readonly jobs: number;
  /** Moments at which data objects are superseded. */
  readonly supersedings: number;
  readonly bytesWritten: number;
  readonly bytesRead: number;
  /** How old inline bytes get before they leave their index file. */
  readonly inlineMs: number;
}

/** As the engine has them (docs/merge.md). */
const SOURCES_BYTES = 64 * 1024 * 1024;
const EXTENTS_MAX = 10_000;
const WINDOWS_BYTES = [8, 4, 2, 1].map((n) => n * 1024 * 1024);
const MARKS = 16;
const ARRIVALS_MAX = 20_000;
const NONE: MergeForecast = {
  requests: requests({}),
  jobs: 0,
  supersedings: 0,
  bytesWritten: 0,
  bytesRead: 0,
  inlineMs: 0,
};

/** Extents that come to `partitions` of them at once, each of `bytes`, so often a second. */
interface Arrivals {
  readonly partitions: number;
  readonly bytes: number;
  readonly perSecond: number;
}

export function forecastMerge(config: Config, flush: FlushForecast, seconds: number): MergeForecast {
  if (!config.merge.enabled) return NONE;
  const inline = flush.isInline ? forecastInline(config, flush) : undefined;
  const arrivals = inline?.arrivals ?? {
    partitions: flush.extents,
    bytes: flush.batchBytes / flush.extents,
    perSecond: flush.perSecond,
  };
  const tiers = forecastTiers(config, arrivals, seconds);
  return {
    requests: addRequests(inline?.requests ?? requests({}), tiers.requests),
    jobs: (inline?.jobs ?? 0) + tiers.jobs,
    supersedings: tiers.supersedings,
    bytesWritten: (inline?.bytesWritten ?? 0) + tiers.bytesWritten,
    bytesRead: (inline?.bytesRead ?? 0) + tiers.bytesRead,
    inlineMs: inline?.inlineMs ?? 0,
  };
}

/** Inline extents of all partitions into one data object. */
function forecastInline(
  { segment, merge, cache, storage }: Config,
  flush: FlushForecast,
): MergeForecast & { readonly arrivals: Arrivals } {
  const limitBytes = Math.min(segment.sizeBytes, SOURCES_BYTES);
  const flushesMax = Math.max(1, Math.floor(Math.min(limitBytes / flush.batchBytes, EXTENTS_MAX / flush.extents)));
  // The job of old records takes all there is by then; looks come late by half of their interval, marks by half of theirs.
  const ageMs = segment.maxAgeMs * (1 + 1 / MARKS / 2) + merge.checkIntervalMs / 2;
  const flushes = Math.min(flushesMax, Math.max(1, ageMs / flush.intervalMs));
  const jobs = flush.perSecond / flushes;
  const bytes = flushes * flush.batchBytes;
  // What came since the look before is not settled, and lies between the job and the end of the tail cache.
  const newerBytes = (flush.perSecond * flush.objectBytes * merge.checkIntervalMs * 1.5) / 1000;
  const keptBytes = Math.min(flushes * flush.objectBytes, Math.max(0, cache.tailSizeBytes - newerBytes));
  const fetched = flushes - keptBytes / flush.objectBytes;
  const partitions = Math.min(flushes * flush.extents, flush.partitions);
  return {
    requests: scaleRequests(
      addRequests(
        objectRequests(bytes, storage.object.multipartPartSizeBytes),
        requests({ put: 1, get: fetched * Math.ceil(flush.batchBytes / (WINDOWS_BYTES[0] ?? 1)) }),
      ),
      jobs,
    ),
    jobs,
    supersedings: 0,
    bytesWritten: jobs * bytes,
    bytesRead: jobs * fetched * flush.batchBytes,
    inlineMs: flushes * flush.intervalMs + merge.checkIntervalMs * 1.5,
    arrivals: { partitions, bytes: bytes / partitions, perSecond: jobs },
  };
}

/** Extents of each partition into larger ones: what becomes of one partition, played with the very rules; the others do the same. */
function forecastTiers({ segment, storage }: Config, arrivals: Arrivals, seconds: number): MergeForecast {
  const count = Math.min(ARRIVALS_MAX, Math.ceil(arrivals.perSecond * seconds));
  const tiers = new SizeTiers(segment.sizeBytes);
  let sizes: number[] = [];
  let total: MergeForecast = NONE;
  for (let arrival = 0; arrival < count; arrival++) {
    sizes.push(arrivals.bytes);
    for (;;) {
      const run = tiers.dueRun(extentsOf(sizes), undefined);
      if (run === undefined) break;
      const merged = sizes.slice(run.from, run.to);
      const bytes = merged.reduce((sum, size) => sum + size, 0);
      sizes = [...sizes.slice(0, run.from), bytes, ...sizes.slice(run.to)];
      total = plus(total, tierJobs(arrivals.partitions, merged.length, bytes, segment.sizeBytes, storage.object));
    }
    // Segments are done with, and nothing before one is merged with what is behind it.
    const done = sizes.findLastIndex((size) => size >= segment.sizeBytes / 2);
    if (done >= 0) sizes = sizes.slice(done + 1);
  }
  if (count === 0) return NONE;
  const scale = arrivals.perSecond / count;
  return {
    requests: scaleRequests(total.requests, scale),
    jobs: total.jobs * scale,
    supersedings: total.supersedings * scale,
    bytesWritten: total.bytesWritten * scale,
    bytesRead: total.bytesRead * scale,
    inlineMs: 0,
  };
}

/** `extents` of each partition into one of `bytes`: as many partitions in one job as it takes. */
function tierJobs(
  partitions: number,
  extents: number,
  bytes: number,
  segmentBytes: number,
  { multipartPartSizeBytes }: { readonly multipartPartSizeBytes: number },
): MergeForecast {
  const perJob =
    bytes >= segmentBytes / 2 ? 1 : Math.max(1, Math.floor(Math.min(segmentBytes / bytes, EXTENTS_MAX / extents)));
  const jobs = Math.max(1, partitions / perJob);
  const jobBytes = (partitions * bytes) / jobs;
  const spanBytes = jobBytes / extents;
  const more = perJob === 1 ? 0 : 1;
  const fetches = extents * (fetchesOf(spanBytes, extents) + fetchesOf(spanBytes, extents + more)) * 0.5;
  return {
    requests: scaleRequests(
      addRequests(objectRequests(jobBytes, multipartPartSizeBytes), requests({ put: 1, get: fetches })),
      jobs,
    ),
    jobs,
    supersedings: 1,
    bytesWritten: partitions * bytes,
    bytesRead: partitions * bytes,
    inlineMs: 0,
  };
}

/**
 * How often a source is asked for what a job needs of it: windows as large as memory allows for so many sources. Every other job has a
 * source more than one for each extent, where partitions came into different objects.
 */
function fetchesOf(spanBytes: number, sources: number): number {
  const window = WINDOWS_BYTES.find((size) => sources * Math.min(size, spanBytes) <= SOURCES_BYTES) ?? 1024 * 1024;
  return Math.max(1, Math.ceil(spanBytes / window));
}

function plus(a: MergeForecast, b: MergeForecast): MergeForecast {
  return {
    requests: addRequests(a.requests, b.requests),
    jobs: a.jobs + b.jobs,
    supersedings: a.supersedings + b.supersedings,
    bytesWritten: a.bytesWritten + b.bytesWritten,
    bytesRead: a.bytesRead + b.bytesRead,
    inlineMs: 0,
  };
}

/** Extents of one partition in data objects. */
function extentsOf(sizes: readonly number[]): FrozenExtents {
  const rows = extentRows(sizes.length);
  for (const [i, size] of sizes.entries()) {
    setRow(rows, i, {
      baseOffset: i as Offset,
      leaderEpoch: 1 as Epoch,
      object: -1 as ObjectNumber,
      position: 0,
      lengthBytes: Math.max(1, Math.round(size)),
      maxTimestampMs: 0,
    });
  }
  return new FrozenExtents(rows, sizes.length, 0, sizes.length);
}
