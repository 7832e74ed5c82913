import type { Epoch, Offset } from "../domain.ts";
import { linkOverheadBytes, type LinkEntry, type LinkExtent } from "../index-chain/index-file.ts";
import type { ShardState } from "../index-chain/shard-state.ts";
import type { SealedBatch } from "../record/batch-builder.ts";
import { BATCH_HEADER_BYTES, patchBatch } from "../record/batch.ts";
import type { AppendTarget, PendingBatch } from "./pending.ts";

/** One sealed batch and the appends that wait for it. */
export interface PackedBatch {
  readonly pending: PendingBatch;
  readonly sealed: SealedBatch;
}

/** The batches of one partition in one link; they become one extent. */
export interface PackedRun {
  readonly target: AppendTarget;
  readonly batches: PackedBatch[];
}

/** What goes into one link. */
export type PackedLink = readonly PackedRun[];

/**
 * Cuts a flush into links of at most `linkBytesMax` (one part: an index file is sent by one PUT). Batches stay in order; a batch
 * larger than a link gets one of its own, which config rules out.
 */
export function packLinks(
  partitions: readonly PackedRun[],
  linkBytesMax: number,
  writerIdBytes: number,
): readonly PackedLink[] {
  const links: PackedRun[][] = [];
  let link: PackedRun[] = [];
  let payloadBytes = 0;
  for (const partition of partitions) {
    let run: PackedRun | undefined;
    for (const batch of partition.batches) {
      // Every extent is counted as of another topic: a few bytes too many at most, never a file over the limit.
      const extents = link.length + (run === undefined ? 1 : 0);
      const sizeBytes = linkOverheadBytes(extents, extents, writerIdBytes) + payloadBytes + batch.sealed.bytes.length;
      if (payloadBytes > 0 && sizeBytes > linkBytesMax) {
        links.push(link);
        link = [];
        payloadBytes = 0;
        run = undefined;
      }
      if (run === undefined) {
        run = { target: partition.target, batches: [] };
        link.push(run);
      }
      run.batches.push(batch);
      payloadBytes += batch.sealed.bytes.length;
    }
  }
  if (link.length > 0) links.push(link);
  return links;
}

export interface BuiltLink {
  readonly entries: readonly LinkEntry[];
  readonly payload: readonly Uint8Array[];
  readonly batches: readonly BuiltBatch[];
}

export interface BuiltBatch {
  readonly pending: PendingBatch;
  readonly baseOffset: Offset;
  readonly recordCount: number;
}

/** Gives the batches their offsets, behind `state`; the payload carries them, the batches themselves stay as they are. REQUIRES: the links before this one are folded. */
export function buildLink(link: PackedLink, state: ShardState, epoch: Epoch): BuiltLink {
  const extents: LinkExtent[] = [];
  const payload: Uint8Array[] = [];
  const batches: BuiltBatch[] = [];
  let position = 0;
  for (const { target, batches: run } of link) {
    const baseOffset = state.extents(target)?.nextOffset ?? (0 as Offset);
    const start = position;
    let nextOffset = baseOffset;
    let maxTimestampMs = 0;
    for (const { pending, sealed } of run) {
      // In a copy: the same encoded batch may be on its way to several partitions, at another offset in each.
      const header = new Uint8Array(sealed.bytes.subarray(0, BATCH_HEADER_BYTES));
      patchBatch(header, nextOffset, epoch);
      batches.push({ pending, baseOffset: nextOffset, recordCount: sealed.recordCount });
      payload.push(header, sealed.bytes.subarray(BATCH_HEADER_BYTES));
      position += sealed.bytes.length;
      nextOffset = (nextOffset + sealed.recordCount) as Offset;
      maxTimestampMs = Math.max(maxTimestampMs, sealed.maxTimestampMs);
    }
    extents.push({
      topicId: target.topicId,
      partition: target.partition,
      leaderEpoch: epoch,
      baseOffset,
      nextOffset,
      position: start,
      lengthBytes: position - start,
      maxTimestampMs,
    });
  }
  return { entries: [{ type: "append", extents }], payload, batches };
}
