import { partitionKey, type ObjectKey, type Offset, type PartitionId } from "../domain.ts";
import type { Extent, ExtentList } from "../index-chain/extent-list.ts";
import type { ShardState } from "../index-chain/shard-state.ts";
import type { ObjectCache } from "./object-cache.ts";
import type { ReadView } from "./partition-reader.ts";
import { isLarge } from "./pieces.ts";
import type { SparseIndexes } from "./sparse-indexes.ts";

export interface ReadAheadOptions {
  readonly cache: ObjectCache;
  readonly sparseIndexes: SparseIndexes;
  /** `cache.size`: at most a quarter of it is fetched ahead of all readers together. */
  readonly cacheBytes: number;
}

/** Bytes that one request fetches. */
interface Run {
  readonly key: ObjectKey;
  readonly start: number;
  readonly end: number;
}

/** A reader that goes on in order, known by the offset where its next read begins. */
interface Stream {
  /** How much is to be fetched ahead of it: 0 until it has gone on once, then twice as much with each read. */
  windowBytes: number;
  /** How much was, of what it has not read yet. */
  aheadBytes: number;
  /** Up to where: an offset, and how far into the large extent that begins there, if one does. */
  aheadTo: Offset;
  aheadInside: number;
  isFetching: boolean;
  /** Among the streams, and its `aheadBytes` in their sum. */
  isKnown: boolean;
  /** The number of its last read, of all there were. */
  lastRead: number;
}

const WINDOW_BYTES_MAX = 32 * 1024 * 1024;
/** Begun again when so much of a window is used up: in larger steps most of it would not be under way while its reader waits for the rest. */
const STEP = 1 / 4;
const STREAMS_MAX = 1024;
/** So many rounds of all the others without a read of its own, and a reader is taken to be gone. */
const ROUNDS_MAX = 16;
/** Looked at after one read: where a log lies in tiny objects that are all here already, a whole window of them would stop the event loop. */
const RUNS_MAX = 64;

/**
 * Fetches what readers that go on in order will read next, while they are busy with what they have: against a store 50 ms away a reader
 * of 1 MiB at a time would see 20 MB/s. Whoever stops reading costs no more than one window; whoever jumps about, nothing.
 */
export class ReadAhead {
  readonly #cache: ObjectCache;
  readonly #sparseIndexes: SparseIndexes;
  readonly #bytesMax: number;
  /** By partition and next offset; insertion order is the order of use, oldest first. */
  readonly #streams = new Map<string, Stream>();
  /** `aheadBytes` of all of them. */
  #bytes = 0;
  #reads = 0;

  constructor({ cache, sparseIndexes, cacheBytes }: ReadAheadOptions) {
    this.#cache = cache;
    this.#sparseIndexes = sparseIndexes;
    // No more: what was read stands behind it in the order of use, and would drive it out of the cache before it is read.
    this.#bytesMax = Math.floor(cacheBytes / 4);
  }

  /** A read of `bytes` from offset `from` is done and ended before `nextOffset`. */
  didRead(shard: ReadView, id: PartitionId, from: number, nextOffset: Offset, bytes: number): void {
    const partition = partitionKey(id);
    const known = this.#take(`${partition}@${from}`);
    const stream = known ?? newStream(nextOffset);
    stream.lastRead = ++this.#reads;
    if (known !== undefined && bytes > 0) {
      const windowBytes = Math.min(2 * Math.max(stream.windowBytes, bytes), WINDOW_BYTES_MAX, this.#bytesMax);
      // About as much as a read would only make two requests of one.
      stream.windowBytes = windowBytes < 2 * bytes ? 0 : windowBytes;
      stream.aheadBytes = Math.max(0, stream.aheadBytes - bytes);
      // Overtaken, or never begun.
      if (stream.aheadBytes === 0) {
        stream.aheadTo = nextOffset;
        stream.aheadInside = 0;
      }
    }
    this.#put(`${partition}@${nextOffset}`, stream);
    if (!stream.isFetching && stream.aheadBytes <= stream.windowBytes * (1 - STEP)) void this.#fetch(shard, id, stream);
  }

  async #fetch(shard: ReadView, id: PartitionId, stream: Stream): Promise<void> {
    const state = shard.knownState;
    const extents = state?.extents(id);
    if (state === undefined || extents === undefined) return;
    stream.isFetching = true;
    try {
      for (let runs = 0; runs < RUNS_MAX; runs++) {
        const room = Math.min(stream.windowBytes - stream.aheadBytes, this.#bytesMax - this.#bytes);
        if (room <= 0 || !this.#cache.canReadAhead) return;
        const run = await this.#nextRun(state, extents, id, stream, room);
        if (run === undefined) return;
        this.#cache.readAhead(run.key, run.start, run.end);
        stream.aheadBytes += run.end - run.start;
        if (stream.isKnown) this.#bytes += run.end - run.start;
      }
    } catch {
      // A footer that cannot be fetched, or an object that was merged away: the read that needs it says so.
    } finally {
      stream.isFetching = false;
    }
  }

  /** The next bytes of the partition that one request can fetch, up to about `room`; undefined: there are none. */
  async #nextRun(
    state: ShardState,
    extents: ExtentList,
    id: PartitionId,
    stream: Stream,
    room: number,
  ): Promise<Run | undefined> {
    let run: Run | undefined;
    for (let from: Offset; (from = laterOf(stream.aheadTo, extents.startOffset)) < extents.nextOffset;) {
      const extent = extents.at(extents.find(from));
      const key = state.objectKey(extent.object);
      const inside = isLarge(extent) ? await this.#insideOf(state, id, extent, from, stream) : 0;
      const start = extent.position + inside;
      if (run !== undefined && (run.key !== key || run.end !== start || run.end - run.start >= room)) break;
      const left = extent.lengthBytes - inside;
      const bytes = isLarge(extent) ? Math.min(left, room - (run === undefined ? 0 : run.end - run.start)) : left;
      // One extent of many batches may be larger than any window: the cache would have no room for it.
      if (bytes > this.#bytesMax) break;
      run = { key, start: run?.start ?? start, end: start + bytes };
      if (bytes < left) {
        stream.aheadTo = extent.baseOffset;
        stream.aheadInside = inside + bytes;
        break;
      }
      stream.aheadTo = extent.nextOffset;
      stream.aheadInside = 0;
    }
    return run;
  }

  /** Where in a large extent to go on. Who enters it needs its sparse index, which is fetched beside the first bytes. */
  async #insideOf(
    state: ShardState,
    id: PartitionId,
    extent: Extent,
    from: Offset,
    { aheadInside }: Stream,
  ): Promise<number> {
    const object = state.dataObject(extent.object);
    if (from > extent.baseOffset) {
      const blocks = await this.#sparseIndexes.blocksOf(object, id, extent);
      return blocks.findLast(({ offset }) => offset <= from)?.position ?? 0;
    }
    this.#sparseIndexes.readAhead(object);
    // A merge may have put another extent there.
    return Math.min(aheadInside, extent.lengthBytes);
  }

  #take(name: string): Stream | undefined {
    const stream = this.#streams.get(name);
    if (stream === undefined) return undefined;
    this.#streams.delete(name);
    this.#bytes -= stream.aheadBytes;
    stream.isKnown = false;
    return stream;
  }

  #put(name: string, stream: Stream): void {
    // Two readers side by side: the one that came first goes on for both.
    const first = this.#streams.get(name);
    if (first !== undefined && first.windowBytes >= stream.windowBytes) return;
    this.#take(name);
    this.#streams.set(name, stream);
    this.#bytes += stream.aheadBytes;
    stream.isKnown = true;
    const { size } = this.#streams;
    for (const [oldest, { lastRead }] of this.#streams) {
      if (size > STREAMS_MAX || this.#reads - lastRead > ROUNDS_MAX * size) this.#take(oldest);
      return;
    }
  }
}

function newStream(nextOffset: Offset): Stream {
  return {
    windowBytes: 0,
    aheadBytes: 0,
    aheadTo: nextOffset,
    aheadInside: 0,
    isFetching: false,
    isKnown: false,
    lastRead: 0,
  };
}

function laterOf(a: Offset, b: Offset): Offset {
  return a > b ? a : b;
}
