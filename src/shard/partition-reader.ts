import type { ObjectKey, Offset, PartitionId } from "../domain.ts";
import { InvariantError, isTierlogError, OffsetOutOfRangeError } from "../errors.ts";
import type { Extent, ExtentList } from "../index-chain/extent-list.ts";
import type { ShardState } from "../index-chain/shard-state.ts";
import { readBatchHeader, walkExtent, type VerifiedBatch } from "../record/batch.ts";
import type { ObjectCache, PinnedBytes } from "./object-cache.ts";
import { blocksOf, isLarge, wholeOf, type Piece } from "./pieces.ts";
import type { PlacedBatch } from "./prepare.ts";
import type { SparseIndexes } from "./sparse-indexes.ts";
import { readThroughMerges } from "./superseded.ts";
import type { JournaledTimes } from "./upload-queue.ts";

/** What a reader looks at: a `Shard`. */
export interface ReadView {
  /** Without asking the store; undefined where nothing was ever folded. */
  readonly knownState: ShardState | undefined;
  /** As far as the chain was folded, maybe empty. */
  readonly chainState: ShardState;
  refresh(): Promise<ShardState>;
  /** As `refresh`, but an owner asks the store as well: for what its own view cannot explain. */
  refold(): Promise<ShardState>;
  /** Where a partition ends in chain and journal; undefined where only the chain tells. */
  durableEnd(id: PartitionId): Offset | undefined;
  /** Batches that are in the journal and not in the chain, from the one that holds `from` on; undefined: none is. */
  readJournaled(id: PartitionId, from: number, maxBytes: number): Promise<readonly PlacedBatch[] | undefined>;
  /** What the journal says about the time of records that are not in the chain; undefined: there are none. */
  journaledTimes(id: PartitionId, from: number): JournaledTimes | undefined;
}

export interface BatchesRead {
  readonly batches: readonly Uint8Array[];
  readonly nextOffset: Offset;
}

const READ_BYTES = 1024 * 1024;

/** Pieces that lie side by side in one object: one request. */
interface Run {
  readonly key: ObjectKey;
  readonly start: number;
  end: number;
  readonly pieces: Piece[];
}

/**
 * Encoded batches from the one that holds `from` on, up to about `maxBytes` but at least one; none at the end of the log. Each is
 * checked against its CRC and the index. Asks the chain for news only where the known view does not reach past `from`. `level`
 * says which records count: those in the chain, or also those that are only in the journal of this process.
 */
export async function readBatches(
  shard: ReadView,
  cache: ObjectCache,
  sparseIndexes: SparseIndexes,
  id: PartitionId,
  from: number,
  maxBytes: number,
  level: "journaled" | "uploaded",
): Promise<BatchesRead> {
  for (;;) {
    const durable = level === "journaled" ? shard.durableEnd(id) : undefined;
    const known = shard.chainState.extents(id)?.nextOffset ?? 0;
    if (durable === undefined || from < known) {
      return await readUploaded(shard, cache, sparseIndexes, id, from, maxBytes);
    }
    if (from > durable) {
      throw new OffsetOutOfRangeError(from, shard.chainState.extents(id)?.startOffset ?? 0, durable);
    }
    if (from === durable) return { batches: [], nextOffset: from as Offset };
    const batches = await shard.readJournaled(id, from, maxBytes);
    const last = batches?.at(-1);
    if (batches !== undefined && last !== undefined) {
      return { batches: batches.map(({ bytes }) => bytes), nextOffset: last.nextOffset };
    }
    // It went into the chain while we looked, or the shard was lost: either shows in the next look.
    if (shard.durableEnd(id) === durable && (shard.chainState.extents(id)?.nextOffset ?? 0) === known) {
      throw new InvariantError(
        `offset ${from} is neither in the chain, up to ${known}, nor in the journal, up to ${durable}`,
      );
    }
  }
}

/** All bytes of a partition from offset `from`, where a batch begins, to `end`, where one ends, as the chain has them. */
export async function readCommitted(
  shard: ReadView,
  cache: ObjectCache,
  sparseIndexes: SparseIndexes,
  id: PartitionId,
  from: Offset,
  end: Offset,
): Promise<Uint8Array> {
  const found: Uint8Array[] = [];
  for (let offset = from; offset < end;) {
    const { batches, nextOffset } = await readUploaded(shard, cache, sparseIndexes, id, offset, READ_BYTES);
    if (batches.length === 0) break;
    for (const batch of batches) {
      if (readBatchHeader(batch, 0, { key: "committed", position: 0 }).nextOffset <= end) found.push(batch);
    }
    offset = nextOffset;
  }
  return Buffer.concat(found);
}

function readUploaded(
  shard: ReadView,
  cache: ObjectCache,
  sparseIndexes: SparseIndexes,
  id: PartitionId,
  from: number,
  maxBytes: number,
): Promise<BatchesRead> {
  return readThroughMerges(shard, id, () => readView(shard, cache, sparseIndexes, id, from, maxBytes));
}

async function readView(
  shard: ReadView,
  cache: ObjectCache,
  sparseIndexes: SparseIndexes,
  id: PartitionId,
  from: number,
  maxBytes: number,
): Promise<BatchesRead> {
  // Numbers of objects mean something only in the state that they come from: a reader's view may be thrown away for another one.
  const state = await viewBehind(shard, id, from);
  const extents = state.extents(id);
  const start = extents?.startOffset ?? 0;
  const end = extents?.nextOffset ?? 0;
  if (from < start || from > end) throw new OffsetOutOfRangeError(from, start, end);
  if (extents === undefined || from === end) return { batches: [], nextOffset: from as Offset };

  const runs = await collectRuns(state, extents, sparseIndexes, id, from, maxBytes);
  try {
    return await batchesOf(runs, cache, from, maxBytes);
  } catch (error) {
    // Flipped or cut on the way, perhaps: what is damaged in the store fails again.
    if (!isTierlogError(error) || error.code !== "TIERLOG_CORRUPTION") throw error;
    // Whatever the cache still holds of it: bytes that it had no room for were fetched as well.
    cache.forget(runs.map(({ key }) => key));
    return await batchesOf(runs, cache, from, maxBytes);
  }
}

async function batchesOf(
  runs: readonly Run[],
  cache: ObjectCache,
  from: number,
  maxBytes: number,
): Promise<BatchesRead> {
  const pins = await Promise.allSettled(runs.map((run) => cache.pin(run.key, run.start, run.end)));
  try {
    const failed = pins.find((pin) => pin.status === "rejected");
    if (failed !== undefined) throw failed.reason;
    return takeBatches(
      runs,
      pins.flatMap((pin) => (pin.status === "fulfilled" ? [pin.value] : [])),
      from,
      maxBytes,
    );
  } finally {
    for (const pin of pins) if (pin.status === "fulfilled") pin.value.release();
  }
}

/** What is not lasting is checked where it lies, and only what is taken of it is copied, all into one buffer. */
function takeBatches(runs: readonly Run[], pins: readonly PinnedBytes[], from: number, maxBytes: number): BatchesRead {
  const batches: Uint8Array[] = [];
  const toCopy: number[] = [];
  let bytesToCopy = 0;
  let nextOffset = from as Offset;
  for (const { batch, isLasting } of walkRuns(runs, pins, from, maxBytes)) {
    if (!isLasting) {
      toCopy.push(batches.length);
      bytesToCopy += batch.bytes.length;
    }
    batches.push(batch.bytes);
    nextOffset = batch.header.nextOffset;
  }
  const copies = Buffer.allocUnsafe(bytesToCopy);
  let position = 0;
  for (const i of toCopy) {
    const bytes = batches[i] ?? copies;
    copies.set(bytes, position);
    batches[i] = copies.subarray(position, (position += bytes.length));
  }
  return { batches, nextOffset };
}

/** Of the batches from the one that holds `from` on, about `maxBytes` but at least one. */
function* walkRuns(
  runs: readonly Run[],
  pins: readonly PinnedBytes[],
  from: number,
  maxBytes: number,
): Generator<{ readonly batch: VerifiedBatch; readonly isLasting: boolean }> {
  let taken = 0;
  let nextOffset = from;
  for (const [i, run] of runs.entries()) {
    const { bytes = new Uint8Array(0), isLasting = true } = pins[i] ?? {};
    for (const { key, start: position, end, expected } of run.pieces) {
      const pieceBytes = bytes.subarray(position - run.start, end - run.start);
      // Where extents were merged while the pieces were collected, one may begin with what the one before it held.
      for (const batch of walkExtent(pieceBytes, expected, { key, position }, nextOffset)) {
        yield { batch, isLasting };
        taken += batch.bytes.length;
        nextOffset = batch.header.nextOffset;
        if (taken >= maxBytes) return;
      }
    }
  }
}

/** A view that reaches past `from`, or as far as the chain goes. */
async function viewBehind(shard: ReadView, id: PartitionId, from: number): Promise<ShardState> {
  const reachesBehind = (state: ShardState | undefined): boolean => from < (state?.extents(id)?.nextOffset ?? 0);
  const known = shard.knownState;
  if (known !== undefined && reachesBehind(known)) return known;
  try {
    return await shard.refresh();
  } catch (error) {
    // A link that cannot be read stops writers, not those who read below it.
    if (isTierlogError(error) && error.kind === "data" && reachesBehind(shard.chainState)) return shard.chainState;
    throw error;
  }
}

async function collectRuns(
  state: ShardState,
  extents: ExtentList,
  sparseIndexes: SparseIndexes,
  id: PartitionId,
  from: number,
  maxBytes: number,
): Promise<Run[]> {
  const runs: Run[] = [];
  let bytes = 0;
  // By offset, not by number: a trim or a merge while a sparse index is fetched leaves the extents with other numbers. Keys are looked
  // up together with their extent: objects leave the state.
  let offset = from;
  while (offset < extents.nextOffset && (runs.length === 0 || bytes < maxBytes)) {
    const extent = extents.at(extents.find(offset));
    // Trimmed just now: what is collected ends here, the next read is told.
    if (extent.baseOffset > offset) break;
    const piece = isLarge(extent)
      ? await pieceOf(state, sparseIndexes, id, extent, offset, maxBytes - bytes)
      : wholeOf(state, extent);
    const last = runs.at(-1);
    if (last !== undefined && last.key === piece.key && last.end === piece.start) {
      last.end = piece.end;
      last.pieces.push(piece);
    } else {
      runs.push({ key: piece.key, start: piece.start, end: piece.end, pieces: [piece] });
    }
    bytes += piece.end - piece.start;
    offset = extent.nextOffset;
    // The rest of this extent comes before the next one.
    if (piece.expected.nextOffset < extent.nextOffset) break;
  }
  return runs;
}

/** The blocks of a large extent from the one that holds `from` on, up to about `maxBytes` but at least one. */
async function pieceOf(
  state: ShardState,
  sparseIndexes: SparseIndexes,
  id: PartitionId,
  extent: Extent,
  from: number,
  maxBytes: number,
): Promise<Piece> {
  const object = state.dataObject(extent.object);
  const blocks = await sparseIndexes.blocksOf(object, id, extent);
  const beyond = blocks.findIndex((block) => block.offset > from);
  const first = (beyond < 0 ? blocks.length : beyond) - 1;
  const start = blocks[first]?.position ?? 0;
  let next = first + 1;
  while (next < blocks.length && (blocks[next]?.position ?? 0) - start < maxBytes) next++;
  return blocksOf(object.key, extent, blocks, first, next);
}
