import type { Epoch, ObjectKey, Offset, PartitionId, ShardId } from "../domain.ts";
import { linkOverheadBytes } from "../index-chain/index-file.ts";
import type { DataObjectRef, LinkEntry } from "../index-chain/link-entries.ts";
import type { BufferedMultipartWriter } from "../object-store/buffered-multipart-writer.ts";
import { DataObjectDirectory, type DataExtent } from "../object-store/data-object.ts";
import { isUploadGone } from "../object-store/multipart.ts";
import { batchCrc32c } from "../record/batch.ts";
import { nextTurn } from "../runtime/turn.ts";

/** Work done in one turn of the event loop, in bytes: sealing so much takes a tenth of a millisecond, more in memory that is fresh. */
const TURN_BYTES = 512 * 1024;
/** What a batch costs besides its bytes, by the same measure: flushes of ten thousand small ones must not keep the loop either. */
const BATCH_COST_BYTES = 512;

/** A sealed batch that has its offsets and its epoch. */
export interface PlacedBatch extends PartitionId {
  /** `partitionKey` of the two, one string for all batches of a partition: to make and hash it for each takes longer than the rest. */
  readonly key: string;
  readonly epoch: Epoch;
  readonly baseOffset: Offset;
  readonly nextOffset: Offset;
  readonly maxTimestampMs: number;
  readonly bytes: Uint8Array;
}

/** Bytes kept for readers at the tail. */
export interface TailChunk {
  readonly position: number;
  readonly bytes: Uint8Array;
}

/** A flush whose bytes are ready to be named by a link, or a change. */
export interface PreparedFlight {
  /** Positions count from the start of the data object, or of this flush's part of the payload. */
  readonly extents: readonly DataExtent[];
  readonly chunks: readonly TailChunk[];
  /** Bytes of all chunks. */
  readonly batchBytes: number;
  /** undefined: the chunks go inline into the index file. */
  readonly object: DataObjectRef | undefined;
  /** Of a change, which has nothing else. */
  readonly changes?: readonly LinkEntry[];
}

export interface PrepareOptions {
  readonly shard: ShardId;
  /** Of the writer. */
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

/**
 * Brings the batches of a flush, grouped by partition, to where a link can name them: they stay in memory up to the size of one
 * link, else they stream into a data object. Rejects when that is given up or `signal` fires; nothing is named by the chain then.
 */
export async function prepareBatches(
  batches: Iterable<PlacedBatch | Promise<PlacedBatch>>,
  { shard, epoch, nowMs, linkBytesMax, writerIdBytes, openObject, abandon }: PrepareOptions,
  signal: AbortSignal,
): Promise<PreparedFlight> {
  const directory = new DataObjectDirectory();
  const chunks: TailChunk[] = [];
  let object: { readonly key: ObjectKey; readonly writer: BufferedMultipartWriter } | undefined;
  let gone: unknown;
  let turnBytes = 0;
  try {
    for (const next of batches) {
      const batch = next instanceof Promise ? await next : next;
      signal.throwIfAborted();
      const { bytes, baseOffset, nextOffset, maxTimestampMs } = batch;
      chunks.push({ position: directory.position, bytes });
      directory.add(batch, batch.epoch, { baseOffset, nextOffset, lengthBytes: bytes.length, maxTimestampMs });
      if (object !== undefined) {
        gone ??= await goneWhile(object.writer.write(bytes, batchCrc32c(bytes)));
      } else if (inlineBytes(directory, writerIdBytes) > linkBytesMax) {
        object = openObject(signal);
        gone = await goneWhile(writeAll(object.writer, chunks));
      }
      turnBytes += BATCH_COST_BYTES + bytes.length;
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
      object = openObject(signal);
      await writeAll(object.writer, chunks);
      await finishWith(object.writer, tail);
    }
    return { ...prepared, object: { key: object.key, sizeBytes } };
  } catch (error) {
    if (object !== undefined) abandon(object.writer);
    throw error;
  }
}

/** Size of an index file with these batches inline; every extent counts as of another topic: a few bytes too many at most. */
function inlineBytes(directory: DataObjectDirectory, writerIdBytes: number): number {
  const extents = directory.extents.length;
  return linkOverheadBytes(extents, extents, writerIdBytes) + directory.position;
}

async function writeAll(writer: BufferedMultipartWriter, chunks: readonly TailChunk[]): Promise<void> {
  for (const { bytes } of chunks) await writer.write(bytes, batchCrc32c(bytes));
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
