import type { ObjectKey } from "../domain.ts";
import type { ObjectNumber } from "../index-chain/extent-list.ts";
import { WINDOW_BYTES, type MergeJob } from "./job-builder.ts";

/** Bytes of one source that are fetched together, and held until the last extent in them is copied. */
export interface SourceRead {
  readonly key: ObjectKey;
  start: number;
  end: number;
  /** Extents that lie in it, whole or in part. */
  uses: number;
}

/** How the sources of a job are read, in the order in which it needs them. */
export interface ReadPlan {
  readonly reads: readonly SourceRead[];
  /** Of each extent of the job, in its order: the first read that holds bytes of it; those of a large extent follow one another. */
  readonly firstReads: Uint32Array;
}

/** Between two extents so many bytes are read for nothing rather than asked for apart. */
const GAP_BYTES = 64 * 1024;
const WINDOWS = [8, 4, 2].map((n) => n * WINDOW_BYTES);

/**
 * A source whose extents lie close together is read whole; a large one window by window, as large as `memoryBytes` allows; an extent
 * larger than a window in several reads. Of each source at most one read is in use at a time, and all of those fit into `memoryBytes`:
 * the limits of a job see to it.
 */
export function planReads(job: MergeJob, keyOf: (object: ObjectNumber) => ObjectKey, memoryBytes: number): ReadPlan {
  for (const window of WINDOWS) {
    const { plan, heldBytes } = tryPlan(job, keyOf, window, GAP_BYTES);
    if (heldBytes <= memoryBytes) return plan;
  }
  const { plan, heldBytes } = tryPlan(job, keyOf, WINDOW_BYTES, GAP_BYTES);
  // Without gaps no more is held than the planner has counted.
  return heldBytes <= memoryBytes ? plan : tryPlan(job, keyOf, WINDOW_BYTES, 0).plan;
}

interface Source {
  readonly key: ObjectKey;
  start: number;
  end: number;
  bytes: number;
  /** The read that the next extent may still be added to. */
  open: number;
  readBytesMax: number;
}

function tryPlan(
  job: MergeJob,
  keyOf: (object: ObjectNumber) => ObjectKey,
  windowBytes: number,
  gapBytes: number,
): { readonly plan: ReadPlan; readonly heldBytes: number } {
  const sources = new Map<number, Source>();
  eachExtent(job, (object, start, end) => {
    const source = sources.get(object);
    if (source === undefined) {
      const key = keyOf(object as ObjectNumber);
      sources.set(object, { key, start, end, bytes: end - start, open: -1, readBytesMax: 0 });
      return;
    }
    source.start = Math.min(source.start, start);
    source.end = Math.max(source.end, end);
    source.bytes += end - start;
  });

  const reads: SourceRead[] = [];
  const firstReads = new Uint32Array(job.count);
  let at = 0;
  const begin = (source: Source, start: number, end: number): void => {
    source.open = reads.length;
    source.readBytesMax = Math.max(source.readBytesMax, end - start);
    reads.push({ key: source.key, start, end, uses: 1 });
  };
  eachExtent(job, (object, start, end) => {
    const source = sources.get(object);
    if (source === undefined) return;
    const span = source.end - source.start;
    const isWhole = span <= windowBytes && span <= (gapBytes === 0 ? 1 : 4) * source.bytes;
    const open = reads[source.open];
    if (isWhole && open !== undefined) {
      open.uses++;
      firstReads[at++] = source.open;
    } else if (isWhole) {
      firstReads[at++] = reads.length;
      begin(source, source.start, source.end);
    } else if (
      open !== undefined &&
      start >= open.end &&
      start - open.end <= gapBytes &&
      end - open.start <= windowBytes
    ) {
      open.end = end;
      open.uses++;
      source.readBytesMax = Math.max(source.readBytesMax, end - open.start);
      firstReads[at++] = source.open;
    } else {
      firstReads[at++] = reads.length;
      for (let from = start; from < end; from += windowBytes) begin(source, from, Math.min(end, from + windowBytes));
      // Its last read may be continued by the next extent.
    }
  });
  let heldBytes = 0;
  for (const { readBytesMax } of sources.values()) heldBytes += readBytesMax;
  return { plan: { reads, firstReads }, heldBytes };
}

/** Every extent of a job, in its order. */
function eachExtent(job: MergeJob, visit: (object: number, start: number, end: number) => void): void {
  for (const { extents, from, count } of job.ranges) {
    for (let i = from; i < from + count; i++) {
      const start = extents.position(i);
      visit(extents.object(i), start, start + extents.lengthBytes(i));
    }
  }
}
