import { partitionKey, type Epoch, type Offset, type PartitionId } from "../domain.ts";
import { CorruptionError, InvariantError, NotFoundError } from "../errors.ts";
import type { Frame } from "../journal/frame.ts";
import type { Journal } from "../journal/journal.ts";
import { readBatchHeader } from "../record/batch.ts";
import { lend, recycle } from "../record/spare-buffers.ts";
import type { Gathering } from "./pending.ts";
import type { PlacedBatch } from "./prepare.ts";

/** A frame of the journal on its way into the chain. */
export interface QueuedFrame {
  readonly sequence: number;
  /** Of the writer of the frame: its batches keep it. */
  readonly epoch: Epoch;
  readonly createdAtMs: number;
  readonly batches: readonly PlacedBatch[];
  /** Of all batches. */
  readonly bytes: number;
  readonly records: number;
  /** The appends in it, as long as one of them waits for the upload. */
  gathering: Gathering | undefined;
}

/** Where the frames of one partition begin, in order. */
interface Tail {
  readonly offsets: number[];
  readonly sequences: number[];
  /** No record of the partition in that frame is later. */
  readonly maxTimestamps: number[];
  /** Index of the oldest frame that is still queued. */
  head: number;
}

/** What the queued frames say about the time of one partition's records, a frame at one index of both. */
export interface JournaledTimes {
  /** Of the first record in the frame; a frame ends where the next one begins. */
  readonly baseOffsets: readonly number[];
  /** No record in the frame is later. */
  readonly maxTimestamps: readonly number[];
}

/** Frames of which no byte is kept in memory, behind all that are. */
interface Spilled {
  /** Of the last frame that was loaded or is in memory; the next one follows it in the journal. */
  after: number;
  readonly gatherings: Map<number, Gathering>;
}

/**
 * The frames of a journal that are not in the chain yet, oldest first. The oldest are in memory up to a bound; when more come
 * than that, the newest are left on the disk until their turn. Per frame and partition 24 bytes stay in memory.
 */
export class UploadQueue {
  readonly #journal: Journal;
  readonly #memoryBytesMax: number;
  readonly #frames: QueuedFrame[] = [];
  #taken = 0;
  #spilled: Spilled | undefined;
  #memoryBytes = 0;
  readonly #tails = new Map<string, Tail>();
  #bytes = 0;
  #takenBytes = 0;
  #records = 0;
  #count = 0;
  #lastSequence = 0;
  #oldestMs: number | undefined;

  constructor(journal: Journal, memoryBytesMax: number) {
    this.#journal = journal;
    this.#memoryBytesMax = memoryBytesMax;
  }

  /** Frames, taken or not. */
  get count(): number {
    return this.#count;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get records(): number {
    return this.#records;
  }

  get untakenBytes(): number {
    return this.#bytes - this.#takenBytes;
  }

  get isAllTaken(): boolean {
    return this.#spilled === undefined && this.#taken === this.#frames.length;
  }

  /** Sequence of the newest frame that ever was in the queue. */
  get lastSequence(): number {
    return this.#lastSequence;
  }

  /** Of the oldest frame; 0 where none is queued. */
  get firstSequence(): number {
    return this.#frames[0]?.sequence ?? (this.#spilled === undefined ? 0 : this.#spilled.after + 1);
  }

  /** Of the oldest frame that is not taken, or a smaller number; 0 where none is. */
  get nextSequence(): number {
    return this.#frames[this.#taken]?.sequence ?? (this.#spilled === undefined ? 0 : this.#spilled.after + 1);
  }

  /** When the oldest frame was written, by the wall clock. */
  get oldestMs(): number | undefined {
    return this.#count === 0 ? undefined : (this.#frames[0]?.createdAtMs ?? this.#oldestMs);
  }

  /** Frames in the order of their sequences. Takes their batches over. */
  push(frame: QueuedFrame): void {
    this.#note(frame, frame.batches, frame.bytes, frame.records);
    if (this.#spilled === undefined && this.#memoryBytes + frame.bytes <= this.#memoryBytesMax) {
      this.#keep(frame);
      return;
    }
    this.#spilled ??= { after: this.#frames.at(-1)?.sequence ?? frame.sequence - 1, gatherings: new Map() };
    if (frame.gathering !== undefined) this.#spilled.gatherings.set(frame.sequence, frame.gathering);
    // From now on the disk is where they are read.
    for (const { bytes } of frame.batches) recycle(bytes);
  }

  /** A frame found in the journal: it stays on the disk until its turn. */
  pushStored(frame: Frame): void {
    let records = 0;
    for (const { baseOffset, nextOffset } of frame.extents) records += nextOffset - baseOffset;
    this.#note(frame, frame.extents, frame.payloadBytes, records);
    this.#spilled ??= { after: this.#frames.at(-1)?.sequence ?? frame.sequence - 1, gatherings: new Map() };
  }

  #note(
    frame: { readonly sequence: number; readonly createdAtMs: number },
    extents: readonly (PartitionId & {
      readonly key?: string;
      readonly baseOffset: Offset;
      readonly maxTimestampMs: number;
    })[],
    bytes: number,
    records: number,
  ): void {
    if (frame.sequence <= this.#lastSequence) throw new InvariantError(`frame ${frame.sequence} is queued twice`);
    this.#lastSequence = frame.sequence;
    if (this.#count === 0) this.#oldestMs = frame.createdAtMs;
    this.#count++;
    this.#bytes += bytes;
    this.#records += records;
    for (const extent of extents) {
      const key = extent.key ?? partitionKey(extent);
      let tail = this.#tails.get(key);
      if (tail === undefined) this.#tails.set(key, (tail = { offsets: [], sequences: [], maxTimestamps: [], head: 0 }));
      const { offsets, sequences, maxTimestamps } = tail;
      const last = sequences.length - 1;
      if (sequences[last] === frame.sequence) {
        maxTimestamps[last] = Math.max(maxTimestamps[last] ?? extent.maxTimestampMs, extent.maxTimestampMs);
        continue;
      }
      offsets.push(extent.baseOffset);
      sequences.push(frame.sequence);
      maxTimestamps.push(extent.maxTimestampMs);
    }
  }

  #keep(frame: QueuedFrame): void {
    this.#frames.push(frame);
    this.#memoryBytes += frame.bytes;
  }

  /** The oldest frames that are not taken, at least one and about `maxBytes`; none where all are taken. One call at a time. */
  async take(maxBytes: number): Promise<QueuedFrame[]> {
    const group: QueuedFrame[] = [];
    let bytes = 0;
    for (;;) {
      const next = this.#frames[this.#taken];
      if (next !== undefined) {
        if (group.length > 0 && bytes + next.bytes > maxBytes) return group;
        group.push(next);
        bytes += next.bytes;
        this.#taken++;
        this.#takenBytes += next.bytes;
      } else if (this.#spilled === undefined || (group.length > 0 && bytes >= maxBytes)) {
        return group;
      } else {
        await this.#load(this.#spilled, Math.max(1, maxBytes - bytes));
      }
    }
  }

  /** Brings the oldest frames on the disk to memory, at least one where there is one, up to about `maxBytes`. */
  async #load(spilled: Spilled, maxBytes: number): Promise<void> {
    let bytes = 0;
    for await (const { frame, payload } of this.#journal.framesWithPayloads(spilled.after)) {
      const gathering = spilled.gatherings.get(frame.sequence);
      spilled.gatherings.delete(frame.sequence);
      this.#keep({ ...queued(frame, payload), gathering });
      this.#oldestMs = frame.createdAtMs;
      spilled.after = frame.sequence;
      bytes += payload.length;
      if (frame.sequence >= this.#lastSequence) break;
      if (bytes >= maxBytes) return;
    }
    if (spilled.after < this.#lastSequence) {
      throw new InvariantError(`frame ${this.#lastSequence} is queued, the journal ends at ${spilled.after}`);
    }
    this.#spilled = undefined;
  }

  /** Of what is in memory only the oldest `count` frames count as taken. REQUIRES: no `take` is under way. */
  putBack(count: number): void {
    this.#taken = count;
    this.#takenBytes = 0;
    for (let i = 0; i < count; i++) this.#takenBytes += this.#frames[i]?.bytes ?? 0;
  }

  /** Removes the oldest `count` frames, which were taken: they are in the chain. */
  committed(count: number): QueuedFrame[] {
    const frames = this.#frames.splice(0, count);
    this.#taken -= frames.length;
    for (const frame of frames) {
      this.#takenBytes -= frame.bytes;
      this.#memoryBytes -= frame.bytes;
      this.#bytes -= frame.bytes;
      this.#records -= frame.records;
      this.#count--;
      let last: string | undefined;
      for (const { key } of frame.batches) {
        if (key === last) continue;
        last = key;
        this.#forget(key);
      }
    }
    return frames;
  }

  #forget(key: string): void {
    const tail = this.#tails.get(key);
    if (tail === undefined) return;
    tail.head++;
    if (tail.head === tail.offsets.length) this.#tails.delete(key);
    // Half at a time: to take each one off the front would move all the others.
    if (tail.head > 1024 && tail.head * 2 > tail.offsets.length) {
      tail.offsets.splice(0, tail.head);
      tail.sequences.splice(0, tail.head);
      tail.maxTimestamps.splice(0, tail.head);
      tail.head = 0;
    }
  }

  /** The frames in memory, oldest first. */
  get loaded(): readonly QueuedFrame[] {
    return this.#frames;
  }

  /** Takes the appends out that wait for their upload. */
  takeGatherings(): Gathering[] {
    const gatherings: Gathering[] = [];
    for (const frame of this.#frames) {
      if (frame.gathering !== undefined) gatherings.push(frame.gathering);
      frame.gathering = undefined;
    }
    gatherings.push(...(this.#spilled?.gatherings.values() ?? []));
    this.#spilled?.gatherings.clear();
    return gatherings;
  }

  /** Everything leaves the queue, which is of no use any more. */
  clear(): void {
    this.#frames.length = 0;
    this.#tails.clear();
    this.#spilled = undefined;
    this.#memoryBytes = this.#bytes = this.#takenBytes = this.#records = this.#count = this.#taken = 0;
  }

  /**
   * Encoded batches of a partition from the one that holds `from` on, up to about `maxBytes` but at least one, of the frame that
   * holds it. undefined: no frame in the queue does.
   */
  async read(id: PartitionId, from: number, maxBytes: number): Promise<readonly PlacedBatch[] | undefined> {
    const tail = this.#tails.get(partitionKey(id));
    if (tail === undefined) return undefined;
    const at = lastAtOrBelow(tail.offsets, from);
    const sequence = tail.sequences[at];
    if (sequence === undefined || at < tail.head) return undefined;
    const frame = this.#frames[lastAtOrBelow(this.#frames, sequence, ({ sequence: own }) => own)];
    const batches = frame?.sequence === sequence ? frame.batches : await this.#readStored(sequence);
    const found: PlacedBatch[] = [];
    let bytes = 0;
    for (const batch of batches ?? []) {
      if (batch.partition !== id.partition || batch.topicId !== id.topicId || batch.nextOffset <= from) continue;
      if (found.length > 0 && bytes >= maxBytes) break;
      found.push({ ...batch, bytes: lend(batch.bytes) });
      bytes += batch.bytes.length;
    }
    return found.length === 0 ? undefined : found;
  }

  /** Of the frames from the one that holds `from` on; undefined where none is queued. */
  timesBehind(id: PartitionId, from: number): JournaledTimes | undefined {
    const tail = this.#tails.get(partitionKey(id));
    if (tail === undefined) return undefined;
    const first = Math.max(tail.head, lastAtOrBelow(tail.offsets, from));
    return { baseOffsets: tail.offsets.slice(first), maxTimestamps: tail.maxTimestamps.slice(first) };
  }

  /** undefined where the frame was committed and freed meanwhile. */
  async #readStored(sequence: number): Promise<readonly PlacedBatch[] | undefined> {
    try {
      for await (const { frame, payload } of this.#journal.framesWithPayloads(sequence - 1)) {
        return frame.sequence === sequence ? queued(frame, payload).batches : undefined;
      }
    } catch (error) {
      if (!(error instanceof NotFoundError)) throw error;
    }
    return undefined;
  }
}

/** The batches of a frame that was read back. `payload` was checked against its CRC. */
function queued(frame: Frame, payload: Uint8Array): Omit<QueuedFrame, "gathering"> {
  const batches: PlacedBatch[] = [];
  let records = 0;
  const where = `journal frame ${frame.sequence}`;
  for (const extent of frame.extents) {
    const key = partitionKey(extent);
    const end = extent.position + extent.lengthBytes;
    let offset = extent.baseOffset;
    for (let position = extent.position; position < end;) {
      const header = readBatchHeader(payload, position, { key: where, position });
      if (header.baseOffset !== offset || header.epoch !== frame.epoch) {
        throw new CorruptionError(
          where,
          position,
          `a batch of epoch ${header.epoch} at offset ${header.baseOffset} where epoch ${frame.epoch} and offset ${offset} are due`,
        );
      }
      batches.push({
        topicId: extent.topicId,
        partition: extent.partition,
        key,
        epoch: frame.epoch,
        baseOffset: header.baseOffset,
        nextOffset: header.nextOffset,
        maxTimestampMs: header.maxTimestampMs,
        bytes: payload.subarray(position, position + header.lengthBytes),
      });
      offset = header.nextOffset;
      position += header.lengthBytes;
    }
    if (offset !== extent.nextOffset) {
      throw new CorruptionError(
        where,
        end,
        `the batches end at offset ${offset}, their extent at ${extent.nextOffset}`,
      );
    }
    records += extent.nextOffset - extent.baseOffset;
  }
  const { sequence, epoch, createdAtMs } = frame;
  return { sequence, epoch, createdAtMs, batches, bytes: payload.length, records };
}

/** Index of the last of `list` whose number is ≤ `wanted`; −1 where there is none. */
function lastAtOrBelow(list: readonly number[], wanted: number): number;
function lastAtOrBelow<T>(list: readonly T[], wanted: number, numberOf: (item: T) => number): number;
function lastAtOrBelow<T>(list: readonly T[], wanted: number, numberOf?: (item: T) => number): number {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const item = list[middle] as T;
    if ((numberOf === undefined ? (item as number) : numberOf(item)) <= wanted) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
