import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

import { crc32c, Damage } from "./bytes.ts";
import { decodeFrame, type JournalFrame } from "./journal-frame.ts";

export type { JournalFrame } from "./journal-frame.ts";

/** The journal of one shard as it lies on disk: docs/journal-format.md. */
export interface ShardJournal {
  readonly path: string;
  readonly shard: number;
  readonly directoryId: string;
  readonly journalId: string;
  readonly fences: readonly string[];
  /** Highest sequence that the manifest or a whole frame says to be committed. */
  readonly freedThrough: number;
  /** Oldest first: from the newest whole frame back along `prev` to the first that is not freed. */
  readonly live: readonly JournalFrame[];
  /** Freed frames that can still be read. */
  readonly freed: readonly JournalFrame[];
  readonly aside: readonly JournalFrame[];
  readonly violations: readonly string[];
}

interface Manifest {
  readonly directoryId: string;
  readonly journalId: string;
  readonly shard: number;
  readonly fences: readonly string[];
  readonly freedThrough: number;
}

const BLOCK_BYTES = 512;

/** `directory`: `journal.path`. One that does not exist holds no journals. */
export async function readShardJournals(directory: string): Promise<ShardJournal[]> {
  const names = (await entries(directory)).filter((name) => /^\d{4,}$/.test(name));
  return await Promise.all(names.sort().map((name) => readShardJournal(join(directory, name), Number(name))));
}

async function readShardJournal(path: string, shard: number): Promise<ShardJournal> {
  const violations: string[] = [];
  let manifest: Manifest = { directoryId: "", journalId: "", shard, fences: [], freedThrough: 0 };
  try {
    manifest = parseManifest(await readFile(join(path, "MANIFEST")), join(path, "MANIFEST"));
    if (manifest.shard !== shard) throw new Damage(`${path} holds the journal of shard ${manifest.shard}`);
  } catch (error) {
    // A process that was killed before it had made the manifest leaves a directory without one, and without frames.
    const bare = (await entries(path)).every((name) => !name.endsWith(".jrn") && name !== "MANIFEST");
    if (!bare) violations.push(`I3: ${path}: ${error instanceof Error ? error.message : String(error)}`);
  }

  const frames = new Map<number, JournalFrame>();
  for (const name of (await entries(path)).filter((entry) => entry.endsWith(".jrn")).sort()) {
    const file = join(path, name);
    for (const frame of wholeFrames(await readFile(file), file, manifest.directoryId, shard)) {
      const twin = frames.get(frame.sequence);
      // A write that failed is made once more in another file, with the same bytes.
      if (twin !== undefined && !twin.payload.equals(frame.payload)) {
        violations.push(`I3: ${twin.where} and ${frame.where} hold different frames ${frame.sequence}`);
      }
      if (twin === undefined || twin.fileNumber < frame.fileNumber) frames.set(frame.sequence, frame);
    }
  }
  const ordered = [...frames.values()].sort((a, b) => a.sequence - b.sequence);
  const freedThrough = Math.max(manifest.freedThrough, ...ordered.map(({ freed }) => freed));
  const live: JournalFrame[] = [];
  const newest = ordered.at(-1);
  for (let sequence = newest?.sequence ?? 0; sequence > freedThrough;) {
    const frame = frames.get(sequence);
    if (frame === undefined) {
      violations.push(`I3: ${path}: frame ${sequence} is missing, frames behind it are there`);
      break;
    }
    live.unshift(frame);
    sequence = frame.prev;
  }
  const freed = ordered.filter(({ sequence }) => sequence <= freedThrough && isLinked(sequence, ordered));
  const aside = await readAsides(join(path, "aside"), manifest.directoryId, shard, violations);
  const { directoryId, journalId, fences } = manifest;
  return { path, shard, directoryId, journalId, fences, freedThrough, live, freed, aside, violations };
}

/** A frame whose write was answered with an error is skipped by `prev` of the next: it may be whole and counts for nothing. */
function isLinked(sequence: number, ordered: readonly JournalFrame[]): boolean {
  const next = ordered.find((frame) => frame.sequence > sequence);
  return next === undefined || next.prev >= sequence;
}

function parseManifest(bytes: Buffer, where: string): Manifest {
  const text = bytes.toString("utf8");
  const line = text.indexOf("\n");
  const stated = /^tierlog-journal 1 ([0-9a-f]{1,8})$/.exec(text.slice(0, line))?.[1];
  if (stated === undefined) throw new Damage(`${where}: no manifest of version 1`);
  const rest = bytes.subarray(Buffer.byteLength(text.slice(0, line + 1)));
  if (crc32c(rest) !== Number.parseInt(stated, 16)) throw new Damage(`${where}: CRC is wrong`);
  return JSON.parse(rest.toString("utf8")) as Manifest;
}

/** Frames stand at multiples of 512 bytes; those of an earlier use of the file bear a lower number and do not count. */
function wholeFrames(bytes: Buffer, file: string, directoryId: string, shard: number): JournalFrame[] {
  const frames: JournalFrame[] = [];
  for (let at = 0; at + BLOCK_BYTES <= bytes.length;) {
    const frame = decodeFrame(bytes, at, `${file} at ${at}`);
    const ours = frame !== undefined && frame.directoryId === directoryId && frame.shard === shard;
    if (ours) frames.push(frame);
    at += ours ? frame.totalBytes : BLOCK_BYTES;
  }
  const use = Math.max(...frames.map(({ fileNumber }) => fileNumber));
  return frames.filter(({ fileNumber }) => fileNumber === use);
}

/** Raw frames, one behind the other; what is in these files was synced whole before they got their names. */
async function readAsides(
  directory: string,
  directoryId: string,
  shard: number,
  violations: string[],
): Promise<JournalFrame[]> {
  const frames: JournalFrame[] = [];
  for (const name of (await entries(directory)).filter((entry) => entry.endsWith(".jrn")).sort()) {
    const file = join(directory, name);
    const bytes = await readFile(file);
    for (let at = 0; at < bytes.length;) {
      const frame = decodeFrame(bytes, at, `${file} at ${at}`);
      if (frame === undefined || frame.directoryId !== directoryId || frame.shard !== shard) {
        violations.push(`I3: ${file} at ${at}: no whole frame`);
        break;
      }
      frames.push(frame);
      at += frame.totalBytes;
    }
  }
  return frames;
}

async function entries(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
    throw error;
  }
}
