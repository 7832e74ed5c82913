import type { Epoch, Offset } from "../domain.ts";
import type { TierlogError } from "../errors.ts";
import type { SealedBatch } from "../record/batch-builder.ts";
import { patchBatch } from "../record/batch.ts";
import { FlushMemory } from "../record/spare-buffers.ts";
import type { AppendTarget, Gathering } from "./pending.ts";
import { prepareBatches, type PlacedBatch, type PreparedFlight, type PrepareOptions } from "./prepare.ts";

/** Batches sealed ahead of the one being written: keeps the compression threads busy while bytes are copied. */
const SEAL_AHEAD = 4;

/** One flush from the moment it is taken until its link is live: its batches have their offsets, its bytes may be uploading. */
export class Flight {
  prepared: PreparedFlight | undefined;
  readonly #gathering: Gathering;
  readonly #epoch: Epoch;
  readonly #abort = new AbortController();
  /** Where each partition ends behind this flush. */
  readonly #ends: ReadonlyMap<string, Offset>;

  /** `endOf` tells where a partition ends before this flush: behind the flushes ahead of it. */
  constructor(gathering: Gathering, epoch: Epoch, endOf: (target: AppendTarget, key: string) => Offset) {
    this.#gathering = gathering;
    this.#epoch = epoch;
    this.#ends = gathering.assignOffsets(endOf);
  }

  /** Settles with its appends. */
  get done(): Promise<void> {
    return this.#gathering.done;
  }

  /** What its appends hold of `flush.max_pending`. */
  get bytes(): number {
    return this.#gathering.bytes;
  }

  /** Appends in it that were acknowledged as buffered. */
  get bufferedAcks(): number {
    return this.#gathering.bufferedAcks;
  }

  /** Where a partition ends behind this flush; undefined where it has no part in it. */
  endOf(key: string): Offset | undefined {
    return this.#ends.get(key);
  }

  /** Records of a partition in this flush. */
  pendingRecords(key: string): number {
    return this.#gathering.pendingRecords(key);
  }

  /** Seals the batches and brings them to where a link can name them: see `prepareBatches`. Once. */
  prepare(options: Omit<PrepareOptions, "epoch">): Promise<PreparedFlight> {
    const batches = sealAhead(this.#gathering, this.#epoch);
    return prepareBatches(batches, { ...options, epoch: this.#epoch }, this.#abort.signal);
  }

  /** Its link is live. */
  committed(): void {
    this.#gathering.settled(this.#epoch);
  }

  /** Gives the flush up: stops its upload, tells its appends. */
  failed(error: TierlogError): void {
    this.#abort.abort(error);
    this.#gathering.failed(error);
  }
}

/** The batches of `gathering` in order, with offsets and epoch; of those that are compressed off the loop a few are sealed ahead. */
export function* sealAhead(gathering: Gathering, epoch: Epoch): Generator<PlacedBatch | Promise<PlacedBatch>> {
  const ahead: (PlacedBatch | Promise<PlacedBatch>)[] = [];
  const memory = new FlushMemory();
  for (const { target, batches } of gathering.partitions()) {
    for (const pending of batches) {
      const sealed = pending.seal(target.compression, memory);
      const { baseOffset } = pending;
      const placed =
        sealed instanceof Promise
          ? sealed.then((batch) => place(target, batch, baseOffset, epoch))
          : place(target, sealed, baseOffset, epoch);
      // Awaited in order; one that fails before its turn must not count as unhandled.
      if (placed instanceof Promise) placed.catch(() => undefined);
      ahead.push(placed);
      // What was sealed on the loop goes on at once: five batches of a megabyte in one turn would hold it for milliseconds.
      while (ahead.length > SEAL_AHEAD || (ahead[0] !== undefined && !(ahead[0] instanceof Promise))) {
        const first = ahead.shift();
        if (first !== undefined) yield first;
      }
    }
  }
  yield* ahead;
}

function place(target: AppendTarget, sealed: SealedBatch, baseOffset: Offset, epoch: Epoch): PlacedBatch {
  patchBatch(sealed.bytes, baseOffset, epoch);
  return {
    topicId: target.topicId,
    partition: target.partition,
    key: target.key,
    epoch,
    baseOffset,
    nextOffset: (baseOffset + sealed.recordCount) as Offset,
    maxTimestampMs: sealed.maxTimestampMs,
    bytes: sealed.bytes,
  };
}
