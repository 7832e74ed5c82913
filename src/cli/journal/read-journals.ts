import type { Config } from "../../config/config.ts";
import type { ShardId } from "../../domain.ts";
import { NotFoundError } from "../../errors.ts";
import { openError } from "../../journal/disk-error.ts";
import type { JournalInspection } from "../../journal/inspect.ts";
import { joinPath, type FileSystem } from "../../runtime/file-system.ts";
import type { Runtime } from "../../runtime/runtime.ts";

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
  const { path } = config.journal;
  const found = await findJournals(path, fileSystem, (number) => shard === undefined || number === shard);
  if (found.length === 0) {
    const what = shard === undefined ? "a journal" : `a journal of shard ${shard}`;
    throw new NotFoundError(`${what} in ${path}`, "system.journal.path says where it is looked for");
  }
  return found;
}

async function findJournals(
  path: string,
  fileSystem: FileSystem,
  wanted: (shard: number) => boolean,
): Promise<readonly FoundJournal[]> {
  const { inspectJournal } = await import("../../journal/inspect.ts");
  const found: FoundJournal[] = [];
  const entries = await readable(path, () => fileSystem.list(path));
  for (const { name, kind } of entries) {
    if (kind !== "directory" || !/^\d{4}$/.test(name) || !wanted(Number(name))) continue;
    const directory = joinPath(path, name);
    const inspection = await readable(directory, () => inspectJournal(directory, fileSystem));
    found.push({ shard: Number(name) as ShardId, inspection });
  }
  return found.sort((a, b) => a.shard - b.shard);
}

/** What a journal holds that is not in the store. */
export interface JournalLag {
  readonly shard: ShardId;
  /** null: the journal cannot be opened, and nobody knows. */
  readonly records: number | null;
  readonly bytes: number | null;
  /** Since the oldest of it was journaled. */
  readonly ms: number | null;
}

/** Of the journals of these shards of this store on this machine; those that hold nothing are left out. Reads them whole. */
export async function readLag(
  config: Config,
  { fileSystem, clock }: Pick<Runtime, "fileSystem" | "clock">,
  storeId: string,
  shards: ReadonlySet<number>,
): Promise<readonly JournalLag[]> {
  const { storeOf } = await import("../../journal/journal-directory.ts");
  const { path } = config.journal;
  if ((await readable(path, () => storeOf(path, fileSystem))) !== storeId) return [];
  const nowMs = clock.now();
  const lags: JournalLag[] = [];
  for (const { shard, inspection } of await findJournals(path, fileSystem, (number) => shards.has(number))) {
    const { live, slots } = inspection;
    if (live === undefined) lags.push({ shard, records: null, bytes: null, ms: null });
    if (live === undefined || live.frames === 0) continue;
    let oldestMs = nowMs;
    for (const frame of slots.flatMap(({ frames }) => frames)) {
      if (frame.live && frame.createdAtMs < oldestMs) oldestMs = frame.createdAtMs;
    }
    lags.push({ shard, records: live.records, bytes: live.bytes, ms: nowMs - oldestMs });
  }
  return lags;
}

/** Errors of the disk as ours: a file that this user may not read is no bug. */
async function readable<T>(path: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    throw openError("reading", path, error);
  }
}
