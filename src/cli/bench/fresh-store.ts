import type { Config } from "../../config/config.ts";
import type { ObjectKey } from "../../domain.ts";
import { openStore } from "../../engine/open-store.ts";
import { openUploadsOf } from "../../engine/open-uploads-of.ts";
import { openStoreFormat } from "../../engine/store-format.ts";
import { ObjectStoreError, TierlogError } from "../../errors.ts";
import { metered, totalRequests, type MeteredStore } from "../../object-store/metered.ts";
import type { ObjectStore } from "../../object-store/object-store.ts";
import { abortOpenUploads } from "../../object-store/open-uploads.ts";
import { settling } from "../../object-store/settling.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { countObjects, type FreshPlace } from "../fresh-place.ts";

const CHECK_KEY = "delete-check" as ObjectKey;

/** The store takes objects and does not give them back. */
export class NotDeletableError extends TierlogError {
  readonly kind = "invalid";
  readonly code = "TIERLOG_NOT_DELETABLE";
}

/** The store at a fresh place: seen to allow deletes before much is written to it, and emptied at the end. Counts its own requests. */
export class FreshStore {
  readonly #config: Config;
  readonly #runtime: Runtime;
  readonly #place: FreshPlace;
  readonly #meter: MeteredStore;
  readonly #store: ObjectStore;
  #otherRequests = 0;

  static async open(config: Config, runtime: Runtime, place: FreshPlace): Promise<FreshStore> {
    return new FreshStore(config, runtime, place, metered(await openStore(config, runtime, false), runtime.clock));
  }

  private constructor(config: Config, runtime: Runtime, place: FreshPlace, meter: MeteredStore) {
    this.#config = config;
    this.#runtime = runtime;
    this.#place = place;
    this.#meter = meter;
    const { requestTimeoutMs, deadlineMs } = config.storage.object;
    const { clock, random, logger } = runtime;
    this.#store = settling(meter.store, { clock, random, logger, deadlineMs, requestTimeoutMs });
  }

  get requests(): number {
    return totalRequests(this.#meter.metrics()) + this.#otherRequests;
  }

  /**
   * Sees that what is written can be deleted, then begins the store: from then on `tierlog stores delete` takes what is left of it.
   * `NotDeletableError`; the errors of the store.
   */
  async begin(): Promise<void> {
    await this.#checkDelete();
    await openStoreFormat(this.#store, this.#runtime, false);
  }

  async #checkDelete(): Promise<void> {
    await this.#store.put(CHECK_KEY, Buffer.from("may this be deleted?"), { condition: { kind: "if-absent" } });
    let cause: unknown;
    try {
      await this.#store.delete([CHECK_KEY]);
      if ((await this.#store.head(CHECK_KEY)) === undefined) return;
    } catch (error) {
      if (error instanceof ObjectStoreError && error.retryable) throw error;
      cause = error;
    }
    const reason = cause instanceof Error ? `: ${cause.message}` : "";
    throw new NotDeletableError(
      `${this.#place.name}: what is written there cannot be deleted, so nothing is measured; one object of 20 bytes is left, ${CHECK_KEY}${reason}`,
      { cause },
    );
  }

  /** Deletes everything, ends open uploads, and looks that nothing is left. Rejects where something is. */
  async remove(): Promise<void> {
    await this.#place.remove(this.#store);
    if (this.#config.storage.kind !== "object") return;
    const uploads = await openUploadsOf(this.#config, this.#runtime);
    try {
      this.#otherRequests++;
      this.#otherRequests += (await abortOpenUploads(uploads, "", undefined)) ?? 0;
    } finally {
      uploads.close();
    }
    const left = await countObjects(this.#store);
    if (left > 0) throw new NotDeletableError(`${left} objects are left`);
  }

  close(): Promise<void> {
    return this.#meter.store.close();
  }
}
