import { expect } from "vitest";

import type { PartitionApi } from "../../src/engine/api.ts";
import type { TimestampedOffset } from "../../src/record/record.ts";
import { collect } from "./engine.ts";

/** Offset and time of every record that is read from the start. */
export async function timesOf(partition: PartitionApi): Promise<TimestampedOffset[]> {
  const records = await collect(partition.records({ from: "earliest" }));
  return records.map(({ offset, timestampMs }) => ({ offset, timestampMs }));
}

/**
 * Compares what `offsetAt` answers with a scan of all records, for each of their times (at most `asked`, evenly), the milliseconds
 * beside them, and times out of their range.
 */
export async function expectAsScanned(
  partition: PartitionApi,
  records: readonly TimestampedOffset[],
  asked = Number.POSITIVE_INFINITY,
): Promise<void> {
  const step = Math.max(1, Math.floor(records.length / asked));
  const times = new Set([-1, 0, Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER]);
  for (const [i, { timestampMs }] of records.entries()) {
    if (i % step === 0) for (const near of [-1, 0, 1]) times.add(Math.min(timestampMs + near, Number.MAX_SAFE_INTEGER));
  }
  for (const timestampMs of times) {
    const first = records.find((record) => record.timestampMs >= timestampMs);
    expect([timestampMs, await partition.offsetAt(timestampMs)]).toEqual([timestampMs, first]);
  }
  const latestMs = Math.max(...records.map(({ timestampMs }) => timestampMs));
  expect(await partition.offsetAt("max-timestamp")).toEqual(
    records.find(({ timestampMs }) => timestampMs === latestMs),
  );
  expect(await partition.offsetAt("earliest")).toEqual({ offset: 0 });
  expect(await partition.offsetAt("latest")).toEqual({ offset: records.length });
}
