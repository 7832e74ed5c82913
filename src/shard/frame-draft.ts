import type { Epoch, Offset } from "../domain.ts";
import type { EncodedFrame } from "../journal/frame-writer.ts";
import type { FrameExtent } from "../journal/frame.ts";
import type { Journal } from "../journal/journal.ts";
import { batchCrc32c } from "../record/batch.ts";
import { nextTurn } from "../runtime/turn.ts";
import { sealAhead } from "./flight.ts";
import type { Gathering } from "./pending.ts";
import type { PlacedBatch } from "./prepare.ts";

/** Sealed in one turn of the event loop. */
const TURN_BYTES = 512 * 1024;

/** A frame that is ready for the journal. */
export interface FrameDraft {
  readonly batches: readonly PlacedBatch[];
  /** Of all batches. */
  readonly bytes: number;
  readonly records: number;
  /** To be appended, or discarded. */
  readonly encoded: EncodedFrame;
}

/** Seals what has gathered, and encodes the frame that holds it. REQUIRES: offsets are assigned. */
export async function draftFrame(
  gathering: Gathering,
  epoch: Epoch,
  createdAtMs: number,
  journal: Journal,
): Promise<FrameDraft> {
  const batches: PlacedBatch[] = [];
  const extents: { -readonly [K in keyof FrameExtent]: FrameExtent[K] }[] = [];
  const chunks: Uint8Array[] = [];
  const chunkCrcs: (number | undefined)[] = [];
  let position = 0;
  let records = 0;
  let turnBytes = 0;
  for (const next of sealAhead(gathering, epoch)) {
    // Before the batch, not behind it: behind the last one a turn of the event loop would be time in which the disk has nothing to do.
    if (turnBytes >= TURN_BYTES) {
      turnBytes = 0;
      await nextTurn();
    }
    const batch = next instanceof Promise ? await next : next;
    const { topicId, partition, baseOffset, nextOffset, maxTimestampMs, bytes } = batch;
    batches.push(batch);
    chunks.push(bytes);
    chunkCrcs.push(batchCrc32c(bytes));
    const last = extents.at(-1);
    if (last !== undefined && last.partition === partition && last.topicId === topicId) {
      last.nextOffset = nextOffset;
      last.lengthBytes += bytes.length;
      last.maxTimestampMs = Math.max(last.maxTimestampMs, maxTimestampMs);
    } else {
      const lengthBytes = bytes.length;
      extents.push({
        topicId,
        partition,
        baseOffset,
        nextOffset,
        position,
        lengthBytes,
        maxTimestampMs,
      });
    }
    position += bytes.length;
    records += nextOffset - baseOffset;
    turnBytes += bytes.length;
  }
  const encoding = journal.encode({ epoch, createdAtMs, extents, chunks, chunkCrcs, payloadBytes: position });
  const encoded = encoding instanceof Promise ? await encoding : encoding;
  return { batches, bytes: position, records, encoded };
}

/** A gathering on its way into the journal, from the moment it is taken. */
export class FrameOnItsWay {
  readonly gathering: Gathering;
  readonly epoch: Epoch;
  readonly createdAtMs: number;
  readonly draft: Promise<FrameDraft>;
  /** Where its partitions ended before it; undefined: where they end in the chain. */
  readonly #before: ReadonlyMap<string, Offset | undefined>;
  readonly #journal: Journal;

  /** Gives the gathering its offsets behind where `endOf` says that its partitions end, and moves `ends` there. */
  constructor(
    gathering: Gathering,
    epoch: Epoch,
    createdAtMs: number,
    journal: Journal,
    ends: Map<string, Offset>,
    endOf: Parameters<Gathering["assignOffsets"]>[0],
  ) {
    this.gathering = gathering;
    this.epoch = epoch;
    this.createdAtMs = createdAtMs;
    this.#journal = journal;
    const before = new Map<string, Offset | undefined>();
    const behind = gathering.assignOffsets((target, key) => {
      before.set(key, ends.get(key));
      return endOf(target, key);
    });
    for (const [key, end] of behind) ends.set(key, end);
    this.#before = before;
    this.draft = draftFrame(gathering, epoch, createdAtMs, journal);
    // It shows when its turn comes to be written.
    this.draft.catch(() => undefined);
  }

  /** The frame is given up: the next one takes its offsets. REQUIRES: those behind it were withdrawn before. */
  withdraw(ends: Map<string, Offset>): void {
    for (const [key, end] of this.#before) {
      if (end === undefined) ends.delete(key);
      else ends.set(key, end);
    }
  }

  /** Gives its memory in the journal back. REQUIRES: it was not appended, and is withdrawn. */
  discard(): void {
    this.draft.then(
      ({ encoded }) => this.#journal.discard(encoded),
      () => undefined,
    );
  }
}
