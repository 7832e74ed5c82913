import type { Offset, PartitionId } from "../domain.ts";
import { isTierlogError, OffsetOutOfRangeError } from "../errors.ts";
import { ExtentList, type Extent } from "../index-chain/extent-list.ts";
import type { ShardState } from "../index-chain/shard-state.ts";
import { findMaxTimestamp, findTimestamp, readBatchHeader, walkExtent, type Where } from "../record/batch.ts";
import type { TimestampedOffset } from "../record/record.ts";
import type { ObjectCache } from "./object-cache.ts";
import { readBatches, type ReadView } from "./partition-reader.ts";
import { blocksOf, isLarge, wholeOf, type Piece } from "./pieces.ts";
import type { SparseIndexes } from "./sparse-indexes.ts";
import { readThroughMerges } from "./superseded.ts";
import type { JournaledTimes } from "./upload-queue.ts";

export interface TimestampLookupOptions {
  readonly shard: ReadView;
  readonly cache: ObjectCache;
  readonly sparseIndexes: SparseIndexes;
  readonly id: PartitionId;
  /** Which records count: those in the chain, or also those that are only in the journal of this process. */
  readonly level: "journaled" | "uploaded";
}

export interface OffsetAtTime {
  readonly found: TimestampedOffset | undefined;
  /** Every record before this one was considered. */
  readonly end: Offset;
}

const TAIL_READ_BYTES = 8 * 1024 * 1024;
const NO_TIMES: JournaledTimes = { baseOffsets: [], maxTimestamps: [] };

/** Records side by side, none of which is later than `maxTimestampMs`; whether one is that late shows only when they are read. */
interface Span {
  readonly baseOffset: number;
  readonly nextOffset: number;
  readonly maxTimestampMs: number;
}

/** Looks for records by time in one partition, as it is when it is made. Timestamps may decrease from one record to the next. */
class TimestampLookup {
  readonly #options: TimestampLookupOptions;
  readonly #state: ShardState;
  readonly #extents: ExtentList;
  /** Extents that come while this looks are not in it. */
  readonly #extentTimes: Float64Array;
  readonly #tail: JournaledTimes;
  readonly start: Offset;
  readonly end: Offset;

  constructor(options: TimestampLookupOptions, state: ShardState) {
    const { shard, id, level } = options;
    this.#options = options;
    this.#state = state;
    this.#extents = state.extents(id)?.snapshot() ?? new ExtentList();
    this.#extentTimes = this.#extents.maxTimestamps();
    this.start = this.#extents.startOffset;
    const uploaded = this.#extents.nextOffset;
    const durable = level === "journaled" ? shard.durableEnd(id) : undefined;
    const isTail = durable !== undefined && durable > uploaded;
    this.end = isTail ? durable : uploaded;
    this.#tail = isTail ? (shard.journaledTimes(id, uploaded) ?? NO_TIMES) : NO_TIMES;
  }

  /** The first record at or behind `from` whose timestamp is `timestampMs` or later. */
  async first(timestampMs: number, from: Offset): Promise<TimestampedOffset | undefined> {
    for (let i = this.#extents.find(from); i < this.#extentTimes.length; i++) {
      if ((this.#extentTimes[i] ?? 0) < timestampMs) continue;
      for (const piece of await this.#pieces(this.#extents.at(i))) {
        if (piece.maxTimestampMs < timestampMs || piece.expected.nextOffset <= from) continue;
        const found = firstIn(await this.#read(piece, from), from, timestampMs);
        if (found !== undefined) return found;
      }
    }
    for (let i = 0; i < this.#tail.baseOffsets.length; i++) {
      const frame = this.#frame(i);
      if (frame.maxTimestampMs < timestampMs || frame.nextOffset <= from) continue;
      const found = firstIn(await this.#readTail(frame), Math.max(from, frame.baseOffset), timestampMs);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /** The record with the highest timestamp, of several the first. */
  async latest(): Promise<TimestampedOffset | undefined> {
    const { start } = this;
    const extentCount = this.#extentTimes.length;
    const times = [this.#extentTimes, this.#tail.maxTimestamps];
    let best: TimestampedOffset | undefined;
    // What promises the latest record comes first. Usually it holds it, and nothing else has to be read.
    for (let next = latestBehind(times, undefined); next !== undefined; next = latestBehind(times, next)) {
      const isExtent = next.index < extentCount;
      if (!isExtent) {
        const frame = this.#frame(next.index - extentCount);
        if (!mayBeat(frame, best)) break;
        best = latestIn(await this.#readTail(frame), start, best);
        continue;
      }
      const extent = this.#extents.at(next.index);
      if (!mayBeat(extent, best)) break;
      const pieces = await this.#pieces(extent);
      for (const piece of pieces.toSorted((a, b) => b.maxTimestampMs - a.maxTimestampMs)) {
        const { maxTimestampMs, expected } = piece;
        if (!mayBeat({ maxTimestampMs, baseOffset: expected.baseOffset }, best)) break;
        best = latestIn(await this.#read(piece, start), start, best);
      }
    }
    return best;
  }

  #frame(i: number): Span {
    const { baseOffsets, maxTimestamps } = this.#tail;
    return {
      baseOffset: baseOffsets[i] ?? 0,
      nextOffset: baseOffsets[i + 1] ?? this.end,
      maxTimestampMs: maxTimestamps[i] ?? 0,
    };
  }

  /** What can be read of an extent by itself, in offset order. */
  async #pieces(extent: Extent): Promise<readonly (Piece & { readonly maxTimestampMs: number })[]> {
    const { maxTimestampMs } = extent;
    if (!isLarge(extent)) return [{ ...wholeOf(this.#state, extent), maxTimestampMs }];
    const { sparseIndexes, id } = this.#options;
    const object = this.#state.dataObject(extent.object);
    const blocks = await sparseIndexes.blocksOf(object, id, extent);
    // The link is right: an index that knows of nothing that late says nothing about time.
    const agrees = blocks.some((block) => block.maxTimestampMs >= maxTimestampMs);
    return blocks.map((block, i) => ({
      ...blocksOf(object.key, extent, blocks, i, i + 1),
      maxTimestampMs: agrees ? block.maxTimestampMs : maxTimestampMs,
    }));
  }

  async #read(piece: Piece, from: number): Promise<readonly Located[]> {
    const { cache } = this.#options;
    const { key, start, end, expected } = piece;
    const read = async (): Promise<readonly Located[]> => {
      const whole = await cache.read(key, start, end);
      return Array.from(walkExtent(whole, expected, { key, position: start }, from), ({ bytes }) => ({
        bytes,
        where: { key, position: start + bytes.byteOffset - whole.byteOffset },
      }));
    };
    try {
      return await read();
    } catch (error) {
      // Flipped or cut on the way, perhaps: what is damaged in the store fails again.
      if (!isTierlogError(error) || error.code !== "TIERLOG_CORRUPTION") throw error;
      cache.forget([key]);
      return await read();
    }
  }

  /** From the journal, or from the chain where the frame has gone there meanwhile. */
  async #readTail({ baseOffset, nextOffset }: Span): Promise<readonly Located[]> {
    const { shard, cache, sparseIndexes, id, level } = this.#options;
    const found: Located[] = [];
    for (let offset = baseOffset; offset < nextOffset;) {
      const read = await readBatches(shard, cache, sparseIndexes, id, offset, TAIL_READ_BYTES, level);
      if (read.batches.length === 0) break;
      const where = { key: `${id.topicId}/${id.partition} from offset ${offset}`, position: 0 };
      for (const bytes of read.batches) found.push({ bytes, where });
      offset = read.nextOffset;
    }
    return found;
  }
}

interface Located {
  readonly bytes: Uint8Array;
  readonly where: Where;
}

function firstIn(batches: readonly Located[], from: number, timestampMs: number): TimestampedOffset | undefined {
  for (const { bytes, where } of batches) {
    if (readBatchHeader(bytes, 0, where).maxTimestampMs < timestampMs) continue;
    const found = findTimestamp(bytes, where, from, timestampMs);
    if (found !== undefined) return found;
  }
  return undefined;
}

function latestIn(
  batches: readonly Located[],
  from: number,
  best: TimestampedOffset | undefined,
): TimestampedOffset | undefined {
  let latest = best;
  for (const { bytes, where } of batches) {
    if (!mayBeat(readBatchHeader(bytes, 0, where), latest)) continue;
    const found = findMaxTimestamp(bytes, where, from);
    if (found !== undefined && beats(found.timestampMs, found.offset, latest)) latest = found;
  }
  return latest;
}

/** May records from `baseOffset` on, none of them later than `maxTimestampMs`, be what `best` is not: later, or as late and before it? */
function mayBeat(
  { maxTimestampMs, baseOffset }: Pick<Span, "maxTimestampMs" | "baseOffset">,
  best: TimestampedOffset | undefined,
): boolean {
  return beats(maxTimestampMs, baseOffset, best);
}

function beats(timestampMs: number, offset: number, best: TimestampedOffset | undefined): boolean {
  if (best === undefined || timestampMs > best.timestampMs) return true;
  return timestampMs === best.timestampMs && offset < best.offset;
}

interface Ranked {
  readonly timestampMs: number;
  /** Counted through all lists. */
  readonly index: number;
}

/** The highest number in the lists, of equal ones the first, that comes behind `before` in that order. */
function latestBehind(lists: readonly ArrayLike<number>[], before: Ranked | undefined): Ranked | undefined {
  let best: Ranked | undefined;
  let base = 0;
  for (const list of lists) {
    for (let i = 0; i < list.length; i++) {
      const timestampMs = list[i] ?? 0;
      if (best !== undefined && timestampMs <= best.timestampMs) continue;
      if (before !== undefined && timestampMs >= before.timestampMs) {
        if (timestampMs > before.timestampMs || base + i <= before.index) continue;
      }
      best = { timestampMs, index: base + i };
    }
    base += list.length;
  }
  return best;
}

/**
 * The first record of a partition, in offset order, whose timestamp is `timestampMs` or later. An extent, a block or a batch is
 * stepped over by its maximum alone, which is never below the timestamps in it; where it is above, the next candidate is read.
 * Asks the chain for news only where the known view holds no such record. Errors as `readBatches`.
 */
export async function findOffsetAt(options: TimestampLookupOptions, timestampMs: number): Promise<OffsetAtTime> {
  const { shard } = options;
  let from = 0 as Offset;
  const look = (): Promise<TimestampedOffset | undefined> =>
    onWhatIsLeft(options, (left) =>
      readThroughMerges(shard, options.id, async () => {
        const lookup = new TimestampLookup(left, shard.chainState);
        const found = await lookup.first(timestampMs, Math.max(from, lookup.start) as Offset);
        from = Math.max(from, lookup.end) as Offset;
        return found;
      }),
    );
  const known = shard.knownState === undefined ? undefined : await look();
  if (known !== undefined) return { found: known, end: from };
  let unreadable: unknown;
  await shard.refresh().catch((error: unknown) => {
    if (!isTierlogError(error) || error.kind !== "data") throw error;
    // A link that cannot be read stops writers, not those who look below it.
    unreadable = error;
  });
  const found = await look();
  if (found === undefined && unreadable !== undefined) throw unreadable;
  return { found, end: from };
}

/** The record of a partition with the highest timestamp, of several the first; undefined where there is no record. */
export async function findLatest(options: TimestampLookupOptions): Promise<TimestampedOffset | undefined> {
  const { shard, id } = options;
  await shard.refresh();
  return await onWhatIsLeft(options, (left) =>
    readThroughMerges(shard, id, () => new TimestampLookup(left, shard.chainState).latest()),
  );
}

/** Once more without the journal where the shard, and with it what was only journaled, is lost while `look` looks there. */
async function onWhatIsLeft<T>(
  options: TimestampLookupOptions,
  look: (options: TimestampLookupOptions) => Promise<T>,
): Promise<T> {
  const { shard, id, level } = options;
  try {
    return await look(options);
  } catch (error) {
    const isLost = error instanceof OffsetOutOfRangeError && shard.durableEnd(id) === undefined;
    if (level === "uploaded" || !isLost) throw error;
    return await look({ ...options, level: "uploaded" });
  }
}
