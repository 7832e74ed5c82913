import { z } from "zod";

import type { Usage } from "../../bench/bill.ts";
import { requests } from "../../bench/flush-forecast.ts";
import { MONTH_SECONDS } from "../../bench/forecast.ts";
import { scaleRequests, type RequestCounts } from "../../bench/request-counts.ts";
import { InvalidArgumentError } from "../../errors.ts";

const count = z.number().min(0);
const OPERATIONS = Object.keys(requests({})) as (keyof RequestCounts)[];

const benchReport = z.object({
  requests: z.object(Object.fromEntries(OPERATIONS.map((name) => [name, count]))),
  requestSeconds: z.number().positive(),
  storedBytes: count,
  bytes: count,
});
const engineMetrics = z.object({
  store: z.object(Object.fromEntries(OPERATIONS.map((name) => [name, z.object({ requests: count, bytes: count })]))),
  appendedBytes: count,
});

/** A measurement that goes on for a month. */
export interface MeasuredUsage extends Usage {
  readonly seconds: number;
  /** Of the values, or of what was appended, per second. */
  readonly bytesPerSecond: number;
}

/**
 * What `tierlog bench flush --json` wrote, or `engine.metrics()` as JSON; the latter counts since the engine was opened, `seconds` ago.
 * Nothing is known of what stays stored. `InvalidArgumentError`.
 */
export function parseMeasured(text: string, file: string, seconds: number | undefined): MeasuredUsage {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new InvalidArgumentError("--measured", file, "is not JSON");
  }
  const bench = benchReport.safeParse(value);
  if (bench.success) {
    if (seconds !== undefined)
      throw new InvalidArgumentError("--seconds", seconds, `${file} says itself how long it measured`);
    const { requests: counted, requestSeconds, storedBytes, bytes } = bench.data;
    const months = MONTH_SECONDS / requestSeconds;
    return {
      requests: scaleRequests(counted as RequestCounts, months),
      bytesWritten: storedBytes * months,
      bytesRead: 0,
      storedBytes: 0,
      seconds: requestSeconds,
      bytesPerSecond: bytes / requestSeconds,
    };
  }
  const metrics = engineMetrics.safeParse(value);
  if (!metrics.success) {
    throw new InvalidArgumentError(
      "--measured",
      file,
      "is neither what tierlog bench flush --json writes nor engine.metrics() as JSON",
    );
  }
  if (seconds === undefined) {
    throw new InvalidArgumentError(
      "--seconds",
      undefined,
      `is missing: ${file} counts since the engine was opened, how long was that?`,
    );
  }
  const { store, appendedBytes } = metrics.data;
  const months = MONTH_SECONDS / seconds;
  const counts = Object.fromEntries(OPERATIONS.map((name) => [name, store[name]?.requests ?? 0]));
  return {
    requests: scaleRequests(counts as RequestCounts, months),
    bytesWritten: ((store["put"]?.bytes ?? 0) + (store["uploadPart"]?.bytes ?? 0)) * months,
    bytesRead: (store["get"]?.bytes ?? 0) * months,
    storedBytes: 0,
    seconds,
    bytesPerSecond: appendedBytes / seconds,
  };
}
