import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { expect, test } from "vitest";

const MIB = 1024 * 1024;
const PART_MIB = 5;
const PARTS_IN_FLIGHT = 2;
/** What Node itself may take meanwhile: code, heap, a garbage collection that comes late. */
const SLACK_MIB = 16;

/** TIERLOG_TEST_FULL=1: 1 GiB at 1 MiB/s, 17 minutes. Else an amount that would show just as well, in a few seconds. */
const full = process.env["TIERLOG_TEST_FULL"] === "1";
const [totalMiB, mibPerSecond] = full ? [1024, 1] : [192, 64];

test(
  `${totalMiB} MiB through a store that takes ${mibPerSecond} MiB/s: the memory of the process stays within its buffers`,
  { timeout: full ? 1_800_000 : 30_000 },
  async () => {
    const child = fileURLToPath(new URL("../support/upload-child.mjs", import.meta.url));
    const args = [child, totalMiB, mibPerSecond, PART_MIB, PARTS_IN_FLIGHT].map(String);
    const { stdout } = await promisify(execFile)(process.execPath, args);
    const { sizeBytes, parts, grownBytes, bufferedMax, poolBytes } = JSON.parse(stdout) as Record<string, number>;
    expect([sizeBytes, parts]).toEqual([totalMiB * MIB, Math.ceil(totalMiB / PART_MIB)]);
    const boundBytes = (PARTS_IN_FLIGHT + 1) * PART_MIB * MIB;
    expect([bufferedMax, poolBytes]).toEqual([boundBytes, boundBytes]);
    expect(grownBytes).toBeLessThan(boundBytes + SLACK_MIB * MIB);
  },
);
