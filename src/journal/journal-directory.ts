import type { ShardId } from "../domain.ts";
import { ConfigError, CorruptionError, LockHeldError } from "../errors.ts";
import { joinPath, type FileSystem } from "../runtime/file-system.ts";
import { processIdentity } from "../runtime/identity.ts";
import type { RandomAccessFile } from "../runtime/random-access-file.ts";
import { openError } from "./disk-error.ts";
import { readChecked, writeChecked } from "./manifest.ts";
import { readUpTo, writeAll } from "./whole-io.ts";

const LOCK = "LOCK";
const STORE = "STORE";
const FORMAT = "tierlog-journal-directory";
const VERSION = 1;
const SHARD = /^\d{4}$/;
/** The text in LOCK is padded to it, so that a shorter one covers a longer one. */
const LOCK_BYTES = 512;

export interface JournalDirectoryOptions {
  /** `system.journal.path`. */
  readonly path: string;
  /** Of the store whose records the journals hold. */
  readonly storeId: string;
  readonly fileSystem: FileSystem;
  /** Make what is missing; else a missing directory is `undefined`. */
  readonly create: boolean;
}

/** The directory with the journals of all shards, locked: one process at a time may write there. */
export class JournalDirectory {
  readonly #path: string;
  readonly #shards: readonly ShardId[];
  readonly #lock: RandomAccessFile;
  #closed: Promise<void> | undefined;

  private constructor(path: string, shards: readonly ShardId[], lock: RandomAccessFile) {
    this.#path = path;
    this.#shards = shards;
    this.#lock = lock;
  }

  /**
   * Takes the lock, which ends with `close` or with the process, however that ends. Errors: LockHeldError; ConfigError (another
   * store's journal, no directory, not writable, a symbolic link); CorruptionError, UnsupportedVersionError (of the file STORE);
   * DiskFullError, StorageIoError.
   */
  static async open(options: JournalDirectoryOptions): Promise<JournalDirectory | undefined> {
    const { path, fileSystem, create } = options;
    try {
      const kind = await fileSystem.kind(path);
      if (kind !== undefined && kind !== "directory") {
        throw configError(`${path} is no directory (symbolic links are not followed)`);
      }
      if (kind === undefined) {
        if (!create) return undefined;
        await fileSystem.makeDirectory(path);
      }
      const lock = await fileSystem.open(joinPath(path, LOCK), { access: "write", create: "missing" });
      try {
        if (!(await lock.tryLock())) throw new LockHeldError(path, await holderOf(lock));
        const text = JSON.stringify(processIdentity());
        await writeAll(lock, Buffer.from(`${text.padEnd(LOCK_BYTES - 1)}\n`), 0);
        const shards = await shardsIn(options);
        if (await checkStore(options, shards)) return new JournalDirectory(path, shards, lock);
      } catch (error) {
        await lock.close().catch(() => undefined);
        throw error;
      }
      await lock.close();
      return undefined;
    } catch (error) {
      throw openError("opening", path, error);
    }
  }

  /** Those that had a directory when this was opened, ascending. */
  shards(): readonly ShardId[] {
    return this.#shards;
  }

  /** `JournalOptions.directory` of a shard. */
  shardPath(shard: ShardId): string {
    return joinPath(this.#path, String(shard).padStart(4, "0"));
  }

  /** Gives the lock back. REQUIRES: all journals are closed. May be called again. */
  close(): Promise<void> {
    this.#closed ??= this.#lock.close();
    return this.#closed;
  }
}

/**
 * The id of the store that a directory of journals belongs to, found without the lock; undefined: nobody has used it yet. Errors:
 * CorruptionError, UnsupportedVersionError, else Node's own.
 */
export async function storeOf(path: string, fileSystem: FileSystem): Promise<string | undefined> {
  const found = (await readChecked(fileSystem, joinPath(path, STORE), FORMAT, VERSION)) as
    | { readonly storeId?: unknown }
    | undefined;
  return typeof found?.storeId === "string" ? found.storeId : undefined;
}

/** As the holder wrote it; it may be writing just now. */
async function holderOf(lock: RandomAccessFile): Promise<LockHeldError["holder"]> {
  try {
    const text = (await readUpTo(lock, LOCK_BYTES, 0)).toString("utf8");
    const { pid, host } = JSON.parse(text) as { readonly pid?: unknown; readonly host?: unknown };
    return typeof pid === "number" && typeof host === "string" ? { pid, host } : undefined;
  } catch {
    return undefined;
  }
}

async function shardsIn({ path, fileSystem }: JournalDirectoryOptions): Promise<readonly ShardId[]> {
  const entries = await fileSystem.list(path);
  return entries
    .filter(({ name, kind }) => kind === "directory" && SHARD.test(name))
    .map(({ name }) => Number(name) as ShardId)
    .sort((a, b) => a - b);
}

/** Is this the directory of that store (by now)? Throws if it is another's; false: there is nothing here, and none is made. */
async function checkStore(options: JournalDirectoryOptions, shards: readonly ShardId[]): Promise<boolean> {
  const { path, storeId, fileSystem, create } = options;
  const file = joinPath(path, STORE);
  const found = (await readChecked(fileSystem, file, FORMAT, VERSION)) as { readonly storeId?: unknown } | undefined;
  if (found === undefined) {
    // It is made before any journal: what lies here without it has lost it.
    if (shards.length > 0) throw new CorruptionError(file, 0, "it is missing, though there are journals beside it");
    if (!create) return false;
    await writeChecked(fileSystem, path, STORE, FORMAT, VERSION, { storeId });
    return true;
  }
  if (typeof found.storeId !== "string") throw new CorruptionError(file, 0, "it names no store");
  if (found.storeId !== storeId) {
    const problem = `${path} holds the journal of another store (${found.storeId}, not ${storeId}): its records may not be uploaded to this one; choose another directory`;
    throw configError(problem);
  }
  return true;
}

function configError(problem: string): ConfigError {
  return new ConfigError([{ path: "system.journal.path", problem }]);
}
