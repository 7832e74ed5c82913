import { CorruptionError } from "../errors.ts";
import { joinPath, type FileSystem } from "../runtime/file-system.ts";
import { SECTOR_BYTES, decodeHeader } from "./frame-codec.ts";
import type { Manifest } from "./manifest.ts";
import type { FrameDamage } from "./reports.ts";
import { scanFile, type FoundFrame, type ScannedFile, type SlotFile } from "./scan-file.ts";
import { WINDOW_BYTES, Window } from "./window.ts";

/** All that the files of a journal say, and what follows from it. Rules: docs/journal-format.md, "What a reader concludes". */
export interface Scan {
  /** By slot number. */
  readonly files: readonly ScannedFile[];
  /** Frames up to here need not be there. */
  readonly freed: number;
  /** The frames that count, by sequence. */
  readonly live: readonly FoundFrame[];
  /** The frame after which the next one goes on; 0: none. */
  readonly lastSequence: number;
  /** The highest sequence that some frame says was on the disk. */
  readonly synced: number;
  /** Next numbers to use are above these. */
  readonly maxSequence: number;
  readonly maxFileNumber: number;
  /** The file whose end mark stands behind the last whole frame of all: it may be written on. */
  readonly open: ScannedFile | undefined;
  readonly torn: Torn | undefined;
  /** A frame that was on the disk is not whole: the journal must not be used before somebody decided. */
  readonly corruption: Corruption | undefined;
  readonly damagedFreed: readonly FrameDamage[];
}

export interface Torn {
  readonly file: ScannedFile;
  readonly position: number;
  readonly lengthBytes: number;
  readonly sequence: number | undefined;
  /** Frames with a readable header that are dropped, whole or not. */
  readonly frames: readonly FoundFrame[];
}

export interface Corruption {
  readonly error: CorruptionError;
  readonly sequence: number;
  /** Whole frames behind the damage, by sequence. */
  readonly behind: readonly FoundFrame[];
}

const SLOT = /^(\d{4,6})\.jrn$/;

export function slotName(slot: number): string {
  return `${String(slot).padStart(4, "0")}.jrn`;
}

/** The slots of a directory, by number. Rejects with Node's own errors. */
export async function listSlots(fileSystem: FileSystem, directory: string): Promise<SlotFile[]> {
  const slots: SlotFile[] = [];
  for (const { name, kind } of await fileSystem.list(directory)) {
    const digits = SLOT.exec(name)?.[1];
    if (digits === undefined || kind !== "file") continue;
    const path = joinPath(directory, name);
    slots.push({ slot: Number(digits), path, sizeBytes: (await fileSystem.stat(path)).sizeBytes });
  }
  return slots.sort((a, b) => a.slot - b.slot);
}

/** Reads all files; changes nothing. Rejects with Node's own errors and with UnsupportedVersionError. */
export async function scanJournal(
  fileSystem: FileSystem,
  directory: string,
  manifest: Pick<Manifest, "directoryId" | "shard" | "freedThrough" | "cuts">,
): Promise<Scan> {
  const slots = await listSlots(fileSystem, directory);
  const window = new Window(Math.min(WINDOW_BYTES, Math.max(0, ...slots.map((slot) => slot.sizeBytes))));
  const newestFirst = await byFirstFileNumber(fileSystem, slots);
  const files: ScannedFile[] = [];
  let freed = manifest.freedThrough;
  for (const slot of newestFirst) {
    const handle = await fileSystem.open(slot.path, { access: "read" });
    try {
      window.open(handle);
      const file = await scanFile(slot, window, manifest, freed);
      // The newest files know best what was freed: frames of older ones are then not even kept in mind.
      freed = Math.max(freed, file.freed);
      files.push(file);
    } finally {
      await handle.close();
    }
  }
  files.sort((a, b) => a.slot - b.slot);
  return conclude(directory, files, freed, manifest.cuts);
}

async function byFirstFileNumber(fileSystem: FileSystem, slots: readonly SlotFile[]): Promise<SlotFile[]> {
  const numbered: { readonly slot: SlotFile; readonly fileNumber: number }[] = [];
  for (const slot of slots) {
    const { bytes } = await fileSystem.read(slot.path, () => ({ start: 0, end: SECTOR_BYTES }));
    numbered.push({ slot, fileNumber: bytes.length < SECTOR_BYTES ? 0 : firstFileNumber(Buffer.from(bytes)) });
  }
  return numbered.sort((a, b) => b.fileNumber - a.fileNumber).map(({ slot }) => slot);
}

/** For the order only: a header of another version is met again, and told, when the file is read. */
function firstFileNumber(sector: Buffer): number {
  try {
    return decodeHeader(sector, 0)?.fileNumber ?? 0;
  } catch {
    return 0;
  }
}

function conclude(directory: string, files: readonly ScannedFile[], freed: number, cuts: Manifest["cuts"]): Scan {
  const isCut = (sequence: number): boolean => cuts.some(([first, last]) => sequence >= first && sequence <= last);
  const all = files.flatMap((file) => file.frames);
  const whole = new Map<number, FoundFrame>();
  let conflict: Corruption | undefined;
  for (const frame of all) {
    const { sequence } = frame.header;
    if (!frame.whole || sequence <= freed || isCut(sequence)) continue;
    const other = whole.get(sequence);
    if (other !== undefined && !sameFrame(other, frame)) {
      const problem = `frame ${sequence} stands here with other bytes than in ${other.file.path}`;
      if (conflict === undefined || sequence < conflict.sequence) {
        const error = new CorruptionError(frame.file.path, frame.position, problem);
        conflict = { error, sequence, behind: [] };
      }
      continue;
    }
    whole.set(sequence, frame);
  }
  const ascending = [...whole.values()].sort((a, b) => a.header.sequence - b.header.sequence);
  const synced = Math.max(0, ...files.map((file) => file.synced));

  // From the highest whole frame back along `prev`; behind a gap that may be, once more from the highest below it.
  let live: FoundFrame[] = [];
  let missing: { readonly sequence: number; readonly successor: FoundFrame } | undefined;
  let corruption: Corruption | undefined;
  for (let at = ascending.length - 1; at >= 0;) {
    const frame = ascending[at]!;
    live.push(frame);
    const { prev } = frame.header;
    if (prev <= freed) break;
    if (whole.has(prev)) {
      while (ascending[at]!.header.sequence !== prev) at--;
      continue;
    }
    missing = { sequence: prev, successor: frame };
    if (prev <= synced && corruption === undefined) corruption = corruptionAt(directory, files, all, prev, frame);
    live = [];
    while (at >= 0 && ascending[at]!.header.sequence > prev) at--;
  }
  live.reverse();
  // Of several gaps the oldest counts: what is whole before it is safe.
  if (corruption !== undefined && missing !== undefined) {
    corruption = corruptionAt(directory, files, all, missing.sequence, missing.successor);
  }
  if (conflict !== undefined && conflict.sequence < (corruption?.sequence ?? Infinity)) corruption = conflict;
  if (corruption !== undefined) {
    const { sequence } = corruption;
    const behind = ascending.filter((frame) => frame.header.sequence > sequence);
    corruption = { ...corruption, behind };
  }
  const newest = files.reduce<ScannedFile | undefined>(
    (best, file) => (file.fileNumber > (best?.fileNumber ?? 0) ? file : best),
    undefined,
  );
  const torn = corruption === undefined ? tornTail(files, newest, whole, missing, freed, isCut) : undefined;
  const maxSequence = Math.max(freed, ...cuts.map(([, last]) => last), ...files.map((file) => file.maxSequence));
  return {
    files,
    freed,
    live,
    lastSequence: live.at(-1)?.header.sequence ?? freed,
    synced,
    maxSequence,
    maxFileNumber: Math.max(0, ...files.map((file) => file.maxFileNumber)),
    open: newest !== undefined && missing === undefined && cleanTail(newest) ? newest : undefined,
    torn,
    corruption,
    damagedFreed: damagedFreed(files, freed),
  };
}

function sameFrame(a: FoundFrame, b: FoundFrame): boolean {
  return (
    a.header.bodyCrc === b.header.bodyCrc &&
    a.header.epoch === b.header.epoch &&
    a.header.directoryBytes === b.header.directoryBytes &&
    a.header.payloadBytes === b.header.payloadBytes
  );
}

/** Nothing of a later frame stands behind the last whole one, and its end mark does. */
function cleanTail(file: ScannedFile): boolean {
  if (file.lastWhole === 0 || !file.marked) return false;
  return (
    file.frames.every((frame) => frame.position < file.end) &&
    file.marks.every(({ mark }) => mark.sequence <= file.lastWhole)
  );
}

function tornTail(
  files: readonly ScannedFile[],
  newest: ScannedFile | undefined,
  whole: ReadonlyMap<number, FoundFrame>,
  missing: { readonly sequence: number; readonly successor: FoundFrame } | undefined,
  freed: number,
  isCut: (sequence: number) => boolean,
): Torn | undefined {
  if (missing !== undefined) {
    const { sequence, successor } = missing;
    const later = files.filter((file) => file.fileNumber > successor.file.fileNumber);
    const position = successor.previousEnd;
    const lengthBytes = later.reduce((sum, file) => sum + file.recognisedEnd, successor.file.recognisedEnd - position);
    const frames = files
      .flatMap((file) => file.frames)
      .filter((frame) => frame.header.sequence >= sequence && !isCut(frame.header.sequence));
    return { file: successor.file, position, lengthBytes, sequence, frames };
  }
  if (newest === undefined || cleanTail(newest)) return undefined;
  const behind = newest.frames.filter((frame) => frame.position >= newest.end);
  const sequences = [...behind.map((frame) => frame.header.sequence), ...newest.marks.map(({ mark }) => mark.sequence)];
  const lost = sequences.filter((sequence) => sequence > newest.lastWhole && !whole.has(sequence) && sequence > freed);
  // A frame whose write failed here and that was moved, or that nobody needs any more.
  if (sequences.some((sequence) => sequence > newest.lastWhole) && lost.every(isCut)) return undefined;
  return {
    file: newest,
    position: newest.end,
    lengthBytes: Math.max(newest.recognisedEnd - newest.end, SECTOR_BYTES),
    sequence: lost.length === 0 ? undefined : Math.min(...lost),
    frames: behind.filter((frame) => lost.includes(frame.header.sequence)),
  };
}

function corruptionAt(
  directory: string,
  files: readonly ScannedFile[],
  all: readonly FoundFrame[],
  sequence: number,
  successor: FoundFrame,
): Corruption {
  const problem =
    `frame ${sequence} is not whole, though later frames are and say that it was on the disk: bytes were lost or changed ` +
    "after they were acknowledged; tierlog journal inspect lists what is there, tierlog journal salvage takes it out";
  const at = (path: string, position: number): Corruption => ({
    error: new CorruptionError(path, position, problem),
    sequence,
    behind: [],
  });
  const bad = all.find((frame) => frame.header.sequence === sequence);
  if (bad !== undefined) return at(bad.file.path, bad.position);
  if (successor.position > 0) return at(successor.file.path, successor.previousEnd);
  // It was the last one of the file before.
  const before = files
    .filter((file) => file.lastWhole < sequence && file.lastWhole > 0)
    .sort((a, b) => b.lastWhole - a.lastWhole)[0];
  return before === undefined ? at(directory, 0) : at(before.path, before.end);
}

function damagedFreed(files: readonly ScannedFile[], freed: number): FrameDamage[] {
  return files.flatMap((file) =>
    file.frames
      .filter(({ whole, header }) => !whole && header.sequence <= freed)
      .map(({ position, header }) => ({
        file: file.path,
        position,
        sequence: header.sequence,
        problem: "its bytes do not match their CRC",
      })),
  );
}
