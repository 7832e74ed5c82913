import type { ObjectKey } from "../../src/domain.ts";
import { ObjectStoreError, type Effect } from "../../src/errors.ts";
import type { MultipartUpload, ObjectStore, PutOptions, PutOutcome } from "../../src/object-store/object-store.ts";

/** What becomes of one put: passes, or fails before or after it was stored. */
export type Fate = "pass" | "refused" | "lost-before" | "lost-after" | "forbidden";

/** A store whose puts of index files meet the fates that the test sets; everything else passes. */
export class FaultyStore {
  readonly store: ObjectStore;
  /** Asked at every put of an index file. */
  fate: (key: ObjectKey) => Fate = () => "pass";
  /** Asked at every part of a data object; "pass" lets it through. */
  partFate: (partNumber: number) => "pass" | "forbidden" = () => "pass";
  /** Reads fail while set. */
  readsFail = false;
  puts = 0;
  #gate: Promise<void> = Promise.resolve();
  #open: () => void = () => undefined;

  constructor(inner: ObjectStore) {
    this.store = {
      ...inner,
      get: (key, options) => {
        if (this.readsFail && key.startsWith("index/")) return Promise.reject(failure("get", key, true, "none"));
        return inner.get(key, options);
      },
      createMultipart: async (key, options): Promise<MultipartUpload> => {
        const upload = await inner.createMultipart(key, options);
        return {
          key: upload.key,
          uploadId: upload.uploadId,
          listParts: (listOptions) => upload.listParts(listOptions),
          complete: (parts, completeOptions) => upload.complete(parts, completeOptions),
          abort: (abortOptions) => upload.abort(abortOptions),
          putPart: (partNumber, body, partOptions) =>
            this.partFate(partNumber) === "pass"
              ? upload.putPart(partNumber, body, partOptions)
              : Promise.reject(failure("uploadPart", key, false, "none", 403)),
        };
      },
      put: async (key: ObjectKey, body: Uint8Array, options: PutOptions): Promise<PutOutcome> => {
        if (!key.startsWith("index/")) return inner.put(key, body, options);
        this.puts++;
        await this.#gate;
        switch (this.fate(key)) {
          case "pass":
            return inner.put(key, body, options);
          case "refused":
            throw failure("put", key, true, "none");
          case "lost-before":
            throw failure("put", key, true, "unknown");
          case "lost-after":
            await inner.put(key, body, options);
            throw failure("put", key, true, "unknown");
          case "forbidden":
            throw failure("put", key, false, "none", 403);
        }
      },
    };
  }

  /** Holds every put of an index file until `release`. */
  hold(): void {
    this.#gate = new Promise((resolve) => {
      this.#open = resolve;
    });
  }

  release(): void {
    this.#open();
  }
}

function failure(
  operation: string,
  key: string,
  retryable: boolean,
  effect: Effect,
  status?: number,
): ObjectStoreError {
  return new ObjectStoreError(`injected: ${operation} failed`, { operation, key, retryable, status }, { effect });
}
