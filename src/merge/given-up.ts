import type { ObjectKey } from "../domain.ts";
import type { DataObjectRef } from "../index-chain/link-entries.ts";

const NAMES_MAX = 100_000;

/**
 * Data objects that this process knows it will never name (again): superseded or trimmed away by a live link, or written and then given
 * up. Whoever deletes takes them. Bounded: what comes when it is full is forgotten here and found by a listing in a later epoch.
 */
export class GivenUpObjects {
  #objects = new Map<ObjectKey, DataObjectRef>();
  #forgotten = 0;

  get count(): number {
    return this.#objects.size;
  }

  /** So many came when there was no room. */
  get forgotten(): number {
    return this.#forgotten;
  }

  add(object: DataObjectRef): void {
    if (this.#objects.size >= NAMES_MAX && !this.#objects.has(object.key)) this.#forgotten++;
    else this.#objects.set(object.key, object);
  }

  /** Up to `max`, the oldest first. */
  take(max: number): readonly DataObjectRef[] {
    const taken: DataObjectRef[] = [];
    for (const object of this.#objects.values()) {
      if (taken.length >= max) break;
      taken.push(object);
    }
    for (const { key } of taken) this.#objects.delete(key);
    return taken;
  }
}
