import type { Config } from "../config/config.ts";
import { AbortedError, asTierlogError, isTierlogError } from "../errors.ts";
import { Sweeper, type GarbageMetrics } from "../merge/sweeper.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import type { OpenUploads } from "../object-store/open-uploads.ts";
import { sleep, type ScheduledTask } from "../runtime/clock.ts";
import { Mutex } from "../runtime/mutex.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { Shard } from "../shard/shard.ts";
import type { Catalog } from "./catalog.ts";
import type { CollectedGarbage, CollectGarbageOptions } from "./garbage-reports.ts";
import { deletedTopics, trimAway } from "./trim-deleted.ts";

export interface GarbageCollectionOptions {
  readonly config: Config["gc"];
  /** Links to be freed that are worth a boundary. */
  readonly boundaryStep: number;
  readonly runtime: Runtime;
  readonly store: ObjectStore;
  readonly uploads: (() => Promise<OpenUploads>) | undefined;
  readonly catalog: Catalog;
  readonly shards: () => Iterable<Shard>;
}

/** How often whoever waits for a grace to pass is told how it goes on. */
const PROGRESS_MS = 1000;

/**
 * Frees space in the background, in the shards that this engine owns: trims what deleted topics left, then lets the sweeper look. Every
 * `interval`; what is in the store is listed every `sweep_interval`, and in the first round with a shard.
 */
export class GarbageCollection {
  readonly #options: GarbageCollectionOptions;
  readonly #sweeper: Sweeper;
  readonly #rounds = new Mutex();
  readonly #stopped = new AbortController();
  #timer: ScheduledTask | undefined;
  /** Monotonic. */
  #listedAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: GarbageCollectionOptions) {
    this.#options = options;
    const { store, uploads, runtime, config, boundaryStep } = options;
    const { clock, logger } = runtime;
    this.#sweeper = new Sweeper({ store, uploads, clock, logger, graceMs: config.graceMs, boundaryStep });
  }

  metrics(): GarbageMetrics {
    return this.#sweeper.metrics();
  }

  start(): void {
    const { runtime, config } = this.#options;
    if (this.#stopped.signal.aborted || !config.enabled) return;
    const look = (): void => {
      this.#look()
        .catch((error: unknown) => {
          if (!this.#stopped.signal.aborted)
            runtime.logger.warn("garbage could not be collected", { error: String(error) });
        })
        .finally(() => this.start());
    };
    this.#timer = runtime.clock.schedule(config.intervalMs, look, { background: true });
  }

  /** Waits for the request that is under way. */
  async stop(): Promise<void> {
    this.#timer?.cancel();
    this.#stopped.abort(new AbortedError("collecting garbage"));
    await this.#rounds.run(() => Promise.resolve());
    this.#sweeper.close();
  }

  #look(): Promise<void> {
    return this.#rounds.run(async () => {
      const { clock } = this.#options.runtime;
      const shards = this.#owned();
      if (shards.length === 0 || this.#stopped.signal.aborted) return;
      const nowMs = clock.monotonic();
      const list = nowMs - this.#listedAtMs >= this.#options.config.sweepIntervalMs;
      if (list) this.#listedAtMs = nowMs;
      await this.#trimDeleted(shards);
      await this.#sweeper.round(shards, { list, boundaries: "worth", signal: this.#stopped.signal });
    });
  }

  /**
   * At once and whole: takes over `shards`, frees what can be freed in them, waits the grace out between seeing and deleting. Ends early
   * when `signal` fires: nothing is lost, and what is left is left to the next time.
   */
  async collect(
    shards: readonly Shard[],
    { signal: given, onProgress }: CollectGarbageOptions,
  ): Promise<CollectedGarbage> {
    const signal = given === undefined ? this.#stopped.signal : AbortSignal.any([given, this.#stopped.signal]);
    const before = this.metrics();
    const problems: string[] = [];
    let interrupted = false;
    const tell = (doing: "taking over" | "looking" | "waiting" | "deleting", waitsMs = 0): void => {
      const { waiting, waitingBytes } = this.metrics();
      onProgress?.({ doing, waitsMs, waiting, waitingBytes });
    };
    const round = (options: { readonly list: boolean; readonly boundaries: "squeeze" | "none" }): Promise<void> =>
      this.#rounds.run(async () => {
        await this.#sweeper.round(shards, { ...options, signal });
        const { lastError } = this.metrics();
        if (lastError !== undefined) problems.push(lastError);
      });
    try {
      tell("taking over");
      for (const shard of shards) {
        signal.throwIfAborted();
        try {
          await shard.change(() => []);
        } catch (error) {
          // One that belongs to another by now must not keep the others from theirs.
          if (shards.length === 1) throw error;
          problems.push(`shard ${shard.id}: ${asTierlogError(error).message}`);
        }
      }
      tell("looking");
      await this.#rounds.run(() => this.#trimDeleted(shards));
      await round({ list: true, boundaries: "squeeze" });
      for (let waitMs = this.#sweeper.allDueInMs; waitMs !== undefined && waitMs > 0;) {
        tell("waiting", waitMs);
        await sleep(this.#options.runtime.clock, Math.min(waitMs, PROGRESS_MS), signal);
        waitMs = this.#sweeper.allDueInMs;
      }
      tell("deleting");
      await round({ list: false, boundaries: "none" });
    } catch (error) {
      if (given?.aborted !== true) throw error;
      interrupted = true;
    }
    const after = this.metrics();
    const grown = (name: keyof CollectedGarbage["deleted"] | "refused"): number => after[name] - before[name];
    return {
      interrupted,
      deleted: {
        linksDeleted: grown("linksDeleted"),
        checkpointsDeleted: grown("checkpointsDeleted"),
        objectsDeleted: grown("objectsDeleted"),
        uploadsAborted: grown("uploadsAborted"),
        othersDeleted: grown("othersDeleted"),
        bytesDeleted: grown("bytesDeleted"),
      },
      refused: grown("refused"),
      waiting: after.waiting,
      waitingBytes: after.waitingBytes,
      waitingBoundaries: after.waitingBoundaries,
      problems: [...new Set(problems)],
    };
  }

  #owned(): Shard[] {
    return [...this.#options.shards()].filter(({ isOwner }) => isOwner);
  }

  /** What fails, or comes meanwhile, is left to the next round. */
  async #trimDeleted(shards: readonly Shard[]): Promise<void> {
    const { logger } = this.#options.runtime;
    try {
      const topics = await deletedTopics(
        shards.map(({ chainState }) => chainState),
        this.#options.catalog,
      );
      for (const shard of topics.size === 0 ? [] : shards) {
        const partitions = await trimAway(shard, topics);
        if (partitions > 0) logger.info("trimmed what a deleted topic left", { shard: shard.id, partitions });
      }
    } catch (error) {
      if (!isTierlogError(error) || error.kind === "internal") throw error;
      if (!this.#stopped.signal.aborted)
        logger.warn("what deleted topics left could not be trimmed", { error: String(error) });
    }
  }
}
