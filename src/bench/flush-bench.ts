import type { AckLevel } from "../domain.ts";
import type { EngineApi } from "../engine/api.ts";
import type { Compression } from "../record/compression.ts";
import type { Clock } from "../runtime/clock.ts";
import { ProcessMeter } from "../runtime/process-meter.ts";
import type { Random } from "../runtime/random.ts";
import { Latencies, type LatencySummary } from "./latencies.ts";
import { closedLoop, openLoop, type LoadOptions } from "./load.ts";
import { countRequests, putRequests, subtractRequests, type RequestCounts } from "./request-counts.ts";

export interface FlushBenchPlan {
  readonly seconds: number;
  /** Closed loop: so many producers, each with one record under way. */
  readonly producers: number;
  /** Open loop instead: records per second. */
  readonly rate: number | undefined;
  readonly partitions: number;
  readonly recordBytes: number;
  readonly compression: Compression;
  readonly ack: AckLevel;
}

export interface FlushBenchOptions {
  readonly plan: FlushBenchPlan;
  /** Of the configuration: as many are taken over before time runs. */
  readonly shards: number;
  /** `flush.max_pending`. */
  readonly maxPendingBytes: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: FlushBenchProgress) => void;
}

export interface FlushBenchProgress {
  readonly elapsedSeconds: number;
  readonly records: number;
  readonly bytes: number;
  readonly p50: number;
  readonly p99: number;
  readonly puts: number;
}

/** What was measured. Bytes are those of the values. */
export interface FlushMeasurement {
  readonly loop: "closed" | "open";
  /** From the first append to the last ack. */
  readonly seconds: number;
  readonly records: number;
  readonly recordsPerSecond: number;
  readonly bytes: number;
  readonly bytesPerSecond: number;
  readonly ackMs: LatencySummary;
  /** Of an open loop: due, and not sent by the end. They are in no latency. */
  readonly unsent: number;
  /** Links that carry records. */
  readonly flushes: number;
  readonly bytesPerFlush: number;
  /** Of index files and data objects. */
  readonly storedBytes: number;
  /** From the first append until everything was in the store, and how long that was. */
  readonly requests: RequestCounts;
  readonly requestSeconds: number;
  /** PUTs are those billed as such: those of uploads too. */
  readonly putsPerSecond: number;
  readonly putsPerGiB: number;
  readonly cpuSecondsPerGiB: number;
  readonly rssPeakBytes: number;
  readonly loopDelayP99Ms: number;
  /** Requests that ended in an error, and were sent again where that could help. */
  readonly failedRequests: number;
  readonly throttled: number;
}

const TOPIC = "bench";
const GIB = 1024 ** 3;
const PROGRESS_MS = 200;
const VALUES = 64;
/** What the engine counts for an append beside its value, at most. */
const APPEND_OVERHEAD_BYTES = 128;
const WAITING_MAX = 65_536;

/**
 * Appends to a topic of its own, and measures. The load generator shares the process, its loop and its CPU time with the engine. REQUIRES: the
 * engine's store is fresh. Rejects with the error of the first append that fails, and when `signal` fires.
 */
export async function benchFlush(engine: EngineApi, options: FlushBenchOptions): Promise<FlushMeasurement> {
  const { plan, clock, random, signal, shards, maxPendingBytes } = options;
  await engine.createTopic(TOPIC, { partitions: plan.partitions, compression: plan.compression });
  const topic = await engine.topic(TOPIC);
  const partitions = Array.from({ length: plan.partitions }, (_, number) => topic.partition(number));
  const values = makeValues(random, plan.recordBytes);
  // Taking the shards over is no part of a flush. Partitions take shards in turn.
  await Promise.all(partitions.slice(0, shards).map((partition) => partition.append([{ value: values[0] ?? null }])));
  await engine.flush();

  const latencies = new Latencies();
  const before = engine.metrics();
  const startMs = clock.monotonic();
  const meter = ProcessMeter.start();
  let isRunning = true;
  const show = (): void => {
    if (!isRunning) return;
    const now = engine.metrics();
    options.onProgress({
      elapsedSeconds: (clock.monotonic() - startMs) / 1000,
      records: latencies.count,
      bytes: latencies.count * plan.recordBytes,
      p50: latencies.percentile(50),
      p99: latencies.percentile(99),
      puts: putRequests(subtractRequests(countRequests(now.store), countRequests(before.store))),
    });
    clock.schedule(PROGRESS_MS, show, { background: true });
  };
  clock.schedule(PROGRESS_MS, show, { background: true });
  const load: LoadOptions = { partitions, values, ack: plan.ack, seconds: plan.seconds, clock, signal, latencies };
  try {
    const waitingMax = Math.floor(maxPendingBytes / 2 / (plan.recordBytes + APPEND_OVERHEAD_BYTES));
    const result =
      plan.rate === undefined
        ? await closedLoop(load, plan.producers)
        : await openLoop(load, {
            perSecond: plan.rate,
            waitingMax: Math.max(1, Math.min(WAITING_MAX, waitingMax)),
          });
    // What was acknowledged before it was in the store is to be paid for too.
    await engine.flush();
    const usage = meter.stop();
    const after = engine.metrics();
    const requestSeconds = (clock.monotonic() - startMs) / 1000;
    const requests = subtractRequests(countRequests(after.store), countRequests(before.store));
    const flushes = after.committedLinks - before.committedLinks;
    const gibs = result.bytes / GIB;
    const failed = (metrics: typeof after): number =>
      Object.values(metrics.store).reduce((sum, { errors }) => sum + errors, 0);
    return {
      loop: plan.rate === undefined ? "closed" : "open",
      seconds: result.seconds,
      records: result.records,
      recordsPerSecond: ratio(result.records, result.seconds),
      bytes: result.bytes,
      bytesPerSecond: ratio(result.bytes, result.seconds),
      ackMs: latencies.summary(),
      unsent: result.unsent,
      flushes,
      bytesPerFlush: ratio(result.bytes, flushes),
      storedBytes: after.storedBytes - before.storedBytes,
      requests,
      requestSeconds,
      putsPerSecond: ratio(putRequests(requests), requestSeconds),
      putsPerGiB: ratio(putRequests(requests), gibs),
      cpuSecondsPerGiB: ratio(usage.cpuSeconds, gibs),
      rssPeakBytes: usage.rssPeakBytes,
      loopDelayP99Ms: usage.loopDelayP99Ms,
      failedRequests: failed(after) - failed(before),
      throttled: after.uploads.throttled - before.uploads.throttled,
    };
  } finally {
    isRunning = false;
    meter.stop();
  }
}

/** Random hexadecimal digits: LZ4 makes little of them, a general codec half. */
function makeValues(random: Random, bytes: number): readonly Uint8Array[] {
  return Array.from({ length: VALUES }, () => {
    const digits = Buffer.from(random.bytes(Math.ceil(bytes / 2))).toString("hex");
    return Buffer.from(digits.slice(0, bytes));
  });
}

function ratio(a: number, b: number): number {
  return b > 0 ? a / b : 0;
}
