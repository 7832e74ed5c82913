import type { Config } from "../config/config.ts";
import { forecastFlush, objectRequests, requests, type FlushForecast, type ForecastLoad } from "./flush-forecast.ts";
import { forecastMerge, type MergeForecast } from "./merge-forecast.ts";
import { addRequests, scaleRequests, type RequestCounts } from "./request-counts.ts";

/** What sends requests. */
export const REQUEST_CAUSES = ["flush", "merge", "checkpoints", "catalog", "gc", "readers"] as const;
export type RequestCause = (typeof REQUEST_CAUSES)[number];

/** Of all shards together, per second. */
export interface Forecast {
  readonly flush: FlushForecast;
  readonly merge: MergeForecast;
  readonly shards: number;
  readonly requests: Readonly<Record<RequestCause, RequestCounts>>;
  readonly total: RequestCounts;
  /** Sent to the store and fetched from it. */
  readonly bytesWritten: number;
  readonly bytesRead: number;
  /** In the store once as much goes as comes: what is kept, and what waits to be freed. */
  readonly storedBytes: number;
  /** What does not add up. */
  readonly warnings: readonly string[];
}

export const MONTH_SECONDS = 30 * 86_400;
/** How old the engine lets the catalog get that it appends by, and how often a follower elsewhere looks. */
const CATALOG_SECONDS = 5;
const FOLLOW_SECONDS = 0.25;
const LIST_PAGE = 1000;

/**
 * What an engine with this configuration sends to its store under an even load, once as much is merged and freed as comes in. Not in it:
 * opening, the probe, retries, reading back of unsigned uploads. Pure. `seconds`: how far tiers of merging have had time to grow.
 */
export function forecast(config: Config, load: ForecastLoad, seconds = MONTH_SECONDS): Forecast {
  const shards = Math.min(config.shards, load.partitions);
  const flush = forecastFlush(config, load);
  const merge = forecastMerge(config, flush, seconds);
  const { multipartPartSizeBytes } = config.storage.object;
  const object = flush.isInline
    ? requests({})
    : scaleRequests(objectRequests(flush.objectBytes, multipartPartSizeBytes), flush.perSecond);
  const flushing = addRequests(object, requests({ put: flush.linksPerSecond }));
  const links = flush.linksPerSecond + merge.jobs;

  const retentionSeconds = load.retentionMs === 0 ? seconds : load.retentionMs / 1000;
  const keptPerSecond = flush.perSecond * flush.batchBytes;
  const kept = keptPerSecond * retentionSeconds;
  const objects = kept / Math.max(config.segment.sizeBytes, 1);
  const gc = config.gc.enabled ? forecastGc(config, links, merge, flush, objects) : requests({});

  const perShard: Record<Exclude<RequestCause, "catalog">, RequestCounts> = {
    flush: flushing,
    merge: merge.requests,
    // Written, read back, and the one before the one before listed and deleted.
    checkpoints: scaleRequests(requests({ put: 1, get: 1, list: 1, delete: 1 }), links / config.index.checkpointEvery),
    gc,
    readers: scaleRequests(
      // Each look folds what came, and asks for what comes next; bytes are fetched by range, then whole.
      requests({ get: 1 / FOLLOW_SECONDS + links + flush.perSecond * Math.min(2, flush.extents) }),
      load.readers,
    ),
  };
  const recordsPerSecond = load.bytesPerSecond / load.recordBytes;
  // One listing of newer versions whenever an append finds the catalog old.
  const catalog = requests({ list: 1 / (CATALOG_SECONDS + 1 / recordsPerSecond) });
  const all: Record<RequestCause, RequestCounts> = {
    flush: scaleRequests(perShard.flush, shards),
    merge: scaleRequests(perShard.merge, shards),
    checkpoints: scaleRequests(perShard.checkpoints, shards),
    catalog,
    gc: scaleRequests(perShard.gc, shards),
    readers: scaleRequests(perShard.readers, shards),
  };

  const graceSeconds = config.gc.enabled ? (config.gc.graceMs + config.gc.intervalMs) / 1000 : seconds;
  const inlineSeconds = flush.isInline ? merge.inlineMs / 1000 + 1.5 * graceSeconds : 0;
  return {
    flush,
    merge,
    shards,
    requests: all,
    total: REQUEST_CAUSES.reduce((sum, cause) => addRequests(sum, all[cause]), requests({})),
    bytesWritten: shards * (flush.perSecond * flush.objectBytes + merge.bytesWritten),
    bytesRead: shards * (merge.bytesRead + load.readers * keptPerSecond),
    storedBytes:
      shards *
      (kept +
        (config.merge.enabled ? flush.perSecond * flush.objectBytes * inlineSeconds : 0) +
        merge.bytesWritten * graceSeconds),
    warnings: warningsOf(config, merge, shards),
  };
}

/** Rounds, boundaries, deletes; of one shard. */
function forecastGc(
  { gc, index, merge: { enabled } }: Config,
  links: number,
  merge: MergeForecast,
  flush: FlushForecast,
  objects: number,
): RequestCounts {
  const rounds = 1000 / gc.intervalMs;
  const sweeps = 1000 / gc.sweepIntervalMs;
  // The next boundary is written when what the one before frees is gone.
  const cycleSeconds = Math.max((gc.graceMs + gc.intervalMs) / 1000, index.checkpointEvery / links);
  const linksFreed = enabled || !flush.isInline ? links * cycleSeconds : 0;
  const boundaries = linksFreed > 0 ? 1 / cycleSeconds : 0;
  return requests({
    put: boundaries,
    // Of the checkpoints as proof before a boundary, and of what lies below it; now and then of everything. The catalog is fresh: appends
    // see to it.
    list: boundaries * (1 + Math.ceil(linksFreed / LIST_PAGE)) + sweeps * (3 + Math.ceil(objects / LIST_PAGE)),
    delete:
      boundaries * Math.ceil(linksFreed / LIST_PAGE) +
      Math.max(Math.min(rounds, merge.supersedings), merge.jobs / LIST_PAGE),
  });
}

function warningsOf({ merge: { enabled, maxBytesPerSecond } }: Config, merge: MergeForecast, shards: number): string[] {
  const wanted = merge.bytesWritten * shards;
  if (!enabled || wanted <= maxBytesPerSecond) return [];
  return [
    `merging would write ${Math.round(wanted / 1024 ** 2)} MiB/s, system.merge.max_bytes_per_second is ` +
      `${Math.round(maxBytesPerSecond / 1024 ** 2)} MiB/s: it falls behind, and readers and restarts pay for it`,
  ];
}
