import type { ObjectKey, Seq, ShardId, TopicId } from "../domain.ts";
import type { ShardState } from "../index-chain/shard-state.ts";
import { boundaryLimit, type ShardView } from "../merge/garbage.ts";
import { GarbageListing, type Found } from "../merge/list-garbage.ts";
import { checkpointPrefix, parseCheckpointKey } from "../object-store/object-names.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import type { OpenUploads } from "../object-store/open-uploads.ts";
import type { Shard } from "../shard/shard.ts";
import type { Catalog } from "./catalog.ts";
import type { FindGarbageOptions, FoundGarbage, GarbageSummary, ShardOwner } from "./garbage-reports.ts";
import { deletedTopics } from "./trim-deleted.ts";

export interface FindGarbageParts {
  readonly store: ObjectStore;
  readonly catalog: Catalog;
  /** Those that were ever written to. */
  readonly shards: readonly Shard[];
  readonly uploads: (() => Promise<OpenUploads>) | undefined;
}

/** Looks for what `collect` would delete if it took every shard over now. Reads and lists; changes nothing, and takes nothing over. */
export async function findGarbage(
  { store, catalog, shards, uploads }: FindGarbageParts,
  { signal, onFound, onProgress }: FindGarbageOptions,
): Promise<GarbageSummary> {
  const listing = new GarbageListing(store, signal);
  const total = { garbage: { count: 0, bytes: 0 }, owners: { count: 0, bytes: 0 } };
  const add = async (found: FoundGarbage): Promise<void> => {
    signal?.throwIfAborted();
    const sum = found.reason === undefined ? total.owners : total.garbage;
    sum.count++;
    sum.bytes += found.sizeBytes;
    await onFound(found);
  };
  const addAll = async (items: AsyncIterable<Found>, reasonOf = (found: Found) => reasonIn(found)): Promise<void> => {
    for await (const found of items) await add(shown(found, reasonOf(found)));
  };

  const states: ShardState[] = [];
  for (const shard of shards) {
    signal?.throwIfAborted();
    onProgress?.(`reading shard ${shard.id}`);
    states.push(await shard.refresh());
  }
  const gone = await deletedTopics(states, catalog);
  const views = new Map<ShardId, ShardView>();
  const ofDeleted = new Set<ObjectKey>();
  for (const state of states) {
    onProgress?.(`listing shard ${state.shard}`);
    const kept = keptBy(state, gone);
    for (const { key } of state.dataObjects) if (!kept.objects.has(key)) ofDeleted.add(key);
    const view: ShardView = {
      epoch: state.epoch,
      epochOver: state.released,
      boundary: state.boundary,
      older: await olderCheckpoint(store, state.shard, signal),
      isNamed: (key) => kept.objects.has(key),
      isGivenUp: () => false,
    };
    views.set(state.shard, view);
    const limit = boundaryLimit({ nextSeq: state.nextSeq, lowestInline: kept.lowestInline });
    for await (const { key, sizeBytes, modifiedAtMs, seq } of listing.links(state.shard, limit)) {
      const reason = seq < state.boundary ? "below the boundary" : "behind a new boundary";
      await add({ kind: "link", key, sizeBytes, storedAt: isoOf(modifiedAtMs), reason });
    }
    await addAll(listing.checkpoints(state.shard, view));
  }
  onProgress?.("listing data");
  await addAll(listing.objects(views), (found) => (ofDeleted.has(found.key) ? "of a deleted topic" : reasonIn(found)));
  const pending: Found[] = [];
  const uploadsListed = await listUploads(uploads, (of) => listing.uploads(of, views, (found) => pending.push(found)));
  for (const found of pending) await add(shown(found, reasonIn(found)));
  onProgress?.("listing catalog and probes");
  await addAll(listing.catalogs());
  await addAll(listing.probes());
  return {
    ...total,
    shards: states.map(ownerOf),
    uploadsListed,
  };
}

async function listUploads(
  open: (() => Promise<OpenUploads>) | undefined,
  list: (uploads: OpenUploads) => Promise<boolean>,
): Promise<boolean> {
  if (open === undefined) return true;
  const uploads = await open();
  try {
    return await list(uploads);
  } finally {
    uploads.close();
  }
}

/** What a state reads where the partitions of `gone` are trimmed to their ends. */
function keptBy(
  state: ShardState,
  gone: ReadonlySet<TopicId>,
): { readonly objects: ReadonlySet<ObjectKey>; readonly lowestInline: number } {
  const objects = new Set<ObjectKey>();
  let lowestInline = Number.POSITIVE_INFINITY;
  for (const id of state.ends()) {
    const extents = state.extents(id);
    if (extents === undefined || gone.has(id.topicId)) continue;
    lowestInline = Math.min(lowestInline, extents.lowestInline());
    for (let i = 0; i < extents.count; i++) {
      const { object } = extents.at(i);
      if (object < 0) objects.add(state.dataObject(object).key);
    }
  }
  return { objects, lowestInline };
}

/** The second newest that is listed: whether it can be read its owner finds out before it relies on it. */
async function olderCheckpoint(
  store: ObjectStore,
  shard: ShardId,
  signal: AbortSignal | undefined,
): Promise<Seq | undefined> {
  const seqs: Seq[] = [];
  for await (const { key } of store.list(checkpointPrefix(shard), signal === undefined ? {} : { signal })) {
    const seq = parseCheckpointKey(key);
    if (seq !== undefined) seqs.push(seq);
  }
  return seqs.at(-2);
}

function reasonIn({ judgement }: Found): FoundGarbage["reason"] {
  return judgement.kind === "garbage" ? judgement.reason : undefined;
}

function shown({ kind, key, sizeBytes, storedAtMs }: Found, reason: FoundGarbage["reason"]): FoundGarbage {
  return { kind, key, sizeBytes, storedAt: isoOf(storedAtMs), reason };
}

function isoOf(timeMs: number | undefined): string | undefined {
  return timeMs === undefined ? undefined : new Date(timeMs).toISOString();
}

export function ownerOf({ shard, epoch, released, fence, boundary }: ShardState): ShardOwner {
  return { shard, owner: released ? "" : (fence?.writerId ?? ""), epoch, boundary };
}
