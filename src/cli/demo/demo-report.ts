import type { RequestCounts } from "../../bench/request-counts.ts";
import { formatBytes, formatCount, formatMilliseconds } from "../numbers.ts";
import { formatFields } from "../table.ts";

/** What `tierlog demo --json` writes. */
export interface DemoReport {
  readonly kind: "memory" | "fs" | "object";
  readonly records: number;
  readonly partitions: number;
  /** Of the values. */
  readonly bytesIn: number;
  /** Of all index files and data objects. */
  readonly bytesStored: number;
  /** From the first append to the last ack. */
  readonly seconds: number;
  readonly recordsPerSecond: number;
  readonly ackMs: { readonly p50: number; readonly p99: number };
  /** Of the writer and the reader together. */
  readonly requests: RequestCounts;
  /** Of a bucket: sent before, to find out what the store can do; once per store, not part of `requests`. */
  readonly probeRequests?: number;
  /** In the store at the end. */
  readonly objects: number;
  readonly verified: boolean;
}

/** The report for people. `place` says where it ran, `reader` who read it back. */
export function formatDemoReport(report: DemoReport, place: string, reader: string): string {
  const requests = Object.entries(report.requests)
    .filter(([, count]) => count > 0)
    .map(([operation, count]) => `${formatCount(count)} ${operation}`);
  return formatFields([
    ["store", `${report.kind}: ${place}`],
    ["records", `${formatCount(report.records)} in ${formatCount(report.partitions)} partitions`],
    ["bytes in", formatBytes(report.bytesIn)],
    ["bytes stored", `${formatBytes(report.bytesStored)} in ${formatCount(report.objects)} objects`],
    ["time", `${report.seconds.toFixed(2)} s, ${formatCount(report.recordsPerSecond)} records per second`],
    [
      "ack",
      `${formatMilliseconds(report.ackMs.p50)} median, ${formatMilliseconds(report.ackMs.p99)} for the slowest 1 %`,
    ],
    ["requests", requests.join(", ")],
    ...(report.probeRequests === undefined
      ? []
      : [
          [
            "probe",
            `${formatCount(report.probeRequests)} more requests before: the first use of a store tests it`,
          ] as const,
        ]),
    [
      "verified",
      report.verified
        ? `yes: ${reader} read back the same bytes, partition by partition`
        : `NO: what ${reader} read differs from what was acknowledged`,
    ],
  ]);
}
