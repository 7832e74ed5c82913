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

/** Every version from the first to the newest is there and can be read. The newest is what engines go by. */
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

/** Runs of missing versions, one finding each. */
function reportMissing({ findings }: Verification, versions: readonly number[]): void {
  let due = 1;
  for (const version of versions) {
    if (version > due) {
      const several = version - 1 > due ? ` and those up to ${version - 1}` : "";
      findings.add({
        code: "missing-catalog",
        key: catalogKey(due),
        problem: `version ${due}${several} is missing, and newer ones are there`,
      });
    }
    due = version + 1;
  }
}
