import { prefixProblem } from "../config/s3-names.ts";
import type { ObjectKey } from "../domain.ts";
import { InvalidArgumentError, asTierlogError } from "../errors.ts";
import { listLevel } from "../object-store/list-level.ts";
import { FORMAT_KEY, STORE_DIRECTORIES } from "../object-store/object-names.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import { prefixed } from "../object-store/prefixed.ts";
import { isStoreFormat, parseStoreFormat } from "./store-format.ts";
import { shownPrefix } from "./store-root.ts";

export interface StoreSummary {
  /** "": the top of the bucket or directory. */
  readonly prefix: string;
  /** undefined where `problem` is set. */
  readonly storeId: string | undefined;
  readonly formatVersion: number | undefined;
  readonly createdAt: string | undefined;
  /** Why it cannot be read: a newer format, another key, no permission. */
  readonly problem: string | undefined;
}

export interface StoreListing {
  /** In the order of their prefixes. */
  readonly stores: readonly StoreSummary[];
  /** Prefixes below which nobody looked, because they lie too deep. */
  readonly unexplored: readonly string[];
}

export interface StoreSearch {
  /** "": everywhere. */
  readonly prefix: string;
  /** Levels below `prefix` that are looked at; 0: only itself. */
  readonly depth: number;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: { readonly stores: number; readonly prefix: string }) => void) | undefined;
}

/** A bucket full of other things must not be gone through for hours. */
const REQUESTS_MAX = 10_000;

/**
 * Finds the stores at and below a prefix of `root`, level by level: a request or two for each directory on the way, none for what
 * stores hold. `InvalidArgumentError` after 10,000 requests.
 */
export async function findStores(root: ObjectStore, search: StoreSearch): Promise<StoreListing> {
  const stores: StoreSummary[] = [];
  const unexplored: string[] = [];
  let requests = 0;
  const options = {
    ...(search.signal === undefined ? {} : { signal: search.signal }),
    onRequest: (): void => {
      if (++requests <= REQUESTS_MAX) return;
      throw new InvalidArgumentError(
        "prefix",
        search.prefix,
        `${REQUESTS_MAX} requests were not enough to look through all that lies below ${shownPrefix(search.prefix)}: name a longer prefix, or look less deep`,
      );
    },
  };

  const visit = async (prefix: string, depth: number): Promise<void> => {
    search.onProgress?.({ stores: stores.length, prefix });
    const before = prefix === "" ? "" : `${prefix}/`;
    const { keys, directories } = await listLevel(root, before, options);
    const found = keys.includes((before + FORMAT_KEY) as ObjectKey)
      ? await summary(root, prefix, search.signal)
      : undefined;
    if (found !== undefined) stores.push(found);
    for (const directory of directories) {
      const name = directory.slice(before.length);
      if (found !== undefined && STORE_DIRECTORIES.includes(name)) continue;
      const below = directory.slice(0, -1);
      // No store can be there: its prefix would be refused.
      if (prefixProblem(below) !== undefined) continue;
      if (depth === 0) unexplored.push(below);
      else await visit(below, depth - 1);
    }
  };
  await visit(search.prefix, search.depth);
  return { stores, unexplored };
}

/** undefined: something else of the same name. */
async function summary(
  root: ObjectStore,
  prefix: string,
  signal: AbortSignal | undefined,
): Promise<StoreSummary | undefined> {
  const nothing = { storeId: undefined, formatVersion: undefined, createdAt: undefined };
  try {
    const found = await prefixed(root, prefix).get(FORMAT_KEY, signal === undefined ? {} : { signal });
    if (found === undefined || !isStoreFormat(found.body)) return undefined;
    const { storeId, version, createdAt } = parseStoreFormat(found.body);
    return { prefix, storeId, formatVersion: version, createdAt, problem: undefined };
  } catch (error) {
    const known = asTierlogError(error);
    // One store that cannot be read must not hide the others. An outage hides them all.
    const own =
      known.kind === "data" || (known.kind === "unavailable" && "retryable" in known && known.retryable === false);
    if (!own) throw error;
    return { prefix, ...nothing, problem: known.message };
  }
}
