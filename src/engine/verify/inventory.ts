import type { ObjectKey, Seq, ShardId } from "../../domain.ts";
import { listLevel } from "../../object-store/list-level.ts";
import {
  CHECKPOINT_PREFIX,
  checkpointPrefix,
  DATA_PREFIX,
  FORMAT_KEY,
  INDEX_PREFIX,
  indexPrefix,
  parseObjectName,
  parseShardDirectory,
  PROBE_PREFIX,
  STORE_DIRECTORIES,
} from "../../object-store/object-names.ts";
import type { ObjectInfo } from "../../object-store/object-store.ts";
import type { Verification } from "./verification.ts";

/** From the first to the last, both of them in it. */
export interface SeqRange {
  readonly first: Seq;
  readonly last: Seq;
}

/** What a shard has, by listing. */
export interface ShardInventory {
  readonly shard: ShardId;
  /** Ascending. */
  readonly checkpoints: readonly Seq[];
  readonly indexFiles: number;
  /** Runs of seqs up to `through` without an index file, ascending. */
  readonly gaps: readonly SeqRange[];
  /** Every link up to this seq has been there; undefined: none ever was. What comes behind it came after the check began. */
  readonly through: Seq | undefined;
}

/** Is there anything of a store, or anything at all? */
export interface TopLevel {
  readonly hasFormat: boolean;
  readonly hasDirectories: boolean;
}

/** The first level of names; what is not tierlog's is reported, a directory once. */
export async function listTop(verification: Verification): Promise<TopLevel> {
  const { keys, directories } = await listLevel(verification.store, "", verification.calls);
  for (const name of [...keys, ...directories]) {
    if (name !== FORMAT_KEY && !STORE_DIRECTORIES.includes(name)) reportForeign(verification, name);
  }
  return {
    hasFormat: keys.includes(FORMAT_KEY),
    hasDirectories: directories.some((directory) => STORE_DIRECTORIES.includes(directory)),
  };
}

/** The shards that were ever written to. */
export async function listShards(verification: Verification): Promise<ReadonlySet<ShardId>> {
  const shards = new Set<ShardId>();
  for (const prefix of [INDEX_PREFIX, CHECKPOINT_PREFIX]) {
    const { keys, directories } = await listLevel(verification.store, prefix, verification.calls);
    for (const key of keys) reportForeign(verification, key);
    for (const directory of directories) {
      const shard = parseShardDirectory(directory);
      if (shard === undefined) reportForeign(verification, directory);
      else shards.add(shard);
    }
  }
  return shards;
}

/**
 * Lists what a shard has. Checkpoints first: a checkpoint that is there says that its link is; listed second, the links of a running
 * writer would seem to end before its newest checkpoint. `reportsForeign`: names that are not tierlog's become findings.
 */
export async function listShard(
  verification: Verification,
  shard: ShardId,
  reportsForeign: boolean,
): Promise<ShardInventory> {
  const { store, calls } = verification;
  const checkpoints: Seq[] = [];
  for await (const { key } of store.list(checkpointPrefix(shard), calls)) {
    const name = parseObjectName(key);
    if (name?.kind === "checkpoint") checkpoints.push(name.seq);
    else if (reportsForeign) reportForeign(verification, key);
  }
  let indexFiles = 0;
  const gaps: SeqRange[] = [];
  let nextSeq = 0;
  for await (const { key } of store.list(indexPrefix(shard), calls)) {
    const name = parseObjectName(key);
    if (name?.kind === "index") {
      indexFiles++;
      if (name.seq > nextSeq) gaps.push({ first: nextSeq as Seq, last: (name.seq - 1) as Seq });
      nextSeq = name.seq + 1;
    } else if (reportsForeign) reportForeign(verification, key);
  }
  const newest = checkpoints.at(-1);
  if (newest !== undefined && newest >= nextSeq) {
    gaps.push({ first: nextSeq as Seq, last: newest });
    nextSeq = newest + 1;
  }
  return { shard, checkpoints, indexFiles, gaps, through: nextSeq === 0 ? undefined : ((nextSeq - 1) as Seq) };
}

/** Every data object of these shards (undefined: of all), in the order of their names. */
export async function* listDataObjects(
  verification: Verification,
  shards: ReadonlySet<ShardId> | undefined,
): AsyncGenerator<ObjectInfo> {
  for await (const info of verification.store.list(DATA_PREFIX, verification.calls)) {
    const name = parseObjectName(info.key);
    if (name?.kind !== "data") reportForeign(verification, info.key);
    else if (shards === undefined || shards.has(name.shard)) yield info;
  }
}

/** Reports names below the probe's prefix that no probe gives. */
export async function checkProbeNames(verification: Verification): Promise<void> {
  for await (const { key } of verification.store.list(PROBE_PREFIX, verification.calls)) {
    if (parseObjectName(key) === undefined) reportForeign(verification, key);
  }
}

/** `name`: a key, or a directory with its slash. */
export function reportForeign(verification: Verification, name: ObjectKey | string): void {
  const what = name.endsWith("/") ? "no directory" : "no object";
  verification.findings.add({
    code: "foreign-object",
    key: name,
    problem: `tierlog has ${what} of this name: something else writes below the prefix of this store`,
  });
}
