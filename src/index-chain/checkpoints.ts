import type { Seq, ShardId } from "../domain.ts";
import { asTierlogError, CorruptionError, InvariantError, isTierlogError, type TierlogError } from "../errors.ts";
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

type Unread = { readonly kind: "absent" } | { readonly kind: "unreadable"; readonly problem: TierlogError };

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
  /** undefined: there is no checkpoint, folding begins with the first link. */
  readonly snapshot: StateSnapshot | undefined;
  /** The newest checkpoint that is listed, readable or not: its chain has links up to this seq. */
  readonly newest: Seq | undefined;
}

/** The newest checkpoints that are listed, as far as a proof needs them (DESIGN section 4 rule 6). */
export interface NewestCheckpoint {
  /** Readable or not. */
  readonly listed: Seq;
  /**
   * The newest that can be read, of the two newest. Its snapshot is undefined where this process knows it to be good: it wrote or started
   * from it. undefined: the only one there is cannot be read.
   */
  readonly readable: { readonly seq: Seq; readonly snapshot: StateSnapshot | undefined } | undefined;
}

/**
 * The checkpoints of one shard in the store. What they hold is what folding the links gives, so a checkpoint that lands late, or comes
 * from a writer that was fenced long ago, is as right as any other. Once links were deleted they are all there is of them.
 */
export class Checkpoints {
  readonly #options: CheckpointsOptions;
  /** The newest one that this process knows to be good: compared after writing it, or started from. And the one before. */
  #verified: Seq | undefined;
  #verifiedBefore: Seq | undefined;
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

  /** Good ones, which this process may reckon with: a boundary lies above neither. */
  get kept(): { readonly newest: Seq | undefined; readonly older: Seq | undefined } {
    return { newest: this.#verified, older: this.#verifiedBefore };
  }

  /**
   * The newest checkpoint that can be read. One that cannot (damage, a future version) is reported and passed over for the one
   * before. Where there are several and none can be read, the error of the newest comes out: the first links may be gone, and what stands
   * in their place may be anybody's (rule 8). Where there is only one, none was ever deleted, and folding starts at the first.
   * Errors of the store come out too: an answer may still come.
   */
  async load(): Promise<StartingPoint> {
    const unreadable = new Map<Seq, TierlogError>();
    const vanished = new Set<Seq>();
    for (;;) {
      const listed = await this.#list();
      const newest = listed[0];
      const wanted = listed.filter((seq) => !unreadable.has(seq));
      let again = false;
      for (const seq of wanted) {
        const result = await this.#read(seq);
        if (result.kind === "read") {
          this.#nowGood(seq);
          return { snapshot: result.snapshot, newest };
        }
        // Its owner may have replaced it by a newer one after the listing: look again. But not for ever at the same name.
        if (result.kind === "absent" && !vanished.has(seq)) {
          vanished.add(seq);
          again = true;
          break;
        }
        unreadable.set(seq, this.#reportUnreadable(seq, result));
      }
      if (again) continue;
      if (newest !== undefined && listed.length > 1)
        throw unreadable.get(newest) ?? new InvariantError(`checkpoint ${newest} was not read`);
      if (newest !== undefined) {
        const { shard, logger } = this.#options;
        logger.warn("the only checkpoint of this shard cannot be read: folding all links from the first", { shard });
      }
      return { snapshot: undefined, newest };
    }
  }

  /**
   * What a view is proved by (rule 6); undefined: there is no checkpoint. Where the newest one cannot be read, the one before is as good
   * a witness: links behind it are deleted only when there are two newer ones. Errors as of `load`.
   */
  async newest(): Promise<NewestCheckpoint | undefined> {
    let problem: TierlogError | undefined;
    let again = true;
    for (;;) {
      const [listed, before] = await this.#list();
      if (listed === undefined) return undefined;
      problem = undefined;
      for (const seq of before === undefined ? [listed] : [listed, before]) {
        if (seq === this.#verified) return { listed, readable: { seq, snapshot: undefined } };
        const result = await this.#read(seq);
        if (result.kind === "read") return { listed, readable: { seq, snapshot: result.snapshot } };
        // Its owner may have replaced it meanwhile.
        if (result.kind === "absent" && again) break;
        problem = this.#reportUnreadable(seq, result);
      }
      if (problem !== undefined && !again) {
        if (before === undefined) return { listed, readable: undefined };
        throw problem;
      }
      again = false;
    }
  }

  #nowGood(seq: Seq): void {
    if (this.#verified !== seq) this.#verifiedBefore = this.#verified;
    this.#verified = seq;
  }

  /**
   * Writes the checkpoint of `snapshot`, compares what the store then holds, and deletes what is older than the newest two that
   * are known to be good. Never rejects: a failure is reported, and the chain does not depend on it. Was it written?
   */
  async write(snapshot: StateSnapshot): Promise<boolean> {
    const { shard, logger } = this.#options;
    const { seq } = snapshot;
    try {
      await this.#writeAndCompare(snapshot);
      this.#written++;
    } catch (error) {
      this.#failed++;
      logger.warn("checkpoint was not written; tried again later", { shard, seq, problem: problemOf(error) });
      return false;
    }
    // Loaded meanwhile, of a turn that came after: "older than the one before this" would then be all but that newest one.
    if (this.#verified !== undefined && this.#verified > seq) return true;
    const previous = this.#verified === seq ? this.#verifiedBefore : this.#verified;
    this.#nowGood(seq);
    try {
      if (previous !== undefined) await this.#deleteOlderThan(previous);
    } catch (error) {
      logger.warn("old checkpoints were not deleted; tried again later", { shard, seq, problem: problemOf(error) });
    }
    return true;
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

  async #read(seq: Seq): Promise<{ readonly kind: "read"; readonly snapshot: StateSnapshot } | Unread> {
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

  #reportUnreadable(seq: Seq, result: Unread): TierlogError {
    const { shard, logger } = this.#options;
    const key = checkpointKey(shard, seq);
    this.#fallbacks++;
    const problem =
      result.kind === "unreadable" ? result.problem : new CorruptionError(key, 0, "is listed, and then does not exist");
    logger.warn("checkpoint cannot be read: an older one has to do", { shard, key, problem: problem.message });
    return problem;
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
