import type { ETag, ObjectKey } from "../domain.ts";
import { isTierlogError } from "../errors.ts";
import { errorCode, type FileSystem } from "../runtime/file-system.ts";
import { Mutex } from "../runtime/mutex.ts";
import type { DurableDirectories } from "./fs-directories.ts";
import { fsError } from "./fs-error.ts";
import { checkPartNumber, checkParts, matchParts, totalBytes, uploadGone } from "./multipart.ts";
import type { MultipartUpload } from "./object-store.ts";

/** What the fs store lends its uploads. */
interface FsUploadHost {
  readonly fileSystem: FileSystem;
  readonly directories: DurableDirectories;
  readonly enter: (operation: string, signal: AbortSignal | undefined) => void;
  readonly temporaryPath: () => Promise<string>;
  /** Resolves to the directory to sync. */
  readonly nameTemporary: (temporary: string, key: ObjectKey) => Promise<string>;
}

interface PartFile {
  readonly partNumber: number;
  readonly path: string;
  readonly sizeBytes: number;
  readonly etag: ETag;
}

/**
 * An upload into a directory: each part is a temporary file, not synced, because it need not survive a crash. `complete` writes them
 * one behind the other into one more temporary, fsyncs it, gives it its name with `rename` and fsyncs the directory: a crash
 * leaves the whole object or none. What the upload holds is known to its handle only.
 */
export function createFsMultipart(host: FsUploadHost, key: ObjectKey, uploadId: string): MultipartUpload {
  const { fileSystem, directories, enter } = host;
  const parts = new Map<number, PartFile>();
  const ending = new Mutex();
  let state: "open" | "gone" = "open";
  /** The object has its name, in this directory, which is not yet synced. */
  let unsynced: string | undefined;

  // A file that stays behind costs space until the next sweep, no more: not worth failing a call that did its work.
  const discard = (path: string): Promise<void> => fileSystem.remove(path).catch(() => undefined);

  async function discardParts(): Promise<void> {
    const paths = [...parts.values()].map(({ path }) => path);
    parts.clear();
    for (const path of paths) await discard(path);
  }

  async function assemble(files: readonly PartFile[]): Promise<string> {
    const whole = await host.temporaryPath();
    await fileSystem.concatenate(
      files.map(({ path }) => path),
      whole,
    );
    try {
      const { sizeBytes } = await fileSystem.stat(whole);
      if (sizeBytes !== totalBytes(files)) throw new Error(`the parts have ${sizeBytes} bytes`);
      return await host.nameTemporary(whole, key);
    } catch (error) {
      await discard(whole);
      throw error;
    }
  }

  function failure(operation: string, error: unknown): unknown {
    if (isTierlogError(error)) return error;
    if (errorCode(error) === "ENOENT") directories.forget();
    return fsError(operation, key, error, unsynced === undefined ? "none" : "unknown");
  }

  return {
    key,
    uploadId,

    async putPart(partNumber, body, options) {
      checkPartNumber(partNumber);
      enter("uploadPart", options?.signal);
      if (state === "gone") throw uploadGone(key);
      let path: string | undefined;
      try {
        path = await host.temporaryPath();
        await fileSystem.writeNew(path, body, { durable: false });
        const { identity } = await fileSystem.stat(path);
        // Aborted, or completed without this part, in the meantime.
        if (isGone()) throw uploadGone(key);
        const replaced = parts.get(partNumber);
        const part = { partNumber, path, sizeBytes: body.length, etag: identity as ETag };
        parts.set(partNumber, part);
        if (replaced !== undefined) await discard(replaced.path);
        return { partNumber, etag: part.etag, sizeBytes: part.sizeBytes };
      } catch (error) {
        if (path !== undefined) await discard(path);
        throw failure("uploadPart", error);
      }
    },

    async listParts(options) {
      enter("listParts", options?.signal);
      options?.onRequest?.();
      if (state === "gone") return undefined;
      return [...parts.values()]
        .map(({ partNumber, etag, sizeBytes }) => ({ partNumber, etag, sizeBytes }))
        .sort((a, b) => a.partNumber - b.partNumber);
    },

    async complete(named, options) {
      checkParts(named);
      enter("completeMultipart", options?.signal);
      return ending.run(async () => {
        if (state === "gone") return { kind: "gone" };
        try {
          // Repeated after a failed sync, only the sync is.
          unsynced ??= await assemble(matchParts(key, named, parts));
          await directories.sync(unsynced);
          state = "gone";
          await discardParts();
          return { kind: "completed" };
        } catch (error) {
          throw failure("completeMultipart", error);
        }
      });
    },

    async abort(options) {
      enter("abortMultipart", options?.signal);
      await ending.run(async () => {
        state = "gone";
        await discardParts();
      });
    },
  };

  /** Asked again after an `await`, where the compiler believes to know the answer. */
  function isGone(): boolean {
    return state === "gone";
  }
}
