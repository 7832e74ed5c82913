import { CorruptionError } from "../errors.ts";
import { crc32c } from "../record/crc32c.ts";
import { joinPath, type FileSystem } from "../runtime/file-system.ts";
import type { RandomAccessFile } from "../runtime/random-access-file.ts";
import { HEADER_BYTES, decodeDirectory, decodeHeader, type FrameHeader } from "./frame-codec.ts";
import { recordsIn, type Frame } from "./frame.ts";
import type { ReadHandles } from "./read-handles.ts";
import { PartitionRanges, type AsideReport } from "./reports.ts";
import { readUpTo, writeAll } from "./whole-io.ts";

/** Where a whole frame lies. */
export interface FrameLocation {
  readonly path: string;
  readonly position: number;
  readonly sequence: number;
}

export const NOTHING_ASIDE: AsideReport = { file: undefined, frames: 0, records: 0, bytes: 0, partitions: [] };

const DIRECTORY = "aside";
const NAME = /^[0-9a-f]{32}-(\d+)-(\d+)\.jrn$/;

export function asideDirectory(directory: string): string {
  return joinPath(directory, DIRECTORY);
}

/** The files of frames set aside, by name. Rejects with Node's own errors. */
export async function listAside(
  fileSystem: FileSystem,
  directory: string,
): Promise<readonly { readonly path: string; readonly first: number; readonly last: number }[]> {
  const files = [];
  for (const { name, kind } of await fileSystem.list(asideDirectory(directory))) {
    const [, first, last] = NAME.exec(name) ?? [];
    if (kind !== "file" || first === undefined) continue;
    files.push({ path: joinPath(asideDirectory(directory), name), first: Number(first), last: Number(last) });
  }
  return files.sort((a, b) => a.first - b.first || a.last - b.last);
}

/**
 * Copies frames, checked, into a file of their own; it is on the disk when this resolves. Written under a temporary name first:
 * a crash leaves the whole file or none, and the same call again gives the same file. Files with nothing but some of the same
 * frames, as a call that was cut short leaves them, are removed. Errors: CorruptionError, else Node's own.
 */
export async function writeAside(
  fileSystem: FileSystem,
  readers: ReadHandles,
  directory: string,
  journalId: string,
  frames: readonly FrameLocation[],
): Promise<AsideReport> {
  const first = frames[0]?.sequence;
  const last = frames.at(-1)?.sequence;
  if (first === undefined || last === undefined) return NOTHING_ASIDE;
  const aside = asideDirectory(directory);
  await fileSystem.makeDirectory(aside);
  await fileSystem.syncDirectory(directory);
  const path = joinPath(aside, `${journalId}-${first}-${last}.jrn`);
  const temporary = joinPath(aside, "frames.tmp");
  await fileSystem.remove(temporary);
  const report = await copyFrames(fileSystem, readers, temporary, frames);
  await fileSystem.rename(temporary, path);
  await fileSystem.syncDirectory(aside);
  const copied = new Set(frames.map(({ sequence }) => sequence));
  for (const file of await listAside(fileSystem, directory)) {
    if (file.path === path || file.first < first || file.last > last) continue;
    if (!(await holdsOnly(fileSystem, file.path, copied))) continue;
    await fileSystem.remove(file.path);
    await fileSystem.syncDirectory(aside);
  }
  return { ...report, file: path };
}

/** Are these all frames of the file? One that was lost from the journal since may have its only copy there. */
async function holdsOnly(fileSystem: FileSystem, path: string, sequences: ReadonlySet<number>): Promise<boolean> {
  try {
    for await (const { frame } of readAside(path, fileSystem)) if (!sequences.has(frame.sequence)) return false;
    return true;
  } catch (error) {
    if (error instanceof CorruptionError) return false;
    throw error;
  }
}

async function copyFrames(
  fileSystem: FileSystem,
  readers: ReadHandles,
  target: string,
  frames: readonly FrameLocation[],
): Promise<Omit<AsideReport, "file">> {
  const ranges = new PartitionRanges();
  let records = 0;
  let bytes = 0;
  const out = await fileSystem.open(target, { access: "write", create: "new" });
  try {
    let at = 0;
    for (const { path, position, sequence } of frames) {
      const raw = await readers.use(path, (file) => readWholeFrame(file, path, position));
      if (raw?.header.sequence !== sequence) {
        throw new CorruptionError(path, position, `frame ${sequence} does not stand here any more`);
      }
      const extents = extentsOf(raw, path, position);
      ranges.add(raw.header.epoch, extents);
      records += recordsIn(extents);
      bytes += raw.header.payloadBytes;
      await writeAll(out, raw.bytes, at);
      at += raw.bytes.length;
    }
    await out.sync();
  } finally {
    await out.close();
  }
  return { frames: frames.length, records, bytes, partitions: ranges.list() };
}

interface RawFrame {
  readonly header: FrameHeader;
  /** With padding. */
  readonly bytes: Buffer;
}

/** A frame with all its bytes, checked; undefined at the end of the file. */
async function readWholeFrame(file: RandomAccessFile, path: string, position: number): Promise<RawFrame | undefined> {
  const start = await readUpTo(file, HEADER_BYTES, position);
  if (start.length === 0) return undefined;
  const header = start.length < HEADER_BYTES ? undefined : decodeHeader(start, 0);
  if (header === undefined) throw new CorruptionError(path, position, "no whole frame header stands here");
  const bytes = await readUpTo(file, header.totalBytes, position);
  const body = bytes.subarray(HEADER_BYTES, HEADER_BYTES + header.directoryBytes + header.payloadBytes);
  if (bytes.length < header.totalBytes || crc32c(body) !== header.bodyCrc) {
    throw new CorruptionError(path, position, `frame ${header.sequence} does not match its CRC`);
  }
  return { header, bytes };
}

function extentsOf({ header, bytes }: RawFrame, path: string, position: number): Frame["extents"] {
  return decodeDirectory(bytes.subarray(HEADER_BYTES, HEADER_BYTES + header.directoryBytes), header, path, position);
}

/**
 * Frames of a file of frames set aside, with their payloads, checked. Errors: CorruptionError with the position,
 * UnsupportedVersionError, else Node's own.
 */
export async function* readAside(
  path: string,
  fileSystem: FileSystem,
): AsyncGenerator<{ readonly frame: Frame; readonly payload: Uint8Array }> {
  const file = await fileSystem.open(path, { access: "read" });
  try {
    for (let position = 0; ;) {
      const raw = await readWholeFrame(file, path, position);
      if (raw === undefined) return;
      const { sequence, epoch, createdAtMs, payloadBytes, directoryBytes } = raw.header;
      const extents = extentsOf(raw, path, position);
      const start = HEADER_BYTES + directoryBytes;
      yield {
        frame: { sequence, epoch, createdAtMs, extents, payloadBytes },
        payload: raw.bytes.subarray(start, start + payloadBytes),
      };
      position += raw.header.totalBytes;
    }
  } finally {
    await file.close();
  }
}
