import { describe, expect, test } from "vitest";

import type { ObjectKey } from "../../src/domain.ts";
import { listLevel } from "../../src/object-store/list-level.ts";
import { MemoryBucket, createMemoryStore } from "../../src/object-store/memory-store.ts";

function filled(keys: readonly string[]): ReturnType<typeof createMemoryStore> {
  const bucket = new MemoryBucket();
  for (const key of keys) bucket.write(key as ObjectKey, new Uint8Array(0));
  return createMemoryStore(bucket);
}

describe("one level of names", () => {
  test("keys and directories, each once, whatever sorts around the slash", async () => {
    const store = filled([
      "a",
      "a!",
      "a/1",
      "a/2/3",
      "a0",
      "a0/x",
      "aé/y",
      "b/\u{10FFFF}",
      "b/\u{10FFFF}z",
      "b0",
      "c//d",
    ]);
    expect(await listLevel(store, "")).toEqual({
      keys: ["a", "a!", "a0", "b0"],
      directories: ["a/", "a0/", "aé/", "b/", "c/"],
    });
    expect(await listLevel(store, "a/")).toEqual({ keys: ["a/1"], directories: ["a/2/"] });
    expect(await listLevel(store, "c/")).toEqual({ keys: [], directories: ["c//"] });
    expect(await listLevel(store, "nothing/")).toEqual({ keys: [], directories: [] });
  });

  test("one request for each directory, however full, and one more", async () => {
    const keys = ["a", "b", "c"].flatMap((name) => Array.from({ length: 2500 }, (_, i) => `${name}/${i}`));
    let requests = 0;
    const { directories } = await listLevel(filled(keys), "", { onRequest: () => (requests += 1) });
    expect([directories, requests]).toEqual([["a/", "b/", "c/"], 4]);
  });

  test("pages of keys at the level itself", async () => {
    const keys = Array.from({ length: 2500 }, (_, i) => `k${String(i).padStart(4, "0")}`);
    let requests = 0;
    const found = await listLevel(filled([...keys, "z/1"]), "", { onRequest: () => (requests += 1) });
    expect([found.keys.length, found.directories, requests]).toEqual([2500, ["z/"], 4]);
  });
});
