import type { Epoch, ObjectKey, Offset, PartitionId } from "../domain.ts";
import { CorruptionError, isTierlogError } from "../errors.ts";
import type { BatchHeader } from "../record/batch-header.ts";
import { lastWholeBatch, readBatchHeader, walkExtent } from "../record/batch.ts";
import { nextTurn } from "../runtime/turn.ts";
import type { MergeJob } from "./job-builder.ts";
import type { ReadPlan, SourceRead } from "./read-plan.ts";
import type { MergeSource, SourceReader } from "./source-reader.ts";

/** An extent whose bytes fail their checks, or are not there: it stays where it is. */
export interface DamagedExtent extends PartitionId {
  readonly key: ObjectKey;
  /** From the start of the object: of the extent. */
  readonly position: number;
  readonly lengthBytes: number;
  readonly baseOffset: Offset;
  readonly nextOffset: Offset;
  readonly problem: string;
}

/** Takes the batches of a job, one after the other. */
export interface BatchSink {
  /** A view that is overwritten by nobody. undefined: nothing is to be waited for. */
  add(id: PartitionId, epoch: Epoch, header: BatchHeader, bytes: Uint8Array): Promise<void> | undefined;
}

export interface CopyOptions {
  readonly job: MergeJob;
  readonly plan: ReadPlan;
  readonly reader: SourceReader;
  readonly source: MergeSource;
  readonly sink: BatchSink;
  readonly signal: AbortSignal;
}

/** Checked in one turn of the event loop: about a millisecond's worth. */
const BYTES_PER_TURN = 256 * 1024;
const BATCHES_PER_TURN = 250;

/** More than a batch can have, far below what memory stands: a length that is damaged must not gather a whole extent. */
const BATCH_BYTES_MAX = 64 * 1024 * 1024;

/**
 * Gives every batch of a job to the sink, partition by partition, in the order of offsets, each checked against its CRC, the index and its
 * neighbours. What fails is fetched once more by itself: it may have been flipped on its way. The result names the extents that fail again, and is
 * empty where everything was copied; behind the first of them the sink gets nothing, and the rest is only checked.
 */
export async function copyExtents(options: CopyOptions): Promise<readonly DamagedExtent[]> {
  const damaged: DamagedExtent[] = [];
  const copier = new ExtentCopier(options);
  let number = 0;
  for (const range of options.job.ranges) {
    const { extents } = range;
    for (let i = range.from; i < range.from + range.count; i++) {
      const problem = await copier.copy(number++, {
        topicId: range.topicId,
        partition: range.partition,
        epoch: extents.leaderEpoch(i),
        baseOffset: extents.baseOffset(i),
        nextOffset: extents.nextOffset(i),
        position: extents.position(i),
        lengthBytes: extents.lengthBytes(i),
      });
      if (problem !== undefined) damaged.push(problem);
    }
  }
  return damaged;
}

interface SourceExtent extends PartitionId {
  readonly epoch: Epoch;
  readonly baseOffset: Offset;
  readonly nextOffset: Offset;
  readonly position: number;
  readonly lengthBytes: number;
}

class ExtentCopier {
  readonly #options: CopyOptions;
  #turnBytes = 0;
  #turnBatches = 0;
  /** From then on the rest is only checked: what the sink has got is for nothing, and another job must not meet the next damage. */
  #isDamaged = false;
  /** Of the extent being copied: the next batch. */
  #offset = 0 as Offset;
  #position = 0;

  constructor(options: CopyOptions) {
    this.#options = options;
  }

  async copy(number: number, extent: SourceExtent): Promise<DamagedExtent | undefined> {
    const { plan, reader } = this.#options;
    const end = extent.position + extent.lengthBytes;
    this.#offset = extent.baseOffset;
    this.#position = extent.position;
    let damage: DamagedExtent | undefined;
    let rest: Uint8Array | undefined;
    // Every read of it is taken and let go of, damaged or not.
    for (let at = plan.firstReads[number] ?? 0, isLast = false; !isLast; at++) {
      const read = plan.reads[at];
      if (read === undefined) break;
      isLast = read.end >= end;
      if (damage === undefined) {
        const bytes = await this.#window(at, read, extent, rest);
        const result = await this.#copyWindow(bytes, read, extent, isLast);
        if ("problem" in result) {
          damage = { ...idOf(extent), ...placeOf(extent, read.key), problem: result.problem };
          this.#isDamaged = true;
        } else {
          rest = result.rest;
        }
      }
      reader.done(at);
    }
    return damage;
  }

  /** What is there from the next batch on to the end of the read, or of the extent; undefined where it could not be read whole. */
  async #window(
    at: number,
    read: SourceRead,
    extent: SourceExtent,
    rest: Uint8Array | undefined,
  ): Promise<Uint8Array | undefined> {
    const end = Math.min(read.end, extent.position + extent.lengthBytes);
    let bytes: Uint8Array;
    try {
      bytes = await this.#options.reader.take(at);
    } catch (error) {
      throwUnlessData(error);
      return undefined;
    }
    if (rest === undefined || rest.length === 0) return bytes.subarray(this.#position - read.start, end - read.start);
    return Buffer.concat([rest, bytes.subarray(0, end - read.start)]);
  }

  /** Copies the batches that are whole in `bytes`; the rest is the beginning of one that goes on in the next read. */
  async #copyWindow(
    bytes: Uint8Array | undefined,
    read: SourceRead,
    extent: SourceExtent,
    isLast: boolean,
  ): Promise<{ readonly rest: Uint8Array } | { readonly problem: string }> {
    const { source, signal } = this.#options;
    const end = Math.min(read.end, extent.position + extent.lengthBytes);
    try {
      if (bytes !== undefined) return { rest: await this.#copyBatches(bytes, read.key, extent, isLast) };
    } catch (error) {
      throwUnlessData(error);
      // All batches are right, and not what the index says.
      if (this.#position === end) return { problem: String(error) };
    }
    try {
      const again = await source.fetch(read.key, this.#position, end, signal);
      return { rest: await this.#copyBatches(again, read.key, extent, isLast) };
    } catch (error) {
      throwUnlessData(error);
      return { problem: error instanceof Error ? error.message : String(error) };
    }
  }

  async #copyBatches(bytes: Uint8Array, key: ObjectKey, extent: SourceExtent, isLast: boolean): Promise<Uint8Array> {
    const { sink, signal } = this.#options;
    const where = { key, position: this.#position };
    let whole = bytes.length;
    let nextOffset = extent.nextOffset;
    if (!isLast) {
      const last = lastWholeBatch(bytes);
      whole = last.end;
      if (whole === 0) {
        if (bytes.length > BATCH_BYTES_MAX)
          throw new CorruptionError(key, this.#position, `a batch of more than ${BATCH_BYTES_MAX} bytes`);
        return bytes;
      }
      ({ nextOffset } = readBatchHeader(bytes.subarray(0, whole), last.start, where));
    }
    const expected = { baseOffset: this.#offset, nextOffset, epoch: extent.epoch };
    for (const batch of walkExtent(bytes.subarray(0, whole), expected, where, this.#offset)) {
      const added = this.#isDamaged ? undefined : sink.add(extent, extent.epoch, batch.header, batch.bytes);
      if (added !== undefined) await added;
      this.#offset = batch.header.nextOffset;
      this.#position += batch.bytes.length;
      this.#turnBytes += batch.bytes.length;
      this.#turnBatches++;
      if (this.#turnBytes >= BYTES_PER_TURN || this.#turnBatches >= BATCHES_PER_TURN) {
        this.#turnBytes = 0;
        this.#turnBatches = 0;
        await nextTurn();
      }
      signal.throwIfAborted();
    }
    return bytes.subarray(whole);
  }
}

/** Damage is found and told; all else ends the job. */
function throwUnlessData(error: unknown): void {
  if (!isTierlogError(error) || error.kind !== "data") throw error;
}

function idOf({ topicId, partition }: PartitionId): PartitionId {
  return { topicId, partition };
}

function placeOf(
  { position, lengthBytes, baseOffset, nextOffset }: SourceExtent,
  key: ObjectKey,
): Omit<DamagedExtent, "problem" | "topicId" | "partition"> {
  return { key, position, lengthBytes, baseOffset, nextOffset };
}
