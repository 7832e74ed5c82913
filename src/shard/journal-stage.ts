import { partitionKey, type Epoch, type Offset, type PartitionId } from "../domain.ts";
import { asTierlogError, OverloadedError, type TierlogError } from "../errors.ts";
import type { FrameExtent } from "../journal/frame.ts";
import type { Journal } from "../journal/journal.ts";
import type { LogRecord } from "../record/record.ts";
import type { ScheduledTask } from "../runtime/clock.ts";
import { afterThisTurn, nextTurn } from "../runtime/turn.ts";
import { sealAhead } from "./flight.ts";
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
/** Sealed in one turn of the event loop. */
const TURN_BYTES = 192 * 1024;

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
  /** A frame is being made; nothing else is until its appends are told. */
  #busy = false;
  /** Of the frame being made, until it is in the journal. */
  #writing: Gathering | undefined;
  /** The same, once its offsets are given. */
  #placing: Gathering | undefined;
  #scheduled = false;
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
    return this.#waiting.pendingRecords(key) + (this.#writing?.pendingRecords(key) ?? 0);
  }

  /** Where a partition ends behind the newest frame that is in the journal. */
  durableEnd(target: PartitionId, key = partitionKey(target)): Offset {
    return (this.#endOf(target, key) - (this.#placing?.pendingRecords(key) ?? 0)) as Offset;
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
    for (const batch of batches) {
      const key = partitionKey(batch);
      if (this.#ends.get(key) === batch.nextOffset) this.#ends.delete(key);
    }
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
    if (this.#busy) return;
    if (this.#stopped || this.#waiting.isEmpty) {
      for (const resolve of this.#idle.splice(0)) resolve();
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
    if (this.#busy) return;
    if (this.#stopped || this.#waiting.isEmpty) {
      this.wake();
      return;
    }
    const { bytes, appends, partitionCount } = this.#waiting.first;
    // Its true size is known once it is sealed; it is not more than this.
    if (!journal.hasRoom(partitionCount, framedBytes(bytes, appends))) {
      this.#waitForRoom();
      return;
    }
    this.#full?.cancel();
    this.#full = undefined;
    const gathering = this.#waiting.shift();
    this.#busy = true;
    this.#writing = gathering;
    this.#frames++;
    this.#write(gathering).then(
      ({ frame, late }) => this.#written(gathering, frame, late),
      (error: unknown) => {
        this.#busy = false;
        this.#writing = undefined;
        this.#giveUp(gathering, asTierlogError(error));
      },
    );
  }

  /**
   * Nothing is waited for without need: the bytes are on their way to the disk when this call returns, before the producers that were
   * told of the frame before can keep the event loop busy.
   */
  async #write(gathering: Gathering): Promise<{ readonly frame: QueuedFrame; readonly late: Proof }> {
    const { journal, runtime, prove } = this.#options;
    const proof = prove();
    const unproved = proof instanceof Promise ? await proof : proof;
    if (unproved !== undefined) throw unproved.withEffect("none");
    const epoch = this.#epoch;
    const before = new Map<string, Offset | undefined>();
    const ends = gathering.assignOffsets((target, key) => {
      before.set(key, this.#ends.get(key));
      return this.#endOf(target, key);
    });
    for (const [key, end] of ends) this.#ends.set(key, end);
    this.#placing = gathering;
    const batches: PlacedBatch[] = [];
    const extents: { -readonly [K in keyof FrameExtent]: FrameExtent[K] }[] = [];
    const chunks: Uint8Array[] = [];
    let position = 0;
    const createdAtMs = Math.max(0, Math.floor(runtime.clock.now()));
    let sequence;
    let records = 0;
    try {
      let turnBytes = 0;
      for (const next of sealAhead(gathering, epoch)) {
        const batch = next instanceof Promise ? await next : next;
        const { topicId, partition, baseOffset, nextOffset, maxTimestampMs, bytes } = batch;
        // Readers of what is journaled get these bytes, and may hold them longer than the tail does.
        batches.push({ ...batch, spare: undefined });
        chunks.push(bytes);
        const last = extents.at(-1);
        if (last !== undefined && last.partition === partition && last.topicId === topicId) {
          last.nextOffset = nextOffset;
          last.lengthBytes += bytes.length;
          last.maxTimestampMs = Math.max(last.maxTimestampMs, maxTimestampMs);
        } else {
          const lengthBytes = bytes.length;
          extents.push({ topicId, partition, baseOffset, nextOffset, position, lengthBytes, maxTimestampMs });
        }
        position += bytes.length;
        records += nextOffset - baseOffset;
        turnBytes += bytes.length;
        if (turnBytes >= TURN_BYTES) {
          turnBytes = 0;
          await nextTurn();
        }
      }
      const beganMs = runtime.clock.monotonic();
      sequence = await journal.append({ epoch, createdAtMs, extents, chunks, payloadBytes: position });
      this.#writeMs += (runtime.clock.monotonic() - beganMs - this.#writeMs) * WRITE_MS_WEIGHT;
    } catch (error) {
      // The next frame takes these offsets: its `prev` skips whatever of this one came to the disk.
      for (const [key, end] of before) {
        if (end === undefined) this.#ends.delete(key);
        else this.#ends.set(key, end);
      }
      this.#placing = undefined;
      throw error;
    }
    const again = prove();
    const late = again instanceof Promise ? await again : again;
    return { frame: { sequence, epoch, createdAtMs, batches, bytes: position, records, gathering }, late };
  }

  /** The frame is in the journal. The next one goes to the disk first: telling producers, and what they do then, takes as long. */
  #written(gathering: Gathering, frame: QueuedFrame, late: Proof): void {
    const { onFrame, leave } = this.#options;
    this.#busy = false;
    this.#placing = undefined;
    this.#writing = undefined;
    if (!this.#waiting.isEmpty) this.#writeNext();
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
    // Taken out first: each append that is told lets others in, and those belong to the next frame.
    const behind = this.#waiting.takeAll();
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
