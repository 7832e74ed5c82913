/**
 * What tierlog wants to reach, as data: `row` is the id of a row of a suite, `ratio` what its ratio must be at least or at most, or
 * `value` what its value must be. A row may have one target.
 *
 * @typedef {{ row: string, title: string, ratio?: { atLeast?: number, atMost?: number, within?: number }, value?: { atMost: number } }} Target
 */
export const TARGETS = [
  { row: "micro.encode.100B", title: "encode, 100 B: naive concat", ratio: { atLeast: 7 } },
  { row: "micro.encode.1KiB", title: "encode, 1 KiB: naive concat", ratio: { atLeast: 6 } },
  { row: "micro.accept.1KiB", title: "pre-encoded batch: bare CRC-32C", ratio: { atLeast: 0.85 } },

  {
    row: "append.journaled.256x1KiB.bare",
    title: "journaled, 256 × 1 KiB: 256 per bare write+fdatasync",
    ratio: { atLeast: 0.7 },
  },
  {
    row: "append.journaled.1x1KiB.p50",
    title: "journaled, 1 producer, p50: bare write+fdatasync",
    ratio: { atMost: 1.3 },
  },
  {
    row: "append.journaled.1MiB.device",
    title: "journaled, o_direct, batches of 1 MiB: device bandwidth",
    ratio: { atLeast: 0.6 },
  },
  { row: "peers.synced.256x1KiB.lmdb", title: "journaled, 256 × 1 KiB: lmdb synced", ratio: { atLeast: 4.8 } },
  {
    row: "peers.synced.256x1KiB.redis",
    title: "journaled, 256 × 1 KiB: Redis appendfsync always",
    ratio: { atLeast: 16 },
  },
  { row: "peers.synced.4096x100B.lmdb", title: "journaled, 4,096 × 100 B: lmdb synced", ratio: { atLeast: 2.6 } },
  { row: "peers.memory.256x100B.lmdb", title: "buffered, 256 × 100 B: lmdb unsynced", ratio: { atLeast: 2.2 } },

  {
    row: "flush.single.default",
    title: "flush, one PUT of 8 MiB with CRC-32C: client-s3 as it comes",
    ratio: { atLeast: 2.5 },
  },
  { row: "flush.single.cpu", title: "flush, CPU s/GiB", value: { atMost: 0.55 } },
  { row: "flush.multipart.tuned", title: "flush, multipart: lib-storage tuned", ratio: { atLeast: 1 } },
  { row: "flush.multipart.default", title: "flush, multipart: lib-storage as it comes", ratio: { atLeast: 4.9 } },
  { row: "flush.multipart.memory", title: "flush, memory: parts in flight × part size + 64 MiB", ratio: { atMost: 1 } },
  { row: "pipeline.lz4.alone", title: "append → LZ4 → S3: LZ4 alone", ratio: { atLeast: 0.77 } },

  {
    row: "uploaded.one.p50",
    title: "uploaded, 1 producer, linger 0, p50: a bare conditional PUT",
    ratio: { atMost: 1.3 },
  },
  { row: "uploaded.open.p50", title: "uploaded, store 50 ms away, p50: linger + 1.6 RTT", ratio: { atMost: 1 } },
  { row: "uploaded.open.p99", title: "uploaded, store 50 ms away, p99: linger + 2.2 RTT", ratio: { atMost: 1 } },

  {
    row: "uploaded.overlap",
    title: "uploaded, bytes/s with overlapping uploads: one at a time",
    ratio: { atLeast: 4 },
  },

  { row: "partitions.puts", title: "PUTs per hour, 10,000 partitions: 1 partition", ratio: { within: 0.05 } },
  {
    row: "partitions.loop-delay",
    title: "10,000 partitions × 1 record/s, event-loop delay p99, ms",
    value: { atMost: 20 },
  },
  { row: "partitions.idle-bytes", title: "bytes per idle partition of 100,000", value: { atMost: 1024 } },
  { row: "load.loop-delay", title: "event-loop delay p99 at 80 % of the peak, ms", value: { atMost: 10 } },
  { row: "soak.rss", title: "RSS, last tenth of the soak: its second tenth", ratio: { atMost: 1.1 } },
];

export function targetFor(row) {
  return TARGETS.find((target) => target.row === row);
}

/** "1.3 or less", of the target's ratio or value. */
export function targetText({ ratio, value }) {
  if (value !== undefined) return `≤ ${value.atMost.toLocaleString("en")}`;
  if (ratio.within !== undefined) return `1 ± ${ratio.within}`;
  return ratio.atLeast === undefined ? `≤ ${ratio.atMost} ×` : `≥ ${ratio.atLeast} ×`;
}

/** "met", "missed", or "-" where there is no target or nothing to compare with. */
export function verdictOf({ value, against }, target) {
  if (target === undefined) return "-";
  if (target.value !== undefined) return value.median <= target.value.atMost ? "met" : "missed";
  if (against === undefined) return "-";
  const { median } = against.ratio;
  const { atLeast = -Infinity, atMost = Infinity, within = Infinity } = target.ratio;
  return median >= atLeast && median <= atMost && Math.abs(median - 1) <= within ? "met" : "missed";
}
