import type { ObjectKey } from "../domain.ts";
import { ObjectStoreError } from "../errors.ts";
import { deleteKeys } from "../object-store/delete-keys.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import type { OpenUpload, OpenUploads } from "../object-store/open-uploads.ts";
import { sleep, type Clock } from "../runtime/clock.ts";

/** In one request. */
export const BATCH_KEYS = 1000;
/** Between two of them: 2,000 keys a second, below what S3 takes of one prefix. */
const PACE_MS = 500;

/** Counts since this object was made. */
export interface GarbageCounts {
  readonly linksDeleted: number;
  readonly checkpointsDeleted: number;
  readonly objectsDeleted: number;
  readonly uploadsAborted: number;
  /** Catalog versions, and what probes of the store left. */
  readonly othersDeleted: number;
  readonly bytesDeleted: number;
  /** Attempts that the store did not allow; each is made again in the next round. */
  readonly refused: number;
}

type Counted = keyof GarbageCounts;

const COUNTED_AS = {
  link: "linksDeleted",
  object: "objectsDeleted",
  checkpoint: "checkpointsDeleted",
  catalog: "othersDeleted",
  probe: "othersDeleted",
} as const satisfies Record<string, Counted>;

/** Sends deletes, not too many at a time, and counts them. What the store does not allow is counted as well, and is no error. */
export class GarbageDeleter {
  readonly #store: ObjectStore;
  readonly #clock: Clock;
  readonly #onRefused: (problem: string) => void;
  readonly #counts: Record<Counted, number> = {
    linksDeleted: 0,
    checkpointsDeleted: 0,
    objectsDeleted: 0,
    uploadsAborted: 0,
    othersDeleted: 0,
    bytesDeleted: 0,
    refused: 0,
  };
  #sentAtMs = Number.NEGATIVE_INFINITY;

  constructor(
    { store, clock }: { readonly store: ObjectStore; readonly clock: Clock },
    onRefused: (problem: string) => void,
  ) {
    this.#store = store;
    this.#clock = clock;
    this.#onRefused = onRefused;
  }

  get counts(): GarbageCounts {
    return this.#counts;
  }

  /** Waits until the next batch may be sent. */
  async pace(signal: AbortSignal | undefined): Promise<void> {
    const waitMs = this.#sentAtMs + PACE_MS - this.#clock.monotonic();
    if (waitMs > 0) await sleep(this.#clock, waitMs, signal);
    this.#sentAtMs = this.#clock.monotonic();
  }

  /** Up to a batch of one kind; those that the store did not let go. Any other error comes out. */
  async delete(
    kind: keyof typeof COUNTED_AS,
    objects: readonly { readonly key: ObjectKey; readonly sizeBytes: number }[],
    signal: AbortSignal | undefined,
  ): Promise<ReadonlySet<ObjectKey>> {
    const left = new Set<ObjectKey>();
    const keys = objects.map(({ key }) => key);
    try {
      await deleteKeys(this.#store, keys, signal);
    } catch (error) {
      if (!(error instanceof ObjectStoreError) || error.retryable) throw error;
      const failed: ReadonlySet<string> = new Set(error.failedKeys ?? keys);
      for (const key of keys) if (failed.has(key)) left.add(key);
      this.#refused(left.size, error.message);
    }
    for (const { key, sizeBytes } of objects) {
      if (left.has(key)) continue;
      this.#counts[COUNTED_AS[kind]]++;
      this.#counts.bytesDeleted += sizeBytes;
    }
    return left;
  }

  async abort(
    uploads: readonly Pick<OpenUpload, "key" | "uploadId">[],
    of: OpenUploads | undefined,
    signal: AbortSignal | undefined,
  ): Promise<ReadonlySet<ObjectKey>> {
    const left = new Set<ObjectKey>();
    for (const upload of uploads) {
      if ((await of?.abort(upload, signal)) === false) left.add(upload.key);
      else this.#counts.uploadsAborted++;
    }
    if (left.size > 0) this.#refused(left.size, `the store does not let ${left.size} open uploads be ended`);
    return left;
  }

  #refused(count: number, problem: string): void {
    this.#counts.refused += count;
    this.#onRefused(problem);
  }
}
