import type { Config } from "../../config/config.ts";
import type { ShardId } from "../../domain.ts";
import type { EngineApi } from "../../engine/api.ts";
import { NotFoundError } from "../../errors.ts";
import type { AsideInspection } from "../../journal/inspect.ts";
import type { AsideReport, FrameDamage } from "../../journal/reports.ts";
import { joinPath } from "../../runtime/file-system.ts";
import { silentLogger } from "../../runtime/logger.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { appendAside, type AppendedAside } from "./append-aside.ts";
import { baseName } from "./format-inspection.ts";
import type { FoundJournal } from "./read-journals.ts";

/** A journal that cannot be opened. */
export interface BrokenJournal {
  readonly shard: ShardId;
  readonly problems: readonly string[];
  /** Cutting it helps: what stands in the way is damaged frames. */
  readonly cut: boolean;
  readonly damage: readonly FrameDamage[];
}

/** A file of frames that were set aside. */
export interface AsideFile extends AsideInspection {
  readonly shard: ShardId;
}

export interface SalvagePlan {
  readonly broken: readonly BrokenJournal[];
  readonly aside: readonly AsideFile[];
}

/** What there is to do; `file`: only the file set aside that has this name. `NotFoundError` where none has. */
export function planSalvage(journals: readonly FoundJournal[], file: string | undefined): SalvagePlan {
  const aside = journals.flatMap(({ shard, inspection }) =>
    inspection.aside
      .filter((found) => file === undefined || baseName(found.file) === file)
      .map((found) => ({ ...found, shard })),
  );
  if (file !== undefined && aside.length === 0) {
    throw new NotFoundError(`file ${file} among those set aside`, "tierlog journal inspect shows which there are");
  }
  const broken = journals.flatMap(({ shard, inspection: { problems, damage } }) =>
    problems.length === 0 ? [] : [{ shard, problems, cut: damage.length > 0, damage }],
  );
  return { broken, aside };
}

/** What was cut, and where the frames behind the damage are now. */
export interface CutJournal extends AsideReport {
  readonly shard: ShardId;
}

/** Cuts damaged journals, under the lock. `LockHeldError`, `ConfigError` for the journal of another store. */
export async function cutJournals(
  config: Config,
  runtime: Runtime,
  storeId: string,
  broken: readonly BrokenJournal[],
): Promise<readonly CutJournal[]> {
  const { cutDamage } = await import("../../journal/cut-damage.ts");
  const { JournalDirectory } = await import("../../journal/journal-directory.ts");
  const { path } = config.journal;
  const { fileSystem, clock, random } = runtime;
  const directory = await JournalDirectory.open({ path, storeId, fileSystem, create: false });
  if (directory === undefined) return [];
  try {
    const reports: CutJournal[] = [];
    for (const { shard, cut } of broken) {
      if (!cut) continue;
      const report = await cutDamage({
        directory: directory.shardPath(shard),
        shard,
        fileSystem,
        clock,
        random,
        // The caller tells what was done.
        logger: silentLogger,
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
  const { readAside } = await import("../../journal/aside.ts");
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
