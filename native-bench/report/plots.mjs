import { formatBytes } from "../harness/format.mjs";

const round = (value) => value.toLocaleString("en");

/** The plots of the report: which points of a run they show, by name, and how. */
export const PLOTS = [
  {
    name: "throughput",
    title: "Throughput over payload",
    note: "Closed loop, 256 producers, 1 partition; MB/s of values acknowledged.",
    x: { label: "bytes of a value", log: true, format: formatBytes, values: [100, 1024, 65_536] },
    y: { label: "MB/s", log: true },
  },
  {
    name: "latency",
    title: "Latency over offered load",
    note: "Open loop, journaled, 1 KiB; from the moment at which an append was due, so waits in a queue count. A timer of 1 ms looks at the schedule.",
    x: { label: "offered load, share of the peak", format: (value) => `${Math.round(value * 100)} %` },
    y: { label: "ms", log: true },
  },
  {
    name: "puts",
    title: "PUTs per GiB over partitions",
    note: "Level uploaded, the same load spread over more partitions. A PUT for each partition and flush is computed, not measured.",
    x: { label: "partitions", log: true, format: round },
    y: { label: "PUTs per GiB", log: true },
  },
  {
    name: "dollars",
    title: "Dollars per GiB over partitions",
    note: "The same PUTs at $0.005 per 1,000, the list price of S3 Standard in us-east-1 (November 2026). Requests alone, no storage.",
    x: { label: "partitions", log: true, format: round },
    y: { label: "US$ per GiB", log: true, format: (value) => `$${value >= 1 ? round(value) : value.toPrecision(1)}` },
  },
  {
    name: "memory",
    title: "Memory over time",
    note: "A process of its own under a steady load: journaled, uploading to a directory, merging. The generator is in it.",
    x: { label: "seconds" },
    y: { label: "MiB" },
  },
];
