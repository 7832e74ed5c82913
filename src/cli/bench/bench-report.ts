import type { FlushBenchPlan, FlushMeasurement } from "../../bench/flush-bench.ts";
import { sumRequests, type RequestCounts } from "../../bench/request-counts.ts";
import type { Config } from "../../config/config.ts";
import { formatDuration } from "../../config/duration.ts";
import { storeUrl } from "../../config/s3-names.ts";
import { formatSize } from "../../config/size.ts";
import type { Machine } from "../../runtime/machine.ts";
import { formatBytes, formatCount, formatLatency, formatMilliseconds } from "../numbers.ts";
import { formatFields } from "../table.ts";

/** What figures depend on. `--json` writes it as it is. */
export interface BenchConditions {
  readonly machine: Machine;
  readonly kind: Config["storage"]["kind"];
  /** null: none is set. */
  readonly provider: string | null;
  /** Host of the store; null where there is none. */
  readonly endpoint: string | null;
  readonly payloadSigning: string | null;
  readonly shards: number;
  readonly lingerMs: number;
  readonly flushMaxBytes: number;
  readonly partSizeBytes: number;
  readonly partsInFlight: number;
  /** null with ack_after_upload = true. */
  readonly journal: { readonly fsync: string; readonly uploadIntervalMs: number } | null;
  readonly merge: boolean;
}

export function conditionsOf(config: Config, machine: Machine): BenchConditions {
  const { kind, object } = config.storage;
  const isBucket = kind === "object";
  return {
    machine,
    kind,
    provider: object.provider ?? null,
    endpoint: isBucket ? new URL(storeUrl(object.endpoint, object.region)).host : null,
    payloadSigning: isBucket ? object.payloadSigning : null,
    shards: config.shards,
    lingerMs: config.flush.lingerMs,
    flushMaxBytes: config.flush.maxBytes,
    partSizeBytes: object.multipartPartSizeBytes,
    partsInFlight: object.partsInFlight,
    journal: object.ackAfterUpload
      ? null
      : { fsync: config.journal.fsync, uploadIntervalMs: config.journal.uploadIntervalMs },
    merge: config.merge.enabled,
  };
}

/** What `tierlog bench flush --json` writes. */
export interface BenchReport extends FlushMeasurement {
  readonly place: string;
  readonly plan: Omit<FlushBenchPlan, "rate"> & { readonly rate: number | null };
  readonly conditions: BenchConditions;
  /** All that were sent, also to open the store, to probe it and to clean up. */
  readonly requestsInAll: number;
  readonly probeRequests: number;
  readonly removed: boolean;
}

/** The report for people. */
export function formatBenchReport(report: BenchReport): string {
  const { plan, conditions, ackMs } = report;
  const load =
    plan.rate === null
      ? `closed loop, ${formatCount(plan.producers)} producers with one record each`
      : `open loop, ${formatCount(plan.rate)} records/s; latencies from when a record was due`;
  const retries = `${formatCount(report.failedRequests)} requests failed and were tried again, ${formatCount(report.throttled)} "slow down"`;
  const figures = formatFields([
    ["load", load],
    [
      "records",
      `${formatCount(report.records)} of ${formatSize(plan.recordBytes)} in ${formatCount(plan.partitions)} partitions, ` +
        `${plan.ack}, compression ${plan.compression}, ${report.seconds.toFixed(1)} s`,
    ],
    ["acks", `${formatCount(report.recordsPerSecond)} per second`],
    ["bytes", `${(report.bytesPerSecond / 1e6).toFixed(1)} MB/s`],
    [
      "latency",
      (["p50", "p90", "p99", "p999", "max"] as const)
        .map((name) => `${name === "p999" ? "p99.9" : name} ${formatLatency(ackMs[name])}`)
        .join(", "),
    ],
    ...(report.unsent === 0
      ? []
      : [
          [
            "behind",
            `${formatCount(report.unsent)} records were due and not sent: this is more than it takes`,
          ] as const,
        ]),
    ["flushes", `${formatCount(report.flushes)}, ${formatBytes(Math.round(report.bytesPerFlush))} each`],
    ["PUTs", `${report.putsPerSecond.toFixed(1)} per second, ${formatCount(report.putsPerGiB)} per GiB`],
    ["requests", requestsText(report.requests)],
    ["CPU", `${report.cpuSecondsPerGiB.toFixed(2)} s per GiB, the load generator included`],
    ["memory", `${formatBytes(report.rssPeakBytes)} at its peak`],
    ["event loop", `late by ${formatMilliseconds(report.loopDelayP99Ms)} at p99`],
    ["retries", retries],
    [
      "paid for",
      `${formatCount(report.requestsInAll)} requests in all: with opening, ${formatCount(report.probeRequests)} of the probe, and cleaning up`,
    ],
  ]);
  return `${figures}\n\nIt depends on\n${formatFields(conditionFields(conditions, report.place))}`;
}

function conditionFields(conditions: BenchConditions, place: string): (readonly [string, string])[] {
  const { machine, journal } = conditions;
  return [
    ["machine", `${machine.cores} × ${machine.cpu}, ${formatBytes(machine.memoryBytes)}, ${machine.platform}`],
    ["Node", machine.node],
    ["store", `${conditions.kind}: ${place}`],
    ...(conditions.endpoint === null
      ? []
      : [
          [
            "server",
            `${conditions.endpoint}, provider ${conditions.provider ?? "not set"}, payload_signing ${conditions.payloadSigning ?? ""}`,
          ] as const,
        ]),
    ["shards", `${conditions.shards}`],
    [
      "flush",
      `linger ${formatDuration(conditions.lingerMs)}, max_bytes ${formatSize(conditions.flushMaxBytes)}, ` +
        `parts of ${formatSize(conditions.partSizeBytes)}, ${conditions.partsInFlight} in flight`,
    ],
    ...(journal === null
      ? []
      : [["journal", `fsync ${journal.fsync}, upload_interval ${formatDuration(journal.uploadIntervalMs)}`] as const]),
    ["checksums", "CRC-32C of every batch; merging " + (conditions.merge ? "on" : "off")],
  ];
}

function requestsText(requests: RequestCounts): string {
  const sent = Object.entries(requests).filter(([, count]) => count > 0);
  return sumRequests(requests) === 0
    ? "none"
    : sent.map(([operation, count]) => `${formatCount(count)} ${operation}`).join(", ");
}
