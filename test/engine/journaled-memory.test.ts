import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { afterEach, beforeEach, expect, test } from "vitest";

const MIB = 1024 * 1024;
const CHILD = fileURLToPath(new URL("../support/backlog-child.mjs", import.meta.url));

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "tierlog-backlog-"));
});

afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

test("I6: a backlog of many times flush.max_bytes stays on the disk, while it grows and while it is worked off", async () => {
  const { stdout } = await promisify(execFile)(process.execPath, [CHILD, directory, "192", "4"]);
  const { lagMiB, grownAwayBytes, grownBytes, journaled } = JSON.parse(stdout) as {
    lagMiB: number;
    grownAwayBytes: number;
    grownBytes: number;
    journaled: unknown[];
  };
  expect([lagMiB, journaled]).toEqual([192, []]);
  // About 60 MiB: heap, buffers of the journal, and three times flush.max_bytes of frames.
  expect(grownAwayBytes).toBeLessThan(110 * MIB);
  expect(grownBytes).toBeLessThan(110 * MIB);
}, 60_000);
