import { ClosedError, InvariantError, type TierlogError } from "../errors.ts";
import { writeAside, type FrameLocation } from "./aside.ts";
import { diskError } from "./disk-error.ts";
import { ENTRY_BYTES, HEADER_BYTES } from "./frame-codec.ts";
import { FrameReader } from "./frame-reader.ts";
import type { EncodedFrame } from "./frame-writer.ts";
import type { Frame, FrameInput } from "./frame.ts";
import { JournalWriter } from "./journal-writer.ts";
import { ManifestKeeper } from "./manifest-keeper.ts";
import type { JournalOptions } from "./options.ts";
import { ReadHandles } from "./read-handles.ts";
import { recoverJournal, type Recovered } from "./recovery.ts";
import type { AsideReport, JournalMetrics, OpenReport } from "./reports.ts";

/**
 * The local write-ahead log of one shard: frames of records that are acknowledged from here until they are in the object store.
 * Format, and what a recovery concludes from it: docs/journal-format.md. REQUIRES: the lock over the directory
 * (`JournalDirectory`); a second writer would overwrite frames.
 */
export class Journal {
  /** What opening found. */
  readonly opened: OpenReport;

  readonly #options: JournalOptions;
  readonly #oDirect: Recovered["oDirect"];
  readonly #readers: ReadHandles;
  readonly #writer: JournalWriter;
  readonly #reader: FrameReader;
  readonly #manifest: ManifestKeeper;
  #appending: Promise<number> | undefined;
  #settingAside: Promise<unknown> | undefined;
  #closing: Promise<void> | undefined;

  private constructor(options: JournalOptions, recovered: Recovered) {
    this.opened = recovered.report;
    this.#options = options;
    this.#oDirect = recovered.oDirect;
    this.#readers = new ReadHandles(options.fileSystem);
    this.#writer = new JournalWriter(options, recovered, this.#readers, () => this.#manifest);
    this.#manifest = new ManifestKeeper(options, recovered.manifest, () => this.#writer.freed);
    this.#reader = new FrameReader(this.#readers, this.#writer.live, (slot) => this.#writer.files.pathOf(slot));
  }

  /**
   * "create" makes the directory where it is missing; "existing" resolves to undefined then. All files are read. A torn tail is
   * dropped and reported (`opened`, and a warning). Errors: CorruptionError (a bad frame with good ones behind it, a manifest that
   * is damaged or gone; nothing was changed), UnsupportedVersionError, StorageIoError, DiskFullError, ConfigError (no directory,
   * not writable, a symbolic link).
   */
  static open(options: JournalOptions, mode: "create"): Promise<Journal>;
  static open(options: JournalOptions, mode: "existing"): Promise<Journal | undefined>;
  static async open(options: JournalOptions, mode: "create" | "existing"): Promise<Journal | undefined> {
    const recovered = await recoverJournal(options, mode === "create");
    if (recovered === undefined) return undefined;
    const journal = new Journal(options, recovered);
    if (mode === "create") journal.#writer.prepare();
    return journal;
  }

  /** 32 hex digits: what fences carry. */
  get journalId(): string {
    return this.#manifest.manifest.journalId;
  }

  /** Is this the writeId (hex) of a fence that this directory sent, or may have sent, under the present journal id? */
  knowsFence(writeId: string): boolean {
    return this.#manifest.knowsFence(writeId);
  }

  /** Before a fence is sent. On the disk when it resolves. */
  async recordFence(writeId: string): Promise<void> {
    this.#checkOpen();
    await this.#manifest.recordFence(writeId);
  }

  /** Our fence is live: earlier ones can never become live; they are forgotten with the next write of the manifest. */
  fenceLive(writeId: string): void {
    this.#manifest.fenceLive(writeId);
  }

  /** A new journal id without known fences, on the disk when it resolves. Frames written so far belong to the old one. */
  async renewId(): Promise<void> {
    this.#checkOpen();
    await this.#manifest.renewId();
  }

  /** Live frames above `after`, oldest first; directories are read from the disk, payloads are not. Frames freed meanwhile are left out. */
  frames(after = 0): AsyncIterable<Frame> {
    this.#checkOpen();
    return this.#reader.frames(after);
  }

  /** As `frames`, with their payloads, checked. Errors: as `readPayload`. */
  framesWithPayloads(after = 0): AsyncIterable<{ readonly frame: Frame; readonly payload: Uint8Array }> {
    this.#checkOpen();
    return this.#reader.framesWithPayloads(after);
  }

  /** What a frame of this size takes on the disk. */
  frameBytes(extents: number, payloadBytes: number): number {
    return this.#writer.frameBytes(extents, payloadBytes);
  }

  /** The largest payload that a frame with so many extents can hold: a file. */
  payloadBytesMax(extents: number): number {
    return Math.max(0, this.#writer.files.fileSizeBytes - HEADER_BYTES - extents * ENTRY_BYTES);
  }

  /** Is there room below `max_size` for such a frame? false: wait for `free`. Room on the disk is another matter. */
  hasRoom(extents: number, payloadBytes: number): boolean {
    return this.#writer.hasRoom(this.frameBytes(extents, payloadBytes));
  }

  /**
   * Copies a frame into memory of the journal, which it holds until `append` or `discard`: the next one is made while the one before
   * it is written. At most two at a time, the one being appended counted: more cost memory that is not used again. A promise only where
   * it is so much that it takes several turns of the event loop; until then `frame` must not change.
   */
  encode(frame: FrameInput): EncodedFrame | Promise<EncodedFrame> {
    this.#checkOpen();
    return this.#writer.encode(frame);
  }

  /** Gives up a frame that `encode` made. */
  discard(frame: EncodedFrame): void {
    this.#writer.discard(frame);
  }

  /**
   * ONE at a time, and only where `hasRoom`; InvariantError otherwise. Takes a frame of `encode` over, or encodes it first. Resolves with the sequence when
   * the frame is as durable as `fsync` says ("always": on the disk). Rejects with DiskFullError or StorageIoError; effect "none":
   * nothing of it was written; "unknown": a recovery may find it, unless a later frame is written. A write or sync that failed is tried
   * once more in another file, never again in the same one.
   */
  append(frame: EncodedFrame | FrameInput): Promise<number> {
    if (this.#closing !== undefined) return Promise.reject(this.#closedError());
    if (this.#appending !== undefined) return Promise.reject(new InvariantError("two appends to a journal at a time"));
    const appending = this.#append(frame).finally(() => {
      this.#appending = undefined;
    });
    this.#appending = appending;
    return appending;
  }

  async #append(frame: EncodedFrame | FrameInput): Promise<number> {
    const encoding = "crcs" in frame ? frame : this.#writer.encode(frame);
    return await this.#writer.append(encoding instanceof Promise ? await encoding : encoding);
  }

  /** The whole payload, checked. Errors: CorruptionError, StorageIoError; NotFoundError once the frame is freed. */
  readPayload(sequence: number): Promise<Uint8Array> {
    this.#checkOpen();
    return this.#reader.payload(sequence);
  }

  /** A piece of a payload, unchecked: batches carry their own CRC. Errors: as `readPayload`. */
  readPiece(sequence: number, position: number, lengthBytes: number): Promise<Uint8Array> {
    this.#checkOpen();
    return this.#reader.piece(sequence, position, lengthBytes);
  }

  /** Frames up to and including `through` are committed in the chain: their space may be used again. Does no IO. */
  free(through: number): void {
    this.#writer.free(through);
  }

  /**
   * Copies live frames up to and including `through` into a file of their own, and frees them; all is on the disk when it resolves.
   * A crash anywhere, and the same call again: same result. Errors: CorruptionError, DiskFullError, StorageIoError.
   */
  async setAside(through: number): Promise<AsideReport> {
    this.#checkOpen();
    const settingAside = this.#setAside(through);
    this.#settingAside = Promise.allSettled([this.#settingAside, settingAside]);
    return await settingAside;
  }

  async #setAside(through: number): Promise<AsideReport> {
    const { fileSystem, directory, logger, shard } = this.#options;
    const frames: FrameLocation[] = [];
    const { live, files } = this.#writer;
    for (let frame = live.after(0); frame !== undefined && frame.sequence <= through;) {
      frames.push({ path: files.pathOf(frame.slot), position: frame.position, sequence: frame.sequence });
      frame = live.after(frame.sequence);
    }
    let report: AsideReport;
    try {
      report = await writeAside(fileSystem, this.#readers, directory, this.journalId, frames);
    } catch (error) {
      throw diskError("setting frames aside", directory, error);
    }
    if (report.file === undefined) return report;
    logger.warn("frames of the journal were set aside", { shard, ...report });
    this.free(frames.at(-1)?.sequence ?? 0);
    await this.#manifest.write();
    return report;
  }

  metrics(): JournalMetrics {
    const { live, files, framesWritten, bytesWritten, syncs, syncFailures } = this.#writer;
    return {
      liveFrames: live.count,
      liveBytes: live.bytes,
      oldestLiveCreatedAtMs: live.oldest?.createdAtMs,
      files: files.count,
      usedBytes: files.usedBytes,
      maxBytes: this.#options.settings.maxSizeBytes,
      framesWritten,
      bytesWritten,
      syncs,
      syncFailures,
      filesCreated: files.created,
      filesRecycled: files.recycled,
      filesFailed: files.failed,
      oDirect: this.#oDirect,
    };
  }

  /**
   * Waits for what is under way, syncs what is not synced, writes down what is freed, closes all handles; removes all files but two
   * if no frame is live. Handles are closed whatever happens; rejects with the first error. May be called again.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    let failure: TierlogError | undefined;
    const attempt = async (what: string, step: () => Promise<unknown>): Promise<void> => {
      try {
        await step();
      } catch (error) {
        failure ??= diskError(what, this.#options.directory, error);
      }
    };
    // Nothing may go on in the directory when this resolves: the lock is given back, and the next process reads what is there.
    await this.#appending?.catch(() => undefined);
    await this.#settingAside;
    await this.#manifest.idle();
    failure = await this.#writer.close();
    const { freed, live, files } = this.#writer;
    if (freed > this.#manifest.manifest.freedThrough) await attempt("close", () => this.#manifest.write());
    const allFreed = live.count === 0 && this.#manifest.manifest.freedThrough >= freed;
    if (allFreed) await attempt("close", () => files.shrink());
    await attempt("close", () => this.#readers.close());
    if (failure !== undefined) throw failure;
  }

  #checkOpen(): void {
    if (this.#closing !== undefined) throw this.#closedError();
  }

  #closedError(): ClosedError {
    return new ClosedError(`the journal of shard ${this.#options.shard}`);
  }
}
