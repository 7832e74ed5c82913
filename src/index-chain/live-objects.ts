import type { ObjectKey, ShardId } from "../domain.ts";
import { MissingObjectError } from "../errors.ts";
import type { ObjectNumber } from "./extent-list.ts";
import type { DataObjectRef } from "./link-entries.ts";

export interface NumberedObject extends DataObjectRef {
  /** Under which extents know it: below 0. */
  readonly number: ObjectNumber;
}

/** A data object that extents lie in, and how much of it they are. */
export interface LiveObject extends NumberedObject {
  readonly liveBytes: number;
  readonly extents: number;
}

/**
 * The data objects that extents of a state lie in, in the order in which live links brought them in. A number never changes and is
 * never given again: whoever still holds an extent that is gone finds nothing, not another object.
 */
export class LiveObjects {
  readonly #shard: ShardId;
  readonly #objects = new Map<ObjectNumber, { -readonly [K in keyof LiveObject]: LiveObject[K] }>();
  #lastNumber = 0;
  /** Since the last `settle`. */
  #fresh: ObjectNumber[] = [];
  /** Called when the last extent of an object has gone; not for what `restore` drops. */
  onDead: ((object: DataObjectRef) => void) | undefined;

  constructor(shard: ShardId) {
    this.#shard = shard;
  }

  get all(): Iterable<LiveObject> {
    return this.#objects.values();
  }

  /** As they are now, for a snapshot. */
  numbered(): readonly NumberedObject[] {
    return Array.from(this.#objects.values(), ({ number, key, sizeBytes }) => ({ number, key, sizeBytes }));
  }

  /** `MissingObjectError`: its last extent has gone. */
  get(number: ObjectNumber): LiveObject {
    const found = this.#objects.get(number);
    if (found === undefined)
      throw new MissingObjectError(`data object ${number} of shard ${this.#shard}` as ObjectKey, "an older state");
    return found;
  }

  /** Brings in objects, for which `count` must be called before the next `settle`; returns the number of the first. */
  bringIn(objects: readonly DataObjectRef[]): ObjectNumber {
    const first = (this.#lastNumber - 1) as ObjectNumber;
    for (const { key, sizeBytes } of objects) {
      const number = --this.#lastNumber as ObjectNumber;
      this.#objects.set(number, { number, key, sizeBytes, liveBytes: 0, extents: 0 });
      this.#fresh.push(number);
    }
    return first;
  }

  /** REQUIRES: nothing is here yet. `settle` follows when their extents were counted. */
  restore(objects: readonly NumberedObject[]): void {
    for (const { number, key, sizeBytes } of objects) {
      this.#objects.set(number, { number, key, sizeBytes, liveBytes: 0, extents: 0 });
      this.#lastNumber = Math.min(this.#lastNumber, number);
      this.#fresh.push(number);
    }
  }

  /** Extents of `number` came (a count above 0) or went. One that is no data object's counts for nothing. */
  count(number: ObjectNumber, extents: number, bytes: number): void {
    const object = number < 0 ? this.#objects.get(number) : undefined;
    if (object === undefined) return;
    object.extents += extents;
    object.liveBytes += bytes;
    if (object.extents > 0) return;
    this.#objects.delete(number);
    this.onDead?.({ key: object.key, sizeBytes: object.sizeBytes });
  }

  /** Drops those brought in that no extent was counted for. */
  settle(): void {
    for (const number of this.#fresh) if (this.#objects.get(number)?.extents === 0) this.#objects.delete(number);
    this.#fresh = [];
  }
}
