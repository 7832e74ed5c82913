import type { Epoch, ObjectKey, Seq, ShardId } from "../domain.ts";

/**
 * Every name within a store, format and parse side by side. Numbers are zero-padded so that names sort by them.
 *
 *     FORMAT                                   format version, store id
 *     catalog/<version:020>.json               topics
 *     index/<shard:04>/<seq:020>.idx           index chain
 *     checkpoint/<shard:04>/<seq:020>.ckpt     folded state up to and with that seq
 *     data/<hash:02>/<shard:04>-<epoch:010>-<n:010>-<rand:16>.log   batches
 *     probe/<time>-<rand:16>.json              what the store was found able to do; time as in 20261121T081500123Z
 *     probe/<purpose>-<rand:16>/…              written and removed by a probe while it runs
 */

export const FORMAT_KEY = "FORMAT" as ObjectKey;
export const CATALOG_PREFIX = "catalog/";
export const INDEX_PREFIX = "index/";
export const CHECKPOINT_PREFIX = "checkpoint/";
export const DATA_PREFIX = "data/";

const CATALOG_NAME = /^catalog\/(\d{20})\.json$/;

export function catalogKey(version: number): ObjectKey {
  return `${CATALOG_PREFIX}${pad(version, 20)}.json` as ObjectKey;
}

/** The version, or undefined where the name is not one of a catalog. */
export function parseCatalogKey(key: ObjectKey): number | undefined {
  const digits = CATALOG_NAME.exec(key)?.[1];
  if (digits === undefined) return undefined;
  const version = Number(digits);
  return Number.isSafeInteger(version) ? version : undefined;
}

export function indexKey(shard: ShardId, seq: Seq): ObjectKey {
  return `${indexPrefix(shard)}${pad(seq, 20)}.idx` as ObjectKey;
}

/** What the names of all index files of a shard begin with. */
export function indexPrefix(shard: ShardId): string {
  return `${INDEX_PREFIX}${pad(shard, 4)}/`;
}

export function checkpointPrefix(shard: ShardId): string {
  return `${CHECKPOINT_PREFIX}${pad(shard, 4)}/`;
}

export function checkpointKey(shard: ShardId, seq: Seq): ObjectKey {
  return `${checkpointPrefix(shard)}${pad(seq, 20)}.ckpt` as ObjectKey;
}

const CHECKPOINT_NAME = /^checkpoint\/\d{4}\/(\d{20})\.ckpt$/;

/** The seq, or undefined where the name is not one of a checkpoint. */
export function parseCheckpointKey(key: ObjectKey): Seq | undefined {
  const digits = CHECKPOINT_NAME.exec(key)?.[1];
  if (digits === undefined) return undefined;
  const seq = Number(digits);
  return Number.isSafeInteger(seq) ? (seq as Seq) : undefined;
}

/**
 * A name that is never used again: `n` counts within one turn of one process, and 8 random bytes (16 hex digits) tell two
 * processes of the same epoch apart. The two hex digits in front spread a busy shard over the store's own partitions.
 */
export function dataKey(shard: ShardId, epoch: Epoch, n: number, random: string): ObjectKey {
  return `${DATA_PREFIX}${random.slice(0, 2)}/${pad(shard, 4)}-${pad(epoch, 10)}-${pad(n, 10)}-${random}.log` as ObjectKey;
}

/** Is this name, or prefix of names, one of data objects? They are the bulk of the bytes; all else is small and waited for. */
export function isDataName(name: string): boolean {
  return name.startsWith(DATA_PREFIX);
}

/** Records come first in a listing of it: they begin with a digit, the runs with a letter. */
export const PROBE_PREFIX = "probe/";

const PROBE_RECORD_NAME = /^probe\/\d{8}T\d{9}Z-[0-9a-f]{16}\.json$/;

export function probeRecordKey(timeMs: number, random: string): ObjectKey {
  return `${PROBE_PREFIX}${new Date(timeMs).toISOString().replace(/[-:.]/g, "")}-${random}.json` as ObjectKey;
}

export function isProbeRecordKey(key: ObjectKey): boolean {
  return PROBE_RECORD_NAME.test(key);
}

/** Does a listing of the probe's prefix give this key behind all records? They begin with a digit. */
export function isBehindProbeRecords(key: ObjectKey): boolean {
  return key.slice(PROBE_PREFIX.length, PROBE_PREFIX.length + 1) > "9";
}

/** What everything begins with that one run of a probe writes, its record apart. */
export function probeRunPrefix(purpose: "start" | "doctor", random: string): string {
  return `${PROBE_PREFIX}${purpose}-${random}/`;
}

/** Everything of a store but FORMAT lies in these. In the order in which a store is deleted: without a catalog it has no topics. */
export const STORE_DIRECTORIES: readonly string[] = [
  CATALOG_PREFIX,
  INDEX_PREFIX,
  CHECKPOINT_PREFIX,
  DATA_PREFIX,
  PROBE_PREFIX,
];

/** Of `index/0007/` and `checkpoint/0007/`: 7. undefined where the name is not one of a shard's. */
export function parseShardDirectory(directory: string): ShardId | undefined {
  const digits = /^(?:index|checkpoint)\/(\d{4})\/$/.exec(directory)?.[1];
  return digits === undefined ? undefined : (Number(digits) as ShardId);
}

/** What a name says of its object. */
export type ObjectName =
  | { readonly kind: "format" }
  | { readonly kind: "catalog"; readonly version: number }
  | { readonly kind: "index"; readonly shard: ShardId; readonly seq: Seq }
  | { readonly kind: "checkpoint"; readonly shard: ShardId; readonly seq: Seq }
  | { readonly kind: "data"; readonly shard: ShardId; readonly epoch: Epoch; readonly n: number }
  | { readonly kind: "probe-record" }
  /** What a probe that died left behind. */
  | { readonly kind: "probe-run" };

const SHARD_FILE_NAME = /^(?:index\/(\d{4})\/(\d{20})\.idx|checkpoint\/(\d{4})\/(\d{20})\.ckpt)$/;
const DATA_NAME = /^data\/([0-9a-f]{2})\/(\d{4})-(\d{10})-(\d{10})-([0-9a-f]{16})\.log$/;
const PROBE_RUN_NAME = /^probe\/(?:start|doctor)-[0-9a-f]+\//;

/** undefined: tierlog gives no object this name. */
export function parseObjectName(key: ObjectKey): ObjectName | undefined {
  if (key === FORMAT_KEY) return { kind: "format" };
  const version = parseCatalogKey(key);
  if (version !== undefined) return { kind: "catalog", version };
  const [, indexShard, indexSeq, shard = indexShard, seq = indexSeq] = SHARD_FILE_NAME.exec(key) ?? [];
  if (shard !== undefined && seq !== undefined && Number.isSafeInteger(Number(seq))) {
    const kind = indexShard === undefined ? "checkpoint" : "index";
    return { kind, shard: Number(shard) as ShardId, seq: Number(seq) as Seq };
  }
  const [, hash, writer, epoch, n, random] = DATA_NAME.exec(key) ?? [];
  if (random !== undefined && random.startsWith(hash ?? "")) {
    return { kind: "data", shard: Number(writer) as ShardId, epoch: Number(epoch) as Epoch, n: Number(n) };
  }
  if (isProbeRecordKey(key)) return { kind: "probe-record" };
  return PROBE_RUN_NAME.test(key) ? { kind: "probe-run" } : undefined;
}

const DIRECTORIES_OF_SUFFIX: readonly (readonly [suffix: string, directories: readonly string[]])[] = [
  [".idx", [INDEX_PREFIX]],
  [".ckpt", [CHECKPOINT_PREFIX]],
  [".log", [DATA_PREFIX]],
  [".json", [CATALOG_PREFIX, PROBE_PREFIX]],
];

/** The directories in which names with this end can lie. */
export function directoriesOfTail(tail: string): readonly string[] {
  return DIRECTORIES_OF_SUFFIX.find(([suffix]) => tail.endsWith(suffix))?.[1] ?? STORE_DIRECTORIES;
}

function pad(value: number, digits: number): string {
  return String(value).padStart(digits, "0");
}
