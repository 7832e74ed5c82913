import { expect, test } from "vitest";

import { SizeTiers } from "../../src/merge/size-tiers.ts";
import { SimulatedShard } from "./simulated-shard.ts";

const KIB = 1024;
const MIB = 1024 * KIB;
const LIMITS = { segmentBytes: 256 * MIB, memoryBytes: 64 * MIB, extentsMax: 10_000 };
const TIERS = new SizeTiers(LIMITS.segmentBytes).count;
/** Header of a batch and framing of a record. */
const OVERHEAD = 75;
const MAX_AGE_S = 600;
/** Between two flushes; between two looks. */
const FLUSH_S = 8;
const LOOK_S = 120;
const HOURS = Number(process.env["TIERLOG_TEST_SIMULATED_HOURS"] ?? 6);

/** A simulated time; each look merges what is settled since the one before. */
function run(shard: SimulatedShard, seconds: number, flush: () => void): { extentsMax: number } {
  const seqAt: number[] = [];
  let extentsMax = 0;
  for (let second = 0; second < seconds; second += FLUSH_S) {
    flush();
    if (second % LOOK_S !== 0) continue;
    extentsMax = Math.max(extentsMax, shard.extents);
    shard.merge(seqAt.at(-1) ?? 0, seqAt.at(-MAX_AGE_S / LOOK_S) ?? 0);
    seqAt.push(shard.seq);
  }
  return { extentsMax };
}

function report(name: string, shard: SimulatedShard, extentsMax: number): void {
  const { inline, data, dataBytes } = shard.objects();
  const largest = Math.max(...shard.parts.map(({ list }) => list.count));
  console.info(
    `${name}: ${(shard.appendedBytes / MIB).toFixed(0)} MiB in ${shard.seq} flushes; ${shard.jobs} merges wrote ` +
      `${(shard.mergedBytes / shard.appendedBytes).toFixed(2)} times as much, of ${(shard.sources / shard.jobs).toFixed(0)} ` +
      `sources each; left ${shard.extents} extents (at most ${extentsMax}, ${largest} in one partition), ${data} data objects ` +
      `of ${(dataBytes / MIB).toFixed(0)} MiB, ${inline} index files with bytes`,
  );
}

test("1 KiB/s into one partition for a month: some segments, a few smaller extents, a handful of rewrites", () => {
  const shard = new SimulatedShard(1, LIMITS);
  const { extentsMax } = run(shard, 30 * 86_400, () => shard.flush(new Map([[0, FLUSH_S * KIB + OVERHEAD]])));
  report("one partition, a month", shard, extentsMax);
  const segments = Math.ceil((2 * shard.liveBytes) / LIMITS.segmentBytes);
  const { inline, data } = shard.objects();
  expect(shard.extents - inline).toBeLessThanOrEqual(segments + 7 * TIERS);
  expect(inline).toBeLessThanOrEqual((MAX_AGE_S + 2 * LOOK_S) / FLUSH_S);
  expect(data).toBeLessThanOrEqual(segments + 7 * TIERS);
  expect(shard.mergedBytes / shard.appendedBytes).toBeLessThan(4);
});

test(`1,000 uneven partitions for ${HOURS} hours: extents grow with the logarithm, no partition waits for the others`, () => {
  const partitions = 1000;
  const shard = new SimulatedShard(partitions, LIMITS);
  // Zipf: partition i gets a share of 1/(i + 1).
  const shares = Array.from({ length: partitions }, (_, i) => 1 / (i + 1));
  const whole = shares.reduce((sum, share) => sum + share, 0);
  const recordsPerS = 250;
  const owed = shares.map((share, i) => ({ perFlush: (FLUSH_S * recordsPerS * share) / whole, left: (i * 0.618) % 1 }));
  const { extentsMax } = run(shard, HOURS * 3600, () => {
    const flush = new Map<number, number>();
    for (let i = 0; i < partitions; i++) {
      const partition = owed[i];
      if (partition === undefined) continue;
      partition.left += partition.perFlush;
      const records = Math.floor(partition.left);
      if (records === 0) continue;
      partition.left -= records;
      flush.set(i, records * 200 + OVERHEAD);
    }
    shard.flush(flush);
  });
  report(`1,000 partitions, ${HOURS} hours`, shard, extentsMax);
  const inlineExtents = shard.parts.reduce((sum, { list }) => {
    let inline = 0;
    for (let i = 0; i < list.count; i++) if (list.at(i).object >= 0) inline++;
    return sum + inline;
  }, 0);
  const segments = Math.ceil((2 * shard.liveBytes) / LIMITS.segmentBytes);
  expect(shard.extents - inlineExtents).toBeLessThanOrEqual(segments + partitions * 7 * TIERS);
  expect(extentsMax).toBeLessThan(partitions * 7 * TIERS + 2 * LIMITS.extentsMax);
  const { dataBytes } = shard.objects();
  expect(dataBytes).toBeLessThan(2.2 * shard.liveBytes);
  expect(shard.mergedBytes / shard.appendedBytes).toBeLessThan(2 * TIERS);
  // A day of flushes takes ten seconds.
}, 120_000);
