import type { ShardId } from "../domain.ts";
import { CorruptionError, UnsupportedVersionError } from "../errors.ts";
import { crc32c } from "../record/crc32c.ts";
import { errorCode, joinPath, type FileSystem } from "../runtime/file-system.ts";

/** What a shard's journal knows about itself beside its frames. Format: docs/journal-format.md. */
export interface Manifest {
  /** 32 hex digits, made with the directory, never changed: part of every frame. */
  readonly directoryId: string;
  /** 32 hex digits; renewed when frames are set aside after a fence. */
  readonly journalId: string;
  readonly shard: ShardId;
  /** WriteIds of fences that this directory sent or may have sent, oldest first. */
  readonly fences: readonly string[];
  /** Frames up to this sequence are committed in the chain or set aside. */
  readonly freedThrough: number;
  /** Sequences [first, last] that were cut out of a damaged journal and do not count. */
  readonly cuts: readonly (readonly [number, number])[];
}

const NAME = "MANIFEST";
const FORMAT = "tierlog-journal";
const VERSION = 1;
/** Larger ones are damage. */
const BYTES_MAX = 16 * 1024 * 1024;

/** undefined where there is none. Errors: CorruptionError, UnsupportedVersionError, else Node's own. */
export async function readManifest(fileSystem: FileSystem, directory: string): Promise<Manifest | undefined> {
  const path = joinPath(directory, NAME);
  const text = await readChecked(fileSystem, path, FORMAT, VERSION);
  return text === undefined ? undefined : parseManifest(text, path);
}

/** Atomic, and on the disk when it resolves. Rejects with Node's own errors; then either the old or the new one counts. */
export function writeManifest(fileSystem: FileSystem, directory: string, manifest: Manifest): Promise<void> {
  return writeChecked(fileSystem, directory, NAME, FORMAT, VERSION, manifest);
}

/** A text file of this package: `<format> <version> <CRC-32C of the rest>`, a line, then one JSON value. */
export async function readChecked(
  fileSystem: FileSystem,
  path: string,
  format: string,
  version: number,
): Promise<unknown> {
  let bytes: Buffer;
  try {
    const content = await fileSystem.read(path, (sizeBytes) => ({ start: 0, end: Math.min(sizeBytes, BYTES_MAX) }));
    bytes = Buffer.from(content.bytes.buffer, content.bytes.byteOffset, content.bytes.byteLength);
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined;
    throw error;
  }
  const line = bytes.indexOf(0x0a);
  const [, name, found, crc] =
    /^(\S+) (\d{1,9}) ([0-9a-f]{8})$/.exec(bytes.toString("latin1", 0, Math.max(0, line))) ?? [];
  if (name !== format || found === undefined) {
    throw new CorruptionError(path, 0, `it does not start with the line that every ${format} file has`);
  }
  if (Number(found) !== version) throw new UnsupportedVersionError(`${format} file ${path}`, Number(found), version);
  const body = bytes.subarray(line + 1);
  if (Number.parseInt(crc ?? "", 16) !== crc32c(body)) {
    throw new CorruptionError(path, line + 1, "its text does not match its CRC");
  }
  try {
    return JSON.parse(body.toString("utf8"));
  } catch (error) {
    throw new CorruptionError(path, line + 1, "its text is no JSON", { cause: error });
  }
}

/** Write to a temporary name, fsync, rename, fsync the directory. */
export async function writeChecked(
  fileSystem: FileSystem,
  directory: string,
  name: string,
  format: string,
  version: number,
  value: unknown,
): Promise<void> {
  const body = Buffer.from(`${JSON.stringify(value)}\n`);
  const line = `${format} ${version} ${crc32c(body).toString(16).padStart(8, "0")}\n`;
  const temporary = joinPath(directory, `${name}.tmp`);
  await fileSystem.remove(temporary);
  await fileSystem.writeNew(temporary, Buffer.concat([Buffer.from(line), body]));
  await fileSystem.rename(temporary, joinPath(directory, name));
  await fileSystem.syncDirectory(directory);
}

function parseManifest(value: unknown, path: string): Manifest {
  const { directoryId, journalId, shard, fences, freedThrough, cuts = [] } = (value ?? {}) as Record<string, unknown>;
  if (
    !isId(directoryId) ||
    !isId(journalId) ||
    !isCount(shard) ||
    !Array.isArray(fences) ||
    !fences.every(isId) ||
    !isCount(freedThrough) ||
    !Array.isArray(cuts) ||
    !cuts.every(isCut)
  ) {
    throw new CorruptionError(path, 0, "a field is missing or has a value that it cannot have");
  }
  return { directoryId, journalId, shard: shard as ShardId, fences, freedThrough, cuts };
}

function isId(value: unknown): value is string {
  return typeof value === "string" && /^[0-9a-f]{32}$/.test(value);
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function isCut(value: unknown): value is readonly [number, number] {
  return Array.isArray(value) && value.length === 2 && value.every(isCount);
}
