import { partitionKey, type ObjectKey, type Offset, type PartitionId } from "../domain.ts";
import { CorruptionError, isTierlogError } from "../errors.ts";
import type { Extent } from "../index-chain/extent-list.ts";
import type { DataObjectRef } from "../index-chain/link-entries.ts";
import {
  decodeFooter,
  decodeTrailer,
  TRAILER_BYTES,
  type Block,
  type DataExtent,
} from "../object-store/data-object.ts";
import { readBatchHeader, verifyBatch } from "../record/batch.ts";
import type { Logger } from "../runtime/logger.ts";
import type { ObjectCache } from "./object-cache.ts";

export interface SparseIndexesOptions {
  readonly cache: ObjectCache;
  readonly logger: Logger;
}

/** Blocks of each extent of one object, by `extentName`. */
type ObjectBlocks = ReadonlyMap<string, readonly Block[]>;

/** Bytes read from the end of an object at first: trailer and footer of about 600 extents. */
const FIRST_READ_BYTES = 64 * 1024;
/** Footers kept, in blocks over all objects (about 100 bytes each). */
const BLOCKS_MAX = 200_000;

/** The sparse indexes of data objects: where in a large extent an offset lies. Shared by all readers of an engine. */
export class SparseIndexes {
  readonly #cache: ObjectCache;
  readonly #logger: Logger;
  /** Insertion order is the order of use, oldest first. */
  readonly #objects = new Map<ObjectKey, Promise<ObjectBlocks | undefined>>();
  readonly #sizes = new Map<ObjectKey, number>();
  #blocks = 0;
  #rebuilt = 0;

  constructor(options: SparseIndexesOptions) {
    this.#cache = options.cache;
    this.#logger = options.logger;
  }

  /** Extents whose index was rebuilt by scanning, because the footer of their object is missing or damaged. */
  get rebuilt(): number {
    return this.#rebuilt;
  }

  /** Remembers the index of an object that was just written. */
  keep(key: ObjectKey, extents: readonly DataExtent[]): void {
    this.#remember(key, Promise.resolve(byExtent(extents)));
    this.#count(key, blockCount(extents));
  }

  /**
   * The blocks of an extent, at least one, the first where the extent begins. From the footer; where that is missing or fails its
   * checks, rebuilt from the headers of the batches, and reported.
   */
  async blocksOf(object: DataObjectRef, id: PartitionId, extent: Extent): Promise<readonly Block[]> {
    const known = this.#objects.get(object.key);
    if (known !== undefined) this.#remember(object.key, known);
    const footer = await (known ?? this.#load(object));
    const blocks = footer?.get(extentName(id, extent.baseOffset));
    // An index that disagrees with the chain about the extent is as good as none.
    if (blocks !== undefined && (blocks.at(-1)?.position ?? 0) < extent.lengthBytes) return blocks;
    return this.#rebuild(object, id, extent);
  }

  /** Fetches the footer of an object that somebody will soon read, if it is not here. An error is nobody's: who reads is told. */
  readAhead(object: DataObjectRef): void {
    if (!this.#objects.has(object.key)) this.#load(object).catch(() => undefined);
  }

  #load(object: DataObjectRef): Promise<ObjectBlocks | undefined> {
    const loading = this.#read(object).catch((error: unknown) => {
      if (!isTierlogError(error) || error.kind !== "data" || error.code === "TIERLOG_MISSING_OBJECT") {
        // The store did not answer, or the object was merged away: the next reader asks again.
        this.#objects.delete(object.key);
        throw error;
      }
      this.#logger.warn("the footer of a data object cannot be used; its index is rebuilt by scanning", {
        key: object.key,
        problem: error.message,
      });
      this.#count(object.key, 1);
      return undefined;
    });
    this.#remember(object.key, loading);
    return loading;
  }

  async #read({ key, sizeBytes }: DataObjectRef): Promise<ObjectBlocks> {
    const start = Math.max(0, sizeBytes - FIRST_READ_BYTES);
    const tail = await this.#cache.readOnce(key, start, sizeBytes);
    const trailer = decodeTrailer(tail.subarray(Math.max(0, tail.length - TRAILER_BYTES)), sizeBytes, key);
    const footerStart = sizeBytes - TRAILER_BYTES - trailer.footerBytes;
    const footerEnd = sizeBytes - TRAILER_BYTES;
    const bytes =
      footerStart >= start
        ? tail.subarray(footerStart - start, footerEnd - start)
        : await this.#cache.readOnce(key, footerStart, footerEnd);
    const { extents } = decodeFooter(bytes, trailer, footerStart, key);
    this.#count(key, blockCount(extents));
    return byExtent(extents);
  }

  async #rebuild(object: DataObjectRef, id: PartitionId, extent: Extent): Promise<readonly Block[]> {
    const { key } = object;
    const bytes = await this.#cache.read(key, extent.position, extent.position + extent.lengthBytes);
    const blocks: Block[] = [];
    for (let position = 0; position < bytes.length;) {
      const header = readBatchHeader(bytes, position, { key, position: extent.position });
      // A damaged header must not hide its records from a search by time, nor the batches beside it from anybody.
      const maxTimestampMs = isWhole(bytes, position, key) ? header.maxTimestampMs : extent.maxTimestampMs;
      blocks.push({ offset: header.baseOffset, position, maxTimestampMs });
      position += header.lengthBytes;
    }
    this.#rebuilt++;
    const known = (await this.#objects.get(key)) ?? new Map<string, readonly Block[]>();
    const merged = new Map(known).set(extentName(id, extent.baseOffset), blocks);
    this.#remember(key, Promise.resolve(merged));
    this.#count(key, (this.#sizes.get(key) ?? 0) + blocks.length);
    return blocks;
  }

  #remember(key: ObjectKey, blocks: Promise<ObjectBlocks | undefined>): void {
    this.#objects.delete(key);
    this.#objects.set(key, blocks);
  }

  #count(key: ObjectKey, blocks: number): void {
    // It may have been dropped while its footer was read.
    if (!this.#objects.has(key)) return;
    this.#blocks += blocks - (this.#sizes.get(key) ?? 0);
    this.#sizes.set(key, blocks);
    for (const oldest of this.#objects.keys()) {
      if (this.#blocks <= BLOCKS_MAX || oldest === key) break;
      this.#objects.delete(oldest);
      this.#blocks -= this.#sizes.get(oldest) ?? 0;
      this.#sizes.delete(oldest);
    }
  }
}

function isWhole(bytes: Uint8Array, position: number, key: ObjectKey): boolean {
  try {
    verifyBatch(bytes, position, { key, position: 0 });
    return true;
  } catch (error) {
    if (error instanceof CorruptionError) return false;
    throw error;
  }
}

function blockCount(extents: readonly DataExtent[]): number {
  return extents.reduce((sum, { blocks }) => sum + blocks.length, 0);
}

function byExtent(extents: readonly DataExtent[]): ObjectBlocks {
  return new Map(extents.map((extent) => [extentName(extent, extent.baseOffset), extent.blocks]));
}

function extentName(id: PartitionId, baseOffset: Offset): string {
  return `${partitionKey(id)}@${baseOffset}`;
}
