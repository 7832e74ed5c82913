import type { Offset, PartitionId, Seq } from "../domain.ts";
import { isTierlogError, OffsetOutOfRangeError } from "../errors.ts";
import type { Extent, ExtentList } from "../index-chain/extent-list.ts";
import { indexKey } from "../object-store/object-names.ts";
import { walkExtent } from "../record/batch.ts";
import type { ObjectCache } from "./object-cache.ts";
import type { Shard } from "./shard.ts";

export interface BatchesRead {
  readonly batches: readonly Uint8Array[];
  readonly nextOffset: Offset;
}

/** A run of extents that lie side by side in one object: one request. */
interface Run {
  readonly seq: Seq;
  readonly start: number;
  end: number;
  readonly extents: Extent[];
}

/**
 * Encoded batches from the one that holds `from` on, up to about `maxBytes` but at least one; none at the end of the log. Each is
 * checked against its CRC and the index. Asks the chain for news only where the known view does not reach past `from`.
 */
export async function readBatches(
  shard: Shard,
  cache: ObjectCache,
  id: PartitionId,
  from: number,
  maxBytes: number,
): Promise<BatchesRead> {
  const extents = await viewBehind(shard, id, from);
  const start = extents?.startOffset ?? 0;
  const end = extents?.nextOffset ?? 0;
  if (from < start || from > end) throw new OffsetOutOfRangeError(from, start, end);
  if (extents === undefined || from === end) return { batches: [], nextOffset: from as Offset };

  const runs = collectRuns(extents, from, maxBytes);
  const bytes = await Promise.all(runs.map((run) => cache.read(indexKey(shard.id, run.seq), run.start, run.end)));

  const batches: Uint8Array[] = [];
  let taken = 0;
  let nextOffset = from as Offset;
  for (const [i, run] of runs.entries()) {
    const runBytes = bytes[i] ?? new Uint8Array(0);
    const key = indexKey(shard.id, run.seq);
    for (const extent of run.extents) {
      const extentBytes = runBytes.subarray(
        extent.position - run.start,
        extent.position - run.start + extent.lengthBytes,
      );
      const expected = { baseOffset: extent.baseOffset, nextOffset: extent.nextOffset, epoch: extent.leaderEpoch };
      for (const batch of walkExtent(extentBytes, expected, { key, position: extent.position }, from)) {
        batches.push(batch.bytes);
        taken += batch.bytes.length;
        nextOffset = batch.header.nextOffset;
        if (taken >= maxBytes) return { batches, nextOffset };
      }
    }
  }
  return { batches, nextOffset };
}

/** The extents of a partition in a view that reaches past `from`, or as far as the chain goes. */
async function viewBehind(shard: Shard, id: PartitionId, from: number): Promise<ExtentList | undefined> {
  const known = shard.knownState?.extents(id);
  if (known !== undefined && from < known.nextOffset) return known;
  try {
    return (await shard.refresh()).extents(id);
  } catch (error) {
    // A link that cannot be read stops writers, not those who read below it.
    const readable = shard.chainState.extents(id);
    if (isTierlogError(error) && error.kind === "data" && readable !== undefined && from < readable.nextOffset)
      return readable;
    throw error;
  }
}

function collectRuns(extents: ExtentList, from: number, maxBytes: number): Run[] {
  const runs: Run[] = [];
  let bytes = 0;
  for (let i = extents.find(from); i < extents.count && (runs.length === 0 || bytes < maxBytes); i++) {
    const extent = extents.at(i);
    const last = runs.at(-1);
    if (last !== undefined && last.seq === extent.seq && last.end === extent.position) {
      last.end += extent.lengthBytes;
      last.extents.push(extent);
    } else {
      runs.push({
        seq: extent.seq,
        start: extent.position,
        end: extent.position + extent.lengthBytes,
        extents: [extent],
      });
    }
    bytes += extent.lengthBytes;
  }
  return runs;
}
