import type { Seq, ShardId } from "../domain.ts";
import { asTierlogError, CorruptionError, isTierlogError, type TierlogError } from "../errors.ts";
import { checkpointKey, checkpointPrefix, parseCheckpointKey } from "../object-store/object-names.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import type { Logger } from "../runtime/logger.ts";
import { decodeCheckpoint, encodeCheckpoint } from "./checkpoint-file.ts";
import type { StateSnapshot } from "./shard-state.ts";

export interface CheckpointsOptions {
  /** Settling. */
  readonly store: ObjectStore;
  readonly shard: ShardId;
  readonly logger: Logger;
}

/** Counts since this object was made. */
export interface CheckpointMetrics {
  /** Written and read back whole. */
  readonly checkpointsWritten: number;
  /** Attempts to write one that failed; the next one is made as many links later. */
  readonly checkpointsFailed: number;
  /** Checkpoints that should have been started from and could not be read. */
  readonly checkpointFallbacks: number;
}

/** Where folding begins. */
export interface StartingPoint {
  /** undefined: the beginning of the chain. */
  readonly snapshot: StateSnapshot | undefined;
  /** The newest checkpoint that is listed, readable or not: its chain has links up to this seq. */
  readonly newest: Seq | undefined;
}

/**
 * The checkpoints of one shard in the store. While links are never deleted they are a cache: what they hold is what folding the
 * links gives, so a checkpoint that lands late, or comes from a writer that was fenced long ago, is as right as any other.
 */
export class Checkpoints {
  readonly #options: CheckpointsOptions;
  /** The newest one that this process knows to be good: compared after writing it, or started from. */
  #verified: Seq | undefined;
  #written = 0;
  #failed = 0;
  #fallbacks = 0;

  constructor(options: CheckpointsOptions) {
    this.#options = options;
  }

  metrics(): CheckpointMetrics {
    return {
      checkpointsWritten: this.#written,
      checkpointsFailed: this.#failed,
      checkpointFallbacks: this.#fallbacks,
    };
  }

  /**
   * The newest checkpoint that can be read. One that cannot (damage, a future version) is reported and passed over for the one
   * before; where none can be read, folding starts at the first link. That is right while every link is still there, which this
   * version never changes and the caller makes sure of: a chain that ends at or before `newest` has lost links.
   * Errors of the store come out: an answer may still come, and a guess would cost reading the whole chain.
   */
  async load(): Promise<StartingPoint> {
    const unreadable = new Set<Seq>();
    const vanished = new Set<Seq>();
    for (;;) {
      const listed = await this.#list();
      const newest = listed[0];
      const wanted = listed.filter((seq) => !unreadable.has(seq));
      let again = false;
      for (const seq of wanted) {
        const result = await this.#read(seq);
        if (result.kind === "read") {
          this.#verified = seq;
          return { snapshot: result.snapshot, newest };
        }
        // Its owner may have replaced it by a newer one after the listing: look again. But not for ever at the same name.
        if (result.kind === "absent" && !vanished.has(seq)) {
          vanished.add(seq);
          again = true;
          break;
        }
        unreadable.add(seq);
        this.#reportUnreadable(seq, result.kind === "absent" ? "is listed, and then does not exist" : result.problem);
      }
      if (again) continue;
      if (newest !== undefined) {
        const { shard, logger } = this.#options;
        logger.warn("no checkpoint of this shard can be read: folding all links from the first", { shard });
      }
      return { snapshot: undefined, newest };
    }
  }

  /**
   * Writes the checkpoint of `snapshot`, compares what the store then holds, and deletes what is older than the newest two that
   * are known to be good. Never rejects: a failure is reported, and the chain does not depend on it.
   */
  async write(snapshot: StateSnapshot): Promise<void> {
    const { shard, logger } = this.#options;
    const { seq } = snapshot;
    try {
      await this.#writeAndCompare(snapshot);
      this.#written++;
    } catch (error) {
      this.#failed++;
      logger.warn("checkpoint was not written; tried again later", { shard, seq, problem: problemOf(error) });
      return;
    }
    const previous = this.#verified;
    this.#verified = seq;
    try {
      if (previous !== undefined) await this.#deleteOlderThan(previous);
    } catch (error) {
      logger.warn("old checkpoints were not deleted; tried again later", { shard, seq, problem: problemOf(error) });
    }
  }

  async #writeAndCompare(snapshot: StateSnapshot): Promise<void> {
    const { store, shard } = this.#options;
    const key = checkpointKey(shard, snapshot.seq);
    const bytes = await encodeCheckpoint(snapshot);
    // Whose put it was does not matter, so neither does the outcome: right are these bytes and no others.
    await store.put(key, bytes, { condition: { kind: "if-absent" } });
    const stored = await store.get(key);
    if (stored === undefined) throw new CorruptionError(key, 0, "was written, and then does not exist");
    if (Buffer.compare(stored.body, bytes) !== 0)
      throw new CorruptionError(key, firstDifference(stored.body, bytes), "is not what was written");
  }

  /**
   * Deletes what is older than `previous`, a good one before the newest good one. Not what lies between the two, though nobody may
   * be able to read it: so, of all writers, even fenced ones whose deletes land late, nobody deletes anything from the greatest
   * `previous` on, and it and the newest one of that writer remain. What lies between goes the next time.
   */
  async #deleteOlderThan(previous: Seq): Promise<void> {
    const { store, shard } = this.#options;
    const old = (await this.#list()).filter((seq) => seq < previous);
    if (old.length > 0) await store.delete(old.map((seq) => checkpointKey(shard, seq)));
  }

  async #read(
    seq: Seq,
  ): Promise<
    | { readonly kind: "read"; readonly snapshot: StateSnapshot }
    | { readonly kind: "absent" }
    | { readonly kind: "unreadable"; readonly problem: TierlogError }
  > {
    const { store, shard } = this.#options;
    const key = checkpointKey(shard, seq);
    const stored = await store.get(key);
    if (stored === undefined) return { kind: "absent" };
    try {
      return { kind: "read", snapshot: await decodeCheckpoint(stored.body, key, shard, seq) };
    } catch (error) {
      if (!isTierlogError(error) || error.kind !== "data") throw error;
      return { kind: "unreadable", problem: error };
    }
  }

  #reportUnreadable(seq: Seq, problem: TierlogError | string): void {
    const { shard, logger } = this.#options;
    this.#fallbacks++;
    logger.warn("checkpoint cannot be read: starting from an older one", {
      shard,
      key: checkpointKey(shard, seq),
      problem: typeof problem === "string" ? problem : problem.message,
    });
  }

  /** Newest first. */
  async #list(): Promise<Seq[]> {
    const { store, shard } = this.#options;
    const found: Seq[] = [];
    for await (const { key } of store.list(checkpointPrefix(shard))) {
      const seq = parseCheckpointKey(key);
      if (seq !== undefined) found.push(seq);
    }
    return found.toReversed();
  }
}

function problemOf(error: unknown): string {
  return asTierlogError(error).message;
}

/** Where `a` and `b` begin to differ; the end of the shorter one where it is the beginning of the other. */
export function firstDifference(a: Uint8Array, b: Uint8Array): number {
  let at = 0;
  while (at < a.length && at < b.length && a[at] === b[at]) at++;
  return at;
}
