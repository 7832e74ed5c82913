import { dirname, resolve } from "node:path";

import type { ETag, ObjectKey } from "../domain.ts";
import { AbortedError, ClosedError, isTierlogError } from "../errors.ts";
import { errorCode, joinPath, type FileStat, type FileSystem } from "../runtime/file-system.ts";
import type { Random } from "../runtime/random.ts";
import { checkRange, resolveRange } from "./byte-range.ts";
import { checkCondition } from "./etag.ts";
import { pathOfKey } from "./file-name.ts";
import { DurableDirectories } from "./fs-directories.ts";
import { fsError } from "./fs-error.ts";
import { listTree } from "./fs-list.ts";
import { createFsMultipart } from "./fs-multipart.ts";
import { KeyMutex } from "./key-mutex.ts";
import { checkKey } from "./object-key.ts";
import type { ListOptions, ObjectInfo, ObjectStore, PutOptions, PutOutcome } from "./object-store.ts";

/** Names that begin with a dot belong to no key (file-name.ts), so this cannot collide with an object. */
const TEMPORARY = ".tmp";

export interface FsStoreOptions {
  /** Made on the first put when missing. Must lie on one file system that has hard links. */
  readonly root: string;
  readonly fileSystem: FileSystem;
  readonly random: Random;
}

/** By absolute path, for the whole process: two stores on one root must not both win an "if-match". */
const overwriting = new KeyMutex();

/**
 * A directory as an object store. An object is a plain file, named after its key (file-name.ts).
 *
 * A put writes and fsyncs a temporary file, gives it its name with `link` ("if-absent": exactly one of several processes gets
 * it) or `rename`, and fsyncs the directory. A crash leaves the old object, or the new one, never half of one; at most a
 * temporary stays behind, which no call sees and `sweepTemporaries` removes. So it is with an upload in parts (fs-multipart.ts).
 *
 * "if-match" holds among the stores of one process only. Its ETag is inode, size and mtime: two contents of one size written
 * within one tick of the file system's clock (up to 4 ms) can share it once the inode was used again. So not for leases.
 *
 * Directories are never removed. A fired signal is noticed before the disk is touched, not in the middle.
 */
export function createFsStore(options: FsStoreOptions): ObjectStore {
  const { fileSystem, random } = options;
  const root = resolve(options.root);
  const directories = new DurableDirectories(fileSystem, root);
  let closed = false;

  const enter = (operation: string, signal: AbortSignal | undefined): void => {
    if (closed) throw new ClosedError("object store");
    if (signal?.aborted === true) throw new AbortedError(operation, { cause: signal.reason });
  };

  /** undefined: no such object. */
  async function stat(path: string): Promise<FileStat | undefined> {
    try {
      return await fileSystem.stat(path);
    } catch (error) {
      if (isAbsent(error)) return undefined;
      throw error;
    }
  }

  /** A path that no file has yet, in a directory that exists. */
  async function temporaryPath(): Promise<string> {
    const directory = await directories.ensure([TEMPORARY]);
    return joinPath(directory, Buffer.from(random.bytes(16)).toString("hex"));
  }

  /** Path of a new file that holds `body`, fsynced. Rejects with Node's errors and leaves nothing behind. */
  async function writeTemporary(body: Uint8Array): Promise<string> {
    const path = await temporaryPath();
    await fileSystem.writeNew(path, body);
    return path;
  }

  /** Gives a temporary file the name of an object; in doubt until the directory, which this resolves to, is synced. */
  async function nameTemporary(temporary: string, key: ObjectKey): Promise<string> {
    const segments = pathOfKey(key);
    const directory = await directories.ensure(segments.slice(0, -1));
    const path = joinPath(root, ...segments);
    await overwriting.run(path, () => fileSystem.rename(temporary, path));
    return directory;
  }

  async function put(key: ObjectKey, body: Uint8Array, { condition }: PutOptions): Promise<PutOutcome> {
    const segments = pathOfKey(key);
    const path = joinPath(root, ...segments);
    let temporary: string | undefined;
    let named = false;
    try {
      const directory = await directories.ensure(segments.slice(0, -1));
      temporary = await writeTemporary(body);
      const source = temporary;
      const written = await fileSystem.stat(source);
      if (condition.kind === "if-absent") {
        try {
          await fileSystem.link(source, path);
        } catch (error) {
          if (errorCode(error) !== "EEXIST") throw error;
          await directories.settle(directory);
          return { kind: "condition-failed" };
        }
      } else {
        const held = await overwriting.run(path, async () => {
          const current = condition.kind === "if-match" ? await stat(path) : undefined;
          if (condition.kind === "if-match" && current?.identity !== condition.etag) return false;
          await fileSystem.rename(source, path);
          return true;
        });
        if (!held) return { kind: "condition-failed" };
      }
      named = true;
      await directories.sync(directory);
      return { kind: "written", etag: written.identity as ETag };
    } catch (error) {
      if (isTierlogError(error)) throw error;
      if (errorCode(error) === "ENOENT") directories.forget();
      throw fsError("put", key, error, named ? "unknown" : "none");
    } finally {
      // A left-over temporary costs space, no more, and the next store sweeps it: not worth failing a put that is stored.
      if (temporary !== undefined) await fileSystem.remove(temporary).catch(() => undefined);
    }
  }

  return {
    async get(key, options) {
      checkKey(key);
      checkRange(options?.range);
      enter("get", options?.signal);
      const path = joinPath(root, ...pathOfKey(key));
      try {
        await directories.settle(dirname(path));
        let wanted = { start: 0, end: 0 };
        const file = await fileSystem.read(
          path,
          (sizeBytes) => (wanted = resolveRange(options?.range, sizeBytes)),
          options?.into,
        );
        // Objects are never changed in place, so a short file is a broken disk, not a smaller object.
        if (file.bytes.length !== wanted.end - wanted.start) throw new Error("the file ends before its size");
        return { body: file.bytes, sizeBytes: file.sizeBytes, etag: file.identity as ETag };
      } catch (error) {
        if (isAbsent(error)) return undefined;
        throw fsError("get", key, error);
      }
    },

    async head(key, options) {
      checkKey(key);
      enter("head", options?.signal);
      const path = joinPath(root, ...pathOfKey(key));
      try {
        await directories.settle(dirname(path));
        const found = await stat(path);
        return found && { key, sizeBytes: found.sizeBytes, etag: found.identity as ETag };
      } catch (error) {
        throw fsError("head", key, error);
      }
    },

    async put(key, body, options) {
      checkKey(key);
      checkCondition(options.condition);
      enter("put", options.signal);
      return put(key, body, options);
    },

    async createMultipart(key, options) {
      checkKey(key);
      enter("createMultipart", options?.signal);
      const uploadId = Buffer.from(random.bytes(16)).toString("hex");
      return createFsMultipart({ fileSystem, directories, enter, temporaryPath, nameTemporary }, key, uploadId);
    },

    async *list(prefix: string, options?: ListOptions): AsyncGenerator<ObjectInfo> {
      const { startAfter, onRequest } = options ?? {};
      const onDirectory = (): void => {
        enter("list", options?.signal);
        onRequest?.();
      };
      try {
        for await (const { key, path } of listTree(fileSystem, root, prefix, startAfter, onDirectory)) {
          await directories.settle(dirname(path));
          const found = await stat(path);
          // Deleted since the directory was read.
          if (found !== undefined) {
            const { sizeBytes, identity, modifiedAtMs } = found;
            yield { key, sizeBytes, etag: identity as ETag, modifiedAtMs };
          }
          enter("list", options?.signal);
        }
      } catch (error) {
        if (isTierlogError(error)) throw error;
        throw fsError("list", prefix, error);
      }
    },

    async delete(keys, options) {
      for (const key of keys) checkKey(key);
      enter("delete", options?.signal);
      if (keys.length > 0) options?.onRequest?.();
      const changed = new Set<string>();
      let current: string = keys[0] ?? "";
      try {
        for (const key of keys) {
          current = key;
          const path = joinPath(root, ...pathOfKey(key));
          // Most deletes of a retry find nothing; then there is no directory to sync either.
          if (await overwriting.run(path, () => removed(path))) changed.add(dirname(path));
        }
        for (const directory of changed) await directories.sync(directory);
      } catch (error) {
        throw fsError("delete", current, error);
      }
    },

    async close() {
      closed = true;
    },
  };

  async function removed(path: string): Promise<boolean> {
    if ((await stat(path)) === undefined) return false;
    await fileSystem.remove(path);
    return true;
  }
}

/**
 * Removes what crashed puts left behind; resolves to the number of files. For a moment when no process puts into this root: no
 * store can tell a dead attempt from a slow one of another process. (Should one be under way all the same, it fails with effect
 * "none", and the settling wrapper sends it again: nothing is lost.)
 */
export async function sweepTemporaries(options: Pick<FsStoreOptions, "root" | "fileSystem">): Promise<number> {
  const directory = joinPath(resolve(options.root), TEMPORARY);
  try {
    const left = await options.fileSystem.list(directory);
    for (const { name } of left) await options.fileSystem.remove(joinPath(directory, name));
    return left.length;
  } catch (error) {
    throw fsError("sweep", TEMPORARY, error);
  }
}

function isAbsent(error: unknown): boolean {
  return errorCode(error) === "ENOENT";
}
