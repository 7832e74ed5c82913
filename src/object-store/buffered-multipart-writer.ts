import { setMaxListeners } from "node:events";

import type { ObjectKey } from "../domain.ts";
import { AbortedError, ClosedError, InvalidArgumentError, InvariantError, isTierlogError } from "../errors.ts";
import { COMBINED_BYTES_MIN, combineCrc32c } from "../record/crc32c-combine.ts";
import { crc32c } from "../record/crc32c.ts";
import { silentLogger, type Logger } from "../runtime/logger.ts";
import { Semaphore } from "../runtime/mutex.ts";
import { nextTurn } from "../runtime/turn.ts";
import { PARTS_MAX, PART_BYTES_MIN } from "./multipart.ts";
import type { MultipartUpload, ObjectStore, UploadedPart } from "./object-store.ts";
import type { PartBuffer, PartBufferPool } from "./part-buffer-pool.ts";

/**
 * After this many bytes the writer lets others run: waits that end at once would copy 60 MiB in one turn of the event loop. They take
 * about 0.1 ms; memory that is touched for the first time takes 1 to 3 ms per MiB, but the pool's is used again and again.
 */
const COPY_BYTES_PER_TURN = 512 * 1024;

/** Copied and then read once more for its CRC-32C while the processor still has it in its cache. */
const CRC_BYTES_AT_ONCE = 128 * 1024;

export interface MultipartWriterOptions {
  /** With the settling wrapper: the writer itself retries nothing. */
  readonly store: ObjectStore;
  /** A name that nobody else uses, ever. */
  readonly key: ObjectKey;
  /** Its `partSizeBytes`, at least 5 MiB, is the size of every part but the last. */
  readonly pool: PartBufferPool;
  /** Requests for parts under way at a time. */
  readonly partsInFlight: number;
  readonly logger?: Logger;
  /** Fails the writer. */
  readonly signal?: AbortSignal;
  /** Default and upper bound: 10,000. */
  readonly partsMax?: number;
}

export interface WrittenObject {
  readonly sizeBytes: number;
  /** 0: it was one plain put. */
  readonly parts: number;
}

/**
 * Writes one object of unknown size in chunks of any size. Up to one part it is one plain put, 1 request in place of 3; the upload
 * is started by the first byte beyond, and full parts go out as they fill. All parts but the last have one size (R2 insists).
 *
 *     chunk ─ copied once ─▶ part buffer ─ full ─▶ waits for a slot ─▶ putPart, and its retries ─▶ back to the pool
 *                            (1 filling)          (partsInFlight slots)
 *
 * Memory: at most partsInFlight + 1 buffers. `write` waits where it would take one more, or where the pool has none.
 *
 * The first part that is hopeless fails the writer: `write` or `finish`, waiting or next, rejects with that error at once; the other
 * parts are cancelled; when they have let go of their buffers the upload is aborted. After a failure call `abandon` (or leave an
 * `await using` block) to wait for that.
 */
export class BufferedMultipartWriter implements AsyncDisposable {
  readonly #store: ObjectStore;
  readonly #key: ObjectKey;
  readonly #pool: PartBufferPool;
  readonly #partsInFlight: number;
  readonly #partsMax: number;
  readonly #logger: Logger;
  readonly #callerSignal: AbortSignal | undefined;
  /** Ends everything under way when the writer fails. */
  readonly #cancel = new AbortController();
  readonly #slots: Semaphore;

  #state: "open" | "finishing" | "finished" = "open";
  #failure: { readonly error: unknown; readonly cleanUp: Promise<void> } | undefined;
  #writing = false;
  #bytesAccepted = 0;
  #filling: PartBuffer | undefined;
  #filledBytes = 0;
  /** Of the bytes in `#filling`. */
  #filledCrc = 0;
  #copiedInTurn = 0;
  #upload: MultipartUpload | undefined;
  #partsSent = 0;
  readonly #uploaded: UploadedPart[] = [];
  /** Buffers taken from the pool and not yet given back. */
  #buffersHeld = 0;
  /** Requests, or rows of retries, that have not settled. */
  #underWay = 0;
  /** In doubt, what looks like an open upload may be the object. */
  #completion: "none" | "in-doubt" | "made" = "none";
  /** Woken by every change of the numbers above, and by a failure. */
  #waiters: (() => void)[] = [];

  constructor(options: MultipartWriterOptions) {
    const { pool, partsInFlight, partsMax = PARTS_MAX } = options;
    if (pool.partSizeBytes < PART_BYTES_MIN) {
      throw new InvalidArgumentError("partSizeBytes", pool.partSizeBytes, `must be at least ${PART_BYTES_MIN}`);
    }
    if (!Number.isSafeInteger(partsInFlight) || partsInFlight < 1) {
      throw new InvalidArgumentError("partsInFlight", partsInFlight, "must be an integer ≥ 1");
    }
    if (!Number.isSafeInteger(partsMax) || partsMax < 1 || partsMax > PARTS_MAX) {
      throw new InvalidArgumentError("partsMax", partsMax, `must be an integer from 1 to ${PARTS_MAX}`);
    }
    this.#store = options.store;
    this.#key = options.key;
    this.#pool = pool;
    this.#partsInFlight = partsInFlight;
    this.#partsMax = partsMax;
    this.#logger = options.logger ?? silentLogger;
    this.#slots = new Semaphore(partsInFlight);
    // One per part under way. Above 10 Node would write a warning on the console, for fear that they are never removed.
    setMaxListeners(0, this.#cancel.signal);
    this.#callerSignal = options.signal;
    if (options.signal?.aborted === true) this.#onCallerAbort();
    else options.signal?.addEventListener("abort", this.#onCallerAbort, { once: true });
  }

  /** Bytes taken by `write` so far. */
  get bytesAccepted(): number {
    return this.#bytesAccepted;
  }

  /** Bytes that `write` still takes before the object would need a part too many: whoever has more starts another object. */
  get bytesLeft(): number {
    return this.#partsMax * this.#pool.partSizeBytes - this.#bytesAccepted;
  }

  /** Memory held: whole buffers, whatever they are filled with. At most (partsInFlight + 1) × part size. */
  get bufferedBytes(): number {
    return this.#buffersHeld * this.#pool.partSizeBytes;
  }

  /**
   * Copies `chunk`; resolves when all of it is taken, and the caller may then change it. Waits while no buffer is free: that is
   * the back-pressure. Rejects with the failure of the writer, and with `InvalidArgumentError` where the chunk exceeds `bytesLeft`
   * (then nothing of it was taken, and the writer goes on).
   *
   * `crc`: the CRC-32C of `chunk`, where the caller knows it. It becomes part of what the store is told to check, so it guards the
   * chunk from there on.
   *
   * REQUIRES: the last `write` has settled; neither `finish` nor `abandon` was called.
   */
  async write(chunk: Uint8Array, crc?: number): Promise<void> {
    this.#enter("write");
    if (chunk.length > this.bytesLeft) {
      throw new InvalidArgumentError(
        "chunk",
        chunk.length,
        `${this.#key} cannot take ${chunk.length} bytes more: it would have more than ${this.#partsMax} parts of ${this.#pool.partSizeBytes} bytes`,
      );
    }
    this.#writing = true;
    try {
      await this.#copy(chunk, crc);
    } finally {
      this.#writing = false;
    }
  }

  /**
   * Sends the rest and makes the object; resolves when it is visible and durable. Rejects with the failure of the writer; effect
   * "unknown" says that the object may exist all the same.
   *
   * REQUIRES: the last `write` has settled; neither `finish` nor `abandon` was called.
   */
  async finish(): Promise<WrittenObject> {
    this.#enter("finish");
    this.#state = "finishing";
    const sizeBytes = this.#bytesAccepted;
    try {
      if (this.#partsSent === 0) await this.#putWhole();
      else await this.#completeUpload();
    } catch (error) {
      this.#fail(error);
      throw error;
    }
    this.#state = "finished";
    this.#callerSignal?.removeEventListener("abort", this.#onCallerAbort);
    return { sizeBytes, parts: this.#partsSent };
  }

  /**
   * Ends the writer without an object: a `write` or `finish` under way rejects with `AbortedError`, buffers go back, the upload is
   * aborted. Resolves when nothing is under way any more. Does nothing after a `finish` that resolved. Safe to repeat, never rejects:
   * an upload that cannot be aborted is logged, and is left to a lifecycle rule or a sweep. So is one whose completion is in doubt.
   */
  async abandon(): Promise<void> {
    if (this.#state !== "finished") this.#fail(new AbortedError(`writing ${this.#key}`));
    await this.#failure?.cleanUp;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.abandon();
  }

  async #copy(chunk: Uint8Array, crc: number | undefined): Promise<void> {
    const { partSizeBytes } = this.#pool;
    // Of a chunk that two parts share neither has a CRC that is known.
    const isCombined =
      crc !== undefined &&
      chunk.length >= COMBINED_BYTES_MIN &&
      chunk.length <= partSizeBytes - (this.#filledBytes % partSizeBytes);
    for (let position = 0; position < chunk.length;) {
      // The first part waits for the first byte behind it: it may be the whole object, which then needs no upload.
      if (this.#filledBytes === partSizeBytes) this.#sendPart();
      if (this.#filling === undefined) await this.#takeBuffer();
      if (this.#copiedInTurn >= COPY_BYTES_PER_TURN) {
        // Not a sleep of 0 ms: Node runs a row of those in one turn when each copy takes longer than a millisecond.
        await nextTurn();
        this.#copiedInTurn = 0;
      }
      // An `await` is a moment in which the writer may fail, and drop the buffer that was filling.
      this.#checkFailure();
      const filling = this.#filling;
      if (filling === undefined) throw new InvariantError(`${this.#key}: there is no buffer to fill`);
      const length = Math.min(
        chunk.length - position,
        partSizeBytes - this.#filledBytes,
        isCombined ? COPY_BYTES_PER_TURN : CRC_BYTES_AT_ONCE,
      );
      const piece = chunk.subarray(position, position + length);
      filling.bytes.set(piece, this.#filledBytes);
      position += length;
      this.#filledBytes += length;
      this.#bytesAccepted += length;
      this.#copiedInTurn += length;
      if (!isCombined) this.#filledCrc = crc32c(piece, this.#filledCrc);
      else if (position === chunk.length) this.#filledCrc = combineCrc32c(this.#filledCrc, crc, chunk.length);
      if (this.#filledBytes === partSizeBytes && this.#partsSent > 0) this.#sendPart();
    }
  }

  async #takeBuffer(): Promise<void> {
    while (this.#buffersHeld > this.#partsInFlight) await this.#change();
    // Counted before it is there: the bound holds whatever comes first.
    this.#buffersHeld += 1;
    let buffer: PartBuffer;
    try {
      buffer = await this.#pool.take(this.#cancel.signal);
    } catch (error) {
      this.#buffersHeld -= 1;
      this.#wake();
      this.#checkFailure();
      throw error;
    }
    if (this.#failure === undefined) this.#filling = buffer;
    else this.#giveBack(buffer);
  }

  /** Hands the filling buffer to a request for one part; it goes out as soon as a slot is free. */
  #sendPart(): void {
    const buffer = this.#filling;
    if (buffer === undefined) throw new InvariantError(`${this.#key}: there is no part to send`);
    const body = buffer.bytes.subarray(0, this.#filledBytes);
    const options = { signal: this.#cancel.signal, crc32c: this.#filledCrc };
    this.#filling = undefined;
    this.#filledBytes = 0;
    this.#filledCrc = 0;
    this.#partsSent += 1;
    const partNumber = this.#partsSent;
    // Neither can reject: what goes wrong fails the writer.
    if (partNumber === 1) void this.#tracked(this.#open());
    const sent = this.#slots.run(async () => {
      try {
        while (this.#upload === undefined) await this.#change();
        // A part that waited for its slot while another failed is stopped by the signal before anything is sent.
        this.#uploaded.push(await this.#upload.putPart(partNumber, body, options));
      } catch (error) {
        this.#fail(error);
      } finally {
        // Only now: until its last attempt has settled the store may read the buffer.
        this.#giveBack(buffer);
      }
    });
    void this.#tracked(sent);
  }

  /** Not cancelled by a failure: an upload whose name got lost could not be aborted. */
  async #open(): Promise<void> {
    try {
      this.#upload = await this.#store.createMultipart(this.#key);
    } catch (error) {
      this.#fail(error);
    }
  }

  /**
   * "if-absent" and not without a condition: should the name be in use after all, the object there is not lost. A lost answer is
   * settled by comparing all bytes, at most one part.
   */
  async #putWhole(): Promise<void> {
    const buffer = this.#filling;
    const body = buffer === undefined ? new Uint8Array(0) : buffer.bytes.subarray(0, this.#filledBytes);
    const crc = this.#filledCrc;
    this.#filling = undefined;
    this.#filledBytes = 0;
    try {
      const options = { condition: { kind: "if-absent" }, signal: this.#cancel.signal, crc32c: crc } as const;
      const outcome = await this.#tracked(this.#store.put(this.#key, body, options));
      if (outcome.kind === "condition-failed") {
        throw new InvariantError(`${this.#key} exists, with other bytes: the name was used twice`);
      }
    } finally {
      if (buffer !== undefined) this.#giveBack(buffer);
    }
  }

  async #completeUpload(): Promise<void> {
    if (this.#filledBytes > 0) this.#sendPart();
    while (this.#uploaded.length < this.#partsSent) await this.#change();
    const upload = this.#upload;
    if (upload === undefined) throw new InvariantError(`${this.#key}: parts were sent without an upload`);
    await this.#tracked(this.#complete(upload));
  }

  async #complete(upload: MultipartUpload): Promise<void> {
    const parts = this.#uploaded.toSorted((a, b) => a.partNumber - b.partNumber);
    this.#completion = "in-doubt";
    try {
      const { kind } = await upload.complete(parts, { signal: this.#cancel.signal });
      // Only a store without the settling wrapper leaves this question to us.
      if (kind === "gone")
        throw new InvariantError(`${this.#key}: the upload is gone, and nobody looked for its object`);
      this.#completion = "made";
    } catch (error) {
      if (isTierlogError(error) && error.effect === "none") this.#completion = "none";
      throw error;
    }
  }

  readonly #onCallerAbort = (): void => {
    this.#fail(new AbortedError(`writing ${this.#key}`, { cause: this.#callerSignal?.reason }));
  };

  /** The first failure counts; those that follow are its consequences. */
  #fail(error: unknown): void {
    if (this.#failure !== undefined || this.#state === "finished") return;
    this.#callerSignal?.removeEventListener("abort", this.#onCallerAbort);
    // `cleanUp` runs up to its first wait at once, so nothing of it may look at `#failure`.
    this.#failure = { error, cleanUp: this.#cleanUp() };
    if (this.#filling !== undefined) this.#giveBack(this.#filling);
    this.#filling = undefined;
    this.#filledBytes = 0;
    this.#cancel.abort(error);
    this.#wake();
  }

  async #cleanUp(): Promise<void> {
    // Not before the parts have let go: one that lands behind the abort would stay in the store for ever.
    do {
      await new Promise<void>((resolve) => this.#waiters.push(resolve));
    } while (this.#underWay > 0 || this.#buffersHeld > 0);
    const upload = this.#upload;
    if (upload === undefined || this.#completion === "made") return;
    const { uploadId } = upload;
    if (this.#completion === "in-doubt") {
      this.#logger.warn("an upload whose completion is in doubt is left as it is", { key: this.#key, uploadId });
      return;
    }
    try {
      await upload.abort();
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error);
      this.#logger.warn("an upload could not be aborted and stays behind", { key: this.#key, uploadId, problem });
    }
  }

  #enter(operation: "write" | "finish"): void {
    if (this.#state !== "open") throw new ClosedError(`the writer of ${this.#key}`);
    this.#checkFailure();
    if (this.#writing) throw new InvariantError(`${operation} ${this.#key}: the last write has not settled`);
  }

  #giveBack(buffer: PartBuffer): void {
    this.#buffersHeld -= 1;
    buffer.giveBack();
    this.#wake();
  }

  /** Counts `work` as under way until it settles. */
  async #tracked<T>(work: Promise<T>): Promise<T> {
    this.#underWay += 1;
    try {
      return await work;
    } finally {
      this.#underWay -= 1;
      this.#wake();
    }
  }

  /** Waits until something has changed. Rejects with the failure. */
  async #change(): Promise<void> {
    if (this.#failure === undefined) await new Promise<void>((resolve) => this.#waiters.push(resolve));
    this.#checkFailure();
  }

  #checkFailure(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  #wake(): void {
    for (const resolve of this.#waiters.splice(0)) resolve();
  }
}
