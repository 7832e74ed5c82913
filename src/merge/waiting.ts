import type { Epoch, ObjectKey, Seq, ShardId } from "../domain.ts";

/** Something that nobody needs, from when this process saw that. */
export type Waiting = {
  readonly key: ObjectKey;
  readonly sizeBytes: number;
  /** Monotonic. */
  readonly sinceMs: number;
} & (
  | { readonly kind: "object"; readonly shard: ShardId; readonly epoch: Epoch; readonly givenUp: boolean }
  | {
      readonly kind: "upload";
      readonly shard: ShardId;
      readonly epoch: Epoch;
      readonly givenUp: boolean;
      readonly uploadId: string;
    }
  | { readonly kind: "checkpoint"; readonly shard: ShardId; readonly seq: Seq }
  | { readonly kind: "catalog"; readonly shard?: undefined }
  | { readonly kind: "probe"; readonly shard?: undefined }
);

/** What `note` is told. */
export type Noted = Waiting extends infer Each ? (Each extends Waiting ? Omit<Each, "sinceMs"> : never) : never;

/**
 * What waits for its grace to pass, oldest first. In memory alone: a process that is started again sees everything for the first time.
 * Bounded: what comes when it is full is only counted, and seen again by the next listing.
 */
export class WaitingList {
  readonly #max: number;
  #items = new Map<string, Waiting>();
  #turnedAway = 0;

  constructor(max: number) {
    this.#max = max;
  }

  get count(): number {
    return this.#items.size;
  }

  get bytes(): number {
    let sum = 0;
    for (const { sizeBytes } of this.#items.values()) sum += sizeBytes;
    return sum;
  }

  get room(): number {
    return this.#max - this.#items.size;
  }

  /** So many came when there was no room. */
  get turnedAway(): number {
    return this.#turnedAway;
  }

  has(item: Noted): boolean {
    return this.#items.has(nameOf(item));
  }

  /** Is this data object known to be given up? */
  isGivenUp(key: ObjectKey): boolean {
    const item = this.#items.get(key);
    return item?.kind === "object" && item.givenUp;
  }

  /** From now on, unless it waits already. */
  note(item: Noted, nowMs: number): void {
    const name = nameOf(item);
    if (this.#items.has(name)) return;
    if (this.#items.size >= this.#max) this.#turnedAway++;
    else this.#items.set(name, { ...item, sinceMs: nowMs });
  }

  /** Those seen at `untilMs` or before. */
  since(untilMs: number): readonly Waiting[] {
    const due: Waiting[] = [];
    for (const item of this.#items.values()) if (item.sinceMs <= untilMs) due.push(item);
    return due;
  }

  /** When the last of them was seen. */
  get lastSinceMs(): number | undefined {
    let last: number | undefined;
    for (const { sinceMs } of this.#items.values()) last = Math.max(last ?? sinceMs, sinceMs);
    return last;
  }

  remove(item: Waiting): void {
    this.#items.delete(nameOf(item));
  }

  /** Others come before it the next time. */
  putLast(item: Waiting): void {
    this.remove(item);
    this.#items.set(nameOf(item), item);
  }

  /** Forgets those of shards that are not in `kept`. */
  keepShards(kept: ReadonlySet<ShardId>): void {
    for (const item of this.#items.values())
      if (item.shard !== undefined && !kept.has(item.shard)) this.#items.delete(nameOf(item));
  }
}

/** One object may have several uploads. */
function nameOf(item: Noted): string {
  return item.kind === "upload" ? `${item.key} ${item.uploadId}` : item.key;
}
