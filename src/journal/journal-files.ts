import { InvariantError } from "../errors.ts";
import { joinPath, type FileSystem } from "../runtime/file-system.ts";
import type { RandomAccessFile } from "../runtime/random-access-file.ts";
import { diskError } from "./disk-error.ts";
import { makeSlot } from "./make-slot.ts";
import type { JournalSettings } from "./options.ts";
import type { ReadHandles } from "./read-handles.ts";
import { slotName, type Scan } from "./scan.ts";

/** File sizes are multiples of it, whatever the blocks of this run. */
const FILE_UNIT_BYTES = 4096;

/** A slot of the journal and what this process knows about it. */
export interface JournalFile {
  readonly slot: number;
  readonly path: string;
  readonly sizeBytes: number;
  /** Of its current use; 0: blank. */
  fileNumber: number;
  /** The last frame of its current use; 0: none. */
  lastSequence: number;
  /** Where the next frame goes. */
  position: number;
  /** A write or a sync on it failed: never written again, removed once its frames are freed. */
  failed: boolean;
  /** The first frame that may not be on the disk yet; 0: none. */
  unsyncedFrom: number;
  /** Open for writing. */
  handle: RandomAccessFile | undefined;
}

/** What the files need to know of their journal. */
export interface FilesHost {
  /** Frames up to here are freed. */
  freed(): number;
  /** The same, as the disk knows it: what a recovery is sure to find, whatever else is lost. */
  freedOnDisk(): number;
  /** Brings it up to `freed()`. Rejects with Node's own errors. */
  writeFreed(): Promise<void>;
}

/** The slots of a journal: made ahead of need, written, used again. Rejects with errors of this package. */
export class JournalFiles {
  readonly #fileSystem: FileSystem;
  readonly #directory: string;
  readonly #settings: JournalSettings;
  readonly #direct: boolean;
  readonly #readers: ReadHandles;
  readonly #host: FilesHost;
  readonly #files = new Map<number, JournalFile>();
  #nextFileNumber: number;
  #current: JournalFile | undefined;
  /** Ready for the next use; open for writing. */
  #spare: JournalFile | undefined;
  #preparing: Promise<void> | undefined;

  readonly fileSizeBytes: number;
  /** Counts for the metrics. */
  created = 0;
  recycled = 0;
  failed = 0;

  constructor(
    options: {
      readonly fileSystem: FileSystem;
      readonly directory: string;
      readonly settings: JournalSettings;
      readonly direct: boolean;
      readonly readers: ReadHandles;
      readonly host: FilesHost;
      readonly blockBytes: number;
    },
    scan: Scan,
  ) {
    this.#fileSystem = options.fileSystem;
    this.#directory = options.directory;
    this.#settings = options.settings;
    this.#direct = options.direct;
    this.#readers = options.readers;
    this.#host = options.host;
    this.fileSizeBytes = Math.floor(options.settings.fileSizeBytes / FILE_UNIT_BYTES) * FILE_UNIT_BYTES;
    this.#nextFileNumber = scan.maxFileNumber + 1;
    for (const found of scan.files) {
      const file: JournalFile = {
        slot: found.slot,
        path: found.path,
        sizeBytes: found.sizeBytes,
        fileNumber: found.fileNumber,
        // Frames that were dropped count as well: the file is kept until they, too, are behind what is freed.
        lastSequence: Math.max(found.lastWhole, found.frames.at(-1)?.header.sequence ?? 0),
        position: found.end,
        failed: false,
        unsyncedFrom: 0,
        handle: undefined,
      };
      this.#files.set(file.slot, file);
      // Goes on where it ended, unless blocks are larger now.
      if (found === scan.open && found.end % options.blockBytes === 0 && found.end < found.sizeBytes) {
        this.#current = file;
      }
    }
  }

  get count(): number {
    return this.#files.size;
  }

  get usedBytes(): number {
    let bytes = 0;
    for (const file of this.#files.values()) bytes += file.sizeBytes;
    return bytes;
  }

  all(): Iterable<JournalFile> {
    return this.#files.values();
  }

  pathOf(slot: number): string {
    const file = this.#files.get(slot);
    if (file === undefined) throw new InvariantError(`slot ${slot} is gone though frames in it are live`);
    return file.path;
  }

  /** The file being written, if it may be written on and has room for so many bytes. */
  currentWith(bytes: number): JournalFile | undefined {
    const file = this.#current;
    return file !== undefined && !file.failed && file.position + bytes <= file.sizeBytes ? file : undefined;
  }

  get current(): JournalFile | undefined {
    return this.#current;
  }

  /** Is there another file for the next frame, or room for one? */
  get hasNext(): boolean {
    return this.#spare !== undefined || this.#recyclable() !== undefined || this.#mayCreate();
  }

  /** Opens the file for writing, if it is not open. Nothing was written when it rejects. */
  async openWriter(file: JournalFile): Promise<RandomAccessFile> {
    if (file.handle !== undefined) return file.handle;
    try {
      file.handle = await this.#fileSystem.open(file.path, {
        access: "write",
        direct: this.#direct,
        dsync: this.#settings.fsync === "always",
      });
      return file.handle;
    } catch (error) {
      throw diskError("open", file.path, error);
    }
  }

  /**
   * The next file becomes the current one, empty and open for writing. REQUIRES: `hasNext`, and the current file's handle was
   * given up (`retire`). Effect "none" when it rejects: it may be tried again.
   */
  async next(): Promise<JournalFile> {
    await this.#preparing;
    const file = this.#spare ?? (await this.#prepare());
    if (file === undefined) throw new InvariantError("a frame was appended though the journal has no room (hasRoom)");
    await this.openWriter(file);
    this.#spare = undefined;
    file.fileNumber = this.#nextFileNumber++;
    file.lastSequence = 0;
    file.position = 0;
    this.#current = file;
    return file;
  }

  /** Gets the next file ready in the background, and removes what is of no use. What fails shows when the file is needed. */
  prepareAhead(): void {
    this.#preparing ??= this.#prepareAhead().finally(() => {
      this.#preparing = undefined;
    });
  }

  /** Are there failed files to be removed? */
  get wantsTidying(): boolean {
    for (const file of this.#files.values()) if (this.#removable(file)) return true;
    return false;
  }

  /** Resolves when nothing goes on in the background. */
  async idle(): Promise<void> {
    await this.#preparing;
  }

  fail(file: JournalFile): void {
    if (file.failed) return;
    file.failed = true;
    this.failed++;
  }

  /** Closes a file that is not written any more. An error of the close says nothing that a sync did not say before. */
  async retire(file: JournalFile): Promise<void> {
    const { handle } = file;
    file.handle = undefined;
    if (file === this.#current) this.#current = undefined;
    await handle?.close().catch(() => undefined);
  }

  /** Removes all but two files. REQUIRES: no frame is live, and the disk knows it. */
  async shrink(): Promise<void> {
    const keepFirst = [...this.#files.values()].sort((a, b) => b.fileNumber - a.fileNumber);
    for (const file of keepFirst.slice(2)) await this.#remove(file);
  }

  async #prepareAhead(): Promise<void> {
    try {
      await this.#tidy();
      this.#spare ??= await this.#prepare();
    } catch {
      // The append that needs the file tries again, and reports what comes then.
    }
  }

  async #prepare(): Promise<JournalFile | undefined> {
    await this.#tidy();
    const file = this.#recyclable();
    if (file === undefined) return this.#mayCreate() ? this.#create() : undefined;
    // A recovery that finds these frames overwritten must find, too, that they were freed.
    if (file.lastSequence > this.#host.freedOnDisk()) await this.#writeFreed();
    await this.openWriter(file);
    this.recycled++;
    return file;
  }

  async #tidy(): Promise<void> {
    for (const file of [...this.#files.values()].filter((file) => this.#removable(file))) {
      if (file.lastSequence > this.#host.freedOnDisk()) await this.#writeFreed();
      await this.#remove(file);
    }
  }

  async #writeFreed(): Promise<void> {
    try {
      await this.#host.writeFreed();
    } catch (error) {
      throw diskError("write of the manifest", this.#directory, error);
    }
  }

  #recyclable(): JournalFile | undefined {
    let oldest: JournalFile | undefined;
    for (const file of this.#files.values()) {
      if (!this.#unused(file) || file.failed || file.sizeBytes !== this.fileSizeBytes) continue;
      if (oldest === undefined || file.fileNumber < oldest.fileNumber) oldest = file;
    }
    return oldest;
  }

  /** Failed, or of another size than the settings have now. */
  #removable(file: JournalFile): boolean {
    return this.#unused(file) && (file.failed || file.sizeBytes !== this.fileSizeBytes);
  }

  #unused(file: JournalFile): boolean {
    return file !== this.#current && file !== this.#spare && file.lastSequence <= this.#host.freed();
  }

  #mayCreate(): boolean {
    let bytes = this.fileSizeBytes;
    for (const file of this.#files.values()) if (!this.#removable(file)) bytes += file.sizeBytes;
    return bytes <= this.#settings.maxSizeBytes;
  }

  async #remove(file: JournalFile): Promise<void> {
    await this.retire(file);
    try {
      await this.#readers.forget(file.path);
      await this.#fileSystem.remove(file.path);
    } catch (error) {
      throw diskError("removal", file.path, error);
    }
    this.#files.delete(file.slot);
  }

  async #create(): Promise<JournalFile> {
    let slot = 0;
    while (this.#files.has(slot)) slot++;
    const path = joinPath(this.#directory, slotName(slot));
    await makeSlot(this.#fileSystem, this.#directory, path, this.fileSizeBytes, this.#settings.fsync !== "never");
    const file: JournalFile = {
      slot,
      path,
      sizeBytes: this.fileSizeBytes,
      fileNumber: 0,
      lastSequence: 0,
      position: 0,
      failed: false,
      unsyncedFrom: 0,
      handle: undefined,
    };
    this.#files.set(slot, file);
    this.created++;
    await this.openWriter(file);
    return file;
  }
}
