import { Mutex } from "../runtime/mutex.ts";
import { diskError } from "./disk-error.ts";
import { writeManifest, type Manifest } from "./manifest.ts";
import type { JournalOptions } from "./options.ts";
import { newId } from "./recovery.ts";

/** The manifest of an open journal: every write of it says all that is known by then. */
export class ManifestKeeper {
  readonly #options: JournalOptions;
  /** Frames up to here are freed. */
  readonly #freed: () => number;
  readonly #writes = new Mutex();
  #manifest: Manifest;
  #liveFence: string | undefined;

  constructor(options: JournalOptions, manifest: Manifest, freed: () => number) {
    this.#options = options;
    this.#manifest = manifest;
    this.#freed = freed;
  }

  /** As it was written last. */
  get manifest(): Manifest {
    return this.#manifest;
  }

  knowsFence(writeId: string): boolean {
    return this.#manifest.fences.includes(writeId);
  }

  recordFence(writeId: string): Promise<void> {
    return this.write(({ fences }) => ({ fences: fences.includes(writeId) ? fences : [...fences, writeId] }));
  }

  /** Resolves when no write is under way. */
  idle(): Promise<void> {
    return this.#writes.run(() => Promise.resolve());
  }

  fenceLive(writeId: string): void {
    this.#liveFence = writeId;
  }

  renewId(): Promise<void> {
    return this.write(() => ({ journalId: newId(this.#options.random), fences: [] }));
  }

  /** On the disk when it resolves. After an error either the old or the new one may be found there; the next write settles it. */
  write(change: (manifest: Manifest) => Partial<Manifest> = () => ({})): Promise<void> {
    return this.#writes.run(async () => {
      const { fileSystem, directory } = this.#options;
      const freedThrough = this.#freed();
      const changed = { ...this.#manifest, ...change(this.#manifest) };
      const live = this.#liveFence === undefined ? -1 : changed.fences.indexOf(this.#liveFence);
      const next: Manifest = {
        ...changed,
        fences: live > 0 ? changed.fences.slice(live) : changed.fences,
        freedThrough,
        cuts: changed.cuts.filter(([, last]) => last > freedThrough),
      };
      try {
        await writeManifest(fileSystem, directory, next);
      } catch (error) {
        throw diskError("write of the manifest", directory, error);
      }
      this.#manifest = next;
    });
  }
}
