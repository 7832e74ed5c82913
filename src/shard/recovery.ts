import { partitionKey, type Epoch, type Offset, type PartitionId, type ShardId } from "../domain.ts";
import { CorruptionError, isTierlogError } from "../errors.ts";
import { NO_JOURNAL, type FenceJournal, type IndexChain } from "../index-chain/index-chain.ts";
import type { Fence } from "../index-chain/shard-state.ts";
import type { WriteId } from "../index-chain/write-id.ts";
import type { Frame, FrameExtent } from "../journal/frame.ts";
import type { Journal } from "../journal/journal.ts";
import type { AsideReport, TornTail } from "../journal/reports.ts";
import type { UploadQueue } from "./upload-queue.ts";

/** What taking a shard over found in journals, ours and others'. */
export interface ShardRecovery {
  readonly shard: ShardId;
  /**
   * "replayed": frames of our journal go on into the chain. "set-aside": they must not, another writer's turn came between.
   * "disk-lost": the last owner journaled and did not leave in order, and its journal is not ours. Several may hold: the gravest counts.
   */
  readonly outcome: "nothing" | "replayed" | "set-aside" | "disk-lost";
  readonly replayed: { readonly frames: number; readonly records: number; readonly bytes: number };
  readonly setAside: AsideReport | undefined;
  readonly tornTail: TornTail | undefined;
  /** Where records may be missing that only the last owner's journal had: the end of each partition that the chain knows. */
  readonly mayBeLost: readonly (PartitionId & { readonly firstOffset: Offset })[] | undefined;
  /** When the last link with records was made, as its writer's clock had it; only where records may be lost. */
  readonly lastCommitAtMs: number | undefined;
}

/** A journal that is here and holds nothing that is not in the chain. */
export type EmptiedJournal = Pick<Journal, "journalId" | "knowsFence">;

/** The side of a take-over that the journal sees; remembers whose turn ended by it. */
class TakenOver implements FenceJournal {
  readonly #journal: Journal | undefined;
  readonly #chain: IndexChain;
  readonly #emptied: EmptiedJournal | undefined;
  #ended: { readonly fence: Fence; readonly released: boolean } | undefined;

  constructor(chain: IndexChain, journal: Journal | undefined, emptied: EmptiedJournal | undefined) {
    this.#chain = chain;
    this.#journal = journal;
    this.#emptied = emptied;
  }

  async idBehind(fence: Fence | undefined): Promise<string> {
    this.#ended = fence === undefined ? undefined : { fence, released: this.#chain.state.released };
    const journal = this.#journal;
    if (journal === undefined) return NO_JOURNAL;
    // Under our id, but not from this directory: a copy of it went on elsewhere, and what only this one holds must not follow it.
    if (fence?.journalId === journal.journalId && !journal.knowsFence(fence.writeId)) await journal.renewId();
    return journal.journalId;
  }

  async recordFence(writeId: WriteId): Promise<void> {
    await this.#journal?.recordFence(writeId);
  }

  knowsFence(writeId: WriteId): boolean {
    return this.#journal?.knowsFence(writeId) === true;
  }

  /** The last owner acknowledged from a journal that is not ours, and did not say that all of it is in the chain. */
  get diskLost(): boolean {
    if (this.#ended === undefined || this.#ended.released) return false;
    const { journalId, writeId } = this.#ended.fence;
    if (this.#emptied?.journalId === journalId && this.#emptied.knowsFence(writeId)) return false;
    return journalId !== NO_JOURNAL && journalId !== this.#chain.state.fence?.journalId;
  }
}

/** Takes the shard over with the id of `journal`, if there is one. Where the last turn was one of `emptied`, no disk is lost. */
export async function takeOver(
  chain: IndexChain,
  journal: Journal | undefined,
  emptied?: EmptiedJournal,
): Promise<{ readonly epoch: Epoch; readonly diskLost: boolean }> {
  const taken = new TakenOver(chain, journal, emptied);
  const epoch = await chain.takeOver(taken);
  const { fence } = chain.state;
  if (fence !== undefined) journal?.fenceLive(fence.writeId);
  return { epoch, diskLost: taken.diskLost };
}

/** What is to be said about records that only a lost journal held. Costs a few GETs. */
export async function lossOf(chain: IndexChain): Promise<Pick<ShardRecovery, "mayBeLost" | "lastCommitAtMs">> {
  return {
    mayBeLost: chain.state.ends(),
    // Not worth failing for: the offsets say where to look.
    lastCommitAtMs: await chain.lastAppendAtMs().catch(() => undefined),
  };
}

export const NOTHING_REPLAYED: ShardRecovery["replayed"] = { frames: 0, records: 0, bytes: 0 };

export interface RecoverOptions {
  readonly shard: ShardId;
  readonly journal: Journal;
  readonly chain: IndexChain;
  readonly queue: UploadQueue;
  /** A partition ends here, behind the chain. */
  readonly setEnd: (key: string, end: Offset) => void;
  /** The bytes of a partition from `from` to `end`, as the chain has them. */
  readonly readCommitted: (id: PartitionId, from: Offset, end: Offset) => Promise<Uint8Array>;
}

/**
 * Judges each frame of the journal by the chain (rule 11): frames since which every live fence bears our id go on, unless they are
 * in the chain already; older ones are set aside. The same again after a crash at any moment. REQUIRES: our own fence is live, or
 * another's whose turn came after all these frames.
 */
export async function recoverFrames(
  options: RecoverOptions,
): Promise<Pick<ShardRecovery, "replayed" | "setAside" | "tornTail">> {
  const { shard, journal, chain, queue, setEnd } = options;
  const { state } = chain;
  const since = journalSince(chain, journal);
  const ends = new Map<string, Offset>();
  const replayed = { frames: 0, records: 0, bytes: 0 };
  let asideThrough = 0;
  await freeCommitted(options);
  for await (const frame of journal.frames()) {
    if (frame.epoch < since) {
      asideThrough = frame.sequence;
      continue;
    }
    const place = placeOf(frame, (extent) => ends.get(partitionKey(extent)) ?? state.extents(extent)?.nextOffset ?? 0);
    if (place === "in-chain") {
      if (replayed.frames > 0) throw misplaced(shard, frame);
      // Offsets that are taken by other bytes: this frame is not what the chain holds.
      asideThrough = frame.sequence;
      continue;
    }
    if (place === "nowhere") throw misplaced(shard, frame);
    for (const extent of frame.extents) {
      ends.set(partitionKey(extent), extent.nextOffset);
      replayed.records += extent.nextOffset - extent.baseOffset;
    }
    replayed.frames++;
    replayed.bytes += frame.payloadBytes;
    queue.pushStored(frame);
  }
  const setAside = asideThrough > 0 ? await journal.setAside(asideThrough) : undefined;
  for (const [key, end] of ends) setEnd(key, end);
  return { replayed, setAside, tornTail: journal.opened.tornTail };
}

/**
 * Frees the oldest frames as far as the chain holds the same: the disk need not know yet that they were freed. Set aside, they would
 * be taken for lost and stored a second time. REQUIRES: the chain was folded.
 */
export async function freeCommitted(
  options: Pick<RecoverOptions, "journal" | "chain" | "readCommitted">,
): Promise<void> {
  const { journal, chain } = options;
  let through = 0;
  for await (const frame of journal.frames()) {
    const place = placeOf(frame, (extent) => chain.state.extents(extent)?.nextOffset ?? 0);
    if (place !== "in-chain" || !(await sameBytes(frame, options))) break;
    through = frame.sequence;
  }
  if (through > 0) journal.free(through);
}

/** The epoch since which every live fence has borne the id of our journal; infinite where the last one does not. */
function journalSince({ state }: IndexChain, { journalId }: Journal): number {
  return state.fence?.journalId === journalId ? state.fence.journalSince : Number.POSITIVE_INFINITY;
}

function placeOf(frame: Frame, endOf: (extent: FrameExtent) => number): "in-chain" | "behind" | "nowhere" {
  if (frame.extents.every((extent) => extent.nextOffset <= endOf(extent))) return "in-chain";
  return frame.extents.every((extent) => extent.baseOffset === endOf(extent)) ? "behind" : "nowhere";
}

async function sameBytes(
  frame: Frame,
  { journal, chain, readCommitted }: Pick<RecoverOptions, "journal" | "chain" | "readCommitted">,
): Promise<boolean> {
  const payload = await journal.readPayload(frame.sequence);
  const isTrimmed = (extent: FrameExtent): boolean =>
    extent.baseOffset < (chain.state.extents(extent)?.startOffset ?? 0);
  // Nothing is left to compare with. Only where nobody but us wrote since was it this frame.
  const isOurs = (): boolean => frame.epoch >= journalSince(chain, journal);
  for (const extent of frame.extents) {
    if (isTrimmed(extent)) {
      if (!isOurs()) return false;
      continue;
    }
    const own = payload.subarray(extent.position, extent.position + extent.lengthBytes);
    try {
      const committed = await readCommitted(extent, extent.baseOffset, extent.nextOffset);
      if (Buffer.compare(committed, own) !== 0) return false;
    } catch (error) {
      if (!isTierlogError(error)) throw error;
      // Its owner has trimmed it since we folded: reading folds anew where the view is old, or an object is gone.
      if (error.code === "TIERLOG_OFFSET_OUT_OF_RANGE" && isTrimmed(extent)) {
        if (!isOurs()) return false;
        continue;
      }
      // Damaged in the store: the frame is the only good copy, and the shard must not stand still for it.
      if (error.kind !== "data") throw error;
      return false;
    }
  }
  return true;
}

function misplaced(shard: ShardId, frame: Frame): CorruptionError {
  const held = frame.extents
    .slice(0, 3)
    .map(
      ({ topicId, partition, baseOffset, nextOffset }) => `${topicId}/${partition} ${baseOffset} … ${nextOffset - 1}`,
    )
    .join(", ");
  return new CorruptionError(
    `journal of shard ${shard}`,
    0,
    `frame ${frame.sequence} (epoch ${frame.epoch}: ${held}) does not continue what the store holds: was the bucket set back to an ` +
      "older state? tierlog journal inspect shows the frames, tierlog journal salvage sets them aside",
  );
}
