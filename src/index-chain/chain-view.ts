import type { Seq, ShardId } from "../domain.ts";
import { isTierlogError, MissingObjectError, ObjectStoreError } from "../errors.ts";
import { checkpointKey, indexKey } from "../object-store/object-names.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import type { Clock } from "../runtime/clock.ts";
import { ageMs, instantOf, type Instant } from "../runtime/instant.ts";
import type { Checkpoints, NewestCheckpoint } from "./checkpoints.ts";
import { FoldMarks } from "./fold-marks.ts";
import type { Link } from "./index-file.ts";
import type { DataObjectRef } from "./link-entries.ts";
import { readLink } from "./read-link.ts";
import { ShardState, type Liveness } from "./shard-state.ts";
import type { WriteId } from "./write-id.ts";

/** Links fetched ahead by name while folding; starts at 1 and doubles, so that a reader at the end of the chain asks once. */
const READ_AHEAD_MAX = 16;
/** Views thrown away in one call. Each time somebody must have deleted links between our reading them and the proof. */
export const VIEWS_TRIED_MAX = 4;

export interface ChainViewOptions {
  readonly store: ObjectStore;
  readonly shard: ShardId;
  readonly clock: Clock;
  /** `gc.grace`, the same for all processes of a store: how long what a link gave up is kept. A view serves for half of it unproved. */
  readonly graceMs: number;
  /** Called with each data object whose last extent a live link supersedes or trims away while this process folds. */
  readonly onObjectDead?: (object: DataObjectRef) => void;
}

/**
 * The index chain of a shard as far as it was folded, and whether that is the chain (rule 6). REQUIRES: one call at a time, but for
 * getters.
 */
export class ChainView {
  readonly #options: ChainViewOptions;
  readonly #checkpoints: Checkpoints;
  /** What links are folded into. */
  #state: ShardState;
  /** What is looked at: the same, but the view before it while one is folded anew, or the log would be empty for so long. */
  #shown: ShardState;
  #marks = new FoldMarks();
  /** When the listing started that last proved the view, or a create that came in time behind it; undefined before the first. */
  #provedAt: Instant | undefined;
  /** The newest checkpoint that was listed when folding began. */
  #newestListed: Seq | undefined;
  #foldedFrom: Seq;

  constructor(options: ChainViewOptions, checkpoints: Checkpoints) {
    this.#options = options;
    this.#checkpoints = checkpoints;
    this.#state = this.#emptyState();
    this.#shown = this.#state;
    this.#foldedFrom = this.#state.nextSeq;
  }

  get state(): ShardState {
    return this.#shown;
  }

  /** The first seq that was folded itself: behind the checkpoint that it began with. */
  get foldedFrom(): Seq {
    return this.#foldedFrom;
  }

  /** May the view be served from without asking the store? Not for longer than half of `graceMs`: slots may be given out anew then. */
  get isProved(): boolean {
    const { clock, graceMs } = this.#options;
    return this.#shown === this.#state && ageMs(clock, this.#provedAt) <= graceMs / 2;
  }

  /** REQUIRES: `isProved`; a request that started at `instant` showed that the chain ended where the view does. */
  provedAt(instant: Instant): void {
    this.#provedAt = instant;
  }

  /** REQUIRES: the link stands at the next seq. */
  fold(link: Link): Liveness {
    const liveness = this.#state.apply(link, indexKey(link.shard, link.seq));
    this.#marks.note(this.#state);
    return liveness;
  }

  /**
   * Folds on to the first missing seq. Was a link with the writeId `sought` live among those folded? Where links are missing because they
   * were deleted as we read, there is a newer checkpoint to start from; only an owner has no use for another view.
   */
  async foldOn({ owner, sought }: { readonly owner: boolean; readonly sought?: WriteId }): Promise<boolean> {
    for (;;) {
      try {
        const found = await this.#foldToEnd(sought);
        this.#shown = this.#state;
        return found;
      } catch (error) {
        // No fold will get any further, and up to there it is right.
        if (isTierlogError(error) && error.kind === "data") this.#shown = this.#state;
        if (!(error instanceof MissingObjectError) || owner) throw error;
        const startedFrom = this.#newestListed;
        if ((await this.#checkpoints.newest())?.listed === startedFrom) throw error;
        this.startAnew();
      }
    }
  }

  /** Folds on as a reader, in a view that is proved behind it. */
  async foldOnProved(): Promise<void> {
    for (let tries = 1; ; tries++) {
      await this.foldOn({ owner: false });
      if (this.isProved || (await this.prove(false))) return;
      this.startAnew();
      if (tries === VIEWS_TRIED_MAX)
        throw new ObjectStoreError(
          `the newest checkpoint of shard ${this.#options.shard} disagreed ${tries} times with what its links say`,
          { operation: "list", key: checkpointKey(this.#options.shard, this.#state.nextSeq), retryable: true },
        );
    }
  }

  /**
   * Rule 6: is what was folded the chain, or did we read slots that were given out anew behind a boundary? The newest checkpoint, listed
   * now, tells: it must lie in our fold and have held there what we held, or name the fence of an `owner` as the current one.
   */
  async prove(owner: boolean): Promise<boolean> {
    const startedAt = instantOf(this.#options.clock);
    const found = await this.#checkpoints.newest();
    if (found === undefined && this.#state.boundary > 0)
      throw new MissingObjectError(checkpointKey(this.#options.shard, this.#state.boundary), "a boundary in the chain");
    if (found !== undefined && !this.#agrees(found, owner)) return false;
    this.#provedAt = startedAt;
    if (found?.readable !== undefined) this.#marks.dropBelow(found.readable.seq);
    return true;
  }

  /** The view is wrong: the next fold starts from the newest checkpoint. Until its end the old one is shown, unproved. */
  startAnew(): void {
    this.#state = this.#emptyState();
    this.#marks = new FoldMarks();
    this.#newestListed = undefined;
    this.#provedAt = undefined;
  }

  #agrees({ listed, readable }: NewestCheckpoint, owner: boolean): boolean {
    const own = this.#state.fence?.writeId;
    if (owner && readable?.snapshot !== undefined && readable.snapshot.fence.writeId === own) return true;
    if (listed >= this.#state.nextSeq) return false;
    if (readable === undefined) return true;
    const mark = this.#marks.at(readable.seq);
    if (mark === undefined) return false;
    // One that this process wrote or started from is of its own fold.
    if (readable.snapshot === undefined) return true;
    return mark.lastLive === readable.snapshot.lastLive && mark.epoch === readable.snapshot.fence.epoch;
  }

  #emptyState(): ShardState {
    const { shard, onObjectDead } = this.#options;
    const state = new ShardState(shard);
    if (onObjectDead !== undefined) state.onObjectDead(onObjectDead);
    return state;
  }

  /**
   * Folds seq by seq and stops at the first missing one. Links behind it that were read ahead are thrown away: nothing behind a
   * hole is looked at, or two readers could fold different states.
   */
  async #foldToEnd(sought: WriteId | undefined): Promise<boolean> {
    const { store, shard } = this.#options;
    let found = false;
    if (this.#state.nextSeq === 0) await this.#startFromCheckpoint();
    for (let ahead = 1; ; ahead = Math.min(ahead * 2, READ_AHEAD_MAX)) {
      const from = this.#state.nextSeq;
      const fetches = Array.from({ length: ahead }, (_, i) => readLink(store, shard, (from + i) as Seq));
      // Each outcome is looked at in order, or not at all: a failed read behind a hole must not surface, nor go unhandled.
      for (const fetch of fetches) fetch.catch(() => undefined);
      for (const fetch of fetches) {
        const link = await fetch;
        if (link === undefined) {
          this.#checkEnd();
          return found;
        }
        const liveness = this.fold(link);
        if (link.writeId === sought && liveness === "live") found = true;
      }
    }
  }

  async #startFromCheckpoint(): Promise<void> {
    const startedAt = instantOf(this.#options.clock);
    const { snapshot, newest } = await this.#checkpoints.load();
    if (snapshot !== undefined) {
      this.#state.restore(snapshot);
      this.#marks.note(this.#state);
    }
    // Links behind it are deleted a grace after a newer one at the soonest.
    this.#provedAt = startedAt;
    this.#newestListed = newest;
    this.#foldedFrom = this.#state.nextSeq;
  }

  /**
   * A checkpoint was written behind a link that was live, so the links up to its seq did exist. Where they are missing, the end of
   * the fold is not the end of the chain: neither a shorter log nor an empty shard may come of it, least of all a fence.
   */
  #checkEnd(): void {
    const { shard } = this.#options;
    if (this.#newestListed === undefined || this.#state.nextSeq > this.#newestListed) return;
    throw new MissingObjectError(indexKey(shard, this.#state.nextSeq), checkpointKey(shard, this.#newestListed));
  }
}
