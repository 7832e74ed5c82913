import type { GarbageCounts } from "../merge/garbage-deleter.ts";
import type { GarbageReason } from "../merge/garbage.ts";

export interface CollectGarbageOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: GarbageProgress) => void;
}

export interface GarbageProgress {
  readonly doing: "taking over" | "looking" | "waiting" | "deleting";
  /** Until the grace of everything that waits is over. */
  readonly waitsMs: number;
  /** Objects and uploads that wait, and their bytes; index files are counted only when they are deleted. */
  readonly waiting: number;
  readonly waitingBytes: number;
}

export interface CollectedGarbage {
  /** Its signal fired: what waited was not deleted. */
  readonly interrupted: boolean;
  readonly deleted: Omit<GarbageCounts, "refused">;
  /** The store did not allow it. */
  readonly refused: number;
  /** Left: names, their bytes, and shards with index files below their boundary. */
  readonly waiting: number;
  readonly waitingBytes: number;
  readonly waitingBoundaries: number;
  /** What went wrong, each once. */
  readonly problems: readonly string[];
}

export interface FindGarbageOptions {
  readonly signal?: AbortSignal;
  /** Called with one after the other. */
  readonly onFound: (found: FoundGarbage) => Promise<void> | void;
  readonly onProgress?: (doing: string) => void;
}

export interface FoundGarbage {
  readonly kind: "link" | "checkpoint" | "object" | "upload" | "catalog" | "probe";
  readonly key: string;
  readonly sizeBytes: number;
  /** ISO 8601, by the store's clock; undefined where it does not tell. */
  readonly storedAt: string | undefined;
  /** undefined: no link names it, but its writer may be about to: only the owner of its shard can know. */
  readonly reason: GarbageReason | "behind a new boundary" | "of a deleted topic" | undefined;
}

/** What a look for garbage has found; nothing is deleted by it. */
export interface GarbageSummary {
  readonly garbage: { readonly count: number; readonly bytes: number };
  /** Of which only the owner of their shard can know. */
  readonly owners: { readonly count: number; readonly bytes: number };
  readonly shards: readonly ShardOwner[];
  /** false: the store does not tell of open uploads. */
  readonly uploadsListed: boolean;
}

/** Who holds a shard that was ever written to. */
export interface ShardOwner {
  readonly shard: number;
  /** "" where it was given back. */
  readonly owner: string;
  readonly epoch: number;
  /** Index files below it may be gone. */
  readonly boundary: number;
}
