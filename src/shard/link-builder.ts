import {
  linkOverheadBytes,
  trimEntryBytes,
  type DataObjectRef,
  type LinkEntry,
  type LinkExtent,
} from "../index-chain/index-file.ts";
import type { PreparedFlight } from "./prepare.ts";

/** Collects the flushes that one link names: data objects, and batches inline as far as they fit; and trims beside them. */
export class LinkBuilder {
  readonly #linkBytesMax: number;
  readonly #writerIdBytes: number;
  readonly #objects: DataObjectRef[] = [];
  readonly #extents: LinkExtent[] = [];
  readonly #payload: Uint8Array[] = [];
  readonly #trims: LinkEntry[] = [];
  #payloadBytes = 0;
  #trimBytes = 0;

  constructor(linkBytesMax: number, writerIdBytes: number) {
    this.#linkBytesMax = linkBytesMax;
    this.#writerIdBytes = writerIdBytes;
  }

  /** false where the link would grow beyond one part; the first one always fits. */
  tryAdd(flight: PreparedFlight): boolean {
    const { extents, chunks, batchBytes, object, trims } = flight;
    const count = this.#extents.length + extents.length;
    const payloadBytes = this.#payloadBytes + (object === undefined ? batchBytes : 0);
    const objectBytes = 100 * (this.#objects.length + 1);
    const trimBytes = this.#trimBytes + (trims === undefined ? 0 : trimEntryBytes(trims.length));
    const sizeBytes = linkOverheadBytes(count, count, this.#writerIdBytes) + objectBytes + payloadBytes + trimBytes;
    if (this.#extents.length + this.#trims.length > 0 && sizeBytes > this.#linkBytesMax) return false;
    if (trims !== undefined) {
      this.#trims.push({ type: "trim", trims });
      this.#trimBytes = trimBytes;
      return true;
    }

    if (object !== undefined) this.#objects.push(object);
    const number = object === undefined ? 0 : this.#objects.length;
    const shift = object === undefined ? this.#payloadBytes : 0;
    for (const { blocks: _, ...extent } of extents) {
      this.#extents.push({ ...extent, object: number, position: extent.position + shift });
    }
    if (object === undefined) for (const { bytes } of chunks) this.#payload.push(bytes);
    this.#payloadBytes = payloadBytes;
    return true;
  }

  /** Trims behind all appends: the ends that they were planned for are those of an earlier link. */
  get entries(): readonly LinkEntry[] {
    if (this.#extents.length === 0) return this.#trims;
    return [{ type: "append", objects: this.#objects, extents: this.#extents }, ...this.#trims];
  }

  get payload(): readonly Uint8Array[] {
    return this.#payload;
  }
}
