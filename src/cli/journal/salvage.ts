import type { Config } from "../../config/config.ts";
import type { ShardId } from "../../domain.ts";
import type { EngineApi } from "../../engine/api.ts";
import { NotFoundError } from "../../errors.ts";
import type { AsideReport, FrameDamage } from "../../journal/reports.ts";
import { joinPath } from "../../runtime/file-system.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { appendAside, type AppendedAside } from "./append-aside.ts";
import { baseName } from "./format-inspection.ts";
import type { FoundJournal } from "./read-journals.ts";

/** A journal to be cut. */
export interface PlannedCut {
  readonly shard: ShardId;
  readonly damage: readonly FrameDamage[];
}

/** A file of frames that were set aside. */
export interface AsideFile extends AsideReport {
  readonly shard: ShardId;
  readonly file: string;
  readonly problem: string | undefined;
}

export interface SalvagePlan {
  readonly cuts: readonly PlannedCut[];
  readonly aside: readonly AsideFile[];
}

/** What there is to do; `file`: only the file set aside that has this name. `NotFoundError` where none has. */
export function planSalvage(journals: readonly FoundJournal[], file: string | undefined): SalvagePlan {
  const aside = journals.flatMap(({ shard, inspection }) =>
    inspection.aside.flatMap((found) =>
      found.file === undefined || (file !== undefined && baseName(found.file) !== file)
        ? []
        : [{ ...found, shard, file: found.file }],
    ),
  );
  if (file !== undefined && aside.length === 0) {
    throw new NotFoundError(`file ${file} among those set aside`, "tierlog journal inspect shows which there are");
  }
  const cuts = journals.flatMap(({ shard, inspection: { damage } }) =>
    damage.length === 0 ? [] : [{ shard, damage }],
  );
  return { cuts, aside };
}

/** Cuts damaged journals, under the lock. `LockHeldError`, `ConfigError` for the journal of another store. */
export async function cutJournals(
  config: Config,
  runtime: Runtime,
  storeId: string,
  cuts: readonly PlannedCut[],
): Promise<readonly (AsideReport & { readonly shard: ShardId })[]> {
  const { cutDamage, JournalDirectory } = await import("../../journal/stub-tools.ts");
  const { path } = config.journal;
  const { fileSystem, clock, random, logger } = runtime;
  const directory = await JournalDirectory.open({ path, storeId, fileSystem, create: false });
  if (directory === undefined) return [];
  try {
    const reports: (AsideReport & { readonly shard: ShardId })[] = [];
    for (const { shard } of cuts) {
      const report = await cutDamage({
        directory: directory.shardPath(shard),
        shard,
        fileSystem,
        clock,
        random,
        logger,
        settings: config.journal,
      });
      if (report !== undefined) reports.push({ ...report, shard });
    }
    return reports;
  } finally {
    await directory.close();
  }
}

export interface AppendedFile extends AppendedAside {
  readonly shard: ShardId;
  readonly file: string;
  /** The name that the file has now; undefined: nothing of it was appended, and it stays as it is. */
  readonly doneFile: string | undefined;
}

/** Appends what one file holds, then renames it, so that it is not appended again. */
export async function appendFile(
  engine: EngineApi,
  config: Config,
  runtime: Pick<Runtime, "fileSystem">,
  { shard, file }: AsideFile,
  onProgress: (records: number) => void,
): Promise<AppendedFile> {
  const { readAside } = await import("../../journal/stub-tools.ts");
  const { fileSystem } = runtime;
  const appended = await appendAside({
    engine,
    frames: readAside(file, fileSystem),
    file,
    maxPendingBytes: config.flush.maxPendingBytes / 2,
    onProgress,
  });
  if (appended.records === 0) return { ...appended, shard, file, doneFile: undefined };
  const doneFile = `${file}.done`;
  await fileSystem.rename(file, doneFile);
  await fileSystem.syncDirectory(joinPath(file, ".."));
  return { ...appended, shard, file, doneFile };
}
