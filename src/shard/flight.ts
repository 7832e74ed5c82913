import { partitionKey, type Epoch, type ObjectKey, type Offset, type ShardId } from "../domain.ts";
import type { TierlogError } from "../errors.ts";
import { linkOverheadBytes, type DataObjectRef } from "../index-chain/index-file.ts";
import type { BufferedMultipartWriter } from "../object-store/buffered-multipart-writer.ts";
import { DataObjectDirectory, type DataExtent } from "../object-store/data-object.ts";
import { isUploadGone } from "../object-store/multipart.ts";
import type { SealedBatch } from "../record/batch-builder.ts";
import { patchBatch } from "../record/batch.ts";
import { nextTurn } from "../runtime/turn.ts";
import type { Gathering, PendingBatch, AppendTarget } from "./pending.ts";

/** Batches sealed ahead of the one being written: keeps the compression threads busy while bytes are copied. */
const SEAL_AHEAD = 4;
/** Work done in one turn of the event loop, in bytes: sealing and copying so much into fresh memory takes about a millisecond. */
const TURN_BYTES = 192 * 1024;

export interface FlightOptions {
  readonly shard: ShardId;
  readonly epoch: Epoch;
  readonly nowMs: number;
  /** Of an index file. */
  readonly linkBytesMax: number;
  readonly writerIdBytes: number;
  /** Opens the data object of this flush; called again, for another name, where the store has lost the upload. */
  readonly openObject: (signal: AbortSignal) => { readonly key: ObjectKey; readonly writer: BufferedMultipartWriter };
  /** Clears an upload away that is given up. Not waited for: in an outage it takes a deadline of its own. */
  readonly abandon: (writer: BufferedMultipartWriter) => void;
}

/** Bytes kept for readers at the tail. */
export interface TailChunk {
  readonly position: number;
  readonly bytes: Uint8Array;
}

/** A flush whose bytes are ready to be named by a link. */
export interface PreparedFlight {
  /** Positions count from the start of the data object, or of this flush's part of the payload. */
  readonly extents: readonly DataExtent[];
  readonly chunks: readonly TailChunk[];
  /** Bytes of all chunks. */
  readonly batchBytes: number;
  /** undefined: the chunks go inline into the index file. */
  readonly object: DataObjectRef | undefined;
}

/** One flush from the moment it is taken until its link is live: its batches have their offsets, its bytes may be uploading. */
export class Flight {
  prepared: PreparedFlight | undefined;
  readonly #gathering: Gathering;
  readonly #options: FlightOptions;
  readonly #abort = new AbortController();
  /** Where each partition ends behind this flush. */
  readonly #ends = new Map<string, Offset>();

  /** `endOf` tells where a partition ends before this flush: behind the flushes ahead of it. */
  constructor(gathering: Gathering, options: FlightOptions, endOf: (target: AppendTarget, key: string) => Offset) {
    this.#gathering = gathering;
    this.#options = options;
    for (const { target, batches } of gathering.partitions()) {
      const key = partitionKey(target);
      let offset = endOf(target, key);
      for (const batch of batches) offset = batch.assign(offset);
      this.#ends.set(key, offset);
    }
  }

  /** Settles with its appends. */
  get done(): Promise<void> {
    return this.#gathering.done;
  }

  /** Where a partition ends behind this flush; undefined where it has no part in it. */
  endOf(key: string): Offset | undefined {
    return this.#ends.get(key);
  }

  /** Records of a partition in this flush. */
  pendingRecords(key: string): number {
    return this.#gathering.pendingRecords(key);
  }

  /**
   * Seals the batches and brings them to where a link can name them: they stay in memory up to the size of one link, else they
   * stream into a data object, partition by partition. Rejects when that is given up; nothing is named by the chain then.
   */
  async prepare(): Promise<PreparedFlight> {
    const { linkBytesMax, writerIdBytes, openObject, abandon, shard, epoch, nowMs } = this.#options;
    const directory = new DataObjectDirectory();
    const chunks: TailChunk[] = [];
    let object: { readonly key: ObjectKey; readonly writer: BufferedMultipartWriter } | undefined;
    let gone: unknown;
    let turnBytes = 0;
    try {
      for (const next of sealAhead(this.#gathering)) {
        const sealed = next.sealed instanceof Promise ? await next.sealed : next.sealed;
        this.#abort.signal.throwIfAborted();
        const { baseOffset } = next.pending;
        patchBatch(sealed.bytes, baseOffset, epoch);
        const chunk = { position: directory.position, bytes: sealed.bytes };
        chunks.push(chunk);
        directory.add(next.target, epoch, {
          baseOffset,
          nextOffset: (baseOffset + sealed.recordCount) as Offset,
          lengthBytes: sealed.bytes.length,
          maxTimestampMs: sealed.maxTimestampMs,
        });
        if (object !== undefined) {
          gone ??= await goneWhile(object.writer.write(sealed.bytes));
        } else if (inlineBytes(directory, writerIdBytes) > linkBytesMax) {
          object = openObject(this.#abort.signal);
          gone = await goneWhile(writeAll(object.writer, chunks));
        }
        turnBytes += sealed.bytes.length;
        if (turnBytes >= TURN_BYTES) {
          turnBytes = 0;
          await nextTurn();
        }
      }
      const prepared = { extents: directory.extents, chunks, batchBytes: directory.position };
      if (object === undefined) return { ...prepared, object: undefined };
      const tail = directory.encodeTail(shard, epoch, nowMs);
      const sizeBytes = directory.position + tail.length;
      gone ??= await goneWhile(finishWith(object.writer, tail));
      if (gone !== undefined) {
        // All bytes are still here. Once: a store that loses one upload after the other is no place for them.
        abandon(object.writer);
        object = openObject(this.#abort.signal);
        await writeAll(object.writer, chunks);
        await finishWith(object.writer, tail);
      }
      return { ...prepared, object: { key: object.key, sizeBytes } };
    } catch (error) {
      if (object !== undefined) abandon(object.writer);
      throw error;
    }
  }

  /** Its link is live. */
  committed(): void {
    this.#gathering.committed(this.#options.epoch);
  }

  /** Gives the flush up: stops its upload, tells its appends. */
  failed(error: TierlogError): void {
    this.#abort.abort(error);
    this.#gathering.failed(error);
  }
}

/** Size of an index file with these batches inline; every extent counts as of another topic: a few bytes too many at most. */
function inlineBytes(directory: DataObjectDirectory, writerIdBytes: number): number {
  const extents = directory.extents.length;
  return linkOverheadBytes(extents, extents, writerIdBytes) + directory.position;
}

async function writeAll(writer: BufferedMultipartWriter, chunks: readonly TailChunk[]): Promise<void> {
  for (const { bytes } of chunks) await writer.write(bytes);
}

async function finishWith(writer: BufferedMultipartWriter, tail: Uint8Array): Promise<void> {
  await writer.write(tail);
  await writer.finish();
}

/** The error of `work` where it says that the store has lost the upload; throws all others. */
async function goneWhile(work: Promise<void>): Promise<unknown> {
  try {
    await work;
    return undefined;
  } catch (error) {
    if (isUploadGone(error)) return error;
    throw error;
  }
}

interface Sealing {
  readonly target: AppendTarget;
  readonly pending: PendingBatch;
  readonly sealed: SealedBatch | Promise<SealedBatch>;
}

/** The batches in order; of those that are compressed off the loop a few are sealed ahead. */
function* sealAhead(gathering: Gathering): Generator<Sealing> {
  const ahead: Sealing[] = [];
  for (const { target, batches } of gathering.partitions()) {
    for (const pending of batches) {
      const sealed = pending.seal(target.compression);
      // Awaited in order; one that fails before its turn must not count as unhandled.
      if (sealed instanceof Promise) sealed.catch(() => undefined);
      ahead.push({ target, pending, sealed });
      // What was sealed on the loop goes on at once: five batches of a megabyte in one turn would hold it for milliseconds.
      while (ahead.length > SEAL_AHEAD || (ahead[0] !== undefined && !(ahead[0].sealed instanceof Promise))) {
        const first = ahead.shift();
        if (first !== undefined) yield first;
      }
    }
  }
  yield* ahead;
}
