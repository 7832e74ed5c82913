import type { Config } from "../../config/config.ts";
import type { ShardId } from "../../domain.ts";
import { NotFoundError } from "../../errors.ts";
import type { JournalInspection } from "../../journal/inspect.ts";
import { joinPath, type FileSystem } from "../../runtime/file-system.ts";

export interface FoundJournal {
  readonly shard: ShardId;
  readonly inspection: JournalInspection;
}

/**
 * What lies below `system.journal.path`, shard by shard, without a lock: also beside a process that writes there. `NotFoundError` where
 * there is nothing, or nothing of `shard`.
 */
export async function readJournals(
  config: Config,
  fileSystem: FileSystem,
  shard: number | undefined,
): Promise<readonly FoundJournal[]> {
  const { inspectJournal } = await import("../../journal/inspect.ts");
  const { path } = config.journal;
  const found: FoundJournal[] = [];
  for (const { name, kind } of await fileSystem.list(path)) {
    const number = Number(name);
    if (kind !== "directory" || !/^\d{4}$/.test(name) || (shard !== undefined && number !== shard)) continue;
    found.push({ shard: number as ShardId, inspection: await inspectJournal(joinPath(path, name), fileSystem) });
  }
  if (found.length === 0) {
    const what = shard === undefined ? "a journal" : `a journal of shard ${shard}`;
    throw new NotFoundError(`${what} in ${path}`, "system.journal.path says where it is looked for");
  }
  return found.sort((a, b) => a.shard - b.shard);
}
