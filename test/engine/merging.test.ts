import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { describe } from "vitest";

import { createFsStore } from "../../src/object-store/fs-store.ts";
import { createMemoryStore } from "../../src/object-store/memory-store.ts";
import { nodeFileSystem } from "../../src/runtime/file-system.ts";
import { seededRandom } from "../../src/runtime/random.ts";
import { mergingCases } from "./merging-cases.ts";

describe("merging in memory", () => {
  mergingCases(() => Promise.resolve({ store: createMemoryStore(), close: () => Promise.resolve() }));
});

describe("merging in a directory", () => {
  mergingCases(async () => {
    const root = await mkdtemp(join(tmpdir(), "tierlog-merging-store-"));
    const store = createFsStore({ root, fileSystem: nodeFileSystem, random: seededRandom(3) });
    return { store, close: () => rm(root, { recursive: true, force: true }) };
  });
});
