import { InvariantError, StorageIoError, type TierlogError } from "../errors.ts";
import type { ScheduledTask } from "../runtime/clock.ts";
import { diskError, isDiskFull } from "./disk-error.ts";
import { DIRECT_BLOCK_BYTES, ENTRY_BYTES, SECTOR_BYTES, frameTotalBytes, type FramePlace } from "./frame-codec.ts";
import { FrameWriter, type EncodedFrame } from "./frame-writer.ts";
import type { FrameInput } from "./frame.ts";
import { JournalFiles, type JournalFile } from "./journal-files.ts";
import { LiveFrames } from "./live-frames.ts";
import type { ManifestKeeper } from "./manifest-keeper.ts";
import type { JournalOptions } from "./options.ts";
import type { ReadHandles } from "./read-handles.ts";
import type { Recovered } from "./recovery.ts";

/** A write that failed. `touched`: some of it may be on the disk. */
interface WriteFailure {
  readonly error: unknown;
  readonly touched: boolean;
}

/** Writes frames, brings them to the disk, and knows which are live. */
export class JournalWriter {
  readonly live = new LiveFrames();
  readonly files: JournalFiles;
  readonly #options: JournalOptions;
  readonly #blockBytes: number;
  readonly #encoder: FrameWriter;

  #nextSequence: number;
  /** The last frame written whole: `prev` of the next one. */
  #lastSequence: number;
  /** All frames up to here are on the disk. */
  #synced: number;
  /** The last frame of a file whose sync failed: until it is freed, nobody may say that all before a later one is on the disk. */
  #neverSynced = 0;
  #freed: number;
  /** The highest `freed` that is on the disk in a frame. */
  #freedOnDisk: number;
  /** `freed` in the frame written last. */
  #freedWritten = 0;

  #syncing: Promise<void> | undefined;
  #syncTimer: ScheduledTask | undefined;
  framesWritten = 0;
  bytesWritten = 0;
  syncs = 0;
  syncFailures = 0;

  constructor(
    options: JournalOptions,
    { manifest, scan, oDirect, lastNumber }: Recovered,
    readers: ReadHandles,
    keeper: () => ManifestKeeper,
  ) {
    this.#options = options;
    const direct = oDirect === "on";
    this.#blockBytes = direct ? DIRECT_BLOCK_BYTES : SECTOR_BYTES;
    this.#nextSequence = lastNumber + 1;
    this.#lastSequence = scan.lastSequence;
    this.#freed = scan.freed;
    // Opening has synced the live frames, and with them what they say; not so where nothing is ever synced.
    const unsynced = options.settings.fsync === "never";
    this.#synced = unsynced ? Math.min(scan.synced, scan.lastSequence) : scan.lastSequence;
    this.#freedOnDisk = unsynced ? manifest.freedThrough : scan.freed;
    for (const { header, file, position } of scan.live) this.live.push({ ...header, slot: file.slot, position });
    const { fileSystem, directory, settings } = options;
    this.files = new JournalFiles(
      {
        fileSystem,
        directory,
        settings,
        direct,
        readers,
        blockBytes: this.#blockBytes,
        host: {
          freed: () => this.#freed,
          freedOnDisk: () => Math.max(this.#freedOnDisk, keeper().manifest.freedThrough),
          writeFreed: () => keeper().write(),
        },
      },
      scan,
    );
    this.#encoder = new FrameWriter(manifest, this.#blockBytes, direct);
  }

  get freed(): number {
    return this.#freed;
  }

  frameBytes(extents: number, payloadBytes: number): number {
    return frameTotalBytes(extents, payloadBytes, this.#blockBytes);
  }

  hasRoom(bytes: number): boolean {
    return this.files.currentWith(bytes) !== undefined || this.files.hasNext;
  }

  free(through: number): void {
    if (through >= this.#nextSequence) throw new InvariantError(`frame ${through} was freed, but never written`);
    this.#freed = Math.max(this.#freed, through);
    this.live.dropThrough(through);
  }

  /** Makes the first file in the background, where there is none to go on with. */
  prepare(): void {
    if (this.files.currentWith(SECTOR_BYTES) === undefined) this.files.prepareAhead();
  }

  /** The caller owes `append` or `discard` for it. */
  encode(input: FrameInput): EncodedFrame | Promise<EncodedFrame> {
    const totalBytes = this.frameBytes(input.extents.length, input.payloadBytes);
    if (totalBytes > this.files.fileSizeBytes) {
      throw new InvariantError(`a frame of ${totalBytes} bytes for files of ${this.files.fileSizeBytes}`);
    }
    return this.#encoder.encode(input);
  }

  discard(frame: EncodedFrame): void {
    this.#encoder.release(frame);
  }

  async append(frame: EncodedFrame): Promise<number> {
    try {
      // No turn of the microtask queue without need: a frame that can be sent at once is on its way when this call returns.
      const file = this.files.currentWith(frame.totalBytes) ?? (await this.#nextFile());
      // Too many open files, say: nothing is wrong with the file itself.
      if (file.handle === undefined) await this.files.openWriter(file);
      const failure = await this.#write(file, frame);
      return failure === undefined ? this.#lastSequence : await this.#writeElsewhere(file, failure, frame);
    } finally {
      this.#encoder.release(frame);
    }
  }

  /** REQUIRES: no append is under way. Closes the files; resolves to the first error of a sync, which by then is reported. */
  async close(): Promise<TierlogError | undefined> {
    let failure: TierlogError | undefined;
    this.#syncTimer?.cancel();
    await this.#syncing;
    await this.files.idle();
    for (const file of this.files.all()) {
      if (file.unsyncedFrom !== 0 && !file.failed) {
        await this.#sync(file);
        if (file.failed) failure ??= new StorageIoError("fdatasync", file.path);
      }
      await this.files.retire(file);
    }
    if (this.#options.settings.fsync === "never" && this.framesWritten > 0) {
      // Nor were the names of the files brought to the disk before.
      const { fileSystem, directory } = this.#options;
      await fileSystem.syncDirectory(directory).catch((error: unknown) => {
        failure ??= diskError("fsync", directory, error);
      });
    }
    return failure;
  }

  /** The same frame once more, in another file. */
  async #writeElsewhere(failed: JournalFile, failure: WriteFailure, frame: EncodedFrame): Promise<number> {
    await this.#giveUp(failed, failure.error);
    let { touched } = failure;
    try {
      if (!this.files.hasNext) throw diskError("write", failed.path, failure.error);
      const file = await this.#nextFile();
      const second = await this.#write(file, frame);
      if (second === undefined) return this.#lastSequence;
      touched ||= second.touched;
      await this.#giveUp(file, second.error);
      throw diskError("write", file.path, second.error);
    } catch (error) {
      // Nobody may give this number to other bytes: a recovery could not tell them apart.
      if (touched) this.#nextSequence++;
      throw diskError("write", failed.path, error, touched ? "unknown" : "none");
    }
  }

  async #giveUp(file: JournalFile, error: unknown): Promise<void> {
    this.files.fail(file);
    this.#options.logger.warn("a file of the journal failed: it is not written again", {
      shard: this.#options.shard,
      file: file.path,
      error: messageOf(error),
    });
    await this.#syncing;
    await this.files.retire(file);
  }

  async #nextFile(): Promise<JournalFile> {
    const { current } = this.files;
    if (current !== undefined) {
      await this.#syncing;
      // A file is synced before the next one is begun: what a power cut takes away is then in one file.
      if (this.#options.settings.fsync === "interval" && !current.failed) await this.#sync(current);
      await this.files.retire(current);
    }
    const next = await this.files.next();
    this.files.prepareAhead();
    return next;
  }

  async #write(file: JournalFile, frame: EncodedFrame): Promise<WriteFailure | undefined> {
    const always = this.#options.settings.fsync === "always";
    const place: FramePlace = {
      fileNumber: file.fileNumber,
      sequence: this.#nextSequence,
      prev: this.#lastSequence,
      synced: this.#synced,
      freed: this.#freed,
    };
    const bytes = this.#encoder.place(frame, file, place);
    let written = 0;
    try {
      const { handle } = file;
      if (handle === undefined) throw new InvariantError(`${file.path} is not open for writing`);
      while (written < bytes.length) {
        const count = await handle.write(written === 0 ? bytes : bytes.subarray(written), file.position + written);
        if (count === 0) throw Object.assign(new Error("EIO: a write took no bytes"), { code: "EIO" });
        written += count;
      }
      if (always) {
        this.syncs++;
        if (!handle.dsync) await handle.datasync();
      }
      // A sync in the background failed meanwhile, perhaps on these very bytes.
      if (file.failed) throw Object.assign(new Error("EIO: a sync of the file failed"), { code: "EIO" });
    } catch (error) {
      if (always && written === bytes.length) this.syncFailures++;
      return { error, touched: written > 0 || !isDiskFull(error) };
    }
    this.#written(file, place, frame);
    this.bytesWritten += bytes.length;
    return undefined;
  }

  #written(file: JournalFile, { sequence, freed }: FramePlace, { totalBytes, input }: EncodedFrame): void {
    this.live.push({
      sequence,
      createdAtMs: input.createdAtMs,
      slot: file.slot,
      position: file.position,
      directoryBytes: input.extents.length * ENTRY_BYTES,
      payloadBytes: input.payloadBytes,
    });
    file.position += totalBytes;
    file.lastSequence = sequence;
    this.#lastSequence = sequence;
    this.#nextSequence = sequence + 1;
    this.#freedWritten = freed;
    this.framesWritten++;
    if (this.#options.settings.fsync === "always") {
      this.#onDisk(sequence, freed);
    } else {
      if (file.unsyncedFrom === 0) file.unsyncedFrom = sequence;
      if (this.#options.settings.fsync === "interval") this.#scheduleSync();
    }
    if (this.files.wantsTidying) this.files.prepareAhead();
  }

  /** The frame of this sequence and all before it are on the disk, and with it what it says was freed. */
  #onDisk(sequence: number, freed: number): void {
    if (this.#neverSynced <= this.#freed) this.#synced = sequence;
    this.#freedOnDisk = Math.max(this.#freedOnDisk, freed);
  }

  #scheduleSync(): void {
    this.#syncTimer ??= this.#options.clock.schedule(
      this.#options.settings.fsyncIntervalMs,
      () => {
        this.#syncTimer = undefined;
        const { current } = this.files;
        if (current === undefined || current.failed || this.#syncing !== undefined) return;
        this.#syncing = this.#sync(current).finally(() => {
          this.#syncing = undefined;
          if (current.unsyncedFrom !== 0 && !current.failed) this.#scheduleSync();
        });
      },
      { background: true },
    );
  }

  /** Never rejects: a failure costs the file; it shows in `file.failed`, in the metrics and in the log. */
  async #sync(file: JournalFile): Promise<void> {
    const from = file.unsyncedFrom;
    if (from === 0) return;
    const sequence = file.lastSequence;
    const freed = this.#freedWritten;
    file.unsyncedFrom = 0;
    this.syncs++;
    try {
      const handle = await this.files.openWriter(file);
      await handle.datasync();
      this.#onDisk(sequence, freed);
    } catch (error) {
      this.syncFailures++;
      this.files.fail(file);
      this.#neverSynced = file.lastSequence;
      this.#options.logger.warn("a sync of the journal failed: acknowledged records may not survive a power cut", {
        shard: this.#options.shard,
        file: file.path,
        frames: [from, file.lastSequence],
        error: messageOf(error),
      });
    }
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
