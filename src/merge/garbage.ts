import type { Epoch, ObjectKey, Seq } from "../domain.ts";
import type { ObjectName } from "../object-store/object-names.ts";

/** What of a store is garbage (DESIGN section 4 rules 7 to 9; docs/gc.md). Pure: what is known comes in, a judgement comes out. */

/** What a boundary is worked out from. */
export interface BoundaryView {
  /** Of the state. */
  readonly boundary: Seq;
  /** Everything below it is settled: in the owner's own fold. */
  readonly nextSeq: Seq;
  /** The lowest link whose inline bytes the state reads; infinite where it reads none. */
  readonly lowestInline: number;
  /** The older of the two checkpoints that the owner knows to be good. */
  readonly older: Seq | undefined;
}

/** Up to where links could go if checkpoints stood at the end of the chain. */
export function boundaryLimit({ nextSeq, lowestInline }: Pick<BoundaryView, "nextSeq" | "lowestInline">): Seq {
  return Math.min(nextSeq, lowestInline) as Seq;
}

/** The highest boundary that may be written now (rule 7); the one there is, where that is not above it. */
export function highestBoundary({ older, ...view }: BoundaryView): Seq {
  if (older === undefined) return view.boundary;
  return Math.max(view.boundary, Math.min(older + 1, boundaryLimit(view))) as Seq;
}

/** Where nothing else happens, fewer are not worth the links that they cost: a boundary adds some itself. */
export const IDLE_LINKS_MIN = 16;

/** How many links must be there to be freed before a boundary is written. `squeeze`: whatever can be freed is to be. */
export function linksWorthABoundary(step: number, mood: "busy" | "idle" | "squeeze"): number {
  if (mood === "squeeze") return 1;
  return mood === "idle" ? Math.min(step, IDLE_LINKS_MIN) : step;
}

/** What whoever judges knows of a shard. */
export interface ShardView {
  /** Of the turn of whoever judges: no link of a lower one can become live any more. */
  readonly epoch: Epoch;
  /** Has no process a turn that may still name objects of `epoch` itself? Never so for an owner. */
  readonly epochOver: boolean;
  readonly boundary: Seq;
  /** See `BoundaryView`. */
  readonly older: Seq | undefined;
  /** Does an extent of the state lie in this data object? */
  readonly isNamed: (key: ObjectKey) => boolean;
  /** Does this process know that it will never name the data object (again)? */
  readonly isGivenUp: (key: ObjectKey) => boolean;
}

export type GarbageReason =
  | "below the boundary"
  | "older than two good ones"
  | "no link names it"
  | "superseded"
  | "upload of a dead writer"
  | "newer versions count"
  | "newer records count"
  | "left by a probe";

export type Judgement =
  | { readonly kind: "live" }
  | { readonly kind: "garbage"; readonly reason: GarbageReason }
  /** Only the owner can know: it may be about to name it. */
  | { readonly kind: "owner" };

const LIVE: Judgement = { kind: "live" };

/** Of an index file, checkpoint or data object of the shard that `view` is of. An epoch above the own one says that the view is old. */
export function judge(
  name: Extract<ObjectName, { kind: "index" | "checkpoint" | "data" }>,
  key: ObjectKey,
  view: ShardView,
): Judgement {
  switch (name.kind) {
    case "index":
      return name.seq < view.boundary ? { kind: "garbage", reason: "below the boundary" } : LIVE;
    case "checkpoint":
      return view.older !== undefined && name.seq < view.older
        ? { kind: "garbage", reason: "older than two good ones" }
        : LIVE;
    case "data": {
      if (view.isNamed(key)) return LIVE;
      if (view.isGivenUp(key)) return { kind: "garbage", reason: "superseded" };
      return isOver(name.epoch, view) ? { kind: "garbage", reason: "no link names it" } : { kind: "owner" };
    }
    default:
      throw new Error(`unknown name ${JSON.stringify(name satisfies never)}`);
  }
}

/** Of an open multipart upload of a data object. */
export function judgeUpload(epoch: Epoch, key: ObjectKey, view: ShardView): Judgement {
  if (!view.isGivenUp(key) && !isOver(epoch, view)) return { kind: "owner" };
  return { kind: "garbage", reason: "upload of a dead writer" };
}

function isOver(epoch: Epoch, view: ShardView): boolean {
  return epoch < view.epoch || (epoch === view.epoch && view.epochOver);
}

/** Catalogs that are kept whatever their age. */
const CATALOGS_KEPT = 2;
/** Records of probes that are kept: no more are ever looked at. */
const PROBE_RECORDS_KEPT = 8;

/** Of catalog versions in ascending order: those that nobody reads any more, once they have not been the newest two for a grace. */
export function oldCatalogs<T>(versions: readonly T[]): readonly T[] {
  return versions.slice(0, -CATALOGS_KEPT);
}

/** Of records of probes in ascending order. */
export function oldProbeRecords<T>(records: readonly T[]): readonly T[] {
  return records.slice(0, -PROBE_RECORDS_KEPT);
}
