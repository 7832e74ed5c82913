import { ClosedError } from "../errors.ts";
import type { FileSystem } from "../runtime/file-system.ts";
import { Semaphore } from "../runtime/mutex.ts";
import type { RandomAccessFile } from "../runtime/random-access-file.ts";

/** Reads at a time, and files kept open between them. */
const HANDLES_MAX = 4;

/** Files open for reading: at most four in use and four kept for the next read. */
export class ReadHandles {
  readonly #fileSystem: FileSystem;
  readonly #permits = new Semaphore(HANDLES_MAX);
  /** Not in use now, the one used last at the end. */
  readonly #idle = new Map<string, RandomAccessFile>();
  readonly #inUse = new Map<RandomAccessFile, string>();
  readonly #uses = new Set<Promise<unknown>>();
  #closed = false;

  constructor(fileSystem: FileSystem) {
    this.#fileSystem = fileSystem;
  }

  /** Runs `read` with the file open. Rejects with what `read` rejects with, with Node's own errors, and with ClosedError. */
  use<T>(path: string, read: (file: RandomAccessFile) => Promise<T>): Promise<T> {
    const using = this.#use(path, read).finally(() => this.#uses.delete(using));
    this.#uses.add(using);
    return using;
  }

  #use<T>(path: string, read: (file: RandomAccessFile) => Promise<T>): Promise<T> {
    return this.#permits.run(async () => {
      if (this.#closed) throw new ClosedError(path);
      const file = await this.#take(path);
      this.#inUse.set(file, path);
      try {
        return await read(file);
      } finally {
        await this.#giveBack(path, file);
      }
    });
  }

  /** For a file that is to be removed: another one may get its name. */
  async forget(path: string): Promise<void> {
    for (const [file, name] of this.#inUse) if (name === path) this.#inUse.delete(file);
    const file = this.#idle.get(path);
    this.#idle.delete(path);
    await file?.close();
  }

  /** Waits for the reads that are under way; those that wait for their turn fail. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.allSettled(this.#uses);
    for (const path of this.#idle.keys()) await this.forget(path);
  }

  async #take(path: string): Promise<RandomAccessFile> {
    const idle = this.#idle.get(path);
    if (idle !== undefined) {
      this.#idle.delete(path);
      return idle;
    }
    return this.#fileSystem.open(path, { access: "read" });
  }

  async #giveBack(path: string, file: RandomAccessFile): Promise<void> {
    const forgotten = !this.#inUse.delete(file);
    // Of two readers of one file, one handle is enough to keep.
    if (forgotten || this.#idle.has(path)) {
      await file.close();
      return;
    }
    this.#idle.set(path, file);
    const [oldest] = this.#idle.keys();
    if (this.#idle.size <= HANDLES_MAX || oldest === undefined) return;
    const surplus = this.#idle.get(oldest);
    this.#idle.delete(oldest);
    await surplus?.close();
  }
}
