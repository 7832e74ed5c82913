import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";

import type { CheckReport } from "../crash/checker/check.ts";
import type { StoreReader } from "../crash/checker/store-reader.ts";
import type { Use } from "./story.ts";
import { CHECKPOINT_EVERY } from "./world.ts";

/**
 * Of a process: what it may hold by its configuration (world.ts: 24 MiB of caches, 32 MiB of pending appends, 9 part buffers of 5 MiB for flushes
 * and 3 for merges, 64 MiB of sources of a merge, two frames of 16 MiB) is 212 MiB; as much again for what is not collected yet, and Node itself.
 */
export const RSS_BYTES_MAX = 512 * 2 ** 20;
/** Sockets: 50 at most to the store and few to nothing else; journal files, locks, pipes, what Node itself holds. */
export const HANDLES_MAX = 128;
/** In the last quarter of a process's life, above its first half. */
export const HANDLES_GROWTH_MAX = 16;

export interface UseReport {
  readonly rssBytesMax: number;
  readonly handlesMax: number;
  /**
   * By how many handles the last quarter of a life stayed above the most of its first half, of the process where that is most: pools fill and
   * empty, what leaks does not come back.
   */
  readonly handlesGrowth: number;
}

/** `lives`: samples of processes, each in the order of time. */
export function useReport(lives: readonly (readonly Use[])[]): UseReport {
  const all = lives.flat();
  const growths = lives
    .filter(({ length }) => length >= 40)
    .map((life) => {
      const quarter = Math.floor(life.length / 4);
      const lowest = Math.min(...life.slice(-quarter).map(({ handles }) => handles));
      return lowest - most(life.slice(0, 2 * quarter), "handles");
    });
  return {
    rssBytesMax: most(all, "rssBytes"),
    handlesMax: most(all, "handles"),
    handlesGrowth: Math.max(0, ...growths),
  };
}

function most(samples: readonly Use[], field: keyof Use): number {
  return samples.reduce((max, sample) => Math.max(max, sample[field]), 0);
}

export interface JournalBytes {
  /** Files that are used again and again, of the fullest journal of a shard. */
  readonly files: number;
  /** Set aside, of all. */
  readonly aside: number;
}

/** `directory`: that holds a journal directory for each node. */
export async function journalBytes(directory: string): Promise<JournalBytes> {
  let files = 0;
  let aside = 0;
  for (const node of await readdir(directory)) {
    for (const shard of (await readdir(join(directory, node))).filter((name) => /^\d+$/.test(name))) {
      const path = join(directory, node, shard);
      files = Math.max(files, await bytesIn(path));
      aside += await bytesIn(join(path, "aside"));
    }
  }
  return { files, aside };
}

async function bytesIn(directory: string): Promise<number> {
  const names = await readdir(directory).catch(() => []);
  const sizes = await Promise.all(
    names.filter((name) => name.endsWith(".jrn")).map((name) => stat(join(directory, name)).then(({ size }) => size)),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}

export interface StoreObjects {
  readonly all: number;
  /** By the first part of their names. */
  readonly kinds: ReadonlyMap<string, number>;
  /** What may be there: see `storeObjects`. */
  readonly bound: number;
  /** Data objects that no link names. */
  readonly unnamed: readonly string[];
}

/**
 * What is left once everything was merged and collected follows from what is alive: FORMAT; two catalogs; eight records of probes; of each
 * shard two checkpoints, and links that two checkpoints do not stand for yet: three times `index.checkpoint_every`, as nothing alive lies in
 * links any more; and the data objects that extents lie in.
 */
export async function storeObjects(store: StoreReader, { chains }: CheckReport): Promise<StoreObjects> {
  const keys = await store.list("");
  const named = new Set(chains.flatMap(({ dataObjects }) => [...dataObjects]));
  const unnamed = keys.filter((key) => key.startsWith("data/") && !named.has(key));
  const kinds = new Map<string, number>();
  for (const key of keys) {
    // In a directory the name of a file ends with what tells it from a directory's.
    const kind = key.split(/[/.]/, 1)[0] ?? "";
    kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
  }
  const bound = 1 + 2 + 8 + chains.length * (2 + 3 * CHECKPOINT_EVERY) + named.size;
  return { all: keys.length, kinds, bound, unnamed };
}
