import { linkOverheadBytes } from "../index-chain/index-file.ts";
import { entryBytes, type DataObjectRef, type LinkEntry, type LinkExtent } from "../index-chain/link-entries.ts";
import type { PreparedFlight } from "./prepare.ts";

/** Collects the flushes that one link names: data objects, and batches inline as far as they fit; and changes beside them. */
export class LinkBuilder {
  readonly #linkBytesMax: number;
  readonly #writerIdBytes: number;
  readonly #objects: DataObjectRef[] = [];
  readonly #extents: LinkExtent[] = [];
  readonly #payload: Uint8Array[] = [];
  readonly #changes: LinkEntry[] = [];
  #payloadBytes = 0;
  #changeBytes = 0;

  constructor(linkBytesMax: number, writerIdBytes: number) {
    this.#linkBytesMax = linkBytesMax;
    this.#writerIdBytes = writerIdBytes;
  }

  /** false where the link would grow beyond one part; the first one always fits. */
  tryAdd(flight: PreparedFlight): boolean {
    const { extents, chunks, batchBytes, object, changes } = flight;
    const count = this.#extents.length + extents.length;
    const payloadBytes = this.#payloadBytes + (object === undefined ? batchBytes : 0);
    const objectBytes = 100 * (this.#objects.length + 1);
    const changeBytes = (changes ?? []).reduce((sum, entry) => sum + entryBytes(entry), this.#changeBytes);
    const sizeBytes = linkOverheadBytes(count, count, this.#writerIdBytes) + objectBytes + payloadBytes + changeBytes;
    if (this.#extents.length + this.#changes.length > 0 && sizeBytes > this.#linkBytesMax) return false;
    if (changes !== undefined) {
      this.#changes.push(...changes);
      this.#changeBytes = changeBytes;
      return true;
    }

    if (object !== undefined) this.#objects.push(object);
    const number = object === undefined ? 0 : this.#objects.length;
    const shift = object === undefined ? this.#payloadBytes : 0;
    for (const extent of extents) {
      const { topicId, partition, leaderEpoch, baseOffset, nextOffset, position, lengthBytes, maxTimestampMs } = extent;
      this.#extents.push({
        topicId,
        partition,
        leaderEpoch,
        baseOffset,
        nextOffset,
        object: number,
        position: position + shift,
        lengthBytes,
        maxTimestampMs,
      });
    }
    if (object === undefined) for (const { bytes } of chunks) this.#payload.push(bytes);
    this.#payloadBytes = payloadBytes;
    return true;
  }

  /** Changes behind all appends: the ends that they were planned for are those of an earlier link. */
  get entries(): readonly LinkEntry[] {
    if (this.#extents.length === 0) return this.#changes;
    return [{ type: "append", objects: this.#objects, extents: this.#extents }, ...this.#changes];
  }

  get payload(): readonly Uint8Array[] {
    return this.#payload;
  }
}
