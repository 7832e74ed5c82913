import type { Config } from "../config/config.ts";
import { partitionKey, type PartitionId, type Seq, type ShardId } from "../domain.ts";
import { isTierlogError } from "../errors.ts";
import type { ShardState } from "../index-chain/shard-state.ts";
import type { DamagedExtent } from "../merge/copy-extents.ts";
import type { MergeJob, MergeLimits } from "../merge/job-builder.ts";
import { runMerge, type MergeOutcome } from "../merge/merge-job.ts";
import { Pace } from "../merge/pace.ts";
import { planMerge } from "../merge/plan-merge.ts";
import { BufferedMultipartWriter } from "../object-store/buffered-multipart-writer.ts";
import { dataKey } from "../object-store/object-names.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import { PartBufferPool } from "../object-store/part-buffer-pool.ts";
import type { ScheduledTask } from "../runtime/clock.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { ObjectCache } from "../shard/object-cache.ts";
import type { Shard } from "../shard/shard.ts";
import type { SparseIndexes } from "../shard/sparse-indexes.ts";
import type { MergeMetrics } from "./api.ts";

export interface MergingOptions {
  readonly config: Pick<Config, "segment" | "merge">;
  readonly runtime: Runtime;
  /** Settling. */
  readonly store: ObjectStore;
  readonly cache: ObjectCache;
  readonly sparseIndexes: SparseIndexes;
  readonly shards: () => Iterable<Shard>;
  readonly partSizeBytes: number;
  /** More urgent things are behind: merging stands still. */
  readonly isBusy: () => boolean;
}

/** Bytes of its sources that a merge holds at a time. */
const SOURCES_BYTES = 64 * 1024 * 1024;
/** Superseded by one link: folding it takes readers about 2 ms per thousand. */
const EXTENTS_MAX = 10_000;
/** Parts on their way at a time; with the one that fills, as many buffers and one, apart from those of flushes. */
const PARTS_IN_FLIGHT = 2;
/** Looks that a shard is left alone after failures in a row: 1, 2, 4 … so many. */
const LOOKS_SKIPPED_MAX = 64;
/** Moments kept to tell the age of links by. */
const MARKS = 16;

/** What is remembered of a shard between two looks. */
interface Watched {
  /** Links below `seq` were there at `atMs`. Oldest first; the newest `MARKS` or so of `segment.max_age`. */
  marks: { readonly seq: Seq; readonly atMs: number }[];
  /** Where the chain ended at the look before. */
  seenSeq: number;
  /** Nothing was due in the state with these numbers. */
  idleAt: string;
  /** Base offsets of extents that could not be copied, by partition. */
  readonly blocked: Map<string, Set<number>>;
  failures: number;
  skip: number;
}

/**
 * Merges in the background what many small flushes left, in the shards that this engine owns; never takes one over. One job at a time
 * over all shards, in turn. Costs no request while nothing is due. What fails is told, and tried again at a later look; an extent that is
 * damaged is told, and left where it is until the process starts again.
 */
export class Merging {
  readonly #options: MergingOptions;
  readonly #limits: MergeLimits;
  readonly #pool: PartBufferPool;
  readonly #pace: Pace;
  readonly #watched = new Map<ShardId, Watched>();
  readonly #stop = new AbortController();
  #timer: ScheduledTask | undefined;
  #looking: Promise<void> = Promise.resolve();
  #objects = 0;
  readonly #metrics: { -readonly [K in keyof MergeMetrics]: MergeMetrics[K] } = {
    running: 0,
    merges: 0,
    bytesIn: 0,
    bytesOut: 0,
    extentsIn: 0,
    extentsOut: 0,
    requests: 0,
    damaged: 0,
    voided: 0,
    failed: 0,
  };

  constructor(options: MergingOptions) {
    const { config, runtime, partSizeBytes, isBusy } = options;
    this.#options = options;
    this.#limits = {
      segmentBytes: config.segment.sizeBytes,
      memoryBytes: SOURCES_BYTES,
      extentsMax: EXTENTS_MAX,
    };
    this.#pool = new PartBufferPool({ partSizeBytes, buffersMax: PARTS_IN_FLIGHT + 1 });
    this.#pace = new Pace({ clock: runtime.clock, bytesPerSecond: config.merge.maxBytesPerSecond, isBusy });
  }

  metrics(): MergeMetrics {
    return { ...this.#metrics };
  }

  start(): void {
    const { runtime, config } = this.#options;
    if (this.#stop.signal.aborted || !config.merge.enabled) return;
    const look = (): void => {
      this.#looking = this.#look()
        .catch((error: unknown) => {
          runtime.logger.warn("merging could not be looked after", { error: String(error) });
        })
        .finally(() => this.start());
    };
    this.#timer = runtime.clock.schedule(config.merge.checkIntervalMs, look, { background: true });
  }

  /** Gives up the job under way; resolves when its upload is cleared away. A link on its way is waited for. Safe to repeat. */
  async stop(): Promise<void> {
    this.#stop.abort();
    this.#timer?.cancel();
    await this.#looking;
  }

  async #look(): Promise<void> {
    let shards = [...this.#options.shards()].filter(({ isOwner }) => isOwner);
    for (const shard of shards) this.#mark(shard);
    shards = shards.filter((shard) => !this.#isSkipped(shard));
    // A job of each in turn: one shard with much to do does not hold up the others.
    while (shards.length > 0) {
      const left: Shard[] = [];
      for (const shard of shards) if (await this.#step(shard)) left.push(shard);
      shards = left;
    }
    for (const shard of this.#options.shards()) {
      const watched = this.#watched.get(shard.id);
      if (watched !== undefined) watched.seenSeq = shard.chainState.nextSeq;
    }
  }

  #watch({ id }: Shard): Watched {
    let watched = this.#watched.get(id);
    if (watched === undefined) {
      watched = { marks: [], seenSeq: 0, idleAt: "", blocked: new Map(), failures: 0, skip: 0 };
      this.#watched.set(id, watched);
    }
    return watched;
  }

  #mark(shard: Shard): void {
    const { runtime, config } = this.#options;
    const { marks } = this.#watch(shard);
    const atMs = runtime.clock.monotonic();
    const { maxAgeMs } = config.segment;
    const last = marks.at(-1);
    if (last === undefined || atMs - last.atMs >= maxAgeMs / MARKS) marks.push({ seq: shard.chainState.nextSeq, atMs });
    // The last one that is old enough says it all.
    while ((marks[1]?.atMs ?? Number.POSITIVE_INFINITY) <= atMs - maxAgeMs) marks.shift();
  }

  #isSkipped(shard: Shard): boolean {
    const watched = this.#watch(shard);
    if (watched.skip === 0) return false;
    watched.skip--;
    return true;
  }

  /** Does the next job of a shard; false: there is none, or it failed. */
  async #step(shard: Shard): Promise<boolean> {
    const { runtime } = this.#options;
    const watched = this.#watch(shard);
    if (this.#stop.signal.aborted || !shard.isOwner) return false;
    try {
      const job = this.#plan(shard, watched);
      if (job === undefined) return false;
      this.#metrics.running = 1;
      const outcome = await this.#run(shard, job).finally(() => (this.#metrics.running = 0));
      watched.failures = 0;
      return this.#settle(shard, watched, job, outcome);
    } catch (error) {
      if (this.#stop.signal.aborted) return false;
      this.#metrics.failed++;
      watched.skip = Math.min(LOOKS_SKIPPED_MAX, 2 ** watched.failures++);
      runtime.logger.warn("a merge failed and will be tried again", { shard: shard.id, error: String(error) });
      return false;
    }
  }

  #plan(shard: Shard, watched: Watched): MergeJob | undefined {
    const { runtime, config } = this.#options;
    const state = shard.chainState;
    const [oldest] = watched.marks;
    const isOld = oldest !== undefined && runtime.clock.monotonic() - oldest.atMs >= config.segment.maxAgeMs;
    const overdueBelow = isOld ? oldest.seq : 0;
    // Nothing is due in a state in which nothing was due before.
    const at = `${state.nextSeq}/${watched.seenSeq}/${overdueBelow}`;
    if (watched.idleAt === at) return undefined;
    const { blocked } = watched;
    const job = planMerge(
      {
        partitions: state.snapshot().partitions,
        objects: state.dataObjects,
        settledBelow: Math.max(watched.seenSeq, overdueBelow),
        overdueBelow,
        ...(blocked.size === 0
          ? {}
          : { isBlocked: (id: PartitionId, base: number) => blocked.get(partitionKey(id))?.has(base) === true }),
      },
      this.#limits,
    );
    if (job === undefined) watched.idleAt = at;
    return job;
  }

  async #run(shard: Shard, job: MergeJob): Promise<MergeOutcome> {
    const { store, cache, runtime } = this.#options;
    const state = shard.chainState;
    const { epoch } = state;
    const { signal } = this.#stop;
    return await runMerge({
      shard: shard.id,
      epoch,
      job,
      keyOf: (object) => state.objectKey(object),
      source: {
        fromTail: (key, start, end) => cache.fromTail(key, start, end),
        fetch: (key, start, end, fetchSignal) => cache.readOnce(key, start, end, fetchSignal),
      },
      openWriter: (writerSignal) => {
        const key = dataKey(shard.id, epoch, this.#objects++, Buffer.from(runtime.random.bytes(8)).toString("hex"));
        const { logger } = runtime;
        const writer = new BufferedMultipartWriter({
          store,
          key,
          pool: this.#pool,
          partsInFlight: PARTS_IN_FLIGHT,
          logger,
          signal: writerSignal,
        });
        return { key, writer };
      },
      commit: async (plan) => {
        // Merging is no reason to take a shard over, or back.
        if (shard.isOwner && shard.chainState.epoch === epoch) await shard.change(plan);
      },
      state: () => shard.chainState,
      onGivenUp: (object) => shard.givenUp.add(object),
      pace: this.#pace,
      memoryBytes: SOURCES_BYTES,
      nowMs: runtime.clock.now(),
      signal,
    });
  }

  /** Takes note of what became of a job; false: not to go on with this shard now. */
  #settle(shard: Shard, watched: Watched, job: MergeJob, outcome: MergeOutcome): boolean {
    const { logger } = this.#options.runtime;
    const metrics = this.#metrics;
    metrics.requests += outcome.requests;
    switch (outcome.kind) {
      case "merged": {
        const { object, extents, superseded } = outcome;
        this.#options.sparseIndexes.keep(object.key, extents);
        metrics.merges++;
        metrics.bytesIn += superseded.bytes;
        metrics.bytesOut += object.sizeBytes;
        metrics.extentsIn += superseded.extents;
        metrics.extentsOut += extents.length;
        logger.info("merged", {
          shard: shard.id,
          reason: job.reason,
          partitions: job.ranges.length,
          extents: superseded.extents,
          sources: job.sources,
          key: object.key,
          bytes: object.sizeBytes,
        });
        return true;
      }
      case "damaged":
        for (const extent of outcome.extents) this.#block(shard, watched, extent);
        // Whatever was due before is due again, without these.
        watched.idleAt = "";
        return true;
      case "void":
        metrics.voided++;
        logger.warn("a merge was overtaken by another one of the same extents", { shard: shard.id });
        return false;
      case "overtaken":
        return false;
    }
  }

  #block({ id, chainState }: Shard, { blocked }: Watched, extent: DamagedExtent): void {
    const name = partitionKey(extent);
    const offsets = blocked.get(name) ?? new Set();
    blocked.set(name, offsets.add(extent.baseOffset));
    // Trimmed meanwhile, its object may be gone: no damage.
    if (!isNamed(chainState, extent)) return;
    this.#metrics.damaged++;
    const { key, position, lengthBytes, baseOffset, nextOffset, problem } = extent;
    this.#options.runtime.logger.warn("records that are damaged were left out of a merge, where they are", {
      shard: id,
      partition: name,
      key,
      position,
      lengthBytes,
      baseOffset,
      nextOffset,
      problem,
    });
  }
}

function isNamed(state: ShardState, extent: DamagedExtent): boolean {
  const list = state.extents(extent);
  const at = list?.find(extent.baseOffset) ?? 0;
  if (list === undefined || at >= list.count) return false;
  const { baseOffset, position, object } = list.at(at);
  try {
    return baseOffset === extent.baseOffset && position === extent.position && state.objectKey(object) === extent.key;
  } catch (error) {
    if (isTierlogError(error) && error.code === "TIERLOG_MISSING_OBJECT") return false;
    throw error;
  }
}
