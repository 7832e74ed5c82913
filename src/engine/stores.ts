import type { Config } from "../config/config.ts";
import { InvalidArgumentError, ObjectStoreError } from "../errors.ts";
import { FORMAT_KEY, PROBE_PREFIX } from "../object-store/object-names.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import { prefixed } from "../object-store/prefixed.ts";
import { systemRuntime, type Runtime } from "../runtime/runtime.ts";
import { connect } from "./connect.ts";
import { deleteObjects, type DeletedStore } from "./delete-store.ts";
import { describe, type StoreCallOptions, type StoreDescription } from "./describe-store.ts";
import { findStores, type StoreListing, type StoreSearch, type StoreSummary } from "./list-stores.ts";
import { makeBucket } from "./open-store.ts";
import { s3Settings } from "./s3-settings.ts";
import { openStoreFormat } from "./store-format.ts";
import { atPrefix, checkPrefix, shownPrefix, withRoot } from "./store-root.ts";

export type { DeletedStore } from "./delete-store.ts";
export type { Contents, ShardSummary, StoreDescription } from "./describe-store.ts";
export type { StoreListing, StoreSummary } from "./list-stores.ts";

/**
 * The stores of one bucket (or directory), each below a prefix of its own; `config` says which bucket, its own prefix does not matter.
 * None may lie below another. All reject with `ConfigError` for kind "memory", `InvalidArgumentError` for a prefix that cannot be one,
 * `ObjectStoreError`, and `AbortedError` when their signal fires.
 */
export interface StoresOptions extends StoreCallOptions {
  readonly runtime?: Partial<Runtime>;
}

export interface ListStoresOptions extends Partial<Omit<StoreSearch, "onProgress">> {
  readonly runtime?: Partial<Runtime>;
  readonly onProgress?: StoreSearch["onProgress"];
}

const DEPTH = 4;

/** The stores at and below a prefix (default: all), found level by level, by default four deep. */
export async function listStores(config: Config, options: ListStoresOptions = {}): Promise<StoreListing> {
  const { prefix = "", depth = DEPTH, signal, onProgress } = options;
  checkPrefix(prefix);
  if (!Number.isInteger(depth) || depth < 0) throw new InvalidArgumentError("depth", depth, "must be an integer ≥ 0");
  return withRoot(config, runtimeOf(options), ({ store }) => findStores(store, { prefix, depth, signal, onProgress }));
}

/**
 * Makes a store at `prefix`, where nothing may be but probe results; a bucket is probed first, as by the first engine.
 * `InvalidArgumentError` where a store is already, where one lies above or below, or other objects do; `UnsupportedProviderError`.
 */
export async function createStore(config: Config, prefix: string, options: StoresOptions = {}): Promise<StoreSummary> {
  checkPrefix(prefix);
  const runtime = runtimeOf(options);
  if (config.storage.kind === "object") await makeBucket(config, runtime, await s3Settings(config, runtime));
  await withRoot(config, runtime, ({ store }) => mustBeFree(store, prefix));
  const connection = await connect({
    config: atPrefix(config, prefix),
    runtime,
    readOnly: false,
    objectStore: undefined,
  });
  try {
    const { created, storeId, version, createdAt } = await openStoreFormat(connection.store, runtime, false);
    if (!created) throw exists(prefix, storeId);
    return { prefix, storeId, formatVersion: version, createdAt, problem: undefined };
  } finally {
    await connection.close();
  }
}

/** What one store holds, and who writes to it. Counts by listing. `NotFoundError`. */
export async function describeStore(
  config: Config,
  prefix: string,
  options: StoresOptions = {},
): Promise<StoreDescription> {
  checkPrefix(prefix);
  const runtime = runtimeOf(options);
  return withRoot(config, runtime, (root) => describe({ config, runtime }, root, prefix, options));
}

/**
 * Deletes a store for good. REQUIRES: no process writes to it. An interrupted one is repeated by the same call. `NotFoundError` where
 * there is none, `InvalidArgumentError` where another lies below it; objects that are not tierlog's stay.
 */
export async function deleteStore(config: Config, prefix: string, options: StoresOptions = {}): Promise<DeletedStore> {
  checkPrefix(prefix);
  const runtime = runtimeOf(options);
  return withRoot(config, runtime, (root) => deleteObjects({ config, runtime }, root, prefix, options));
}

async function mustBeFree(root: ObjectStore, prefix: string): Promise<void> {
  if (await hasFormat(root, prefix)) throw exists(prefix);
  const names = prefix === "" ? [] : prefix.split("/");
  for (let length = 0; length < names.length; length++) {
    const above = names.slice(0, length).join("/");
    if (await hasFormat(root, above)) {
      throw new InvalidArgumentError(
        "prefix",
        prefix,
        `${shownPrefix(prefix)} lies below the store at ${shownPrefix(above)}; stores stand beside each other, not in each other`,
      );
    }
  }
  for await (const { key } of prefixed(root, prefix).list("")) {
    if (key.startsWith(PROBE_PREFIX)) continue;
    throw new InvalidArgumentError(
      "prefix",
      prefix,
      `there are objects below ${shownPrefix(prefix)} already, as ${key}, and no store; a new one wants a prefix of its own`,
    );
  }
}

async function hasFormat(root: ObjectStore, prefix: string): Promise<boolean> {
  try {
    return (await prefixed(root, prefix).head(FORMAT_KEY)) !== undefined;
  } catch (error) {
    // A policy may open the own prefix only; nobody can look above it then.
    if (error instanceof ObjectStoreError && error.status === 403) return false;
    throw error;
  }
}

function exists(prefix: string, storeId?: string): InvalidArgumentError {
  const id = storeId === undefined ? "" : ` (id ${storeId})`;
  return new InvalidArgumentError("prefix", prefix, `a store is at ${shownPrefix(prefix)} already${id}`);
}

function runtimeOf({ runtime }: { readonly runtime?: Partial<Runtime> }): Runtime {
  return { ...systemRuntime, ...runtime };
}
