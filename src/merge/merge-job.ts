import { partitionKey, type Epoch, type ObjectKey, type PartitionId, type ShardId } from "../domain.ts";
import { InvariantError, isTierlogError } from "../errors.ts";
import type { ObjectNumber } from "../index-chain/extent-list.ts";
import type { DataObjectRef, LinkExtent, ReplaceEntry } from "../index-chain/link-entries.ts";
import type { ShardState } from "../index-chain/shard-state.ts";
import type { BufferedMultipartWriter } from "../object-store/buffered-multipart-writer.ts";
import { DataObjectDirectory, type DataExtent } from "../object-store/data-object.ts";
import type { BatchHeader } from "../record/batch-header.ts";
import { copyExtents, type BatchSink, type DamagedExtent } from "./copy-extents.ts";
import type { MergeJob, MergeRange } from "./job-builder.ts";
import type { Pace } from "./pace.ts";
import { planReads } from "./read-plan.ts";
import { SourceReader, type MergeSource } from "./source-reader.ts";

export interface MergeOptions {
  readonly shard: ShardId;
  /** Of the turn in which the job was planned and is to be committed. */
  readonly epoch: Epoch;
  readonly job: MergeJob;
  /** Of the state that the job was planned for, resolved before anything is waited for: objects leave the state. */
  readonly keyOf: (object: ObjectNumber) => ObjectKey;
  readonly source: MergeSource;
  readonly openWriter: (signal: AbortSignal) => { readonly key: ObjectKey; readonly writer: BufferedMultipartWriter };
  /** As `Shard.change`, but never for a shard that is not owned in this epoch any more. */
  readonly commit: (plan: (state: ShardState) => readonly ReplaceEntry[]) => Promise<void>;
  /** The view after `commit`. */
  readonly state: () => ShardState;
  /** An object that no link names, nor ever will. */
  readonly onGivenUp: (object: DataObjectRef) => void;
  readonly pace: Pace;
  readonly memoryBytes: number;
  readonly nowMs: number;
  readonly signal: AbortSignal;
}

export interface MergeCosts {
  readonly fetchedBytes: number;
  readonly requests: number;
  /** Held of the sources at a time, at most. */
  readonly heldBytesMax: number;
}

export type MergeOutcome = MergeCosts &
  (
    | {
        readonly kind: "merged";
        readonly object: DataObjectRef;
        readonly extents: readonly DataExtent[];
        /** What readers find in the new object from now on. */
        readonly superseded: { readonly extents: number; readonly bytes: number };
        /** Ranges that were trimmed, or are not what they were, before the link was made. */
        readonly droppedRanges: number;
      }
    /** Nothing was written: the job is to be planned again without these. */
    | { readonly kind: "damaged"; readonly extents: readonly DamagedExtent[] }
    /** Nothing of the job was there any more when its object was, or the shard is in another epoch. */
    | { readonly kind: "overtaken" }
    /** The link is live, and the state says that its entry took no effect: somebody else replaced the same (C16). */
    | { readonly kind: "void" }
  );

/** Written at a time, and paced by. */
const WRITE_BYTES = 256 * 1024;

/**
 * Copies what a job names into one data object and has a link put it in the place of what it was. Believes that only when the state shows
 * it. Memory: `memoryBytes` of sources, and the part buffers of the writer. Rejects with the error of the store or of `commit`, and as
 * soon as `signal` fires; nothing is named by the chain then, unless `commit` failed with effect "unknown".
 */
export async function runMerge(options: MergeOptions): Promise<MergeOutcome> {
  const { job, keyOf, source, signal, memoryBytes, shard, epoch, nowMs, onGivenUp } = options;
  const plan = planReads(job, keyOf, memoryBytes);
  const stop = new AbortController();
  const inner = AbortSignal.any([signal, stop.signal]);
  const reader = new SourceReader({ plan, source, memoryBytes, signal: inner });
  const costs = (): MergeCosts => ({
    fetchedBytes: reader.fetchedBytes,
    requests: reader.requests,
    heldBytesMax: reader.heldBytesMax,
  });
  const { key, writer } = options.openWriter(inner);
  const object = new ObjectInTheMaking(writer, options.pace, inner);
  let isNamed = false;
  let written = 0;
  try {
    const damaged = await copyExtents({ job, plan, reader, source, sink: object, signal: inner });
    if (damaged.length > 0) return { kind: "damaged", extents: damaged, ...costs() };
    const sizeBytes = (written = await object.finish(shard, epoch, nowMs));
    const replacement = new Replacement(job, { key, sizeBytes }, object.extents);
    isNamed = true;
    try {
      await options.commit((state) => replacement.plan(state, epoch));
    } catch (error) {
      // Otherwise its link may be live: only an owner of a later epoch can tell.
      if (isTierlogError(error) && error.effect === "none") isNamed = false;
      throw error;
    }
    const { ranges } = replacement;
    if (ranges.length === 0) {
      isNamed = false;
      return { kind: "overtaken", ...costs() };
    }
    if (!replacement.isIn(options.state())) {
      isNamed = false;
      return { kind: "void", ...costs() };
    }
    return {
      kind: "merged",
      object: { key, sizeBytes },
      extents: object.extents,
      superseded: {
        extents: ranges.reduce((sum, { count }) => sum + count, 0),
        bytes: ranges.reduce((sum, range) => sum + bytesOf(range), 0),
      },
      droppedRanges: job.ranges.length - ranges.length,
      ...costs(),
    };
  } finally {
    stop.abort();
    if (!isNamed) {
      await writer.abandon();
      onGivenUp({ key, sizeBytes: written });
    }
  }
}

/** The object that a job writes, batch by batch. */
class ObjectInTheMaking implements BatchSink {
  readonly #writer: BufferedMultipartWriter;
  readonly #pace: Pace;
  readonly #signal: AbortSignal;
  readonly #directory = new DataObjectDirectory();
  /** Batches that lie side by side in one buffer and are not written yet. */
  #run: Uint8Array | undefined;
  #spent = 0;

  constructor(writer: BufferedMultipartWriter, pace: Pace, signal: AbortSignal) {
    this.#writer = writer;
    this.#pace = pace;
    this.#signal = signal;
  }

  get extents(): readonly DataExtent[] {
    return this.#directory.extents;
  }

  add(id: PartitionId, epoch: Epoch, header: BatchHeader, bytes: Uint8Array): Promise<void> | undefined {
    this.#directory.add(id, epoch, header);
    const run = this.#run;
    if (run !== undefined && run.buffer === bytes.buffer && run.byteOffset + run.length === bytes.byteOffset) {
      this.#run = new Uint8Array(run.buffer, run.byteOffset, run.length + bytes.length);
      return this.#run.length < WRITE_BYTES ? undefined : this.#write(this.#run);
    }
    this.#run = bytes;
    return run === undefined ? undefined : this.#write(run, bytes);
  }

  async finish(shard: ShardId, epoch: Epoch, nowMs: number): Promise<number> {
    if (this.#run !== undefined) await this.#write(this.#run);
    await this.#writer.write(this.#directory.encodeTail(shard, epoch, nowMs));
    const { sizeBytes } = await this.#writer.finish();
    return sizeBytes;
  }

  async #write(run: Uint8Array, next?: Uint8Array): Promise<void> {
    this.#run = next;
    this.#spent += run.length;
    if (this.#spent >= WRITE_BYTES) {
      const spent = this.#spent;
      this.#spent = 0;
      await this.#pace.spend(spent, this.#signal);
    }
    await this.#writer.write(run);
  }
}

/** The entry that puts an object in the place of what a job copied into it. */
class Replacement {
  readonly #job: MergeJob;
  readonly #object: DataObjectRef;
  readonly #extents: readonly DataExtent[];
  /** What the entry names; set by `plan`. */
  ranges: readonly MergeRange[] = [];

  constructor(job: MergeJob, object: DataObjectRef, extents: readonly DataExtent[]) {
    this.#job = job;
    this.#object = object;
    this.#extents = extents;
  }

  plan(state: ShardState, epoch: Epoch): readonly ReplaceEntry[] {
    // An owner sweeps what no link names of epochs below its own: this object may be gone by then.
    this.ranges = state.epoch === epoch ? this.#job.ranges.filter((range) => isAsItWas(state, range)) : [];
    if (this.ranges.length === 0) return [];
    const ranges = this.ranges.map(({ topicId, partition, baseOffset, nextOffset, count }) => {
      return { topicId, partition, baseOffset, nextOffset, count };
    });
    const superseded = state.supersededDigest(ranges);
    if (superseded === undefined) throw new InvariantError("extents are as they were, and have no digest");
    const kept = new Set(ranges.map(partitionKey));
    const extents: LinkExtent[] = [];
    for (const { blocks: _, ...extent } of this.#extents) {
      if (kept.has(partitionKey(extent))) extents.push({ ...extent, object: 1 });
    }
    return [{ type: "replace", objects: [this.#object], ranges, superseded, extents }];
  }

  isIn(state: ShardState): boolean {
    for (const { key } of state.dataObjects) if (key === this.#object.key) return true;
    return false;
  }
}

/** Object numbers are never given again: extents with the same numbers, offsets and places are the same extents. */
function isAsItWas(state: ShardState, range: MergeRange): boolean {
  const list = state.extents(range);
  if (list === undefined) return false;
  const first = list.find(range.baseOffset);
  const is = list.frozen();
  const was = range.extents;
  if (first + range.count > is.count) return false;
  for (let i = 0; i < range.count; i++) {
    const [now, then] = [first + i, range.from + i];
    if (
      is.object(now) !== was.object(then) ||
      is.position(now) !== was.position(then) ||
      is.baseOffset(now) !== was.baseOffset(then) ||
      is.nextOffset(now) !== was.nextOffset(then)
    )
      return false;
  }
  return true;
}

function bytesOf({ extents, from, count }: MergeRange): number {
  let bytes = 0;
  for (let i = from; i < from + count; i++) bytes += extents.lengthBytes(i);
  return bytes;
}
