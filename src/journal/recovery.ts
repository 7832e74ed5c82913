import { ConfigError, CorruptionError } from "../errors.ts";
import { alignedMemory } from "../runtime/aligned-memory.ts";
import { errorCode, joinPath, type FileSystem } from "../runtime/file-system.ts";
import { listAside } from "./aside.ts";
import { isDiskFull, openError } from "./disk-error.ts";
import { DIRECT_BLOCK_BYTES, HEADER_BYTES, decodeDirectory } from "./frame-codec.ts";
import { readManifest, writeManifest, type Manifest } from "./manifest.ts";
import type { JournalOptions } from "./options.ts";
import { PartitionRanges, type OpenReport, type TornTail } from "./reports.ts";
import type { FoundFrame } from "./scan-file.ts";
import { listSlots, scanJournal, type Scan, type Torn } from "./scan.ts";
import { readUpTo } from "./whole-io.ts";

/** What a journal is opened with. */
export interface Recovered {
  readonly manifest: Manifest;
  readonly scan: Scan;
  readonly report: OpenReport;
  readonly oDirect: "off" | "on" | "refused";
  /** No frame, wherever it lies, has a higher sequence. */
  readonly lastNumber: number;
}

/**
 * Reads a journal's directory, or makes it where it is missing (`create`; else undefined). Live frames are on the disk when it
 * resolves, unless fsync is "never". Errors: as `Journal.open`.
 */
export async function recoverJournal(options: JournalOptions, create: boolean): Promise<Recovered | undefined> {
  const { fileSystem, directory } = options;
  try {
    const known = await manifestOf(options, create);
    if (known === undefined) return undefined;
    const { manifest, created } = known;
    if (manifest.shard !== options.shard) {
      throw new CorruptionError(
        directory,
        0,
        `this is the journal of shard ${manifest.shard}, not of ${options.shard}`,
      );
    }
    const oDirect = await probeDirectory(options);
    const scan = await scanJournal(fileSystem, directory, manifest);
    // Where the frames themselves were lost, the copies set aside still bear their numbers.
    const asideLast = (await listAside(fileSystem, directory)).map(({ last }) => last);
    const unsupported = scan.files.find((file) => file.unsupported !== undefined)?.unsupported;
    if (unsupported !== undefined) throw unsupported;
    if (scan.corruption !== undefined) throw scan.corruption.error;
    if (options.settings.fsync !== "never") await syncLiveFiles(options, scan);
    const tornTail = scan.torn === undefined ? undefined : await describeTorn(fileSystem, scan.torn);
    if (tornTail !== undefined) reportTorn(options, tornTail);
    const report: OpenReport = {
      created,
      frames: scan.live.length,
      records: scan.live.reduce((sum, frame) => sum + frame.records, 0),
      bytes: scan.live.reduce((sum, frame) => sum + frame.header.payloadBytes, 0),
      tornTail,
      damagedFreed: scan.damagedFreed,
    };
    return { manifest, scan, report, oDirect, lastNumber: Math.max(scan.maxSequence, ...asideLast) };
  } catch (error) {
    throw openError("opening", directory, error);
  }
}

/** The manifest, and whether it was made by this call. Changes nothing unless `create`. */
export async function manifestOf(
  { fileSystem, directory, random, shard }: JournalOptions,
  create: boolean,
): Promise<{ readonly manifest: Manifest; readonly created: boolean } | undefined> {
  const kind = await fileSystem.kind(directory);
  if (kind !== undefined && kind !== "directory") {
    const problem = `${directory} is no directory (symbolic links are not followed)`;
    throw new ConfigError([{ path: "system.journal.path", problem }]);
  }
  const found = kind === undefined ? undefined : await readManifest(fileSystem, directory);
  if (found !== undefined) return { manifest: found, created: false };
  // The manifest is made before anything else: what lies here without one has lost it.
  const files =
    kind === undefined
      ? []
      : [...(await listSlots(fileSystem, directory)), ...(await listAside(fileSystem, directory))];
  if (files.length > 0) {
    throw new CorruptionError(joinPath(directory, "MANIFEST"), 0, "it is missing, though there are frames beside it");
  }
  if (!create) return undefined;
  await fileSystem.makeDirectory(directory);
  const manifest: Manifest = {
    directoryId: newId(random),
    journalId: newId(random),
    shard,
    fences: [],
    freedThrough: 0,
    cuts: [],
  };
  await writeManifest(fileSystem, directory, manifest);
  return { manifest, created: true };
}

export function newId(random: JournalOptions["random"]): string {
  return Buffer.from(random.bytes(16)).toString("hex");
}

/** Finds out, before anything depends on it, whether files can be made here, and whether O_DIRECT is taken. */
async function probeDirectory({
  fileSystem,
  directory,
  settings,
  logger,
}: JournalOptions): Promise<Recovered["oDirect"]> {
  const path = joinPath(directory, "probe.tmp");
  await fileSystem.remove(path);
  const file = await fileSystem.open(path, { access: "write", create: "new" });
  await file.close();
  let result: Recovered["oDirect"] = "off";
  if (settings.oDirect) {
    const refusal = await directRefusal(fileSystem, path);
    result = refusal === undefined ? "on" : "refused";
    if (refusal !== undefined) {
      const message =
        "system.journal.o_direct is not possible on this file system: the journal is written through the page cache";
      logger.warn(message, { path: directory, reason: refusal });
    }
  }
  await fileSystem.remove(path);
  return result;
}

async function directRefusal(fileSystem: FileSystem, path: string): Promise<string | undefined> {
  try {
    const file = await fileSystem.open(path, { access: "write", direct: true });
    try {
      await file.write(alignedMemory(DIRECT_BLOCK_BYTES), 0);
    } finally {
      await file.close();
    }
    return undefined;
  } catch (error) {
    // No room says nothing about O_DIRECT.
    if (isDiskFull(error)) return undefined;
    const code = errorCode(error);
    if (code === undefined || !["EINVAL", "ENOTSUP", "EOPNOTSUPP"].includes(code)) throw error;
    return code;
  }
}

/**
 * What was read came from the page cache, perhaps: a process that was killed between its write and its sync leaves frames that a
 * power cut still takes away, after others were told that they are there.
 */
async function syncLiveFiles({ fileSystem, directory }: JournalOptions, scan: Scan): Promise<void> {
  for (const path of new Set(scan.live.map((frame) => frame.file.path))) {
    const file = await fileSystem.open(path, { access: "write" });
    try {
      await file.datasync();
    } finally {
      await file.close();
    }
  }
  await fileSystem.syncDirectory(directory);
}

/** A torn tail with what its frames held, as far as their directories can be read. */
export async function describeTorn(fileSystem: FileSystem, torn: Torn): Promise<TornTail> {
  const ranges = new PartitionRanges();
  for (const frame of torn.frames) {
    const { header, file, position } = frame;
    const extents = await readableDirectory(fileSystem, frame);
    if (extents !== undefined) ranges.add(header.epoch, decodeDirectory(extents, header, file.path, position));
  }
  return {
    file: torn.file.path,
    position: torn.position,
    lengthBytes: torn.lengthBytes,
    sequence: torn.sequence,
    framesDropped: torn.frames.filter((frame) => frame.whole).length,
    partitions: ranges.list(),
  };
}

/** The directory of a frame that may be torn; undefined where its bytes are not those that were written. */
async function readableDirectory(fileSystem: FileSystem, frame: FoundFrame): Promise<Buffer | undefined> {
  const { header, position } = frame;
  const handle = await fileSystem.open(frame.file.path, { access: "read" });
  try {
    const bytes = await readUpTo(handle, header.directoryBytes, position + HEADER_BYTES);
    decodeDirectory(bytes, header, frame.file.path, position);
    return bytes;
  } catch (error) {
    if (error instanceof CorruptionError) return undefined;
    throw error;
  } finally {
    await handle.close();
  }
}

function reportTorn({ logger, shard }: JournalOptions, torn: TornTail): void {
  logger.warn("the journal ends with a frame that never came to the disk whole: it is dropped", {
    shard,
    file: torn.file,
    position: torn.position,
    bytes: torn.lengthBytes,
    framesDropped: torn.framesDropped,
    partitions: torn.partitions.map(({ topicId, partition, firstOffset, nextOffset }) => ({
      topicId,
      partition,
      firstOffset,
      nextOffset,
    })),
  });
}
