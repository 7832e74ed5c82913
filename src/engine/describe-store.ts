import type { Config } from "../config/config.ts";
import type { ShardId } from "../domain.ts";
import { AbortedError, NotFoundError } from "../errors.ts";
import { IndexChain } from "../index-chain/index-chain.ts";
import { listLevel } from "../object-store/list-level.ts";
import { FORMAT_KEY, INDEX_PREFIX, STORE_DIRECTORIES, parseShardDirectory } from "../object-store/object-names.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import { prefixed } from "../object-store/prefixed.ts";
import { findProbeRecord } from "../object-store/probe/probe-record.ts";
import type { StoreVerdict } from "../object-store/probe/store-probe.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { TopicDescription } from "./api.ts";
import { Catalog } from "./catalog.ts";
import type { Connection } from "./connect.ts";
import { parseStoreFormat, type StoreFormat } from "./store-format.ts";
import { shownPrefix } from "./store-root.ts";

export interface ShardSummary {
  readonly shard: number;
  /** 0: nobody ever wrote to it. */
  readonly epoch: number;
  /** Who holds it; "" where it was released or never taken. */
  readonly owner: string;
  readonly links: number;
}

export interface Contents {
  readonly objects: number;
  readonly bytes: number;
}

export interface StoreDescription extends Omit<StoreFormat, "version"> {
  readonly prefix: string;
  readonly formatVersion: number;
  readonly topics: readonly TopicDescription[];
  readonly shards: readonly ShardSummary[];
  /** By directory, as in "data"; FORMAT is counted in none, nor is what is not tierlog's. */
  readonly contents: Readonly<Record<string, Contents>>;
  /** Of all directories, and FORMAT. */
  readonly total: Contents;
  /** The newest probe result about this server; undefined: none, or no bucket. */
  readonly probe: { readonly verdict: StoreVerdict; readonly createdAt: string } | undefined;
}

export interface StoreCallOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: { readonly doing: string } & Contents) => void) | undefined;
}

/** The FORMAT of the store at `prefix`. `NotFoundError`. */
export async function readFormat(
  store: ObjectStore,
  prefix: string,
): Promise<StoreFormat & { readonly sizeBytes: number }> {
  const found = await store.get(FORMAT_KEY);
  if (found === undefined) {
    throw new NotFoundError(
      `a store at prefix ${shownPrefix(prefix)}`,
      "there is no object FORMAT; tierlog stores list shows the stores that there are",
    );
  }
  return { ...parseStoreFormat(found.body), sizeBytes: found.sizeBytes };
}

/** Looks at one store from outside: reads its catalog and folds the chain of each shard, counts by listing, changes nothing. */
export async function describe(
  { config, runtime }: { readonly config: Config; readonly runtime: Runtime },
  root: Connection,
  prefix: string,
  { signal, onProgress }: StoreCallOptions,
): Promise<StoreDescription> {
  const store = prefixed(root.store, prefix);
  const { storeId, version, createdAt, sizeBytes } = await readFormat(store, prefix);
  const catalog = new Catalog({ store, runtime, writerId: root.writerId });
  await catalog.refresh();
  const topics = catalog.list();

  const contents: Record<string, Contents> = {};
  let total: Contents = { objects: 1, bytes: sizeBytes };
  for (const directory of STORE_DIRECTORIES) {
    const name = directory.slice(0, -1);
    let [objects, bytes] = [0, 0];
    for await (const info of store.list(directory, signal === undefined ? {} : { signal })) {
      objects += 1;
      bytes += info.sizeBytes;
      onProgress?.({ doing: `counting ${name}`, objects: total.objects + objects, bytes: total.bytes + bytes });
    }
    contents[name] = { objects, bytes };
    total = { objects: total.objects + objects, bytes: total.bytes + bytes };
  }

  const shards: ShardSummary[] = [];
  for (const shard of await shardsOf(store, topics, signal)) {
    if (signal?.aborted === true) throw new AbortedError("describe", { cause: signal.reason });
    onProgress?.({ doing: `reading shard ${shard}`, ...total });
    shards.push(await shardSummary(store, runtime, root.writerId, shard));
  }
  const isBucket = config.storage.kind === "object";
  const probe = isBucket
    ? await findProbeRecord(store, (await import("./first-use.ts")).probedServer(config))
    : undefined;
  return {
    prefix,
    storeId,
    formatVersion: version,
    createdAt,
    topics,
    shards,
    contents,
    total,
    probe: probe && { verdict: probe.record.verdict, createdAt: probe.record.createdAt },
  };
}

/** Those that topics name, and those that were written to; a deleted topic leaves such behind. */
async function shardsOf(
  store: ObjectStore,
  topics: readonly TopicDescription[],
  signal: AbortSignal | undefined,
): Promise<readonly ShardId[]> {
  const { directories } = await listLevel(store, INDEX_PREFIX, signal === undefined ? {} : { signal });
  const written = directories.map(parseShardDirectory).filter((shard) => shard !== undefined);
  const all = new Set<number>([...topics.flatMap(({ shards }) => shards), ...written]);
  return [...all].sort((a, b) => a - b) as ShardId[];
}

async function shardSummary(
  store: ObjectStore,
  runtime: Runtime,
  writerId: string,
  shard: ShardId,
): Promise<ShardSummary> {
  const { clock, random, logger } = runtime;
  // It never commits, so that no checkpoint will be due.
  const chain = new IndexChain({
    store,
    shard,
    writerId,
    clock,
    random,
    logger,
    checkpointEvery: Number.MAX_SAFE_INTEGER,
    // Looked at once.
    graceMs: Number.MAX_SAFE_INTEGER,
  });
  await chain.refresh();
  const { epoch, released, fence, liveLinks } = chain.state;
  return { shard, epoch, owner: released ? "" : (fence?.writerId ?? ""), links: liveLinks };
}
