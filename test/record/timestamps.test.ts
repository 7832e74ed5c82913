import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

import {
  checkEncodedBatch,
  decodeRecords,
  findMaxTimestamp,
  findTimestamp,
  verifyBatch,
  withMaxTimestamp,
} from "../../src/record/batch.ts";
import type { StoredRecord, TimestampedOffset } from "../../src/record/record.ts";
import { resealed } from "./reframe.ts";
import { anyRecords, batchOf, NOW_MS, utf8, WHERE } from "./support.ts";

const MIB = 1024 * 1024;
const compression = fc.constantFrom("none" as const, "lz4" as const);

/** A batch that says `maxTimestampMs` whatever is in it, with the CRC to match. */
function claiming(bytes: Uint8Array, maxTimestampMs: number): Buffer {
  const copy = Buffer.from(bytes);
  copy.writeBigInt64BE(BigInt(maxTimestampMs), 35);
  return resealed(copy);
}

function place({ offset, timestampMs }: StoredRecord): TimestampedOffset {
  return { offset, timestampMs };
}

test("a search by time in a batch finds what a look at all its records finds", async () => {
  await fc.assert(
    fc.asyncProperty(
      anyRecords,
      compression,
      fc.nat({ max: 40 }),
      fc.oneof(fc.integer({ min: NOW_MS - 100_000, max: NOW_MS + 100_000 }), fc.maxSafeInteger()),
      async (records, codec, skipped, wantedMs) => {
        const { bytes } = await batchOf(records, { baseOffset: 1000, compression: codec });
        const from = 1000 + skipped;
        const behind = decodeRecords(bytes, WHERE).filter(({ offset }) => offset >= from);
        const times = [wantedMs, wantedMs + 1, ...behind.map(({ timestampMs }) => timestampMs)];
        for (const timestampMs of times) {
          const first = behind.find((record) => record.timestampMs >= timestampMs);
          expect(findTimestamp(bytes, WHERE, from, timestampMs)).toEqual(
            first === undefined ? undefined : place(first),
          );
        }
        const highest = Math.max(...behind.map(({ timestampMs }) => timestampMs));
        const latest = behind.find(({ timestampMs }) => timestampMs === highest);
        expect(findMaxTimestamp(bytes, WHERE, from)).toEqual(latest === undefined ? undefined : place(latest));
      },
    ),
    { numRuns: 300 },
  );
});

describe("the maximum timestamp of an encoded batch", () => {
  test("is found out, whatever the batch says, and put right with a CRC to match", async () => {
    await fc.assert(
      fc.asyncProperty(anyRecords, compression, fc.maxSafeNat(), async (records, codec, claimedMs) => {
        const sealed = await batchOf(records, { compression: codec });
        const stated = claiming(sealed.bytes, claimedMs);
        const before = Buffer.from(stated);
        const header = checkEncodedBatch(stated, MIB);
        expect(header).toEqual({ ...verifyBatch(stated, 0, WHERE), maxTimestampMs: sealed.maxTimestampMs });
        const right = withMaxTimestamp(stated, header.maxTimestampMs);
        expect(verifyBatch(right, 0, WHERE).maxTimestampMs).toBe(sealed.maxTimestampMs);
        expect(Buffer.compare(right, sealed.bytes)).toBe(0);
        expect(Buffer.compare(stated, before)).toBe(0);
      }),
      { numRuns: 200 },
    );
  });

  test("that is right leaves the batch as it is, not even copied", async () => {
    const { bytes, maxTimestampMs } = await batchOf([{ value: utf8("x"), timestampMs: 7 }]);
    expect(withMaxTimestamp(bytes, maxTimestampMs)).toBe(bytes);
  });

  test("of a client that states its last record's time is too low where times decrease", async () => {
    const times = [900, 1000, 400];
    const { bytes } = await batchOf(times.map((timestampMs) => ({ value: utf8("x"), timestampMs })));
    expect(checkEncodedBatch(claiming(bytes, 400), MIB).maxTimestampMs).toBe(1000);
  });
});

test("a search by time in damaged records is damage, and where", async () => {
  const { bytes } = await batchOf([1, 2, 3].map((timestampMs) => ({ value: utf8("value"), timestampMs })));
  const damaged = Buffer.from(bytes);
  // Offset delta of the first record: behind length, attributes and timestamp delta.
  damaged[64] = 8;
  for (const search of [
    () => findTimestamp(damaged, WHERE, 0, 2),
    () => findMaxTimestamp(damaged, WHERE, 0),
    () => findTimestamp(damaged.subarray(0, -3), WHERE, 0, 2),
  ]) {
    expect(search).toThrow(expect.objectContaining({ code: "TIERLOG_CORRUPTION", key: WHERE.key }));
  }
});
