import { createHash } from "node:crypto";

import { compareKeys } from "../../object-store/object-key.ts";
import { S3Refusal } from "./refusal.ts";

/** A number ≥ 0 in the query. Throws `InvalidArgument` for anything else. */
export function readCount(query: URLSearchParams, name: string, otherwise: number): number {
  const text = query.get(name);
  if (text === null || text === "") return otherwise;
  if (/^\d{1,10}$/.test(text)) return Number(text);
  throw new S3Refusal("InvalidArgument", {
    message: `Argument ${name} must be an integer between 0 and 2147483647`,
    elements: { ArgumentName: name, ArgumentValue: text },
  });
}

/** One line of a listing: a key, or the prefix that several keys share up to the delimiter. */
export interface PageEntry {
  readonly kind: "key" | "prefix";
  readonly name: string;
}

interface PageRequest {
  readonly prefix: string;
  /** "": none. */
  readonly delimiter: string;
  /** Keys up to this one are left out; "": none. */
  readonly startAfter: string;
  /** Name of the last entry of the page before. */
  readonly after: string | undefined;
  readonly maxEntries: number;
  /** In an order that stays, but that nobody could take for sorted. */
  readonly scrambled: boolean;
}

interface Page {
  readonly entries: readonly PageEntry[];
  readonly truncated: boolean;
}

/** One page out of all keys of a bucket, which must be sorted by their bytes. */
export function listPage(keys: readonly string[], request: PageRequest): Page {
  const { after, maxEntries } = request;
  const entries = collapsed(keys, request);
  if (request.scrambled) entries.sort((a, b) => (rank(a.name) < rank(b.name) ? -1 : 1));
  const isAfter = (name: string, last: string): boolean =>
    request.scrambled ? rank(name) > rank(last) : compareKeys(name, last) > 0;
  const rest = after === undefined ? entries : entries.filter(({ name }) => isAfter(name, after));
  return { entries: rest.slice(0, maxEntries), truncated: maxEntries > 0 && rest.length > maxEntries };
}

/** The keys below the prefix, those of one group as one entry; sorted by the bytes of the names, as the keys were. */
function collapsed(keys: readonly string[], { prefix, delimiter, startAfter }: PageRequest): PageEntry[] {
  const entries: PageEntry[] = [];
  for (let i = lowerBound(keys, prefix); keys[i]?.startsWith(prefix) === true; i++) {
    const key = keys[i] ?? "";
    if (startAfter !== "" && compareKeys(key, startAfter) <= 0) continue;
    const cut = delimiter === "" ? -1 : key.indexOf(delimiter, prefix.length);
    if (cut === -1) entries.push({ kind: "key", name: key });
    else {
      const name = key.slice(0, cut + delimiter.length);
      if (entries.at(-1)?.name !== name) entries.push({ kind: "prefix", name });
    }
  }
  return entries;
}

function rank(name: string): string {
  return createHash("md5").update(name).digest("hex");
}

/** Index of the first key ≥ `bound`. */
function lowerBound(keys: readonly string[], bound: string): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareKeys(keys[middle] ?? "", bound) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
