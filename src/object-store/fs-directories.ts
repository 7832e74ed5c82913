import { joinPath, type FileSystem } from "../runtime/file-system.ts";

/** Forgotten as a whole beyond this many, so that odd keys cannot fill the memory; then each is made sure of once more. */
const KNOWN_MAX = 10_000;

/**
 * Makes directories, and makes sure of those that are there: another process may have made one and died before it was synced
 * into its parent. Without that, a power cut takes the directory away together with objects that were long acknowledged.
 */
export class DurableDirectories {
  readonly #fileSystem: FileSystem;
  readonly #root: string;
  readonly #known = new Map<string, Promise<void>>();
  /** Directories whose last sync failed: what was named in them since may be gone after a crash. */
  readonly #suspect = new Set<string>();

  constructor(fileSystem: FileSystem, root: string) {
    this.#fileSystem = fileSystem;
    this.#root = root;
  }

  /** Path of the directory, which then exists and survives a crash. Rejects with Node's errors. */
  async ensure(segments: readonly string[]): Promise<string> {
    const path = joinPath(this.#root, ...segments);
    let made = this.#known.get(path);
    if (made === undefined) {
      made = this.#make(path, segments);
      if (this.#known.size >= KNOWN_MAX) this.#known.clear();
      this.#known.set(path, made);
      // Not kept when it failed: the next put tries again. (The rejection itself goes to whoever awaits `made`.)
      made.catch(() => this.#known.delete(path));
    }
    await made;
    return path;
  }

  /** Somebody removed directories under us: trust none of them. */
  forget(): void {
    this.#known.clear();
  }

  /** Makes the names in a directory durable. */
  async sync(path: string): Promise<void> {
    this.#suspect.add(path);
    await this.#fileSystem.syncDirectory(path);
    this.#suspect.delete(path);
  }

  /**
   * Must be awaited before an object in this directory is reported as there: after a failed sync the name is visible, but may be
   * lost in a crash, and a read-back would otherwise turn "unknown" into "written".
   */
  async settle(path: string): Promise<void> {
    if (this.#suspect.has(path)) await this.sync(path);
  }

  async #make(path: string, segments: readonly string[]): Promise<void> {
    if (segments.length === 0) {
      await this.#fileSystem.makeDirectory(path);
      return;
    }
    const parent = await this.ensure(segments.slice(0, -1));
    await this.#fileSystem.makeDirectory(path);
    await this.#fileSystem.syncDirectory(parent);
  }
}
