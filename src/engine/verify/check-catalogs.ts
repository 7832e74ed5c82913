import { CATALOG_PREFIX, catalogKey, parseCatalogKey } from "../../object-store/object-names.ts";
import type { TopicDescription } from "../api.ts";
import { decodeCatalog } from "../catalog-file.ts";
import { dataProblem, readTwice } from "./data-problem.ts";
import { reportForeign } from "./inventory.ts";
import { eachOf, type Verification } from "./verification.ts";

export interface CheckedCatalogs {
  readonly count: number;
  /** Of the newest version that can be read. */
  readonly topics: readonly TopicDescription[];
}

const READS_AT_ONCE = 8;

/** The newest two versions are there, and all that are there can be read. The newest is what engines go by; older ones are deleted. */
export async function checkCatalogs(verification: Verification): Promise<CheckedCatalogs> {
  const { store, calls, findings } = verification;
  const versions: number[] = [];
  for await (const { key } of store.list(CATALOG_PREFIX, calls)) {
    const version = parseCatalogKey(key);
    if (version === undefined) reportForeign(verification, key);
    else versions.push(version);
  }
  const newest = versions.at(-1) ?? 0;
  reportMissing(verification, versions);
  verification.begin("reading the catalog", versions.length);
  let read: { readonly version: number; readonly topics: readonly TopicDescription[] } | undefined;
  await eachOf(versions, READS_AT_ONCE, async (version) => {
    const key = catalogKey(version);
    try {
      const catalog = await readTwice(async () => {
        const found = await store.get(key, calls);
        return found === undefined ? undefined : decodeCatalog(found.body, key, version);
      });
      if (catalog === undefined) {
        // An older one is deleted after a while, as it should be.
        if (version >= newest - 1)
          findings.add({ code: "missing-catalog", key, problem: "is listed, and then does not exist" });
      } else if (read === undefined || version > read.version) read = catalog;
    } catch (error) {
      const { unsupported, position, problem } = dataProblem(error);
      const then = version === newest ? "no topic can be opened" : "a newer version counts";
      const code = unsupported ? "unsupported-version" : "damaged-catalog";
      findings.add({ code, key, position, problem: `${problem}; ${then}` });
    }
    verification.did(1);
  });
  return { count: versions.length, topics: read?.topics ?? [] };
}

/** The version before the newest stays: that it is missing says that somebody else deletes, or that a newer one landed by mistake. */
function reportMissing({ findings }: Verification, versions: readonly number[]): void {
  const newest = versions.at(-1) ?? 0;
  if (newest < 2 || versions.at(-2) === newest - 1) return;
  findings.add({
    code: "missing-catalog",
    key: catalogKey(newest - 1),
    problem: `version ${newest - 1} is missing, and a newer one is there`,
  });
}
