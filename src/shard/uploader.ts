import { asTierlogError, ClosedError, InvariantError, type FencedError, type TierlogError } from "../errors.ts";
import type { Journal } from "../journal/journal.ts";
import type { ScheduledTask } from "../runtime/clock.ts";
import { ChangeItem, type ChangePlan } from "./change-item.ts";
import { CommitQueue } from "./commit-queue.ts";
import type { ObjectOpener, PipelineOptions } from "./pipeline.ts";
import { prepareBatches, type PlacedBatch, type PreparedFlight } from "./prepare.ts";
import type { QueuedFrame, UploadQueue } from "./upload-queue.ts";

export interface UploaderOptions extends Omit<PipelineOptions, "leave"> {
  readonly journal: Journal;
  readonly queue: UploadQueue;
  readonly objects: ObjectOpener;
  readonly uploadIntervalMs: number;
  /** Bytes per second while a backlog is worked off. */
  readonly catchUpRateBytes: number;
  /** Takes the shard over anew: the turn ended in doubt. */
  readonly acquire: () => Promise<void>;
  /** Frames are in the chain and free, their appends acknowledged. */
  readonly onUploaded: (frames: readonly QueuedFrame[]) => void;
  /** Another writer owns the shard. Nothing more is uploaded. */
  readonly onFenced: (error: FencedError) => void;
}

/** Flushes on their way at once: each holds up to `flush.max_bytes` in memory. */
const FLIGHTS_MAX = 2;
/** What waits beyond so many of the largest flushes is a backlog. */
const BACKLOG_FLUSHES = 2;
const RETRY_FIRST_MS = 250;
const RETRY_MAX_MS = 10_000;

interface FrameFlight {
  prepared: PreparedFlight | undefined;
  readonly frames: readonly QueuedFrame[];
  readonly abort: AbortController;
  /** It has no frames then. */
  readonly change?: ChangeItem;
}

interface FlushWaiter {
  /** Waits on when an attempt fails. */
  readonly patient: boolean;
  readonly through: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/**
 * Brings journaled frames into the chain, oldest first: gathered up to the upload interval or the size of a flush, at once for an
 * append that waits for it. What fails is tried again until it is there or the shard belongs to another: it was acknowledged.
 */
export class Uploader {
  readonly #options: UploaderOptions;
  readonly #flights: CommitQueue<FrameFlight>;
  /** Frames up to this sequence need not gather any longer. */
  #dueThrough = 0;
  #timer: { readonly task: ScheduledTask; readonly atMs: number } | undefined;
  #pumping = false;
  /** Of a commit, not yet dealt with. */
  #failure: TierlogError | undefined;
  #failures = 0;
  #pause: ScheduledTask | undefined;
  #catchingUp = false;
  /** Monotonic time before which no more of a backlog is taken. */
  #paceMs = 0;
  #waiters: FlushWaiter[] = [];
  /** Trims that are not on their way yet. */
  #changes: ChangeItem[] = [];
  #stopped = false;
  #halted: (() => void)[] = [];

  constructor(options: UploaderOptions) {
    this.#options = options;
    this.#flights = new CommitQueue({
      chain: options.chain,
      writerId: options.writerId,
      linkBytesMax: options.settings.linkBytesMax,
      onCommit: (commit, flights) => {
        this.#failures = 0;
        this.#uploaded(flights.reduce((sum, { frames }) => sum + frames.length, 0));
        for (const { change } of flights) change?.committed();
        options.onCommit(commit, flights);
        this.#tellHalted();
        this.#pump();
      },
      onFailure: (at, count, error) => {
        for (const [i, { abort, change, prepared }] of this.#flights.takeFrom(at).entries()) {
          abort.abort(error);
          // The frames will lie in another object. Where the link may be live the next turn finds this one by listing.
          if (prepared?.object !== undefined && (i >= count || error.effect === "none"))
            options.onGivenUp(prepared.object);
          // Frames are tried again; a change is not: nobody was told that it would be.
          change?.failed(i < count ? error : error.withEffect("none"));
        }
        this.#failure ??= error;
        // A take that is under way must end before its frames can be put back.
        if (!this.#pumping) this.#settleFailure();
      },
    });
  }

  /** Attempts that failed since the last one that did not. */
  get failures(): number {
    return this.#failures;
  }

  /** A frame was queued. `lingerMs`: how long it may gather, at most. */
  added(lingerMs: number): void {
    const { queue, settings } = this.#options;
    if (queue.untakenBytes >= settings.flushBytesMax) this.#pump();
    else this.#dueIn(lingerMs);
  }

  /** A backlog was found: it is due. */
  catchUp(): void {
    this.#catchingUp = true;
    this.#dueIn(0);
  }

  /** Resolves when every frame up to `through` is in the chain; rejects with the first failure, `patient` only at the end of it all. */
  flush(through: number, patient = false): Promise<void> {
    const { queue } = this.#options;
    if (this.#stopped || queue.count === 0 || queue.firstSequence > through) return Promise.resolve();
    this.#dueThrough = Math.max(this.#dueThrough, through);
    return new Promise((resolve, reject) => {
      this.#waiters.push({ patient, through, resolve, reject });
      // Whoever asks has waited long enough.
      this.#pause?.cancel();
      this.#pause = undefined;
      this.#pump();
    });
  }

  /** Sends a change behind the flushes that are on their way; see `Pipeline.change`. A failure is told at once, and not tried again. */
  change(plan: ChangePlan): Promise<void> {
    if (this.#stopped) return Promise.reject(new ClosedError(`shard ${this.#options.shard}`));
    const item = new ChangeItem(plan);
    this.#changes.push(item);
    // Whoever asks wants to know now.
    this.#pause?.cancel();
    this.#pause = undefined;
    this.#pump();
    return item.done;
  }

  #failChanges(error: TierlogError): void {
    for (const change of this.#changes.splice(0)) change.failed(error);
  }

  #dueIn(delayMs: number): void {
    const { runtime, queue } = this.#options;
    if (this.#stopped) return;
    const atMs = runtime.clock.monotonic() + delayMs;
    if (this.#timer !== undefined && this.#timer.atMs <= atMs) return;
    this.#timer?.task.cancel();
    const fire = (): void => {
      this.#timer = undefined;
      this.#dueThrough = Math.max(this.#dueThrough, queue.lastSequence);
      this.#pump();
    };
    this.#timer = { task: runtime.clock.schedule(delayMs, fire), atMs };
  }

  #pump(): void {
    if (this.#pumping || this.#stopped || this.#pause !== undefined) return;
    this.#pumping = true;
    this.#takeDue().then(
      () => {
        this.#pumping = false;
        this.#tellHalted();
        if (this.#failure !== undefined) this.#settleFailure();
        // What came while the last look was under way.
        else if (this.#mayTake()) this.#pump();
      },
      (error: unknown) => {
        this.#pumping = false;
        this.#failure ??= asTierlogError(error);
        this.#settleFailure();
      },
    );
  }

  /** Is a flush due, and is there room for it on the way? */
  #mayTake(): boolean {
    const { queue, settings } = this.#options;
    if (this.#stopped || this.#pause !== undefined || this.#failure !== undefined) return false;
    if (this.#changes.length > 0) return true;
    if (queue.isAllTaken) return false;
    if (queue.nextSequence > this.#dueThrough && queue.untakenBytes < settings.flushBytesMax) return false;
    // A small flush waits for the commit before it, because then more frames share its link.
    return (
      this.#flights.length === 0 || (this.#flights.length < FLIGHTS_MAX && queue.untakenBytes > settings.linkBytesMax)
    );
  }

  async #takeDue(): Promise<void> {
    const { queue, chain, settings, shard, runtime, writerId, objects, acquire } = this.#options;
    while (this.#mayTake()) {
      if (!chain.isOwner) {
        await acquire();
        continue;
      }
      if (this.#changes.length > 0) {
        this.#sendChanges();
        continue;
      }
      if (this.#mustPace()) return;
      const frames = await queue.take(settings.flushBytesMax);
      if (this.#stopped || this.#failure !== undefined || frames.length === 0) return;
      const flight: FrameFlight = { prepared: undefined, frames, abort: new AbortController() };
      const preparing = prepareBatches(
        byPartition(frames),
        {
          shard,
          epoch: chain.state.epoch,
          nowMs: Math.max(0, Math.floor(runtime.clock.now())),
          linkBytesMax: settings.linkBytesMax,
          writerIdBytes: Buffer.byteLength(writerId),
          ...objects.prepareOptions,
        },
        flight.abort.signal,
      );
      this.#flights.push(flight, preparing);
    }
  }

  #sendChanges(): void {
    for (const change of this.#changes.splice(0)) {
      const prepared = change.plan(this.#options.chain.state);
      if (prepared === undefined) continue;
      this.#flights.push(
        { prepared: undefined, frames: [], abort: new AbortController(), change },
        Promise.resolve(prepared),
      );
    }
  }

  /** Of a backlog only so much is sent in a second: what is appended meanwhile shares disk, network and loop with it. */
  #mustPace(): boolean {
    const { queue, settings, runtime, catchUpRateBytes } = this.#options;
    if (queue.untakenBytes < settings.flushBytesMax) this.#catchingUp = false;
    // Whatever it comes from: an outage that a single request sat out is no failure, and leaves a backlog all the same.
    else if (queue.untakenBytes > BACKLOG_FLUSHES * settings.flushBytesMax) this.#catchingUp = true;
    if (!this.#catchingUp) return false;
    const nowMs = runtime.clock.monotonic();
    if (nowMs < this.#paceMs) {
      this.#pumpIn(this.#paceMs - nowMs);
      return true;
    }
    const bytes = Math.min(queue.untakenBytes, settings.flushBytesMax);
    this.#paceMs = Math.max(nowMs, this.#paceMs) + (bytes / catchUpRateBytes) * 1000;
    return false;
  }

  /** The oldest `count` frames are in the chain. */
  #uploaded(count: number): void {
    const { queue, journal, onUploaded } = this.#options;
    const frames = queue.committed(count);
    const last = frames.at(-1);
    if (last === undefined) return;
    journal.free(last.sequence);
    for (const { gathering, epoch } of frames) gathering?.settled(epoch);
    onUploaded(frames);
    const done = this.#waiters.filter(({ through }) => through <= last.sequence);
    if (done.length > 0) this.#waiters = this.#waiters.filter(({ through }) => through > last.sequence);
    for (const { resolve } of done) resolve();
    this.#gatherOn();
  }

  /** What is left goes when its oldest frame has gathered for an interval. */
  #gatherOn(): void {
    const { queue, runtime, uploadIntervalMs } = this.#options;
    const { oldestMs } = queue;
    if (oldestMs === undefined) return;
    this.#dueIn(Math.max(0, Math.min(uploadIntervalMs, oldestMs + uploadIntervalMs - runtime.clock.now())));
  }

  /**
   * After a turn that ended in doubt: frames that the fold up to our own fence, or to another's, shows in the chain, are uploaded.
   * REQUIRES: no flush is on its way.
   */
  reconcile(): void {
    const { queue, chain } = this.#options;
    if (this.#flights.length > 0) throw new InvariantError("frames are judged while they are on their way");
    let count = 0;
    for (const { batches } of queue.loaded) {
      const inChain = batches.every((batch) => {
        const extents = chain.state.extents(batch);
        if (extents === undefined || extents.nextOffset < batch.nextOffset) return false;
        // Trimmed by another writer, all that there was: nothing tells whose it was.
        if (extents.count === 0) return false;
        // Another writer's records may stand at these offsets.
        return extents.at(extents.find(batch.baseOffset)).leaderEpoch === batch.epoch;
      });
      if (!inChain) break;
      count++;
    }
    queue.putBack(count);
    this.#uploaded(count);
  }

  /** Takes nothing more; resolves when no flush is on its way. */
  halt(): Promise<void> {
    this.#stopped = true;
    for (const { prepared, abort } of this.#flights.items) if (prepared === undefined) abort.abort();
    return new Promise((resolve) => {
      this.#halted.push(resolve);
      this.#tellHalted();
    });
  }

  #tellHalted(): void {
    if (this.#pumping || this.#flights.length > 0) return;
    for (const resolve of this.#halted.splice(0)) resolve();
  }

  #settleFailure(): void {
    this.#tellHalted();
    const error = this.#failure;
    if (error === undefined || this.#stopped) return;
    this.#failure = undefined;
    this.#failChanges(error.withEffect("none"));
    const { queue, runtime, shard, onFenced } = this.#options;
    queue.putBack(this.#flights.items.reduce((sum, { frames }) => sum + frames.length, 0));
    if (error.kind === "fenced") {
      onFenced(error as FencedError);
      return;
    }
    this.#failures++;
    this.#catchingUp = true;
    this.#tellWaiting(error.withEffect("unknown"));
    const delayMs = Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * 2 ** Math.min(this.#failures - 1, 10));
    runtime.logger.warn("journaled records could not be uploaded, they stay in the journal", {
      shard,
      records: queue.records,
      bytes: queue.bytes,
      retryInMs: delayMs,
      error: String(error),
    });
    this.#dueThrough = Math.max(this.#dueThrough, queue.lastSequence);
    this.#pumpIn(delayMs);
  }

  #pumpIn(delayMs: number): void {
    // A commit can fail while a backlog is paced: of two timers one would outlive `stop`, and end the pause too early.
    this.#pause?.cancel();
    this.#pause = this.#options.runtime.clock.schedule(delayMs, () => {
      this.#pause = undefined;
      this.#pump();
    });
  }

  /** The appends that wait for their upload: they may still be uploaded, for they are in the journal. */
  #tellWaiting(error: TierlogError): void {
    for (const gathering of this.#options.queue.takeGatherings()) gathering.failed(error);
    const told = this.#waiters.filter(({ patient }) => !patient || this.#stopped);
    this.#waiters = this.#waiters.filter((waiter) => !told.includes(waiter));
    for (const { reject } of told) reject(error);
  }

  /** Ends all work; the appends that wait are told `error`. What is on its way is given up, the frames stay in the journal. */
  stop(error: TierlogError): void {
    this.#stopped = true;
    this.#timer?.task.cancel();
    this.#pause?.cancel();
    for (const { abort, change } of this.#flights.takeFrom(0)) {
      abort.abort(error);
      change?.failed(error);
    }
    this.#failChanges(error.withEffect("none"));
    this.#tellWaiting(error);
  }
}

/** The batches of some frames, partition by partition, each in the order of its offsets. */
function* byPartition(frames: readonly QueuedFrame[]): Generator<PlacedBatch> {
  const partitions = new Map<string, PlacedBatch[]>();
  for (const { batches } of frames) {
    for (const batch of batches) {
      const list = partitions.get(batch.key);
      if (list === undefined) partitions.set(batch.key, [batch]);
      else list.push(batch);
    }
  }
  for (const list of partitions.values()) yield* list;
}
