import type { ObjectKey, Seq, ShardId } from "../domain.ts";

/**
 * Every name within a store, format and parse side by side. Numbers are zero-padded so that names sort by them.
 *
 *     FORMAT                                   format version, store id
 *     catalog/<version:020>.json               topics
 *     index/<shard:04>/<seq:020>.idx           index chain
 */

export const FORMAT_KEY = "FORMAT" as ObjectKey;
export const CATALOG_PREFIX = "catalog/";

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
  return `index/${pad(shard, 4)}/${pad(seq, 20)}.idx` as ObjectKey;
}

function pad(value: number, digits: number): string {
  return String(value).padStart(digits, "0");
}
