import type { PartitionId } from "../domain.ts";
import type { FrozenExtents } from "../index-chain/extent-rows.ts";
import type { LiveObject } from "../index-chain/live-objects.ts";
import type { PartitionSnapshot } from "../index-chain/shard-state.ts";
import { JobBuilder, type MergeJob, type MergeLimits } from "./job-builder.ts";
import { SizeTiers, type ExtentRun } from "./size-tiers.ts";

/** What is looked at: the extents of a shard as they were at one moment. */
export interface MergeView {
  readonly partitions: readonly PartitionSnapshot[];
  /** Those that their extents lie in. */
  readonly objects: Iterable<Pick<LiveObject, "number" | "sizeBytes" | "liveBytes" | "extents">>;
  /** Inline extents of index files below this seq may go; those behind it are what readers at the tail have in their cache. */
  readonly settledBelow: number;
  /** Those below this one are older than `segment.max_age`: they go now. */
  readonly overdueBelow: number;
  /** Extents that were found damaged, or whose object is missing: they stay where they are. */
  readonly isBlocked?: (id: PartitionId, baseOffset: number) => boolean;
}

/** An extent of a data object between inline ones is taken along up to so many times the bytes before it. */
const TAKEN_ALONG_FACTOR = 8;

/**
 * The next thing to merge in a shard; undefined where nothing is due. In this order:
 *
 * 1. Inline extents of all partitions, once they come to `segmentBytes` or what memory holds, to `extentsMax` in number, or one of them is
 *    overdue: whatever their partition, for an index file stays as long as any of its bytes is needed.
 * 2. A partition whose small extents come to a segment, or half of one: an object of its own.
 * 3. Neighbours of a size tier, of all partitions where some are due: see `SizeTiers`.
 * 4. Data objects that would be less than half as large without what is dead in them. What this rewrites is less than what other jobs
 *    made dead, so it at most doubles their bytes.
 *
 * Pure. Done again and again on what each job leaves, it ends: 1 takes at least one inline extent, 2 and 3 leave fewer extents, 4 leaves
 * fewer bytes in objects. Takes about 20 ns an extent.
 */
export function planMerge(view: MergeView, limits: MergeLimits): MergeJob | undefined {
  return planInline(view, limits) ?? planTiers(view, limits) ?? planDead(view, limits);
}

function blockedIn({ isBlocked }: MergeView, id: PartitionId): ((baseOffset: number) => boolean) | undefined {
  return isBlocked === undefined ? undefined : (baseOffset) => isBlocked(id, baseOffset);
}

function planInline(view: MergeView, limits: MergeLimits): MergeJob | undefined {
  const { partitions, settledBelow, overdueBelow } = view;
  let bytes = 0;
  let count = 0;
  let isOverdue = false;
  for (const partition of partitions) {
    const { extents } = partition;
    const isBlocked = blockedIn(view, partition);
    for (let i = 0; i < extents.count; i++) {
      const object = extents.object(i);
      if (object < 0 || object >= settledBelow || isBlocked?.(extents.baseOffset(i)) === true) continue;
      bytes += extents.lengthBytes(i);
      count++;
      if (object < overdueBelow) isOverdue = true;
    }
  }
  const bytesMax = Math.min(limits.segmentBytes, limits.memoryBytes);
  if (count === 0 || (!isOverdue && bytes < bytesMax && count < limits.extentsMax)) return undefined;
  const below = bytes <= bytesMax && count <= limits.extentsMax ? settledBelow : cutOff(view, bytesMax, limits);
  const job = new JobBuilder("inline", limits);
  for (const partition of sorted(partitions)) {
    const run = inlineRun(partition, below, blockedIn(view, partition));
    if (run !== undefined && job.add(partition, run, 1) < run.to - run.from) break;
  }
  return job.build();
}

/** The seq below which inline extents fit into one job; at least one index file. */
function cutOff(view: MergeView, bytesMax: number, { extentsMax }: MergeLimits): number {
  const files = new Map<number, { bytes: number; count: number }>();
  for (const partition of view.partitions) {
    const { extents } = partition;
    const isBlocked = blockedIn(view, partition);
    for (let i = 0; i < partition.extents.count; i++) {
      const seq = extents.object(i);
      if (seq < 0 || seq >= view.settledBelow || isBlocked?.(extents.baseOffset(i)) === true) continue;
      let file = files.get(seq);
      if (file === undefined) files.set(seq, (file = { bytes: 0, count: 0 }));
      file.bytes += extents.lengthBytes(i);
      file.count++;
    }
  }
  let bytes = 0;
  let count = 0;
  for (const [seq, file] of [...files].toSorted(([a], [b]) => a - b)) {
    if (count > 0 && (bytes + file.bytes > bytesMax || count + file.count > extentsMax)) return seq;
    bytes += file.bytes;
    count += file.count;
  }
  return view.settledBelow;
}

/** From the first inline extent on, with what lies between as far as it is not much larger. Ends with an inline one. */
function inlineRun(
  { extents }: PartitionSnapshot,
  below: number,
  isBlocked: ((baseOffset: number) => boolean) | undefined,
): ExtentRun | undefined {
  const { count } = extents;
  let from = -1;
  let to = -1;
  let bytes = 0;
  for (let i = 0; i < count; i++) {
    const object = extents.object(i);
    const length = extents.lengthBytes(i);
    const isBarrier =
      object >= below ||
      (object < 0 && length > TAKEN_ALONG_FACTOR * bytes) ||
      isBlocked?.(extents.baseOffset(i)) === true;
    if (isBarrier) {
      if (from >= 0) break;
      continue;
    }
    bytes += length;
    if (object < 0) continue;
    if (from < 0) from = i;
    to = i + 1;
  }
  return from < 0 ? undefined : { from, to };
}

function planTiers(view: MergeView, limits: MergeLimits): MergeJob | undefined {
  const tiers = new SizeTiers(limits.segmentBytes);
  const due: { readonly partition: PartitionSnapshot; readonly run: ExtentRun }[] = [];
  for (const partition of view.partitions) {
    const run = tiers.dueRun(partition.extents, blockedIn(view, partition));
    if (run === undefined) continue;
    const own = new JobBuilder("segment", limits);
    if (bytesOf(partition.extents, run) >= limits.segmentBytes / 2 && own.add(partition, run, 2) > 0)
      return own.build();
    due.push({ partition, run });
  }
  const job = new JobBuilder("tiers", limits);
  for (const { partition, run } of due.toSorted((a, b) => inOrder(a.partition, b.partition))) {
    // What does not fit goes with the next job: neighbours in the sources are read together.
    if (job.add(partition, run, 2) < run.to - run.from) break;
  }
  return job.build();
}

function planDead(view: MergeView, limits: MergeLimits): MergeJob | undefined {
  const dead: { readonly object: number; readonly bytes: number; readonly share: number }[] = [];
  for (const { number, sizeBytes, liveBytes, extents } of view.objects) {
    const share = rewrittenBytes(liveBytes, extents) / sizeBytes;
    if (share < 0.5) dead.push({ object: number, bytes: liveBytes, share });
  }
  if (dead.length === 0) return undefined;
  const stuck = blockedObjects(view);
  // Whole objects, those first where it frees most: half of many would free none.
  const chosen = new Set<number>();
  let sum = 0;
  for (const { object, bytes } of dead.toSorted((a, b) => a.share - b.share)) {
    if (stuck.has(object)) continue;
    sum += bytes;
    if (chosen.size > 0 && sum > limits.segmentBytes) break;
    chosen.add(object);
  }
  const job = new JobBuilder("dead", limits);
  for (const partition of sorted(view.partitions)) {
    const run = runIn(partition, chosen);
    if (run !== undefined && job.add(partition, run, 1) < run.to - run.from) break;
  }
  return job.build();
}

/** The first extents of a partition, side by side, that lie in these objects. */
function runIn({ extents }: PartitionSnapshot, chosen: ReadonlySet<number>): ExtentRun | undefined {
  let from = 0;
  while (from < extents.count && !chosen.has(extents.object(from))) from++;
  let to = from;
  while (to < extents.count && chosen.has(extents.object(to))) to++;
  return to === from ? undefined : { from, to };
}

/**
 * Size of a data object with so much in it, less what larger extents and many topics add to its footer. At least four fifths of what it
 * really takes, so what was rewritten is never to be rewritten at once.
 */
function rewrittenBytes(bytes: number, extents: number): number {
  return bytes + 64 * extents + 72;
}

/** Objects with a blocked extent: they would stay whatever else left them. */
function blockedObjects(view: MergeView): ReadonlySet<number> {
  const stuck = new Set<number>();
  if (view.isBlocked === undefined) return stuck;
  for (const partition of view.partitions) {
    const { extents } = partition;
    for (let i = 0; i < partition.extents.count; i++) {
      if (view.isBlocked(partition, extents.baseOffset(i))) stuck.add(extents.object(i));
    }
  }
  return stuck;
}

function bytesOf(extents: FrozenExtents, { from, to }: ExtentRun): number {
  let bytes = 0;
  for (let i = from; i < to; i++) bytes += extents.lengthBytes(i);
  return bytes;
}

function sorted(partitions: readonly PartitionSnapshot[]): PartitionSnapshot[] {
  return partitions.toSorted(inOrder);
}

function inOrder(a: PartitionId, b: PartitionId): number {
  if (a.topicId !== b.topicId) return a.topicId < b.topicId ? -1 : 1;
  return a.partition - b.partition;
}
