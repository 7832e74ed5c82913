import type { ObjectKey } from "../domain.ts";
import { CorruptionError, InvariantError, MissingObjectError } from "../errors.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import { heldBytes, lend, recycle } from "../record/spare-buffers.ts";
import { Semaphore } from "../runtime/mutex.ts";
import type { TailChunk } from "./prepare.ts";

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
  /** 0 while the fetch is under way. */
  sizeBytes: number;
}

const BLOCK_BYTES = 8 * 1024 * 1024;
const FETCHES_MAX = 16;
const TOUCHED_MAX = 4096;

/** What is kept of an object that was just written. */
interface TailObject {
  readonly key: ObjectKey;
  /** In order of position; undefined from the front on as they are dropped. */
  readonly chunks: (TailChunk | undefined)[];
  /** Bytes that each chunk keeps alive. */
  readonly held: number[];
  /** Index of the oldest that is not dropped. */
  oldest: number;
}

/**
 * Bytes of immutable objects, shared by all readers of an engine.
 *
 * The first miss in a block of an object fetches just the range; the second fetches the whole block: a reader of one partition
 * does not pay for its neighbours, and readers of all the partitions in a file pay two GETs for it, not one each. Concurrent
 * misses share one fetch.
 */
export class ObjectCache {
  readonly #store: ObjectStore;
  readonly #tailBytesMax: number;
  readonly #cacheBytesMax: number;
  readonly #blockBytes: number;
  readonly #fetches = new Semaphore(FETCHES_MAX);
  readonly #tail = new Map<ObjectKey, TailObject>();
  /** The same, oldest first. */
  readonly #tailOrder: (TailObject | undefined)[] = [];
  #tailOldest = 0;
  #tailBytes = 0;
  /** Insertion order is the order of use, oldest first. */
  readonly #recent = new Set<Entry>();
  readonly #byKey = new Map<ObjectKey, Entry[]>();
  #cacheBytes = 0;
  /** Blocks with one miss so far. */
  readonly #touched = new Set<string>();
  #tailHits = 0;
  #hits = 0;
  #misses = 0;
  #refetched = 0;

  constructor(options: ObjectCacheOptions) {
    this.#store = options.store;
    this.#tailBytesMax = options.tailBytes;
    this.#cacheBytesMax = options.cacheBytes;
    this.#blockBytes = Math.min(BLOCK_BYTES, Math.floor(options.cacheBytes / 4));
  }

  metrics(): CacheMetrics {
    return {
      tailHits: this.#tailHits,
      hits: this.#hits,
      misses: this.#misses,
      refetched: this.#refetched,
      bytes: this.#tailBytes + this.#cacheBytes,
    };
  }

  /**
   * Keeps bytes of an object that was just written, so that consumers at the tail cost no request. Takes the chunks over: their memory
   * is used again when they leave, unless they were read.
   */
  keepTail(key: ObjectKey, chunks: readonly TailChunk[]): void {
    // One that alone is too large would drive all others out and then not be kept either.
    const kept: TailObject = { key, chunks: [], held: [], oldest: 0 };
    for (const chunk of chunks) {
      const held = heldBytes(chunk.bytes);
      if (held > this.#tailBytesMax) {
        recycle(chunk.bytes);
        continue;
      }
      kept.chunks.push(chunk);
      kept.held.push(held);
      this.#tailBytes += held;
    }
    if (kept.chunks.length > 0) {
      this.#tail.set(key, kept);
      this.#tailOrder.push(kept);
    }
    while (this.#tailBytes > this.#tailBytesMax) this.#dropOldest();
    // The order is a queue: its dead front goes when it is half of it, which costs O(1) an object.
    if (this.#tailOldest > 1024 && this.#tailOldest * 2 > this.#tailOrder.length) {
      this.#tailOrder.splice(0, this.#tailOldest);
      this.#tailOldest = 0;
    }
  }

  /** The oldest chunk of the oldest object. Nothing is moved up: an object may have tens of thousands. */
  #dropOldest(): void {
    const object = this.#tailOrder[this.#tailOldest];
    const chunk = object?.chunks[object.oldest];
    if (object === undefined || chunk === undefined)
      throw new InvariantError(`${this.#tailBytes} bytes in an empty tail`);
    this.#tailBytes -= object.held[object.oldest] ?? 0;
    object.chunks[object.oldest++] = undefined;
    recycle(chunk.bytes);
    if (object.oldest < object.chunks.length) return;
    this.#tail.delete(object.key);
    // Up to a thousand dead ones stand there until the queue is cut: they would hold a thousand index files alive.
    this.#tailOrder[this.#tailOldest++] = undefined;
  }

  /**
   * Bytes [start, end) of an object that the index chain names: read only, shared. `MissingObjectError` when it is gone,
   * `CorruptionError` when it is shorter than that.
   */
  async read(key: ObjectKey, start: number, end: number): Promise<Uint8Array> {
    const tail = this.fromTail(key, start, end);
    if (tail !== undefined) {
      this.#tailHits++;
      return tail;
    }
    const known = this.#find(key, start, end);
    if (known === undefined) this.#misses++;
    else this.#hits++;
    const entry = known ?? this.#fetch(key, start, end);
    return slice(await entry.fetch, entry.start, start, end, key);
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
    return this.#fetches.run(async () => slice(await this.#get(key, { start, end }, signal), start, start, end, key));
  }

  /** Of what this process wrote, without a request; undefined: not all of it is kept. Copies only where the range spans chunks. */
  fromTail(key: ObjectKey, start: number, end: number): Uint8Array | undefined {
    const object = this.#tail.get(key);
    if (object === undefined) return undefined;
    const { chunks } = object;
    let at = firstEndingBehind(object, start);
    const parts: Uint8Array[] = [];
    for (let position = start; position < end; at++) {
      const chunk = chunks[at];
      if (chunk === undefined || chunk.position > position) return undefined;
      const part = chunk.bytes.subarray(position - chunk.position, end - chunk.position);
      parts.push(part);
      position += part.length;
    }
    const [part] = parts;
    if (part === undefined || parts.length > 1) return Buffer.concat(parts);
    // Once it is read nobody knows for how long: readers keep views of it.
    return lend(part);
  }

  #find(key: ObjectKey, start: number, end: number): Entry | undefined {
    const entry = this.#byKey.get(key)?.find((candidate) => candidate.start <= start && end <= candidate.end);
    if (entry === undefined) return undefined;
    this.#recent.delete(entry);
    this.#recent.add(entry);
    return entry;
  }

  #fetch(key: ObjectKey, start: number, end: number): Entry {
    const range = this.#rangeOf(key, start, end);
    const entry: Entry = { key, ...range, fetch: this.#fetches.run(() => this.#get(key, range)), sizeBytes: 0 };
    const entries = this.#byKey.get(key);
    if (entries === undefined) this.#byKey.set(key, [entry]);
    else entries.push(entry);
    this.#recent.add(entry);
    entry.fetch.then(
      (bytes) => {
        // Forgotten meanwhile: it must not count as held.
        if (!this.#recent.has(entry)) return;
        entry.sizeBytes = bytes.length;
        this.#cacheBytes += bytes.length;
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
    return { start: block * size, end: Math.ceil(end / size) * size };
  }

  async #get(key: ObjectKey, range: { start: number; end: number }, signal?: AbortSignal): Promise<Uint8Array> {
    const object = await this.#store.get(key, signal === undefined ? { range } : { range, signal });
    if (object === undefined) throw new MissingObjectError(key, "the index chain");
    return object.body;
  }

  #evict(): void {
    for (const entry of this.#recent) {
      if (this.#cacheBytes <= this.#cacheBytesMax) return;
      if (entry.sizeBytes > 0) this.#drop(entry);
    }
  }

  #drop(entry: Entry): void {
    this.#recent.delete(entry);
    this.#cacheBytes -= entry.sizeBytes;
    const rest = (this.#byKey.get(entry.key) ?? []).filter((other) => other !== entry);
    if (rest.length === 0) this.#byKey.delete(entry.key);
    else this.#byKey.set(entry.key, rest);
  }
}

/** Index of the first chunk of those kept that reaches past `position`. */
function firstEndingBehind({ chunks, oldest }: TailObject, position: number): number {
  let low = oldest;
  let high = chunks.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const chunk = chunks[middle];
    if (chunk !== undefined && chunk.position + chunk.bytes.length <= position) low = middle + 1;
    else high = middle;
  }
  return low;
}

function slice(bytes: Uint8Array, bytesStart: number, start: number, end: number, key: ObjectKey): Uint8Array {
  if (end - bytesStart > bytes.length) {
    throw new CorruptionError(
      key,
      bytesStart + bytes.length,
      `the object ends here, the index chain names bytes up to ${end}`,
    );
  }
  return bytes.subarray(start - bytesStart, end - bytesStart);
}
