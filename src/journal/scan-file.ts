import { CorruptionError, UnsupportedVersionError } from "../errors.ts";
import { crc32c } from "../record/crc32c.ts";
import {
  HEADER_BYTES,
  SECTOR_BYTES,
  decodeDirectory,
  decodeHeader,
  decodeMark,
  type EndMark,
  type FrameHeader,
  type JournalIdentity,
} from "./frame-codec.ts";
import { recordsIn } from "./frame.ts";
import type { Window } from "./window.ts";

/** A slot of the journal, by its number. */
export interface SlotFile {
  readonly slot: number;
  readonly path: string;
  readonly sizeBytes: number;
}

/** A frame whose header passes its checks. */
export interface FoundFrame {
  readonly file: ScannedFile;
  readonly position: number;
  /** Behind the whole frame before it in the file; 0 where there is none. */
  readonly previousEnd: number;
  readonly header: FrameHeader;
  /** Directory and payload match their CRC. */
  readonly whole: boolean;
  /** Of whole frames. */
  readonly records: number;
}

export interface FoundMark {
  readonly position: number;
  readonly mark: EndMark;
}

/** What a file holds of its current use: the one with the highest file number that any header or mark in it bears. */
export interface ScannedFile extends SlotFile {
  /** 0: blank. */
  readonly fileNumber: number;
  /** In order of position and sequence. Whole ones that nobody needs any more are left out. */
  readonly frames: readonly FoundFrame[];
  readonly marks: readonly FoundMark[];
  /** Behind the last whole frame; 0 where there is none. */
  readonly end: number;
  /** Of that frame; 0 where there is none. */
  readonly lastWhole: number;
  /** Does the end mark of that frame stand there, or the end of the file? */
  readonly marked: boolean;
  /** Behind the last block that can be recognised as part of this use. */
  readonly recognisedEnd: number;
  /** The highest sequence and file number in any header or mark, of earlier uses too. */
  readonly maxSequence: number;
  readonly maxFileNumber: number;
  /** The highest value of `freed` and of `synced` in any header. */
  readonly freed: number;
  readonly synced: number;
  /** Headers of formats that this version does not read. */
  readonly unsupported: UnsupportedVersionError | undefined;
}

type Draft = { -readonly [K in keyof ScannedFile]: ScannedFile[K] } & { frames: FoundFrame[]; marks: FoundMark[] };

/**
 * Looks at every block of a file, through `window`, which has it open. Whole frames of sequences up to `freed` are checked, but
 * not kept. Rejects with Node's own errors.
 */
export async function scanFile(
  slotFile: SlotFile,
  window: Window,
  identity: JournalIdentity,
  freed: number,
): Promise<ScannedFile> {
  const draft: Draft = {
    ...slotFile,
    fileNumber: 0,
    frames: [],
    marks: [],
    end: 0,
    lastWhole: 0,
    marked: false,
    recognisedEnd: 0,
    maxSequence: 0,
    maxFileNumber: 0,
    freed: 0,
    synced: 0,
    unsupported: undefined,
  };
  let lastSequence = 0;
  const enter = (fileNumber: number): boolean => {
    if (fileNumber < draft.fileNumber) return false;
    if (fileNumber > draft.fileNumber) {
      // All that was found so far is of an earlier use of this slot.
      Object.assign(draft, { fileNumber, frames: [], marks: [], end: 0, lastWhole: 0, recognisedEnd: 0 });
      lastSequence = 0;
    }
    return true;
  };

  for (let at = 0; at < slotFile.sizeBytes;) {
    const view = await window.at(at, SECTOR_BYTES);
    // The file ends in the middle of a sector: it was cut while it was made.
    if (view.length < HEADER_BYTES) break;
    const start = at;
    const last = start + view.length - HEADER_BYTES;
    let header: FrameHeader | undefined;
    // Without a promise for each sector.
    for (; at <= last; at += SECTOR_BYTES) {
      header = headerAt(view, at - start, identity, draft);
      if (header !== undefined) break;
      const mark = decodeMark(view, at - start);
      if (mark?.directoryId !== identity.directoryId) continue;
      draft.maxSequence = Math.max(draft.maxSequence, mark.sequence);
      draft.maxFileNumber = Math.max(draft.maxFileNumber, mark.fileNumber);
      if (!enter(mark.fileNumber)) continue;
      draft.marks.push({ position: at, mark });
      draft.recognisedEnd = Math.max(draft.recognisedEnd, at + SECTOR_BYTES);
    }
    if (header === undefined) continue;
    draft.maxSequence = Math.max(draft.maxSequence, header.sequence);
    draft.maxFileNumber = Math.max(draft.maxFileNumber, header.fileNumber);
    draft.freed = Math.max(draft.freed, header.freed);
    draft.synced = Math.max(draft.synced, header.synced);
    if (!enter(header.fileNumber) || header.sequence <= lastSequence) {
      at += SECTOR_BYTES;
      continue;
    }
    lastSequence = header.sequence;
    const records = await recordsOfBody(window, slotFile, header, at);
    const whole = records !== undefined;
    const end = Math.min(at + header.totalBytes, slotFile.sizeBytes);
    if (!whole || header.sequence > freed) {
      draft.frames.push({ file: draft, position: at, previousEnd: draft.end, header, whole, records: records ?? 0 });
    }
    draft.recognisedEnd = Math.max(draft.recognisedEnd, end);
    if (whole) {
      draft.end = end;
      draft.lastWhole = header.sequence;
    }
    at = whole ? end : at + SECTOR_BYTES;
  }
  draft.marked =
    draft.end >= slotFile.sizeBytes ||
    draft.marks.some(({ position, mark }) => position === draft.end && mark.sequence === draft.lastWhole);
  return draft;
}

function headerAt(view: Buffer, at: number, identity: JournalIdentity, draft: Draft): FrameHeader | undefined {
  try {
    const header = decodeHeader(view, at);
    if (header?.directoryId !== identity.directoryId || header.shard !== identity.shard) return undefined;
    return header;
  } catch (error) {
    if (!(error instanceof UnsupportedVersionError)) throw error;
    draft.unsupported = error;
    return undefined;
  }
}

/** The records that the frame holds; undefined where its bytes do not match their CRC. */
async function recordsOfBody(
  window: Window,
  file: SlotFile,
  header: FrameHeader,
  position: number,
): Promise<number | undefined> {
  const bodyStart = position + HEADER_BYTES;
  const bodyEnd = bodyStart + header.directoryBytes + header.payloadBytes;
  if (position + header.totalBytes > file.sizeBytes) return undefined;
  let crc = 0;
  // Counted from a copy: a directory may be larger than the window.
  const directory = Buffer.allocUnsafe(header.directoryBytes);
  for (let at = bodyStart; at < bodyEnd;) {
    const view = await window.at(at, 1);
    if (view.length === 0) return undefined;
    const piece = view.subarray(0, bodyEnd - at);
    crc = crc32c(piece, crc);
    if (at < bodyStart + directory.length) piece.copy(directory, at - bodyStart);
    at += piece.length;
  }
  if (crc !== header.bodyCrc) return undefined;
  try {
    return recordsIn(decodeDirectory(directory, header, file.path, position));
  } catch (error) {
    if (error instanceof CorruptionError) return undefined;
    throw error;
  }
}
