import { CorruptionError } from "../errors.ts";
import { writeAside } from "./aside.ts";
import { openError } from "./disk-error.ts";
import { writeManifest } from "./manifest.ts";
import type { JournalOptions } from "./options.ts";
import { ReadHandles } from "./read-handles.ts";
import { manifestOf } from "./recovery.ts";
import type { AsideReport } from "./reports.ts";
import { scanJournal } from "./scan.ts";

/**
 * Cuts a damaged journal at its first damage, so that it can be opened again: whole frames before it stay; those behind it go to
 * a file of their own; what the damaged frames held is lost. undefined: there is no damage, and nothing was changed. A crash
 * anywhere, and the same call again: same result. REQUIRES: the lock over the directory. Errors: as `Journal.open`, where this
 * cannot help: a damaged manifest, a newer format.
 */
export async function cutDamage(options: JournalOptions): Promise<AsideReport | undefined> {
  const { fileSystem, directory, logger, shard } = options;
  const readers = new ReadHandles(fileSystem);
  try {
    const known = await manifestOf(options, false);
    if (known === undefined) return undefined;
    const { manifest } = known;
    if (manifest.shard !== shard) {
      throw new CorruptionError(directory, 0, `this is the journal of shard ${manifest.shard}, not of ${shard}`);
    }
    const scan = await scanJournal(fileSystem, directory, manifest);
    const unsupported = scan.files.find((file) => file.unsupported !== undefined)?.unsupported;
    if (unsupported !== undefined) throw unsupported;
    if (scan.corruption === undefined) return undefined;
    const { sequence, behind, error } = scan.corruption;
    const frames = behind.map(({ file, position, header }) => ({
      path: file.path,
      position,
      sequence: header.sequence,
    }));
    const report = await writeAside(fileSystem, readers, directory, manifest.journalId, frames);
    await writeManifest(fileSystem, directory, {
      ...manifest,
      cuts: [...manifest.cuts, [sequence, scan.maxSequence]],
    });
    logger.warn("the journal was cut at its damage", { shard, damage: error.message, ...report });
    return report;
  } catch (error) {
    throw openError("cutting", directory, error);
  } finally {
    await readers.close();
  }
}
