import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { createFsStore } from "../../src/object-store/fs-store.ts";
import { KEY_BYTES_MAX } from "../../src/object-store/object-key.ts";
import { nodeFileSystem } from "../../src/runtime/file-system.ts";
import { systemRandom } from "../../src/runtime/random.ts";
import type { StoreUnderTest } from "../../src/testing/conformance/conformance-case.ts";
import { describeConformance } from "./describe-conformance.ts";
import { describeMultipartWriter } from "./multipart-writer.ts";

async function makeStore(): Promise<StoreUnderTest> {
  const root = await mkdtemp(join(tmpdir(), "tierlog-fs-store-"));
  const open = (): ReturnType<typeof createFsStore> =>
    createFsStore({ root: join(root, "store"), fileSystem: nodeFileSystem, random: systemRandom });
  return {
    store: open(),
    other: open(),
    keyBytesMax: KEY_BYTES_MAX,
    cleanUp: () => rm(root, { recursive: true, force: true }),
  };
}

describeConformance("fs", makeStore);
describeMultipartWriter("fs", makeStore);
