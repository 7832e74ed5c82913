import type { Epoch } from "../domain.ts";
import { isTierlogError } from "../errors.ts";
import { joinPath, type FileSystem } from "../runtime/file-system.ts";
import { listAside, readAside } from "./aside.ts";
import { SECTOR_BYTES, decodeHeader, type JournalIdentity } from "./frame-codec.ts";
import { recordsIn } from "./frame.ts";
import { readManifest, type Manifest } from "./manifest.ts";
import { describeTorn } from "./recovery.ts";
import { PartitionRanges, type FrameDamage, type PartitionRange, type TornTail } from "./reports.ts";
import type { ScannedFile } from "./scan-file.ts";
import { listSlots, scanJournal, type Scan } from "./scan.ts";

/** What lies in the directory of a shard's journal. */
export interface JournalInspection {
  readonly directory: string;
  readonly manifest: Manifest | undefined;
  readonly slots: readonly SlotInspection[];
  /** Frames up to here are freed. */
  readonly freedThrough: number;
  /** What an open would find; undefined where it would end with an error. */
  readonly live: { readonly frames: number; readonly records: number; readonly bytes: number } | undefined;
  readonly tornTail: TornTail | undefined;
  /** Why the journal cannot be opened; empty where it can. */
  readonly problems: readonly string[];
  /** Places where a frame's header stands and its bytes do not match, and the place that stops an open. */
  readonly damage: readonly FrameDamage[];
  readonly aside: readonly AsideInspection[];
}

export interface SlotInspection {
  readonly slot: number;
  readonly file: string;
  readonly sizeBytes: number;
  /** 0: never written, or nothing in it can be read. */
  readonly fileNumber: number;
  /** Of the current use, without those that were freed. */
  readonly frames: readonly FrameInspection[];
  /** Behind the last whole frame. */
  readonly endPosition: number;
  /** Its end mark stands there. */
  readonly endMark: boolean;
}

export interface FrameInspection {
  readonly sequence: number;
  readonly prev: number;
  readonly position: number;
  readonly totalBytes: number;
  readonly payloadBytes: number;
  readonly epoch: Epoch;
  readonly createdAtMs: number;
  /** Of whole frames. */
  readonly records: number;
  readonly whole: boolean;
  /** An open would replay it. */
  readonly live: boolean;
}

export interface AsideInspection {
  readonly file: string;
  readonly sizeBytes: number;
  readonly frames: number;
  readonly records: number;
  readonly partitions: readonly PartitionRange[];
  /** Why not all of it can be read. */
  readonly problem: string | undefined;
}

/**
 * Looks at the journal of a shard: needs no lock (a journal in use changes under it), changes nothing, and never rejects for
 * damage; only for errors of the disk itself, with Node's own.
 */
export async function inspectJournal(directory: string, fileSystem: FileSystem): Promise<JournalInspection> {
  const problems: string[] = [];
  const manifest = await tolerate(problems, () => readManifest(fileSystem, directory));
  if (manifest === undefined && problems.length === 0) problems.push(`${joinPath(directory, "MANIFEST")} is missing`);
  // Without its manifest, a journal is known by the first frame that can be read.
  const identity = manifest ?? (await identityIn(fileSystem, directory));
  const scan =
    identity === undefined
      ? undefined
      : await tolerate(problems, () => scanJournal(fileSystem, directory, { freedThrough: 0, cuts: [], ...identity }));
  for (const file of scan?.files ?? []) if (file.unsupported !== undefined) problems.push(file.unsupported.message);
  if (scan?.corruption !== undefined) problems.push(scan.corruption.error.message);
  const live = new Set(scan?.corruption === undefined ? scan?.live : []);
  return {
    directory,
    manifest,
    slots: (scan?.files ?? []).map((file) => slotOf(file, live)),
    freedThrough: scan?.freed ?? manifest?.freedThrough ?? 0,
    live:
      scan === undefined || problems.length > 0
        ? undefined
        : {
            frames: scan.live.length,
            records: scan.live.reduce((sum, frame) => sum + frame.records, 0),
            bytes: scan.live.reduce((sum, frame) => sum + frame.header.payloadBytes, 0),
          },
    tornTail: scan?.torn === undefined ? undefined : await describeTorn(fileSystem, scan.torn),
    problems,
    damage: scan === undefined ? [] : damageOf(scan),
    aside: await asideOf(fileSystem, directory),
  };
}

async function tolerate<T>(problems: string[], look: () => Promise<T>): Promise<T | undefined> {
  try {
    return await look();
  } catch (error) {
    if (!isTierlogError(error)) throw error;
    problems.push(error.message);
    return undefined;
  }
}

async function identityIn(fileSystem: FileSystem, directory: string): Promise<JournalIdentity | undefined> {
  for (const { path } of await listSlots(fileSystem, directory)) {
    const { bytes } = await fileSystem.read(path, () => ({ start: 0, end: SECTOR_BYTES }));
    const header =
      bytes.length < SECTOR_BYTES ? undefined : await tolerate([], async () => decodeHeader(Buffer.from(bytes), 0));
    if (header !== undefined) return header;
  }
  return undefined;
}

function slotOf(file: ScannedFile, live: ReadonlySet<unknown>): SlotInspection {
  return {
    slot: file.slot,
    file: file.path,
    sizeBytes: file.sizeBytes,
    fileNumber: file.fileNumber,
    frames: file.frames.map((frame) => {
      const { sequence, prev, totalBytes, payloadBytes, epoch, createdAtMs } = frame.header;
      const { position, records, whole } = frame;
      return {
        sequence,
        prev,
        position,
        totalBytes,
        payloadBytes,
        epoch,
        createdAtMs,
        records,
        whole,
        live: live.has(frame),
      };
    }),
    endPosition: file.end,
    endMark: file.fileNumber > 0 && file.marked,
  };
}

function damageOf(scan: Scan): FrameDamage[] {
  const damage: FrameDamage[] = scan.files.flatMap((file) =>
    file.frames
      .filter((frame) => !frame.whole)
      .map(({ position, header }) => ({
        file: file.path,
        position,
        sequence: header.sequence,
        problem: "its bytes do not match their CRC",
      })),
  );
  if (scan.corruption === undefined) return damage;
  const { error, sequence } = scan.corruption;
  const known = damage.some(({ file, position }) => file === error.key && position === error.position);
  return known
    ? damage
    : [...damage, { file: error.key, position: error.position, sequence, problem: "no whole frame stands here" }];
}

async function asideOf(fileSystem: FileSystem, directory: string): Promise<AsideInspection[]> {
  const files: AsideInspection[] = [];
  for (const { path } of await listAside(fileSystem, directory)) {
    const ranges = new PartitionRanges();
    const problems: string[] = [];
    let frames = 0;
    let records = 0;
    await tolerate(problems, async () => {
      for await (const { frame } of readAside(path, fileSystem)) {
        frames++;
        records += recordsIn(frame.extents);
        ranges.add(frame.epoch, frame.extents);
      }
    });
    const { sizeBytes } = await fileSystem.stat(path);
    files.push({ file: path, sizeBytes, frames, records, partitions: ranges.list(), problem: problems[0] });
  }
  return files;
}
