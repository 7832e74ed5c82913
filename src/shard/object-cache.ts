import type { ObjectKey } from "../domain.ts";
import { ClosedError, CorruptionError, isTierlogError, MissingObjectError } from "../errors.ts";
import type { GetOptions, ObjectStore } from "../object-store/object-store.ts";
import { heldBytes, recycle, takeMemory } from "../record/spare-buffers.ts";
import { Semaphore } from "../runtime/mutex.ts";
import type { TailChunk } from "./prepare.ts";
import { TailCache } from "./tail-cache.ts";

export interface ObjectCacheOptions {
  readonly store: ObjectStore;
  /** `cache.tail_size`: files just committed by this process. */
  readonly tailBytes: number;
  /** `cache.size`: bytes fetched from the store. */
  readonly cacheBytes: number;
}

export interface CacheMetrics {
  readonly tailHits: number;
  readonly hits: number;
  readonly misses: number;
  /** Fetched before anybody asked, for readers that go on in order. */
  readonly readAheads: number;
  /** Reads that failed a check and were fetched again. */
  readonly refetched: number;
  /** Held now, tail and fetched. */
  readonly bytes: number;
}

interface Entry {
  readonly key: ObjectKey;
  readonly start: number;
  /** As asked for: the object may end before. */
  readonly end: number;
  readonly fetch: Promise<Uint8Array>;
  /** undefined while the fetch is under way. */
  bytes: Uint8Array | undefined;
  /** Those that wait for it, or copy from it. */
  readers: number;
  isDropped: boolean;
}

/** Bytes that are there until `release`, which must be called once. */
export interface PinnedBytes {
  readonly bytes: Uint8Array;
  /** They stay as they are behind `release` too: views of them may be given away. Else copies only. */
  readonly isLasting: boolean;
  release(): void;
}

/** What of a range lies in one entry. */
interface Part {
  readonly entry: Entry;
  readonly start: number;
  readonly end: number;
}

const BLOCK_BYTES = 8 * 1024 * 1024;
const FETCHES_MAX = 16;
/** Beside them. Those that would have to wait are not begun: a reader that comes for one of them would wait behind all the others. */
const AHEAD_FETCHES_MAX = 8;
const TOUCHED_MAX = 4096;

/**
 * Bytes of immutable objects, shared by all readers of an engine.
 *
 * The first miss in a block of an object fetches just the range; the second fetches the whole block, or the rest of it where the reader
 * goes on in order: a reader of one partition does not pay for its neighbours, and readers of all the partitions in a file pay two GETs
 * for it, not one each. Concurrent misses share one fetch.
 *
 * What is kept here is never given away, but looked at and copied. Who keeps a record would else keep the block around it, beside
 * `cacheBytes`; and memory that nobody else has takes the next block, where fresh memory for each would drive the collector into full
 * collections.
 */
export class ObjectCache {
  readonly #store: ObjectStore;
  readonly #tail: TailCache;
  readonly #cacheBytesMax: number;
  readonly #blockBytes: number;
  readonly #fetches = new Semaphore(FETCHES_MAX);
  readonly #aheadFetches = new Set<Promise<Uint8Array>>();
  /** Insertion order is the order of use, oldest first. */
  readonly #recent = new Set<Entry>();
  readonly #byKey = new Map<ObjectKey, Entry[]>();
  #cacheBytes = 0;
  /** Blocks with one miss so far. */
  readonly #touched = new Set<string>();
  readonly #closing = new AbortController();
  #tailHits = 0;
  #hits = 0;
  #misses = 0;
  #readAheads = 0;
  #refetched = 0;

  constructor(options: ObjectCacheOptions) {
    this.#store = options.store;
    this.#tail = new TailCache(options.tailBytes);
    this.#cacheBytesMax = options.cacheBytes;
    this.#blockBytes = Math.min(BLOCK_BYTES, Math.floor(options.cacheBytes / 4));
  }

  metrics(): CacheMetrics {
    return {
      tailHits: this.#tailHits,
      hits: this.#hits,
      misses: this.#misses,
      readAheads: this.#readAheads,
      refetched: this.#refetched,
      bytes: this.#tail.bytes + this.#cacheBytes,
    };
  }

  /**
   * Keeps bytes of an object that was just written, so that consumers at the tail cost no request. Takes the chunks over: their memory
   * is used again when they leave, unless they were read.
   */
  keepTail(key: ObjectKey, chunks: readonly TailChunk[]): void {
    this.#tail.keep(key, chunks);
  }

  /**
   * Bytes [start, end) of an object that the index chain names, read only: where they lie, without a copy if that is one place.
   * `MissingObjectError` when it is gone, `CorruptionError` when it is shorter than that.
   */
  async pin(key: ObjectKey, start: number, end: number): Promise<PinnedBytes> {
    const tail = this.fromTail(key, start, end);
    if (tail !== undefined) {
      this.#tailHits++;
      return { bytes: tail, isLasting: true, release: () => undefined };
    }
    const { parts, fetched } = this.#partsOf(key, start, end, false);
    if (fetched === 0) this.#hits++;
    else this.#misses++;
    for (const { entry } of parts) entry.readers++;
    const release = (): void => {
      for (const { entry } of parts) {
        entry.readers--;
        reuse(entry);
      }
    };
    try {
      const found = await Promise.all(parts.map(async (part) => slice(await part.entry.fetch, part)));
      const [only] = found;
      if (only !== undefined && found.length === 1) return { bytes: only, isLasting: false, release };
      const bytes = Buffer.concat(found, end - start);
      release();
      return { bytes, isLasting: true, release: () => undefined };
    } catch (error) {
      release();
      // It waited for what was fetched ahead.
      if (this.#closing.signal.aborted && isTierlogError(error) && error.kind === "aborted")
        throw new ClosedError("engine", { cause: error });
      throw error;
    }
  }

  /** As `pin`, and the caller's to keep. */
  async read(key: ObjectKey, start: number, end: number): Promise<Uint8Array> {
    const pinned = await this.pin(key, start, end);
    try {
      return pinned.isLasting ? pinned.bytes : Buffer.from(pinned.bytes);
    } finally {
      pinned.release();
    }
  }

  /** May `readAhead` be called? */
  get canReadAhead(): boolean {
    return this.#aheadFetches.size < AHEAD_FETCHES_MAX && !this.#closing.signal.aborted;
  }

  /**
   * Fetches what somebody will read soon, unless it is here. An error is nobody's: who reads it asks the store again, and is told.
   * REQUIRES: `canReadAhead`.
   */
  readAhead(key: ObjectKey, start: number, end: number): void {
    if (this.#tail.has(key, start, end)) return;
    this.#readAheads += this.#partsOf(key, start, end, true).fetched;
  }

  /**
   * A read of these objects failed a check: what was fetched of them is dropped, so that the next `read` asks the store, and a bit that
   * was flipped on its way does not stay here.
   */
  forget(keys: Iterable<ObjectKey>): void {
    for (const key of keys) {
      for (const entry of this.#byKey.get(key) ?? []) this.#drop(entry);
    }
    this.#refetched++;
  }

  /** As `read`, for bytes that the caller keeps in another form: they are not kept here, and say nothing about who reads what. */
  readOnce(key: ObjectKey, start: number, end: number, signal?: AbortSignal): Promise<Uint8Array> {
    const range = { start, end };
    return this.#fetches.run(async () => {
      const bytes = await this.#get(key, signal === undefined ? { range } : { range, signal });
      return slice(bytes, { entry: { key, start }, start, end });
    });
  }

  /** Of what this process wrote, without a request; undefined: not all of it is kept. Copies only where the range spans chunks. */
  fromTail(key: ObjectKey, start: number, end: number): Uint8Array | undefined {
    return this.#tail.read(key, start, end);
  }

  /** Gives up what is fetched ahead, and waits until nothing of it is under way. */
  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.allSettled(this.#aheadFetches);
  }

  /** The entries that hold a range, from its start to its end; begins to fetch those that are missing. */
  #partsOf(
    key: ObjectKey,
    start: number,
    end: number,
    isAhead: boolean,
  ): { readonly parts: readonly Part[]; readonly fetched: number } {
    const parts: Part[] = [];
    let fetched = 0;
    for (let position = start; position < end;) {
      let entry = this.#find(key, position, end);
      if (entry === undefined) {
        entry = this.#fetch(key, position, end, isAhead);
        fetched++;
      }
      const partEnd = Math.min(end, entry.end);
      parts.push({ entry, start: position, end: partEnd });
      position = partEnd;
    }
    return { parts, fetched };
  }

  /** Of those that hold `position` one that has all that is wanted at hand, else the one that reaches farthest. */
  #find(key: ObjectKey, position: number, end: number): Entry | undefined {
    let found: Entry | undefined;
    for (const entry of this.#byKey.get(key) ?? []) {
      if (entry.start > position || entry.end <= position) continue;
      if (found === undefined || entry.end > found.end) found = entry;
      if (entry.bytes === undefined || entry.end < end) continue;
      found = entry;
      break;
    }
    if (found === undefined) return undefined;
    this.#recent.delete(found);
    this.#recent.add(found);
    return found;
  }

  #fetch(key: ObjectKey, start: number, end: number, isAhead: boolean): Entry {
    const range = this.#rangeOf(key, start, end);
    const fetch = isAhead
      ? this.#get(key, { range, into: takeMemory, signal: this.#closing.signal })
      : this.#fetches.run(() => this.#get(key, { range, into: takeMemory }));
    const entry: Entry = { key, ...range, fetch, bytes: undefined, readers: 0, isDropped: false };
    if (isAhead) {
      const isOver = (): unknown => this.#aheadFetches.delete(fetch);
      this.#aheadFetches.add(fetch);
      fetch.then(isOver, isOver);
    }
    const entries = this.#byKey.get(key);
    if (entries === undefined) this.#byKey.set(key, [entry]);
    else entries.push(entry);
    this.#recent.add(entry);
    entry.fetch.then(
      (bytes) => {
        entry.bytes = bytes;
        // Forgotten meanwhile: it must not count as held.
        if (entry.isDropped) {
          reuse(entry);
          return;
        }
        this.#cacheBytes += heldBytes(bytes);
        this.#evict();
      },
      // Its readers get the error from the promise itself; the next reader tries again.
      () => this.#drop(entry),
    );
    return entry;
  }

  #rangeOf(key: ObjectKey, start: number, end: number): { start: number; end: number } {
    const size = this.#blockBytes;
    if (end - start > size) return { start, end };
    const block = Math.floor(start / size);
    const name = `${key}#${block}`;
    if (!this.#touched.has(name)) {
      if (this.#touched.size >= TOUCHED_MAX) this.#touched.clear();
      this.#touched.add(name);
      return { start, end };
    }
    // What of the block is here, or comes, before and behind that is not fetched again.
    const missing = { start: block * size, end: Math.ceil(end / size) * size };
    for (const entry of this.#byKey.get(key) ?? []) {
      if (entry.start <= missing.start && entry.end <= start) missing.start = Math.max(missing.start, entry.end);
      if (entry.end === start) missing.start = start;
      if (entry.start >= end && entry.end >= missing.end) missing.end = Math.min(missing.end, entry.start);
    }
    return missing;
  }

  async #get(key: ObjectKey, options: GetOptions): Promise<Uint8Array> {
    const object = await this.#store.get(key, options);
    if (object === undefined) throw new MissingObjectError(key, "the index chain");
    return object.body;
  }

  #evict(): void {
    for (const entry of this.#recent) {
      if (this.#cacheBytes <= this.#cacheBytesMax) return;
      if (entry.bytes !== undefined) this.#drop(entry);
    }
  }

  #drop(entry: Entry): void {
    if (entry.isDropped) return;
    entry.isDropped = true;
    this.#recent.delete(entry);
    if (entry.bytes !== undefined) this.#cacheBytes -= heldBytes(entry.bytes);
    const rest = (this.#byKey.get(entry.key) ?? []).filter((other) => other !== entry);
    if (rest.length === 0) this.#byKey.delete(entry.key);
    else this.#byKey.set(entry.key, rest);
    reuse(entry);
  }
}

/** Nobody was given a view of it: once the cache and its last reader let go of it, its memory takes other bytes. */
function reuse(entry: Entry): void {
  const { bytes, readers, isDropped } = entry;
  if (bytes === undefined || readers > 0 || !isDropped) return;
  entry.bytes = undefined;
  recycle(bytes);
}

function slice(
  bytes: Uint8Array,
  { entry, start, end }: Pick<Part, "start" | "end"> & { readonly entry: Pick<Entry, "key" | "start"> },
): Uint8Array {
  if (end - entry.start > bytes.length) {
    throw new CorruptionError(
      entry.key,
      entry.start + bytes.length,
      `the object ends here, the index chain names bytes up to ${end}`,
    );
  }
  return bytes.subarray(start - entry.start, end - entry.start);
}
