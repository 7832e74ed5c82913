import type { ObjectKey, Seq } from "../../domain.ts";
import { isTierlogError } from "../../errors.ts";
import type { DataObjectRef } from "../../index-chain/link-entries.ts";
import { readLink } from "../../index-chain/read-link.ts";
import type { ShardState } from "../../index-chain/shard-state.ts";
import { indexKey } from "../../object-store/object-names.ts";
import { checkDataObject } from "./check-data-object.ts";
import { currentState } from "./current-state.ts";
import type { DeepCheck } from "./deep-check.ts";
import type { FoldedShard } from "./fold-shard.ts";
import { listDataObjects } from "./inventory.ts";
import { extentsByObject, type ObjectExtents, type PlacedExtent } from "./placed-extents.ts";
import { eachOf, type Verification } from "./verification.ts";

/** Objects under way at once: with deep checks each holds a window of 8 MiB. */
const OBJECTS_AT_ONCE = 8;
const DEEP_AT_ONCE = 4;
const GONE_MEANWHILE = "was there, and is gone or shorter before all of it was checked";

export interface ObjectCounts {
  dataObjects: number;
  dataObjectBytes: number;
  extents: number;
  records: number;
  bytes: number;
}

/** Checks what the folded chain names: data objects, and with `deep` all batches. */
export async function checkObjects(
  verification: Verification,
  folded: FoldedShard,
  deep: DeepCheck | undefined,
): Promise<ObjectCounts> {
  const { state, shard } = folded;
  const counts: ObjectCounts = { dataObjects: 0, dataObjectBytes: 0, extents: 0, records: 0, bytes: 0 };
  const { objects, bytes } = sizeOfWork(folded, verification, deep !== undefined);
  verification.begin(`checking what shard ${shard} names`, objects, deep === undefined ? 0 : bytes);
  const gone: Gone[] = [];
  const check = async ({ object, extents }: ObjectExtents): Promise<void> => {
    const missing =
      object < 0
        ? await checkData(verification, state.dataObject(object), extents, counts, deep)
        : deep === undefined
          ? undefined
          : await checkInline(folded, object as number as Seq, extents, deep);
    if (missing !== undefined) gone.push(missing);
    verification.did(1);
  };
  await eachOf(counted(folded, verification, counts, deep), deep === undefined ? OBJECTS_AT_ONCE : DEEP_AT_ONCE, check);
  if (gone.length > 0) await reportGone(verification, state, gone);
  return counts;
}

/** An object that is not there, with what the state has of it. */
interface Gone {
  readonly code: "missing-data-object" | "missing-index-file";
  readonly key: ObjectKey;
  readonly extents: readonly PlacedExtent[];
  readonly problem: string;
}

/** Is an object lost, or was it merged and deleted since its chain was read? Only what the chain names by now is lost. */
async function reportGone(verification: Verification, state: ShardState, gone: readonly Gone[]): Promise<void> {
  const now = await currentState(verification, state);
  for (const { code, key, extents, problem } of gone) {
    const ranges = extents.filter((extent) => {
      const list = now.extents(extent);
      if (list === undefined) return false;
      const at = list.find(extent.baseOffset);
      if (at >= list.count) return false;
      const { baseOffset, object } = list.at(at);
      return baseOffset === extent.baseOffset && now.objectKey(object) === key;
    });
    if (ranges.length > 0) verification.findings.add({ code, key, ranges, problem });
  }
}

/** The groups that there is something to check of, while all are counted, and leader epochs looked at. */
function* counted(
  folded: FoldedShard,
  verification: Verification,
  counts: ObjectCounts,
  deep: DeepCheck | undefined,
): Generator<ObjectExtents> {
  for (const group of extentsByObject(folded.state, verification.onlyTopic)) {
    for (const { baseOffset, nextOffset, lengthBytes } of group.extents) {
      counts.extents++;
      counts.records += nextOffset - baseOffset;
      counts.bytes += lengthBytes;
    }
    if (group.object < 0 || deep !== undefined) yield group;
  }
}

function sizeOfWork(
  { state }: FoldedShard,
  { onlyTopic }: Verification,
  deep: boolean,
): { readonly objects: number; readonly bytes: number } {
  const objects = new Set<number>();
  let bytes = 0;
  for (const id of state.ends()) {
    const list = state.extents(id);
    if (list === undefined || (onlyTopic !== undefined && id.topicId !== onlyTopic)) continue;
    bytes += list.bytes;
    for (let i = 0; i < list.count; i++) {
      const { object } = list.at(i);
      if (object < 0 || deep) objects.add(object);
    }
  }
  return { objects: objects.size, bytes };
}

async function checkData(
  verification: Verification,
  ref: DataObjectRef,
  extents: readonly PlacedExtent[],
  counts: ObjectCounts,
  deep: DeepCheck | undefined,
): Promise<Gone | undefined> {
  counts.dataObjects++;
  counts.dataObjectBytes += ref.sizeBytes;
  const found = await checkDataObject(verification, ref, extents);
  const code = "missing-data-object";
  if (found.kind === "missing")
    return { code, key: ref.key, extents, problem: "does not exist, and the chain names it" };
  if (found.kind === "unusable" || deep === undefined) return undefined;
  const there = extents.filter(({ position, lengthBytes }) => position + lengthBytes <= found.sizeBytes);
  if (await deep.check(ref.key, there)) return undefined;
  return { code, key: ref.key, extents: there, problem: GONE_MEANWHILE };
}

/** What is wrong with the index file as such was reported when it was folded. */
async function checkInline(
  { shard, misplaced, isBroken }: FoldedShard,
  seq: Seq,
  extents: readonly PlacedExtent[],
  deep: DeepCheck,
): Promise<Gone | undefined> {
  const key = indexKey(shard, seq);
  if (misplaced.has(seq) || (await deep.check(key, extents)) || isBroken(seq)) return undefined;
  return { code: "missing-index-file", key, extents, problem: GONE_MEANWHILE };
}

/** Reports where the leader epoch of a partition goes back: an older writer's records behind a newer one's. */
export function checkEpochs({ findings, onlyTopic }: Verification, { state }: FoldedShard): void {
  for (const id of state.ends()) {
    const list = state.extents(id);
    if (list === undefined || (onlyTopic !== undefined && id.topicId !== onlyTopic)) continue;
    let highest = 0;
    for (let i = 0; i < list.count; i++) {
      const { leaderEpoch, object, position, baseOffset, nextOffset } = list.at(i);
      if (leaderEpoch < highest) {
        findings.add({
          code: "epoch-backwards",
          key: state.objectKey(object),
          position,
          ranges: [{ topicId: id.topicId, partition: id.partition, baseOffset, nextOffset }],
          problem: `records of leader epoch ${leaderEpoch} stand behind records of epoch ${highest}`,
        });
      }
      highest = Math.max(highest, leaderEpoch);
    }
  }
}

export interface UnreferencedObjects {
  readonly objects: number;
  readonly bytes: number;
  /** The first 10,000. */
  readonly listed: readonly { readonly key: string; readonly sizeBytes: number }[];
}

const UNREFERENCED_LISTED = 10_000;
/** Candidates kept while it is found out whether a writer has named them meanwhile. */
const CANDIDATES = 10_000;

/**
 * Data objects in the store that no link names; `all`: of every shard, also of those that are not in `shards`. What a writer named
 * since its chain was read is looked up: it is no leftover.
 */
export async function findUnreferenced(
  verification: Verification,
  shards: readonly FoldedShard[],
  all: boolean,
): Promise<UnreferencedObjects> {
  const named = new Set<ObjectKey>();
  for (const { state, namedBehind } of shards) {
    for (const key of namedBehind) named.add(key);
    for (const { key } of state.dataObjects) named.add(key);
  }
  const listed: { key: string; sizeBytes: number }[] = [];
  let [objects, bytes] = [0, 0];
  let candidates: { readonly key: ObjectKey; readonly sizeBytes: number }[] = [];
  const readOn = shards.map((folded) => new NewNames(verification, folded));
  const settle = async (): Promise<void> => {
    if (candidates.length === 0) return;
    for (const chain of readOn) for (const key of await chain.read()) named.add(key);
    for (const { key, sizeBytes } of candidates.filter((candidate) => !named.has(candidate.key))) {
      objects++;
      bytes += sizeBytes;
      if (listed.length < UNREFERENCED_LISTED) listed.push({ key, sizeBytes });
    }
    candidates = [];
  };
  verification.begin("looking for objects that no link names", 0);
  for await (const { key, sizeBytes } of listDataObjects(
    verification,
    all ? undefined : new Set(shards.map(({ shard }) => shard)),
  )) {
    verification.did(1);
    if (named.has(key)) continue;
    candidates.push({ key, sizeBytes });
    if (candidates.length === CANDIDATES) await settle();
  }
  await settle();
  return { objects, bytes, listed };
}

/** Names of data objects in links that were created since the chain was read. */
class NewNames {
  readonly #verification: Verification;
  readonly #shard: FoldedShard["shard"];
  #nextSeq: number;

  constructor(verification: Verification, { shard, end }: FoldedShard) {
    this.#verification = verification;
    this.#shard = shard;
    this.#nextSeq = end;
  }

  async read(): Promise<ObjectKey[]> {
    const { store, calls } = this.#verification;
    const keys: ObjectKey[] = [];
    for (;;) {
      try {
        const link = await readLink(store, this.#shard, this.#nextSeq as Seq, calls);
        if (link === undefined) return keys;
        for (const entry of link.entries)
          if (entry.type === "append" || entry.type === "replace") keys.push(...entry.objects.map(({ key }) => key));
      } catch (error) {
        // What comes behind the end that was seen at the beginning is not for this run to report.
        if (!isTierlogError(error) || error.kind !== "data") throw error;
      }
      this.#nextSeq++;
    }
  }
}
