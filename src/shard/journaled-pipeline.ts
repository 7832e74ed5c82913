import type { Offset, PartitionId } from "../domain.ts";
import { asTierlogError, InvariantError, type FencedError, type TierlogError } from "../errors.ts";
import type { Journal } from "../journal/journal.ts";
import type { AsideReport, TornTail } from "../journal/reports.ts";
import { untilAborted } from "../object-store/attempt.ts";
import type { LogRecord } from "../record/record.ts";
import { sleep } from "../runtime/clock.ts";
import type { ChangePlan } from "./change-item.ts";
import { GatheringList } from "./gathering-list.ts";
import { JournalStage } from "./journal-stage.ts";
import type { AppendTarget, Waiter } from "./pending.ts";
import { ObjectOpener, type Pipeline, type PipelineOptions } from "./pipeline.ts";
import type { PlacedBatch } from "./prepare.ts";
import {
  freeCommitted,
  lossOf,
  NOTHING_REPLAYED,
  recoverFrames,
  takeOver,
  type RecoverOptions,
  type ShardRecovery,
} from "./recovery.ts";
import { UploadQueue, type JournaledTimes } from "./upload-queue.ts";
import { Uploader } from "./uploader.ts";

export interface JournaledSettings {
  readonly uploadIntervalMs: number;
  readonly catchUpRateBytes: number;
  /** 0: off. */
  readonly leaseMs: number;
  readonly maxWaitMs: number;
  /** Of what one frame is to hold: larger ones only hold up the appends behind them. */
  readonly frameBytesMax: number;
  /** Of one append, which must fit one frame. */
  readonly appendBytesMax: number;
  /** `journal.max_size`. */
  readonly maxSizeBytes: number;
}

export interface JournaledPipelineOptions extends PipelineOptions {
  readonly journaled: JournaledSettings;
  /** Opens the journal of this shard. Called until it succeeds, then never again; the pipeline closes what it got. */
  readonly openJournal: () => Promise<Journal>;
  readonly readCommitted: RecoverOptions["readCommitted"];
  /** What a take-over found, or what was set aside when another writer came. */
  readonly onRecovery: (recovery: ShardRecovery) => void;
  /** New records are in the journal, or the pipeline has ended. */
  readonly onDurable: () => void;
}

interface Parts {
  readonly stage: JournalStage;
  readonly uploader: Uploader;
  readonly queue: UploadQueue;
}

/** What a journaled shard has not uploaded yet. */
export interface UploadLag {
  readonly frames: number;
  readonly records: number;
  readonly bytes: number;
  /** Age of the oldest of them. */
  readonly ms: number;
}

/**
 * Flushes whose frames are kept in memory for their upload and for readers at the end of the log: two on their way and one that gathers.
 * What comes on top stays on the disk, and to read it back costs more than all else.
 */
const QUEUE_MEMORY_FACTOR = 3;
const PROVE_AGAIN_MS = 250;
/** How long the end of a pipeline waits for frames to be set aside. */
const ENDING_MS = 1000;

/**
 * The way of appends through the journal: gather → frame → disk → ack "journaled"; then, in the same order, frame → flush → link →
 * ack "uploaded". Offsets are given when the frame is made, so everything that goes to this shard goes through its journal, whatever
 * level it asked for.
 */
export class JournaledPipeline implements Pipeline {
  readonly #options: JournaledPipelineOptions;
  readonly #objects: ObjectOpener;
  /** What comes before the shard is ours. */
  readonly #early: GatheringList;
  #journal: Journal | undefined;
  #opening: Promise<Journal> | undefined;
  /** There once the shard was taken over and its journal judged. */
  #parts: Parts | undefined;
  #acquiring: Promise<void> | undefined;
  /** The last owner's journal is lost, and nobody was told yet. */
  #diskLost = false;
  /** Final: another writer owns the shard, or the pipeline is closed. */
  #ended: TierlogError | undefined;
  /** Fires with `#ended`: nobody then waits for an answer of the store. */
  readonly #over = new AbortController();
  #ending: Promise<void> | undefined;
  #proving: Promise<void> | undefined;

  constructor(options: JournaledPipelineOptions) {
    this.#options = options;
    this.#early = new GatheringList({ ...options.journaled, ...options.settings });
    this.#objects = new ObjectOpener(options);
  }

  get flushes(): number {
    return this.#parts?.stage.frames ?? 0;
  }

  get bufferedLost(): number {
    return this.#parts?.stage.bufferedLost ?? 0;
  }

  get journal(): Journal | undefined {
    return this.#journal;
  }

  get lag(): UploadLag {
    const { queue } = this.#parts ?? {};
    const oldestMs = queue?.oldestMs;
    const ms = oldestMs === undefined ? 0 : Math.max(0, this.#options.runtime.clock.now() - oldestMs);
    return { frames: queue?.count ?? 0, records: queue?.records ?? 0, bytes: queue?.bytes ?? 0, ms };
  }

  /** Is what `durableEnd` says all there is to read here? No other writer is known to have come. */
  get holdsTail(): boolean {
    return this.#parts !== undefined && this.#ended === undefined;
  }

  /** Where a partition ends in chain and journal; undefined where only the chain tells. */
  durableEnd(id: PartitionId): Offset | undefined {
    return this.holdsTail ? this.#parts?.stage.durableEnd(id) : undefined;
  }

  /** Batches that are in the journal and not in the chain: see `UploadQueue.read`. */
  async read(id: PartitionId, from: number, maxBytes: number): Promise<readonly PlacedBatch[] | undefined> {
    return this.holdsTail ? await this.#parts?.queue.read(id, from, maxBytes) : undefined;
  }

  /** What each frame that is not in the chain says about time: see `UploadQueue.timesBehind`. */
  timesBehind(id: PartitionId, from: number): JournaledTimes | undefined {
    return this.holdsTail ? this.#parts?.queue.timesBehind(id, from) : undefined;
  }

  pendingRecords(key: string): number {
    return this.#early.pendingRecords(key) + (this.#parts?.stage.pendingRecords(key) ?? 0);
  }

  addRecords(target: AppendTarget, records: readonly LogRecord[], bytes: number, waiter: Waiter): void {
    const { runtime } = this.#options;
    if (this.#refused(bytes, waiter)) return;
    if (this.#parts !== undefined) {
      this.#parts.stage.addRecords(target, records, bytes, waiter);
      return;
    }
    this.#early.add(target, bytes).appendRecords(records, runtime.clock.now(), waiter);
    this.acquire().catch(() => undefined);
  }

  addEncoded(target: AppendTarget, encoded: Uint8Array, records: number, bytes: number, waiter: Waiter): void {
    if (this.#refused(bytes, waiter)) return;
    if (this.#parts !== undefined) {
      this.#parts.stage.addEncoded(target, encoded, records, bytes, waiter);
      return;
    }
    this.#early.add(target, bytes).appendEncoded(encoded, records, waiter);
    this.acquire().catch(() => undefined);
  }

  #refused(bytes: number, waiter: Waiter): boolean {
    if (this.#ended === undefined) return false;
    this.#options.leave(bytes);
    waiter.reject(this.#ended.withEffect("none"));
    return true;
  }

  /**
   * Looks after what an earlier process left in the journal: takes the shard over where its frames go on, sets them aside at once
   * where another's turn came between. Does nothing where there are none.
   */
  async resume(): Promise<void> {
    const { chain } = this.#options;
    const journal = await this.#openJournal();
    if (this.#parts !== undefined || journal.metrics().liveFrames === 0) return;
    await chain.refresh();
    const { fence } = chain.state;
    const ours = fence?.journalId === journal.journalId;
    if (fence === undefined || (ours && journal.knowsFence(fence.writeId))) {
      await this.acquire();
      return;
    }
    await freeCommitted({ ...this.#options, journal });
    // Our id in an unknown fence: a copy of this journal went on elsewhere.
    if (ours) await journal.renewId();
    if (journal.metrics().liveFrames === 0) return;
    this.#reportAside(await journal.setAside(Number.MAX_SAFE_INTEGER), journal.opened.tornTail);
  }

  /** Takes the shard over unless it is ours, and goes on with the frames of its journal. The first failure is told to all that wait. */
  acquire(): Promise<void> {
    this.#acquiring ??= this.#takeOver().then(
      () => {
        this.#acquiring = undefined;
      },
      (error: unknown) => {
        // Before the appends are told: those that they let in need a take-over of their own, not the end of this one.
        this.#acquiring = undefined;
        const reason = asTierlogError(error);
        if (reason.kind === "fenced") this.#fencedOut(reason as FencedError);
        else if (this.#parts === undefined) this.#failEarly(reason.withEffect("none"));
        throw reason;
      },
    );
    return this.#acquiring;
  }

  #openJournal(): Promise<Journal> {
    this.#opening ??= this.#options.openJournal().then(
      (journal) => {
        this.#journal = journal;
        return journal;
      },
      (error: unknown) => {
        this.#opening = undefined;
        throw error;
      },
    );
    return this.#opening;
  }

  async #takeOver(): Promise<void> {
    const { chain, shard, runtime, onRecovery, onDurable } = this.#options;
    if (this.#ended !== undefined) throw this.#ended;
    const journal = await this.#openJournal();
    const known = this.#parts;
    if (known !== undefined && chain.isOwner) return;
    if (!chain.isOwner) {
      const taken = await takeOver(chain, journal);
      // Until it was said: what follows may fail and be tried again.
      this.#diskLost ||= taken.diskLost;
      runtime.logger.info("took the shard over", { shard, epoch: taken.epoch });
    }
    if (known !== undefined) {
      known.uploader.reconcile();
      known.stage.epoch = chain.state.epoch;
      return;
    }
    const parts = this.#makeParts(journal);
    const { stage, queue, uploader } = parts;
    const setEnd = stage.setEnd.bind(stage);
    const found = await recoverFrames({ ...this.#options, journal, queue, setEnd });
    // Said before anything is acknowledged at an offset that may have been another record's.
    onRecovery({
      shard,
      ...found,
      outcome: outcomeOf(found, this.#diskLost),
      ...(this.#diskLost ? await lossOf(chain) : { mayBeLost: undefined, lastCommitAtMs: undefined }),
    });
    // Closed meanwhile: the frames stay for the next owner.
    if (this.#ended !== undefined) throw this.#ended;
    this.#parts = parts;
    if (queue.count > 0) uploader.catchUp();
    stage.adopt(this.#early.takeAll());
    onDurable();
  }

  #makeParts(journal: Journal): Parts {
    const { settings, journaled, chain, runtime, leave, onDurable } = this.#options;
    const queue = new UploadQueue(journal, QUEUE_MEMORY_FACTOR * settings.flushBytesMax);
    const uploader = new Uploader({
      ...this.#options,
      journal,
      queue,
      objects: this.#objects,
      uploadIntervalMs: journaled.uploadIntervalMs,
      catchUpRateBytes: journaled.catchUpRateBytes,
      acquire: () => this.acquire(),
      onUploaded: (frames) => {
        for (const { batches } of frames) stage.uploaded(batches);
        // There may be room in the journal now.
        stage.wake();
      },
      onFenced: (error) => this.#fencedOut(error),
    });
    const stage: JournalStage = new JournalStage(
      {
        chain,
        runtime,
        settings,
        leave,
        journal,
        maxWaitMs: journaled.maxWaitMs,
        frameBytesMax: journaled.frameBytesMax,
        onFull: () => uploader.added(0),
        prove: () => this.#proveLease(),
        onFrame: (frame) => {
          queue.push(frame);
          // Nobody waits for the upload of what is only journaled; half a journal of it is enough.
          const crowded = queue.bytes * 2 > journaled.maxSizeBytes;
          const gatherMs = frame.gathering === undefined ? journaled.uploadIntervalMs : settings.lingerMs;
          uploader.added(crowded ? 0 : gatherMs);
          onDurable();
        },
      },
      chain.state.epoch,
    );
    return { stage, uploader, queue };
  }

  /**
   * Rule 10: where the lease is set, a journaled ack needs a proof of the epoch whose request started less than the lease ago. Asks
   * the store for one where there is none, and gives up after `flush.max_wait`.
   */
  #proveLease(): TierlogError | undefined | Promise<TierlogError | undefined> {
    if (this.#ended !== undefined) return this.#ended;
    return this.#options.journaled.leaseMs === 0 ? undefined : this.#proveInTime();
  }

  async #proveInTime(): Promise<TierlogError | undefined> {
    const { chain, journaled, runtime } = this.#options;
    const { leaseMs, maxWaitMs } = journaled;
    const beganMs = runtime.clock.monotonic();
    for (;;) {
      if (chain.proofAgeMs < leaseMs) {
        // Asked for in good time, so that no ack has to wait for it.
        if (chain.proofAgeMs > leaseMs / 2) this.#prove().catch(() => undefined);
        return undefined;
      }
      try {
        await untilAborted(chain.isOwner ? this.#prove() : this.acquire(), this.#over.signal);
      } catch (error) {
        if (this.#ended !== undefined) return this.#ended;
        const reason = asTierlogError(error);
        if (reason.kind === "fenced") this.#fencedOut(reason as FencedError);
        if (reason.kind === "fenced" || runtime.clock.monotonic() - beganMs >= maxWaitMs) return reason;
        await sleep(runtime.clock, PROVE_AGAIN_MS);
      }
      if (this.#ended !== undefined) return this.#ended;
    }
  }

  #prove(): Promise<void> {
    this.#proving ??= this.#options.chain.prove().finally(() => {
      this.#proving = undefined;
    });
    return this.#proving;
  }

  async change(plan: ChangePlan): Promise<void> {
    if (this.#parts === undefined) await this.acquire();
    const parts = this.#parts;
    if (this.#ended !== undefined || parts === undefined)
      throw this.#ended?.withEffect("none") ?? new InvariantError("taken over without a stage");
    await parts.uploader.change(plan);
  }

  flush(): Promise<void> {
    return this.#flush(false);
  }

  /** As `flush`, but what fails is tried again; rejects when the shard belongs to another. */
  drain(): Promise<void> {
    return this.#flush(true);
  }

  async #flush(patient: boolean): Promise<void> {
    if (this.#early.isEmpty && this.#parts === undefined) return;
    if (this.#parts === undefined) await this.acquire();
    const parts = this.#parts;
    if (parts === undefined) throw this.#ended ?? new InvariantError("taken over without a stage");
    await parts.stage.settled();
    if (this.#ended !== undefined) throw this.#ended;
    await parts.uploader.flush(parts.queue.lastSequence, patient);
  }

  /** What is in the journal and not in the chain, or not known to be. */
  get undrained(): { readonly records: number; readonly bytes: number } {
    if (this.#parts !== undefined) return this.lag;
    const journal = this.#journal;
    return journal === undefined || journal.metrics().liveFrames === 0 ? { records: 0, bytes: 0 } : journal.opened;
  }

  /**
   * Ends the pipeline: what is not in the journal fails with `reason`, what waits for its upload is told so, what is in the journal
   * stays there for the next owner. The journal is closed first, without a wait for the store: its lock goes with the engine, and a
   * take-over that is still under way must not write there afterwards.
   */
  async end(reason: TierlogError): Promise<void> {
    this.#ended ??= reason;
    this.#over.abort(this.#ended);
    this.#failEarly(reason.withEffect("none"));
    this.#parts?.stage.stop(reason.withEffect("none"));
    await this.#parts?.stage.settled();
    this.#parts?.uploader.stop(reason.withEffect("unknown"));
    await this.#endingInTime();
    try {
      await this.#opening?.catch(() => undefined);
      await this.#journal?.close();
    } finally {
      await Promise.allSettled([this.#ending, this.#acquiring, this.#proving]);
      await this.#objects.cleared();
      this.#options.onDurable();
    }
  }

  /** What a fence leaves to be done is disk work; should it have to wait for the store, the next start does it. */
  async #endingInTime(): Promise<void> {
    if (this.#ending === undefined) return;
    const done = new AbortController();
    const late = sleep(this.#options.runtime.clock, ENDING_MS, done.signal).catch(() => undefined);
    await Promise.race([this.#ending, late]);
    done.abort();
  }

  #failEarly(error: TierlogError): void {
    for (const early of this.#early.takeAll()) {
      this.#options.leave(early.bytes);
      early.failed(error);
    }
  }

  /** Final: nothing of this journal may follow the other writer's fence. What it held is set aside, and said. */
  #fencedOut(reason: FencedError): void {
    if (this.#ended !== undefined) return;
    this.#ended = reason;
    this.#over.abort(reason);
    const { shard, runtime, onDurable } = this.#options;
    const journal = this.#journal;
    const parts = this.#parts;
    // Nothing of these was sent; the effect is that on what was.
    this.#failEarly(reason.withEffect("none"));
    parts?.stage.stop(reason.withEffect("none"));
    const ending = async (): Promise<void> => {
      // The frame that is being written goes aside with the others.
      await parts?.stage.settled();
      await parts?.uploader.halt();
      // By a view that is wrong, frames would be taken for uploaded, and freed.
      if (!this.#options.chain.isViewProved) await this.#options.chain.refresh();
      // What landed before the other's fence is uploaded, whatever its answer was.
      parts?.uploader.reconcile();
      parts?.uploader.stop(reason);
      parts?.queue.clear();
      if (journal === undefined) return;
      if (parts === undefined) await freeCommitted({ ...this.#options, journal });
      if (journal.metrics().liveFrames === 0) return;
      const setAside = await journal.setAside(Number.MAX_SAFE_INTEGER);
      this.#reportAside(setAside, undefined);
    };
    this.#ending = ending().catch((problem: unknown) => {
      runtime.logger.warn("the frames of a lost shard could not be set aside: the next start does it", {
        shard,
        error: String(problem),
      });
    });
    void this.#ending.then(onDurable);
  }

  #reportAside(setAside: AsideReport, tornTail: TornTail | undefined): void {
    this.#options.onRecovery({
      shard: this.#options.shard,
      outcome: "set-aside",
      replayed: NOTHING_REPLAYED,
      setAside,
      tornTail,
      mayBeLost: undefined,
      lastCommitAtMs: undefined,
    });
  }
}

function outcomeOf(found: Pick<ShardRecovery, "replayed" | "setAside">, diskLost: boolean): ShardRecovery["outcome"] {
  if (diskLost) return "disk-lost";
  if (found.setAside !== undefined) return "set-aside";
  return found.replayed.frames > 0 ? "replayed" : "nothing";
}
