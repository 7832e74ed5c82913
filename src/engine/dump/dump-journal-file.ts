import { NotFoundError } from "../../errors.ts";
import { readAside } from "../../journal/aside.ts";
import { decodeDirectory, decodeHeader, HEADER_BYTES } from "../../journal/frame-codec.ts";
import type { FrameExtent } from "../../journal/frame.ts";
import { inspectJournal, type FrameInspection } from "../../journal/inspect.ts";
import { errorCode, type FileSystem } from "../../runtime/file-system.ts";
import { dumpBatches } from "./dump-batches.ts";
import { damageAt, damageItem, type ByteSource, type DumpItem } from "./dump-item.ts";

const JOURNAL_FILE = ".jrn";

export function isJournalFile(name: string): boolean {
  return name.endsWith(JOURNAL_FILE);
}

/** A slot of a journal, or a file of frames that were set aside. Needs no lock. `NotFoundError`. */
export async function* dumpJournalFile(
  path: string,
  fileSystem: FileSystem,
  records: boolean,
): AsyncGenerator<DumpItem> {
  const { sizeBytes } = await statOf(path, fileSystem);
  yield { type: "object", depth: 0, fields: { file: path, sizeBytes } };
  const slash = path.lastIndexOf("/");
  const inspection = await inspectJournal(slash <= 0 ? "." : path.slice(0, slash), fileSystem);
  const slot = inspection.slots.find(({ file }) => baseName(file) === baseName(path));
  if (slot === undefined) {
    yield* dumpAside(path, fileSystem, records);
    return;
  }
  yield {
    type: "journal",
    depth: 0,
    fields: {
      ...inspection.manifest,
      slot: slot.slot,
      fileNumber: slot.fileNumber,
      frames: slot.frames.length,
      endMark: slot.endMark,
    },
  };
  for (const frame of slot.frames) {
    const { position, whole, ...fields } = frame;
    yield { type: "frame", depth: 0, position, fields };
    if (!whole) yield damageAt(position, 1, "its bytes do not match their CRC");
    else yield* dumpFrame(path, frame, fileSystem, records);
  }
  const torn = inspection.tornTail;
  if (torn !== undefined && baseName(torn.file) === baseName(path)) {
    const { file: _, position, ...fields } = torn;
    yield { type: "torn-tail", depth: 0, position, fields };
  }
  for (const { file, position, sequence, problem } of inspection.damage) {
    const isShown = slot.frames.some((frame) => !frame.whole && frame.position === position);
    if (baseName(file) !== baseName(path) || isShown) continue;
    yield damageAt(position, 0, sequence === undefined ? problem : `frame ${sequence}: ${problem}`);
  }
}

async function* dumpFrame(
  path: string,
  { position, totalBytes }: FrameInspection,
  fileSystem: FileSystem,
  records: boolean,
): AsyncGenerator<DumpItem> {
  const { bytes } = await fileSystem.read(path, () => ({ start: position, end: position + totalBytes }));
  const frame = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const header = frame.length < HEADER_BYTES ? undefined : decodeHeader(frame, 0);
  if (header === undefined) {
    yield damageAt(position, 1, "the frame was overwritten while it was read");
    return;
  }
  try {
    const payloadAt = HEADER_BYTES + header.directoryBytes;
    const extents = decodeDirectory(frame.subarray(HEADER_BYTES, payloadAt), header, path, position);
    yield* dumpExtents(extents, path, frame.subarray(payloadAt), position + payloadAt, records);
  } catch (error) {
    yield damageItem(error, 1, position);
  }
}

async function* dumpAside(path: string, fileSystem: FileSystem, records: boolean): AsyncGenerator<DumpItem> {
  try {
    for await (const { frame, payload } of readAside(path, fileSystem)) {
      const { extents, ...fields } = frame;
      yield { type: "frame", depth: 0, fields: { ...fields, extents: extents.length } };
      yield* dumpExtents(extents, path, payload, 0, records);
    }
  } catch (error) {
    yield damageItem(error, 0);
  }
}

/** `start`: of the payload in the file; 0 where that is not known. */
async function* dumpExtents(
  extents: readonly FrameExtent[],
  name: string,
  payload: Uint8Array,
  start: number,
  records: boolean,
): AsyncGenerator<DumpItem> {
  const source: ByteSource = {
    name,
    sizeBytes: start + payload.length,
    read: async (from, to) => payload.subarray(from - start, to - start),
  };
  for (const { position, ...fields } of extents) {
    yield { type: "extent", depth: 1, position: start + position, fields };
    if (!records) continue;
    yield* dumpBatches(source, {
      start: start + position,
      end: start + position + fields.lengthBytes,
      depth: 2,
      records,
    });
  }
}

async function statOf(path: string, fileSystem: FileSystem): Promise<{ readonly sizeBytes: number }> {
  try {
    return await fileSystem.stat(path);
  } catch (error) {
    if (errorCode(error) !== "ENOENT") throw error;
    throw new NotFoundError(`file ${path}`, "check the path; tierlog journal inspect shows the files of a journal");
  }
}

function baseName(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}
