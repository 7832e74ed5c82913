import { partitionKey, type Epoch, type Offset, type PartitionId } from "../domain.ts";
import { asTierlogError, OverloadedError, type TierlogError } from "../errors.ts";
import type { Journal } from "../journal/journal.ts";
import type { LogRecord } from "../record/record.ts";
import type { ScheduledTask } from "../runtime/clock.ts";
import { afterThisTurn } from "../runtime/turn.ts";
import { FrameOnItsWay } from "./frame-draft.ts";
import { framedBytes, GatheringList } from "./gathering-list.ts";
import type { AppendTarget, Gathering, Waiter } from "./pending.ts";
import { bufferedReceipt, type PipelineOptions } from "./pipeline.ts";
import type { PlacedBatch } from "./prepare.ts";
import type { QueuedFrame } from "./upload-queue.ts";

export interface JournalStageOptions extends Pick<PipelineOptions, "chain" | "runtime" | "settings" | "leave"> {
  readonly journal: Journal;
  /** `flush.max_wait`: how long appends wait for room in the journal. */
  readonly maxWaitMs: number;
  /** Is the epoch proved young enough for a journaled ack? The error where it cannot be shown in time; a promise where the store is asked. */
  readonly prove: () => Proof | Promise<Proof>;
  /** The journal has no room for the next frame. */
  readonly onFull: () => void;
  readonly frameBytesMax: number;
  /** The frame is as durable as it gets; its appends are acknowledged. */
  readonly onFrame: (frame: QueuedFrame) => void;
}

type Proof = TierlogError | undefined;

/** Appends between two looks at the clock. */
const APPENDS_PER_LOOK = 16;
/** Of the time a frame took, how much counts for the next. */
const WRITE_MS_WEIGHT = 1 / 8;

/**
 * Group commit: appends gather while the frame before theirs is written and synced, then ride in one frame. Offsets are given
 * when a frame is made, in the order of the appends.
 *
 * When a frame fails, what gathered behind it fails with it: a producer must not get an ack for what it sent after a record that
 * was lost.
 */
export class JournalStage {
  readonly #options: JournalStageOptions;
  readonly #waiting: GatheringList;
  /** Taken to be written and not in the journal yet; nothing else is written until its appends are told. */
  #writing: Gathering | undefined;
  /** The same, once its offsets are given. */
  #placed: FrameOnItsWay | undefined;
  /** The frame behind it, made while the disk is busy with the one before: only where more has gathered than one frame takes. */
  #ahead: FrameOnItsWay | undefined;
  #scheduled = false;
  #aheadScheduled = false;
  /** When the first append came that waits for the end of this turn; monotonic. */
  #gatheringSinceMs = 0;
  /** What a frame takes lately, from its write until it is synced. */
  #writeMs = 0;
  #epoch: Epoch;
  /** Where partitions end behind the newest frame, unless that is where they end in the chain. */
  readonly #ends = new Map<string, Offset>();
  #full: ScheduledTask | undefined;
  #stopped = false;
  #idle: (() => void)[] = [];
  #frames = 0;
  #bufferedLost = 0;

  /** REQUIRES: the shard was taken over, with `epoch`. */
  constructor(options: JournalStageOptions, epoch: Epoch) {
    this.#options = options;
    this.#epoch = epoch;
    this.#waiting = new GatheringList({ ...options, ...options.settings });
  }

  get frames(): number {
    return this.#frames;
  }

  get bufferedLost(): number {
    return this.#bufferedLost;
  }

  /** Of the frames to come. */
  set epoch(epoch: Epoch) {
    this.#epoch = epoch;
  }

  /** Records of a partition that are in no frame yet. */
  pendingRecords(key: string): number {
    return (
      this.#waiting.pendingRecords(key) +
      (this.#writing?.pendingRecords(key) ?? 0) +
      (this.#ahead?.gathering.pendingRecords(key) ?? 0)
    );
  }

  /** Where a partition ends behind the newest frame that is in the journal. */
  durableEnd(target: PartitionId, key = partitionKey(target)): Offset {
    const placed = this.#placed?.gathering.pendingRecords(key) ?? 0;
    const ahead = this.#ahead?.gathering.pendingRecords(key) ?? 0;
    return (this.#endOf(target, key) - placed - ahead) as Offset;
  }

  /** Where a partition ends behind the newest frame that was made. */
  #endOf(target: PartitionId, key: string): Offset {
    return this.#ends.get(key) ?? this.#options.chain.state.extents(target)?.nextOffset ?? (0 as Offset);
  }

  /** A partition ends behind the chain: frames of an earlier process hold the rest. */
  setEnd(key: string, end: Offset): void {
    this.#ends.set(key, end);
  }

  /** The chain has caught up with these batches. */
  uploaded(batches: readonly PlacedBatch[]): void {
    for (const { key, nextOffset } of batches) if (this.#ends.get(key) === nextOffset) this.#ends.delete(key);
  }

  addRecords(target: AppendTarget, records: readonly LogRecord[], bytes: number, waiter: Waiter): void {
    const { runtime } = this.#options;
    const partition = this.#waiting.add(target, bytes);
    const ack = this.#bufferedAck(target, records.length, waiter);
    partition.appendRecords(records, runtime.clock.now(), ack === undefined ? waiter : undefined);
    ack?.();
    this.wake();
  }

  addEncoded(target: AppendTarget, encoded: Uint8Array, records: number, bytes: number, waiter: Waiter): void {
    const partition = this.#waiting.add(target, bytes);
    const ack = this.#bufferedAck(target, records, waiter);
    // A buffered ack gives the buffer back to its caller at once.
    const own = ack === undefined ? encoded : new Uint8Array(encoded);
    partition.appendEncoded(own, records, ack === undefined ? waiter : undefined);
    ack?.();
    this.wake();
  }

  /** Takes over what came together before the stage was there. REQUIRES: nothing was added yet. */
  adopt(gatherings: readonly Gathering[]): void {
    this.#waiting.adopt(gatherings);
    const ends = new Map<string, Offset>();
    for (const gathering of gatherings) {
      const behind = gathering.assignOffsets((target, key) => ends.get(key) ?? this.#endOf(target, key));
      for (const [key, end] of behind) ends.set(key, end);
      gathering.reached("buffered", this.#epoch);
    }
    this.wake();
  }

  #bufferedAck(target: AppendTarget, records: number, waiter: Waiter): (() => void) | undefined {
    if (waiter.level !== "buffered") return undefined;
    const { key } = target;
    const first = (this.durableEnd(target, key) + this.pendingRecords(key)) as Offset;
    const gathering = this.#waiting.last;
    return () => {
      gathering.bufferedAcks++;
      waiter.resolve(bufferedReceipt(target, first, records, this.#epoch));
    };
  }

  /**
   * Makes a frame of what has gathered as soon as this turn of the event loop is done and nothing else is written: producers that were
   * told together mostly append together, and one sync does for all of them. Only where that takes longer than a frame takes to be
   * written the disk is not left idle for it.
   */
  wake(): void {
    if (this.#writing !== undefined) {
      if (this.#waiting.isFirstFull) this.#prepareAheadSoon();
      return;
    }
    if (this.#stopped || this.#isEmpty) {
      for (const resolve of this.#idle.splice(0)) resolve();
      return;
    }
    // Nothing can join it any more.
    if ((this.#ahead !== undefined || this.#waiting.isFirstFull) && this.#full === undefined) {
      this.#writeNext();
      return;
    }
    if (this.#scheduled) {
      if (this.#waiting.first.appends % APPENDS_PER_LOOK === 0 && this.#gathersTooLong()) this.#writeNext();
      return;
    }
    this.#scheduled = true;
    this.#gatheringSinceMs = this.#options.runtime.clock.monotonic();
    afterThisTurn(() => {
      this.#scheduled = false;
      this.#writeNext();
    });
  }

  get #isEmpty(): boolean {
    return this.#ahead === undefined && this.#waiting.isEmpty;
  }

  #gathersTooLong(): boolean {
    return this.#options.runtime.clock.monotonic() - this.#gatheringSinceMs > this.#writeMs;
  }

  /** Resolves when everything that was added is in the journal, or given up. */
  settled(): Promise<void> {
    return new Promise((resolve) => {
      this.#idle.push(resolve);
      this.wake();
    });
  }

  #writeNext(): void {
    const { journal } = this.#options;
    if (this.#writing !== undefined) return;
    if (this.#stopped || this.#isEmpty) {
      this.wake();
      return;
    }
    const { bytes, appends, partitionCount } = this.#ahead?.gathering ?? this.#waiting.first;
    // Its true size is known once it is sealed; it is not more than this.
    if (!journal.hasRoom(partitionCount, framedBytes(bytes, appends))) {
      this.#waitForRoom();
      return;
    }
    this.#full?.cancel();
    this.#full = undefined;
    const ahead = this.#ahead;
    this.#ahead = undefined;
    const gathering = ahead?.gathering ?? this.#waiting.shift();
    this.#writing = gathering;
    this.#placed = ahead;
    this.#frames++;
    this.#write(gathering).then(
      ({ frame, late }) => this.#written(gathering, frame, late),
      (error: unknown) => {
        this.#writing = undefined;
        this.#giveUp(gathering, asTierlogError(error));
      },
    );
  }

  /**
   * Nothing is waited for without need: the bytes are on their way to the disk before the producers that were told of the frame before
   * can keep the event loop busy.
   */
  async #write(gathering: Gathering): Promise<{ readonly frame: QueuedFrame; readonly late: Proof }> {
    const { journal, runtime, prove } = this.#options;
    const proof = prove();
    const unproved = proof instanceof Promise ? await proof : proof;
    if (unproved !== undefined) {
      this.#placed?.discard();
      throw unproved.withEffect("none");
    }
    const placed = (this.#placed ??= this.#place(gathering));
    const { epoch, createdAtMs } = placed;
    const { batches, bytes, records, encoded } = await placed.draft;
    const beganMs = runtime.clock.monotonic();
    const appending = journal.append(encoded);
    if (this.#waiting.isFirstFull) this.#prepareAheadSoon();
    const sequence = await appending;
    this.#writeMs += (runtime.clock.monotonic() - beganMs - this.#writeMs) * WRITE_MS_WEIGHT;
    const again = prove();
    const late = again instanceof Promise ? await again : again;
    return { frame: { sequence, epoch, createdAtMs, batches, bytes, records, gathering }, late };
  }

  #place(gathering: Gathering): FrameOnItsWay {
    const { journal, runtime } = this.#options;
    const createdAtMs = Math.max(0, Math.floor(runtime.clock.now()));
    const endOf = this.#endOf.bind(this);
    return new FrameOnItsWay(gathering, this.#epoch, createdAtMs, journal, this.#ends, endOf);
  }

  /** Not at once: whoever fills a frame is in the middle of an append, and a frame that is ready goes to the disk before. */
  #prepareAheadSoon(): void {
    if (this.#aheadScheduled || this.#ahead !== undefined) return;
    this.#aheadScheduled = true;
    afterThisTurn(() => {
      this.#aheadScheduled = false;
      if (this.#stopped || this.#placed === undefined || this.#ahead !== undefined || !this.#waiting.isFirstFull)
        return;
      this.#ahead = this.#place(this.#waiting.shift());
    });
  }

  /** The frame is in the journal. The next one goes to the disk first: telling producers, and what they do then, takes as long. */
  #written(gathering: Gathering, frame: QueuedFrame, late: Proof): void {
    const { onFrame, leave } = this.#options;
    this.#placed = undefined;
    this.#writing = undefined;
    if (!this.#isEmpty) this.#writeNext();
    leave(gathering.bytes);
    if (late === undefined) {
      gathering.reached("journaled", frame.epoch);
    } else {
      // It is in the journal, and will be uploaded if the shard is still ours.
      gathering.failed(late.withEffect(late.kind === "fenced" ? "none" : "unknown"));
    }
    onFrame(gathering.isAwaited ? frame : { ...frame, gathering: undefined });
    this.wake();
  }

  /** The journal is full: appends wait for an upload to make room, but not for ever. */
  #waitForRoom(): void {
    const { journal, runtime, maxWaitMs, onFull } = this.#options;
    onFull();
    this.#full ??= runtime.clock.schedule(maxWaitMs, () => {
      this.#full = undefined;
      const { liveBytes, maxBytes } = journal.metrics();
      this.#giveUp(undefined, new OverloadedError(liveBytes, maxBytes, maxWaitMs, "journal.max_size"));
    });
  }

  /** `gathering` was being written and fails with `error`; nothing of those behind it was, and they fail with effect "none". */
  #giveUp(gathering: Gathering | undefined, error: TierlogError): void {
    const { leave } = this.#options;
    const none = error.withEffect("none");
    // The next frame takes these offsets: its `prev` skips whatever of a failed one came to the disk.
    const ahead = this.#ahead;
    ahead?.withdraw(this.#ends);
    ahead?.discard();
    this.#ahead = undefined;
    if (gathering !== undefined) {
      this.#placed?.withdraw(this.#ends);
      this.#placed = undefined;
    }
    // Taken out first: each append that is told lets others in, and those belong to the next frame.
    const behind = [...(ahead === undefined ? [] : [ahead.gathering]), ...this.#waiting.takeAll()];
    this.#full?.cancel();
    this.#full = undefined;
    for (const failed of gathering === undefined ? behind : [gathering, ...behind]) {
      this.#bufferedLost += failed.bufferedAcks;
      leave(failed.bytes);
      failed.failed(failed === gathering ? error : none);
    }
    this.wake();
  }

  /** Ends the stage: what has gathered fails with `error`. A frame that is being written goes on: see `settled`. */
  stop(error: TierlogError): void {
    this.#stopped = true;
    this.#giveUp(undefined, error);
  }
}
