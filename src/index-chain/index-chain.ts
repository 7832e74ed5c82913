import { MAX_EPOCH, type Epoch, type ObjectKey, type Seq } from "../domain.ts";
import { asTierlogError, ClosedError, CorruptionError, FencedError, InvariantError } from "../errors.ts";
import { indexKey } from "../object-store/object-names.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import { ageMs, instantOf, type Instant } from "../runtime/instant.ts";
import type { Logger } from "../runtime/logger.ts";
import { Mutex } from "../runtime/mutex.ts";
import type { Random } from "../runtime/random.ts";
import { ChainView, VIEWS_TRIED_MAX, type ChainViewOptions } from "./chain-view.ts";
import { Checkpoints, type CheckpointMetrics } from "./checkpoints.ts";
import { encodeLink, type EncodedLink, IDENTITY_RANGE, type Link } from "./index-file.ts";
import type { LinkEntry } from "./link-entries.ts";
import { readLink } from "./read-link.ts";
import type { Fence, ShardState } from "./shard-state.ts";
import { newWriteId, type WriteId } from "./write-id.ts";

/** An owner that sent nothing for so long looks for a successor when it is asked for news. */
const LOOK_AFTER_MS = 5000;
/** Links looked at for the newest one that holds records. */
const LOOK_BACK_MAX = 64;

/** What a fence carries of the journal of this shard (rule 11). */
export interface FenceJournal {
  /**
   * Called with the fence that is live, before ours is made: the id that ours shall carry, `NO_JOURNAL` where there is none. A
   * journal whose copy went on elsewhere takes a new id here.
   */
  idBehind(fence: Fence | undefined): Promise<string>;
  /** Brings the writeId of a fence to the disk before it is sent. */
  recordFence(writeId: WriteId): Promise<void>;
  /** Was this fence sent by us, or by an earlier process that had the journal? That one is gone: there is nobody to duel with. */
  knowsFence(writeId: WriteId): boolean;
}

export interface IndexChainOptions extends ChainViewOptions {
  /** Settling: a put if-absent must answer "written" exactly when the object is ours (DESIGN section 4 rule 4). */
  readonly store: ObjectStore;
  /** For people: who holds the shard. */
  readonly writerId: string;
  readonly random: Random;
  readonly logger: Logger;
  /** An owner writes a checkpoint whenever so many links stand behind the last one: what opening has to read, at most. ≥ 1. */
  readonly checkpointEvery: number;
}

export interface Commit {
  readonly key: ObjectKey;
  readonly link: Link;
  /** The whole index file. The caller's own: see `takeMemory`. */
  readonly bytes: Uint8Array;
}

/**
 * One shard's index chain: the folded view, and, after `takeOver`, the right to add links. Calls may overlap; they run one at a
 * time, in the order of the calls. The rules are those of DESIGN section 4 (docs/commit-protocol.md).
 */
export class IndexChain {
  readonly #options: IndexChainOptions;
  readonly #mutex = new Mutex();
  readonly #view: ChainView;
  /** The epoch of our last live fence; 0 before the first. */
  #ownEpoch = 0;
  #owner = false;
  #fenced: FencedError | undefined;
  /**
   * Fences of ours whose outcome never became known. One of them may land late and be live: it is ours, not a foreign owner to
   * step back from. Emptied by the next fence that is settled, so it grows only while take-overs fail.
   */
  readonly #unsettledFences = new Set<WriteId>();
  /** A fold that has not begun. */
  #refreshing: Promise<void> | undefined;
  /** When we last sent a link, or looked whether somebody else did. */
  #lookedAtMs = 0;
  /** When the request started by which we last tried to create a link. */
  #createdAt: Instant | undefined;
  /** When the request started whose answer last showed that the epoch is ours; undefined while it never did. */
  #provedAt: Instant | undefined;
  readonly #checkpoints: Checkpoints;
  /** Where the chain ended when we last began to write a checkpoint. */
  #checkpointTriedAt = 0;
  /** At most one is written at a time. */
  #checkpointing: Promise<void> | undefined;
  #closed = false;

  constructor(options: IndexChainOptions) {
    if (!Number.isSafeInteger(options.checkpointEvery) || options.checkpointEvery < 1)
      throw new InvariantError(`a checkpoint every ${options.checkpointEvery} links`);
    this.#options = options;
    this.#checkpoints = new Checkpoints(options);
    this.#view = new ChainView(options, this.#checkpoints);
  }

  /** The folded view. It changes only within calls of this class. */
  get state(): ShardState {
    return this.#view.state;
  }

  /** May this process commit? Another writer may have taken over without our knowing: `commit` finds out. */
  get isOwner(): boolean {
    return this.#owner;
  }

  checkpointMetrics(): CheckpointMetrics {
    return this.#checkpoints.metrics();
  }

  /** Checkpoints that this process knows to be good: compared after writing, or started from. */
  get keptCheckpoints(): { readonly newest: Seq | undefined; readonly older: Seq | undefined } {
    return this.#checkpoints.kept;
  }

  /** May the view be served from without asking the store? Not for longer than half of `graceMs`: slots may be given out anew then. */
  get isViewProved(): boolean {
    return this.#view.isProved;
  }

  /**
   * Makes sure that no link of the view was deleted and its slot given out anew: where the last proof is older than half of `graceMs`,
   * asks the store for the newest checkpoint (rule 6). A view that is wrong is thrown away: `FencedError`, final, for an owner; a reader
   * gets another one. Other errors leave everything as it was.
   */
  ensureProved(): Promise<void> {
    return this.#mutex.run(async () => {
      if (this.#owner) await this.#proveOwnView();
      else await this.#view.foldOnProved();
      this.#throwIfOver();
    });
  }

  /**
   * Writes a checkpoint of the state as it is, unless there is a good one at or behind the last link of the chain. Did that go well? See
   * `checkpointMetrics` for why not. REQUIRES: `isOwner`.
   */
  async checkpointNow(): Promise<boolean> {
    await this.ensureProved();
    // Two at a time would each take the other's for the older one, and delete it.
    while (this.#checkpointing !== undefined) await this.#checkpointing;
    if (this.#checkpoints.kept.newest === this.state.nextSeq - 1) return true;
    if (this.#closed || !this.#owner) return false;
    return await this.#startCheckpoint();
  }

  /**
   * Folds on to the first missing seq, as it is found after the call; the first time from the newest checkpoint. When it fails, the
   * state stands before the link that could not be read or is wrong, and may be read up to there. An owner knows the end of its
   * chain and waits for nothing; an idle one looks in the background whether it still is the owner. Calls that wait for their turn
   * share one fold: a shard has as many readers as partitions. The view is proved behind it.
   */
  refresh(): Promise<void> {
    if (this.#owner && this.isViewProved) {
      this.#lookForSuccessor();
      return Promise.resolve();
    }
    this.#refreshing ??= this.#mutex.run(async () => {
      this.#refreshing = undefined;
      if (this.#owner) await this.#proveOwnView();
      else await this.#view.foldOnProved();
    });
    return this.#refreshing;
  }

  /**
   * Takes the shard over (rule 2): resolves when our fence is live in our own fold. `FencedError`, final for this object, when
   * another writer took over at the same time or since our last turn. Any other error may be tried again by another call. The fence
   * carries the id of `journal`.
   */
  takeOver(journal?: FenceJournal): Promise<Epoch> {
    return this.#mutex.run(async () => {
      this.#throwIfOver();
      this.#owner = false;
      for (let tries = 1; ; tries++) {
        const epoch = await this.#fence(journal);
        if (epoch !== undefined && (await this.#view.prove(this.#owner))) {
          this.#unsettledFences.clear();
          this.#ownEpoch = epoch;
          this.#owner = true;
          this.#startCheckpointIfDue();
          return epoch;
        }
        // Where it landed links were deleted: it is nothing, and nobody was told of it.
        this.#view.startAnew();
        if (tries === VIEWS_TRIED_MAX) throw this.#fencedOut();
      }
    });
  }

  /**
   * Creates a fence of ours that is live in our own fold (rule 2), for what that is worth while the view is not proved. undefined: the
   * view is wrong.
   */
  async #fence(journal: FenceJournal | undefined): Promise<Epoch | undefined> {
    await this.#view.foldOn({ owner: this.#owner });
    if (this.#ownEpoch > 0 && this.state.epoch > this.#ownEpoch && !this.#fenceIsOurs(journal)) throw this.#fencedOut();
    const firstMissing = this.state.nextSeq;
    for (;;) {
      const epoch = (this.state.epoch + 1) as Epoch;
      if (epoch > MAX_EPOCH) throw new InvariantError(`shard ${this.#options.shard} has used up its epochs`);
      const journalId = (await journal?.idBehind(this.state.fence)) ?? NO_JOURNAL;
      const { link, bytes } = await this.#encode(epoch, [{ type: "fence", journalId, endpoint: "" }], []);
      await journal?.recordFence(link.writeId);
      this.#unsettledFences.add(link.writeId);
      if (await this.#create(link.seq, bytes)) {
        if (this.#view.fold(link) !== "live") throw new InvariantError(`own fence at seq ${link.seq} is void`);
        return epoch;
      }
      const ours = await this.#foldOnPast(link);
      if (ours === undefined) return undefined;
      // Only now: until the fold has said whose fence stands there, it may be ours.
      this.#unsettledFences.delete(link.writeId);
      if (ours && this.state.lastLive === link.writeId) return epoch;
      const fence = this.state.fence;
      // Somebody else's turn began while we tried: stepping back ends the duel, fencing again would go on for ever.
      if (fence !== undefined && fence.seq >= firstMissing && !this.#fenceIsOurs(journal)) throw this.#fencedOut();
    }
  }

  /**
   * Adds one link with these entries, created at the next seq that is free (rule 3); resolves when it is live. `payload` chunks
   * are copied. Positions of extents count from the start of the payload.
   *
   * `FencedError`: somebody else owns the shard; final. With effect "none" nothing was stored; with "unknown" this process slept so long
   * that the link may have been live before the other's fence. Any other error: with effect "none" nothing was stored and the call may
   * be repeated; with "unknown" this object is no longer owner, and only the fold up to its next own fence tells (rule 5).
   */
  commit(entries: readonly LinkEntry[], payload: readonly Uint8Array[]): Promise<Commit> {
    return this.#mutex.run(async () => {
      this.#throwIfOver();
      if (!this.#owner) throw new InvariantError(`commit on shard ${this.#options.shard} without owning it`);
      for (;;) {
        // A new writeId for every seq: one writeId belongs to one (name, bytes).
        const encoded = await this.#encode(this.state.epoch, entries, payload);
        const { link, bytes } = encoded;
        let created;
        try {
          created = await this.#create(link.seq, bytes);
        } catch (error) {
          if (!(error instanceof Error && "effect" in error && error.effect === "none")) this.#owner = false;
          throw error;
        }
        if (created) {
          if (this.#view.fold(link) !== "live") throw new InvariantError(`own link at seq ${link.seq} is void`);
          return await this.#acked(encoded);
        }
        let ours;
        try {
          ours = await this.#foldOnPast(link);
        } catch (error) {
          this.#owner = false;
          // The read-back called it another's, without a CRC; the fold, which decides, has not got there or not to the end.
          throw asTierlogError(error).withEffect("unknown");
        }
        if (ours === undefined) throw (await this.#startOver()).withEffect("unknown");
        if (ours) {
          // Ours, and another's turn began behind it: what comes next is not for us to commit.
          if (this.state.lastLive !== link.writeId) this.#fencedOut();
          return await this.#acked(encoded);
        }
        // A void link only cost us the slot; a live one that is not ours ends our turn.
        if (this.state.lastLive !== link.prev) {
          await this.#proveAfterSending();
          throw this.#fencedOut();
        }
      }
    });
  }

  /**
   * How long ago the request started whose answer last showed that our epoch is the chain's: infinite while we are not the owner. By
   * the greater of two clocks: the monotonic one stands still while the machine is suspended, the other may be set back.
   */
  get proofAgeMs(): number {
    return this.#owner ? ageMs(this.#options.clock, this.#provedAt) : Number.POSITIVE_INFINITY;
  }

  /**
   * Asks the store whether our epoch is still the chain's: one GET where it is. `FencedError`, final, where it is not.
   * REQUIRES: `isOwner`.
   */
  async prove(): Promise<void> {
    const { store, shard } = this.#options;
    const epoch = this.#ownEpoch;
    const startedAt = instantOf(this.#options.clock);
    const seq = this.state.nextSeq;
    const found = await store.get(indexKey(shard, seq), { range: IDENTITY_RANGE });
    if (found !== undefined) {
      await this.#mutex.run(async () => {
        if (!this.#owner || this.state.nextSeq > seq) return;
        await this.#foldOrEndTurn();
      });
    }
    this.#throwIfOver();
    // What is missing may have been deleted: the chain has an end only in a view that is proved.
    if (found === undefined) await this.ensureProved();
    // A turn that began meanwhile has a proof of its own.
    if (this.#owner && this.#ownEpoch === epoch && found === undefined) this.#proved(startedAt);
  }

  /** When the newest link that holds records was made, as its writer's clock had it; undefined where none is near the end of the chain. */
  async lastAppendAtMs(): Promise<number | undefined> {
    const { store, shard } = this.#options;
    for (let seq = this.state.nextSeq - 1; seq >= Math.max(0, this.state.nextSeq - LOOK_BACK_MAX); seq--) {
      const link = await readLink(store, shard, seq as Seq);
      if (link?.entries.some(({ type }) => type === "append") === true) return link.createdAtMs;
    }
    return undefined;
  }

  #proved(startedAt: Instant): void {
    if (this.#provedAt === undefined || startedAt.monotonicMs > this.#provedAt.monotonicMs) this.#provedAt = startedAt;
  }

  /** Our link is live in our view; it counts only if the view is right. A create that comes in time is a proof for the next one. */
  async #acked({ link, bytes }: EncodedLink): Promise<Commit> {
    if (this.#view.isProved && this.#createdAt !== undefined) this.#view.provedAt(this.#createdAt);
    else await this.#proveAfterSending();
    this.#startCheckpointIfDue();
    return { key: indexKey(link.shard, link.seq), link, bytes };
  }

  async #proveOwnView(): Promise<void> {
    if (this.isViewProved || (await this.#view.prove(this.#owner))) return;
    throw await this.#startOver();
  }

  /**
   * As `#proveOwnView`, of a link that was sent. Where the view is wrong it landed in a slot that was deleted, and nobody will ever see
   * it; or it was live long before its answer came, and another's fence stands behind it. Both look the same from here.
   */
  async #proveAfterSending(): Promise<void> {
    try {
      await this.#proveOwnView();
    } catch (error) {
      this.#owner = false;
      throw asTierlogError(error).withEffect("unknown");
    }
  }

  /**
   * The view of an owner is wrong. It folds the chain anew: by what it took for live, frames of its journal would be taken for uploaded,
   * and freed. Where that fails the wrong view stays, unproved, and the next to ask folds.
   */
  async #startOver(): Promise<FencedError> {
    const fenced = this.#fencedOut();
    this.#view.startAnew();
    try {
      await this.#view.foldOn({ owner: false });
    } catch {
      return fenced;
    }
    return this.#fencedOut();
  }

  /** Folds on as owner: what is found behind our last link ends our turn, unless it is void. */
  async #foldOrEndTurn(): Promise<void> {
    const lastOwn = this.state.lastLive;
    try {
      await this.#view.foldOn({ owner: this.#owner });
    } finally {
      // Also when the fold broke off behind the fence: our next link would follow links that are not ours.
      if (this.state.lastLive !== lastOwn) this.#fencedOut();
    }
  }

  /**
   * A writer that never appends again would never hear of its successor, and its readers would wait for ever. In the background
   * and outside the queue: no reader and no commit waits for this look.
   */
  #lookForSuccessor(): void {
    const { clock, store, shard } = this.#options;
    const nowMs = clock.monotonic();
    if (nowMs - this.#lookedAtMs < LOOK_AFTER_MS) return;
    this.#lookedAtMs = nowMs;
    const seq = this.state.nextSeq;
    const look = async (): Promise<void> => {
      if ((await store.get(indexKey(shard, seq), { range: IDENTITY_RANGE })) === undefined) return;
      await this.#mutex.run(async () => {
        // What was found may be a link of our own, which the fold has passed.
        if (!this.#owner || this.state.nextSeq > seq) return;
        await this.#foldOrEndTurn();
      });
    };
    // Not knowing changes nothing: a later call looks again, and a commit finds out.
    look().catch(() => undefined);
  }

  /** Ends the background work: waits for a checkpoint that is being written. No `takeOver` or `commit` may follow. */
  close(): Promise<void> {
    return this.#mutex.run(async () => {
      this.#closed = true;
      await this.#checkpointing;
    });
  }

  #encode(epoch: Epoch, entries: readonly LinkEntry[], payload: readonly Uint8Array[]): Promise<EncodedLink> {
    const { shard, writerId, clock, random } = this.#options;
    return encodeLink(
      {
        shard,
        seq: this.state.nextSeq,
        epoch,
        writeId: newWriteId(random),
        prev: this.state.lastLive,
        writerId,
        createdAtMs: Math.max(0, Math.floor(clock.now())),
        entries,
      },
      payload,
    );
  }

  /** true: our bytes stand at `seq`, which nothing stood at when this call began. false: somebody else's do. */
  async #create(seq: Seq, bytes: Uint8Array): Promise<boolean> {
    const key = indexKey(this.#options.shard, seq);
    const startedAt = instantOf(this.#options.clock);
    this.#lookedAtMs = startedAt.monotonicMs;
    const outcome = await this.#options.store.put(key, bytes, {
      condition: { kind: "if-absent" },
      identity: IDENTITY_RANGE,
    });
    this.#createdAt = startedAt;
    if (outcome.kind !== "written") return false;
    this.#proved(startedAt);
    return true;
  }

  /**
   * Beside the hot path: the snapshot is taken here, all else goes on while further links are added. What it holds is settled:
   * the state is folded from links that stand in the store, our own only after the store has answered for them (rule 8).
   * REQUIRES: the view is proved. A checkpoint of a wrong one would be the start of everybody's.
   */
  #startCheckpointIfDue(): void {
    const { nextSeq } = this.state;
    // Of a view that was thrown away it says nothing: that may have been longer.
    const triedAt = this.#checkpointTriedAt <= nextSeq ? this.#checkpointTriedAt : 0;
    const behind = nextSeq - Math.max(this.#view.foldedFrom, triedAt);
    if (this.#checkpointing !== undefined || behind < this.#options.checkpointEvery) return;
    void this.#startCheckpoint();
  }

  #startCheckpoint(): Promise<boolean> {
    // Set before the outcome is known: a checkpoint that fails is tried again as many links later, not with every link.
    this.#checkpointTriedAt = this.state.nextSeq;
    const writing = this.#checkpoints.write(this.state.snapshot());
    this.#checkpointing = writing.then(() => {
      this.#checkpointing = undefined;
    });
    return writing;
  }

  /**
   * Folds to the first missing seq, which must lie behind that of `link`: the store has just said that it is taken. true: by this
   * very link, live. Only the writeId, read under its CRC, decides that; the answer of the store may have been damaged on its way.
   * undefined: what stood there was deleted meanwhile, so the view is wrong.
   */
  async #foldOnPast({ seq, writeId }: Link): Promise<boolean | undefined> {
    const found = await this.#view.foldOn({ owner: this.#owner, sought: writeId });
    if (this.state.nextSeq <= seq) {
      if (!(await this.#view.prove(this.#owner))) return undefined;
      throw new CorruptionError(
        indexKey(this.#options.shard, seq),
        0,
        "the store refused to create this index file because it exists, and then said that it does not",
      );
    }
    return found;
  }

  #fenceIsOurs(journal: FenceJournal | undefined): boolean {
    const writeId = this.state.fence?.writeId;
    if (writeId === undefined) return false;
    return this.#unsettledFences.has(writeId) || journal?.knowsFence(writeId) === true;
  }

  #fencedOut(): FencedError {
    const { shard } = this.#options;
    this.#owner = false;
    this.#fenced = new FencedError(
      shard,
      this.#ownEpoch,
      this.state.epoch,
      this.state.fence?.writerId ?? "another writer",
    );
    return this.#fenced;
  }

  #throwIfOver(): void {
    if (this.#closed) throw new ClosedError(`index chain of shard ${this.#options.shard}`);
    if (this.#fenced !== undefined) throw this.#fenced;
  }
}

/** The journal id of a shard without a journal. */
export const NO_JOURNAL = "0".repeat(32);
