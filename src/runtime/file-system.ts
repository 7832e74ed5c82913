import { constants } from "node:fs";
import * as fs from "node:fs/promises";
import { dirname, join } from "node:path";

import { openFile, type OpenFileOptions, type RandomAccessFile } from "./random-access-file.ts";

/**
 * The part of a file system that the stores need, injected so that tests can fail any call. Errors are Node's own
 * (`code` ENOENT, EEXIST, ENOSPC, …): the callers translate them.
 */
export interface FileSystem {
  /**
   * The bytes that `range` picks once the size is known (default: all), cut at the end of the file. Size, identity and bytes
   * are of one open file, even when its name is replaced meanwhile. `into` gives memory of exactly so many bytes for them; it is
   * written to until this settles.
   */
  read(
    path: string,
    range?: (sizeBytes: number) => FileRange,
    into?: (bytes: number) => Uint8Array,
  ): Promise<FileContent>;
  /** Size and identity; rejects with ENOENT. */
  stat(path: string): Promise<FileStat>;
  /**
   * Creates a new file (EEXIST if there is one), writes all of `bytes`, fsyncs (unless `durable` is false), closes. Leaves nothing
   * behind on failure.
   */
  writeNew(path: string, bytes: Uint8Array, options?: { readonly durable: boolean }): Promise<void>;
  /** As `writeNew`, with the bytes of other files, one behind the other. Takes little memory, whatever their size. */
  concatenate(sources: readonly string[], target: string): Promise<void>;
  /** A second name for the same file; EEXIST if `target` exists: atomic on every POSIX file system. */
  link(source: string, target: string): Promise<void>;
  /** Replaces `target`. */
  rename(source: string, target: string): Promise<void>;
  /** ENOENT is success. */
  remove(path: string): Promise<void>;
  /** Creates the directory and its missing parents, each fsynced into its own parent. */
  makeDirectory(path: string): Promise<void>;
  /** Makes names created, renamed or removed in this directory durable. */
  syncDirectory(path: string): Promise<void>;
  /** Entries in no particular order; a missing directory is empty. */
  list(path: string): Promise<readonly DirectoryEntry[]>;
  /** What stands under this name, a symbolic link being "other"; undefined: nothing. */
  kind(path: string): Promise<DirectoryEntry["kind"] | undefined>;
  /** Opens a file for positional reads and writes. The caller closes it. */
  open(path: string, options: OpenFileOptions): Promise<RandomAccessFile>;
}

/** Bytes [start, end). */
export interface FileRange {
  readonly start: number;
  readonly end: number;
}

export interface FileContent {
  /** Owned by the caller. */
  readonly bytes: Uint8Array;
  /** Of the whole file. */
  readonly sizeBytes: number;
  readonly identity: string;
}

export interface FileStat {
  readonly sizeBytes: number;
  /**
   * Changes whenever the name points at other content: inode, size and mtime in nanoseconds. Not ctime, which changes when the
   * same file gets or loses a second name.
   */
  readonly identity: string;
  readonly modifiedAtMs: number;
}

export interface DirectoryEntry {
  readonly name: string;
  readonly kind: "file" | "directory" | "other";
}

export const nodeFileSystem: FileSystem = {
  async read(path, range, into = (bytes) => Buffer.allocUnsafeSlow(bytes)) {
    const handle = await fs.open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
    try {
      const stat = await handle.stat({ bigint: true });
      const sizeBytes = Number(stat.size);
      const wanted = range?.(sizeBytes) ?? { start: 0, end: sizeBytes };
      const start = Math.min(wanted.start, sizeBytes);
      const end = Math.min(wanted.end, sizeBytes);
      const bytes = into(Math.max(0, end - start));
      let filled = 0;
      while (filled < bytes.length) {
        const { bytesRead } = await handle.read(bytes, filled, bytes.length - filled, start + filled);
        // A file that shrank under us: the caller gets what is there and sees that it is short.
        if (bytesRead === 0) break;
        filled += bytesRead;
      }
      return { bytes: bytes.subarray(0, filled), sizeBytes, identity: identityOf(stat) };
    } finally {
      await handle.close();
    }
  },

  async stat(path) {
    const stat = await fs.lstat(path, { bigint: true });
    if (!stat.isFile()) throw Object.assign(new Error(`not a file: ${path}`), { code: "ENOENT" });
    return { sizeBytes: Number(stat.size), identity: identityOf(stat), modifiedAtMs: Number(stat.mtimeMs) };
  },

  writeNew(path, bytes, options) {
    return createFile(path, async (handle) => {
      await writeAll(handle, bytes);
      if (options?.durable !== false) await handle.sync();
    });
  },

  concatenate(sources, target) {
    return createFile(target, async (handle) => {
      const buffer = Buffer.allocUnsafeSlow(COPY_BYTES);
      for (const path of sources) {
        const source = await fs.open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
        try {
          for (;;) {
            const { bytesRead } = await source.read(buffer, 0, buffer.length);
            if (bytesRead === 0) break;
            await writeAll(handle, buffer.subarray(0, bytesRead));
          }
        } finally {
          await source.close();
        }
      }
      await handle.sync();
    });
  },

  link: (source, target) => fs.link(source, target),
  rename: (source, target) => fs.rename(source, target),

  async remove(path) {
    await fs.rm(path, { force: true });
  },

  async makeDirectory(path) {
    const first = await fs.mkdir(path, { recursive: true, mode: 0o700 });
    if (first === undefined) return;
    // Every directory made above `path` is a name in its parent, and that name must survive a power cut too.
    for (let made = path; ; made = dirname(made)) {
      await nodeFileSystem.syncDirectory(dirname(made));
      if (made === first || dirname(made) === made) return;
    }
  },

  async syncDirectory(path) {
    const handle = await fs.open(path, "r");
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  },

  async list(path) {
    try {
      const entries = await fs.readdir(path, { withFileTypes: true });
      return entries.map((entry) => ({
        name: entry.name,
        kind: entry.isFile() ? "file" : entry.isDirectory() ? "directory" : "other",
      }));
    } catch (error) {
      if (errorCode(error) === "ENOENT") return [];
      throw error;
    }
  },

  async kind(path) {
    try {
      const stat = await fs.lstat(path);
      return stat.isFile() ? "file" : stat.isDirectory() ? "directory" : "other";
    } catch (error) {
      if (errorCode(error) === "ENOENT") return undefined;
      throw error;
    }
  },

  open: openFile,
};

const COPY_BYTES = 1024 * 1024;

async function createFile(path: string, fill: (handle: fs.FileHandle) => Promise<void>): Promise<void> {
  const handle = await fs.open(path, "wx", 0o600);
  try {
    await fill(handle);
  } catch (error) {
    await handle.close();
    await fs.rm(path, { force: true });
    throw error;
  }
  await handle.close();
}

async function writeAll(handle: fs.FileHandle, bytes: Uint8Array): Promise<void> {
  // A write may be short without an error when the disk fills; the next one then fails with ENOSPC.
  for (let written = 0; written < bytes.length;) {
    const { bytesWritten } = await handle.write(bytes, written, Math.min(bytes.length - written, 256 * 1024));
    written += bytesWritten;
  }
}

function identityOf(stat: { ino: bigint; size: bigint; mtimeNs: bigint }): string {
  return `${stat.ino.toString(16)}-${stat.size.toString(16)}-${stat.mtimeNs.toString(16)}`;
}

/** Node's error code, as in "ENOENT". */
export function errorCode(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}

export { join as joinPath };
