import { expect, test } from "vitest";

import type { Epoch, Offset } from "../../src/domain.ts";
import { ExtentList, type ObjectNumber } from "../../src/index-chain/extent-list.ts";
import { retainedStart } from "../../src/merge/retention-plan.ts";

/** Extents of ten offsets each. */
function list(...extents: readonly (readonly [bytes: number, maxTimestampMs: number])[]): ExtentList {
  const found = new ExtentList();
  for (const [i, [lengthBytes, maxTimestampMs]] of extents.entries()) {
    found.push({
      baseOffset: (i * 10) as Offset,
      nextOffset: (i * 10 + 10) as Offset,
      leaderEpoch: 1 as Epoch,
      object: i as ObjectNumber,
      position: 0,
      lengthBytes,
      maxTimestampMs,
    });
  }
  return found;
}

const NOW = 10_000;

test.each([
  ["nothing without limits", 0, 0, undefined],
  ["nothing that is young enough", 9000, 0, undefined],
  ["exactly as old as the limit stays", 8999, 0, 10],
  ["what is older than the limit", 7500, 0, 30],
  ["all of it, the newest extent too, as an idle log of Kafka's", 1000, 0, 40],
  ["nothing while the rest would hold less than the limit", 0, 301, undefined],
  ["down to the limit", 0, 300, 10],
  ["down to above the limit", 0, 150, 20],
  ["never the newest extent by size", 0, 1, 30],
  ["by whichever takes more: time", 7500, 300, 30],
  ["by whichever takes more: size", 8999, 100, 30],
])("%s", (_, ms, bytes, start) => {
  const extents = list([100, 1000], [100, 2000], [100, 2400], [100, 5000]);
  expect(retainedStart(extents, { ms, bytes }, NOW)).toBe(start);
});

test("an extent that is young or of unknown age holds back those behind it from time, not from size", () => {
  expect(retainedStart(list([100, 1000], [100, 9999], [100, 1000]), { ms: 5000, bytes: 0 }, NOW)).toBe(10);
  expect(retainedStart(list([100, -1], [100, 1000]), { ms: 5000, bytes: 0 }, NOW)).toBeUndefined();
  expect(retainedStart(list([100, -1], [100, 1000]), { ms: 5000, bytes: 100 }, NOW)).toBe(20);
});

test("a start inside an extent: the whole extent counts, and goes; an empty partition stays as it is", () => {
  const extents = list([100, 1000], [100, 9000]);
  extents.trim(5 as Offset);
  expect(retainedStart(extents, { ms: 0, bytes: 100 }, NOW)).toBe(10);
  extents.trim(20 as Offset);
  expect(retainedStart(extents, { ms: 1, bytes: 1 }, NOW)).toBeUndefined();
});
