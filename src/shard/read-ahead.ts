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
  /** `cache.size`: at most a quarter of it is fetched ahead of one reader, half of it ahead of all. */
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
  /** The number of its last read, of all there were. */
  lastRead: number;
}

const WINDOW_BYTES_MAX = 32 * 1024 * 1024;
/** Begun again when so much of a window is used up: in larger steps most of it would not be under way while its reader waits for the rest. */
const STEP = 1 / 4;
const STREAMS_MAX = 1024;
/** So many rounds of all the others without a read of its own, and a reader is taken to be gone. */
const ROUNDS_MAX = 64;
/** Requests begun with one read: where a log lies in small objects the window would be thousands. */
const RUNS_MAX = 16;

/**
 * Fetches what readers that go on in order will read next, while they are busy with what they have: against a store 50 ms away a reader
 * of 1 MiB at a time would see 20 MB/s. Whoever stops reading costs no more than one window; whoever jumps about, nothing.
 */
export class ReadAhead {
  readonly #cache: ObjectCache;
  readonly #sparseIndexes: SparseIndexes;
  readonly #windowBytesMax: number;
  readonly #bytesMax: number;
  /** By partition and next offset; insertion order is the order of use, oldest first. */
  readonly #streams = new Map<string, Stream>();
  /** Those with a window. */
  #withWindow = 0;
  #reads = 0;

  constructor({ cache, sparseIndexes, cacheBytes }: ReadAheadOptions) {
    this.#cache = cache;
    this.#sparseIndexes = sparseIndexes;
    this.#windowBytesMax = Math.min(WINDOW_BYTES_MAX, Math.floor(cacheBytes / 4));
    this.#bytesMax = Math.floor(cacheBytes / 2);
  }

  /** A read of `bytes` from offset `from` is done and ended before `nextOffset`. */
  didRead(shard: ReadView, id: PartitionId, from: number, nextOffset: Offset, bytes: number): void {
    const partition = partitionKey(id);
    const known = this.#take(`${partition}@${from}`);
    const stream = known ?? newStream(nextOffset);
    stream.lastRead = ++this.#reads;
    if (known !== undefined && bytes > 0) {
      const share = Math.floor(this.#bytesMax / (this.#withWindow + 1));
      const windowBytes = Math.min(Math.max(stream.windowBytes * 2, bytes), this.#windowBytesMax, share);
      // Less than a read would only make two requests of one.
      stream.windowBytes = windowBytes < bytes ? 0 : windowBytes;
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
      for (let runs = 0; runs < RUNS_MAX && stream.aheadBytes < stream.windowBytes; runs++) {
        const run = await this.#nextRun(state, extents, id, stream);
        if (run === undefined) return;
        this.#cache.readAhead(run.key, run.start, run.end);
        stream.aheadBytes += run.end - run.start;
      }
    } catch {
      // A footer that cannot be fetched, or an object that was merged away: the read that needs it says so.
    } finally {
      stream.isFetching = false;
    }
  }

  /** The next bytes of the partition that one request can fetch, as many as the window has room for; undefined: there are none. */
  async #nextRun(state: ShardState, extents: ExtentList, id: PartitionId, stream: Stream): Promise<Run | undefined> {
    let run: Run | undefined;
    const room = stream.windowBytes - stream.aheadBytes;
    for (let from: Offset; (from = laterOf(stream.aheadTo, extents.startOffset)) < extents.nextOffset;) {
      const extent = extents.at(extents.find(from));
      const key = state.objectKey(extent.object);
      const inside = isLarge(extent) ? await this.#insideOf(state, id, extent, from, stream) : 0;
      const start = extent.position + inside;
      if (run !== undefined && (run.key !== key || run.end !== start || run.end - run.start >= room)) break;
      const left = extent.lengthBytes - inside;
      const bytes = isLarge(extent) ? Math.min(left, room - (run === undefined ? 0 : run.end - run.start)) : left;
      // One extent of many batches may be larger than any window: the cache would have no room for it.
      if (bytes > 2 * this.#windowBytesMax) break;
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
    const blocks = this.#sparseIndexes.blocksOf(state.dataObject(extent.object), id, extent);
    if (from > extent.baseOffset) return (await blocks).findLast(({ offset }) => offset <= from)?.position ?? 0;
    blocks.catch(() => undefined);
    // A merge may have put another extent there.
    return Math.min(aheadInside, extent.lengthBytes);
  }

  #take(name: string): Stream | undefined {
    const stream = this.#streams.get(name);
    if (stream === undefined) return undefined;
    this.#streams.delete(name);
    if (stream.windowBytes > 0) this.#withWindow--;
    return stream;
  }

  #put(name: string, stream: Stream): void {
    // Two readers at one place: the one that read last goes on for both.
    this.#take(name);
    this.#streams.set(name, stream);
    if (stream.windowBytes > 0) this.#withWindow++;
    const { size } = this.#streams;
    for (const [oldest, { lastRead }] of this.#streams) {
      if (size > STREAMS_MAX || this.#reads - lastRead > ROUNDS_MAX * size) this.#take(oldest);
      return;
    }
  }
}

function newStream(nextOffset: Offset): Stream {
  return { windowBytes: 0, aheadBytes: 0, aheadTo: nextOffset, aheadInside: 0, isFetching: false, lastRead: 0 };
}

function laterOf(a: Offset, b: Offset): Offset {
  return a > b ? a : b;
}
