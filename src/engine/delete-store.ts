import type { Config } from "../config/config.ts";
import type { ObjectKey } from "../domain.ts";
import { AbortedError, InvalidArgumentError, ObjectStoreError } from "../errors.ts";
import { deleteKeys } from "../object-store/delete-keys.ts";
import { FORMAT_KEY, STORE_DIRECTORIES } from "../object-store/object-names.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import { prefixed } from "../object-store/prefixed.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { Connection } from "./connect.ts";
import { readFormat, type Contents, type StoreCallOptions } from "./describe-store.ts";
import { findStores } from "./list-stores.ts";
import { openUploadsOf } from "./open-uploads-of.ts";
import { atPrefix, shownPrefix } from "./store-root.ts";

export interface DeletedStore extends Contents {
  readonly prefix: string;
  readonly storeId: string;
  /** Multipart uploads that were open; undefined: the store does not tell of them. */
  readonly uploads: number | undefined;
  /** Something that is not tierlog's is left below the prefix. */
  readonly othersLeft: boolean;
}

/** How deep other stores below the prefix are looked for. Deeper ones are not touched either. */
const NESTED_DEPTH = 8;
const BATCH_KEYS = 1000;
/** What a writer that is just ending still has on its way lands between two of them. */
const PASSES_MAX = 3;

/**
 * Deletes what tierlog made of the store at `prefix`, first the catalog, last FORMAT, so that a delete that was interrupted can be
 * repeated, and ends its open uploads. Other objects below the prefix stay. `NotFoundError` without FORMAT; `InvalidArgumentError`
 * where another store lies below; `ObjectStoreError` where somebody goes on writing.
 */
export async function deleteObjects(
  { config, runtime }: { readonly config: Config; readonly runtime: Runtime },
  root: Connection,
  prefix: string,
  { signal, onProgress }: StoreCallOptions,
): Promise<DeletedStore> {
  const store = prefixed(root.store, prefix);
  const { storeId, sizeBytes } = await readFormat(store, prefix);
  await refuseNested(root.store, store, prefix, signal);
  const calls = signal === undefined ? {} : { signal };

  let [objects, bytes] = [0, 0];
  const remove = async (batch: readonly { readonly key: ObjectKey; readonly sizeBytes: number }[]): Promise<void> => {
    if (signal?.aborted === true) throw new AbortedError("delete", { cause: signal.reason });
    await deleteKeys(
      store,
      batch.map(({ key }) => key),
      signal,
    );
    objects += batch.length;
    for (const info of batch) bytes += info.sizeBytes;
  };
  let found = 0;
  for (let pass = 0; pass === 0 || found > 0; pass++) {
    if (pass > PASSES_MAX) {
      throw new ObjectStoreError(
        `delete of the store at ${shownPrefix(prefix)}: new objects appear while it is deleted; stop every process that writes to it, and repeat`,
        { operation: "delete", key: prefix, retryable: false },
      );
    }
    found = 0;
    for (const directory of STORE_DIRECTORIES) {
      let batch: { key: ObjectKey; sizeBytes: number }[] = [];
      for await (const info of store.list(directory, calls)) {
        found += 1;
        batch.push(info);
        if (batch.length < BATCH_KEYS) continue;
        await remove(batch);
        batch = [];
        onProgress?.({ doing: `deleting ${directory.slice(0, -1)}`, objects, bytes });
      }
      if (batch.length > 0) await remove(batch);
      onProgress?.({ doing: `deleting ${directory.slice(0, -1)}`, objects, bytes });
    }
  }
  const uploads = config.storage.kind === "object" ? await abortUploads(config, runtime, prefix, signal) : 0;
  await store.delete([FORMAT_KEY], calls);
  return {
    prefix,
    storeId,
    objects: objects + 1,
    bytes: bytes + sizeBytes,
    uploads,
    othersLeft: await holdsAnything(store, signal),
  };
}

/** Is there any object in this store? */
export async function holdsAnything(store: ObjectStore, signal?: AbortSignal): Promise<boolean> {
  for await (const _ of store.list("", signal === undefined ? {} : { signal })) return true;
  return false;
}

/**
 * Before anything is deleted. Stores beside our own directories would not be touched, but whoever names such a prefix most likely
 * means another; those inside of them would.
 */
async function refuseNested(
  root: ObjectStore,
  store: ObjectStore,
  prefix: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { stores } = await findStores(root, { prefix, depth: NESTED_DEPTH, signal });
  const nested = stores.map((other) => other.prefix).filter((other) => other !== prefix);
  for (const directory of STORE_DIRECTORIES) {
    for await (const { key } of store.list(directory, signal === undefined ? {} : { signal })) {
      if (key.endsWith(`/${FORMAT_KEY}`))
        nested.push((prefix === "" ? "" : `${prefix}/`) + key.slice(0, -FORMAT_KEY.length - 1));
    }
  }
  const [first, ...others] = nested;
  if (first === undefined) return;
  const more = others.length === 0 ? "" : ` and ${others.length} more`;
  throw new InvalidArgumentError(
    "prefix",
    prefix,
    `other stores lie below ${shownPrefix(prefix)}: ${first}${more}; delete or move them first`,
  );
}

async function abortUploads(
  config: Config,
  runtime: Runtime,
  prefix: string,
  signal: AbortSignal | undefined,
): Promise<number | undefined> {
  const { abortOpenUploads } = await import("../object-store/open-uploads.ts");
  const uploads = await openUploadsOf(atPrefix(config, prefix), runtime, signal);
  try {
    let count = 0;
    for (const directory of STORE_DIRECTORIES) {
      const ended = await abortOpenUploads(uploads, directory, signal);
      if (ended === undefined) return undefined;
      count += ended;
    }
    return count;
  } finally {
    uploads.close();
  }
}
