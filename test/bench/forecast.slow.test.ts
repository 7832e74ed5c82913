import { expect, test } from "vitest";

import type { ForecastLoad } from "../../src/bench/flush-forecast.ts";
import { forecast } from "../../src/bench/forecast.ts";
import { countRequests, putRequests, subtractRequests, type RequestCounts } from "../../src/bench/request-counts.ts";
import { Engine } from "../../src/engine/engine.ts";
import { createMemoryStore } from "../../src/object-store/memory-store.ts";
import type { ObjectStore } from "../../src/object-store/object-store.ts";
import { seededRandom } from "../../src/runtime/random.ts";
import { testConfig, type Overrides } from "../support/engine.ts";
import { SimulatedDisk } from "../support/simulated-disk.ts";
import { VirtualClock } from "../support/virtual-clock.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

interface Case {
  readonly name: string;
  readonly overrides: Overrides;
  readonly load: Partial<ForecastLoad> & Pick<ForecastLoad, "bytesPerSecond" | "recordBytes" | "partitions">;
  /** Virtual time before counting, and counted. */
  readonly warmSeconds: number;
  readonly seconds: number;
}

/** A store whose PUTs take a time. */
function slow(store: ObjectStore, clock: VirtualClock, ms: number): ObjectStore {
  return {
    ...store,
    put: async (key, body, options) => {
      await new Promise<void>((resolve) => clock.schedule(ms, resolve));
      return store.put(key, body, options);
    },
  };
}

/** What an engine sends under an even load. */
async function count({ overrides, load, warmSeconds, seconds }: Case): Promise<RequestCounts> {
  const clock = new VirtualClock();
  const memory = createMemoryStore();
  const objectStore = load.storeLatencyMs === undefined ? memory : slow(memory, clock, load.storeLatencyMs);
  const runtime = { clock, random: seededRandom(1), fileSystem: new SimulatedDisk() };
  const engine = await clock.run(Engine.open(testConfig({ path: "/disk", ...overrides }), { runtime, objectStore }));
  await clock.run(engine.createTopic("t", { partitions: load.partitions }));
  const topic = await engine.topic("t");
  const value = Buffer.alloc(load.recordBytes, "v");
  const stepMs = Math.max(1, (1000 * load.recordBytes) / load.bytesPerSecond);
  let sent = 0;
  let failure: unknown;
  const run = async (untilMs: number): Promise<void> => {
    while (clock.monotonic() < untilMs) {
      const due = Math.floor(((clock.monotonic() + stepMs / 2) / 1000 / load.recordBytes) * load.bytesPerSecond);
      for (; sent < due; sent++) {
        topic
          .partition(sent % load.partitions)
          .append([{ value }])
          .catch((error: unknown) => (failure ??= error));
      }
      await clock.advance(Math.min(stepMs, 20), 4);
    }
  };
  await run(warmSeconds * 1000);
  const before = countRequests(engine.metrics().store);
  await run((warmSeconds + seconds) * 1000);
  const counted = subtractRequests(countRequests(engine.metrics().store), before);
  expect(failure).toBeUndefined();
  await clock.run(engine.close());
  return counted;
}

const CASES: readonly Case[] = [
  {
    name: "uploaded, 1 partition, linger 250 ms",
    overrides: { flush: { lingerMs: 250 }, segment: { maxAgeMs: 60_000 } },
    load: { bytesPerSecond: 100 * KIB, recordBytes: KIB, partitions: 1 },
    warmSeconds: 70,
    seconds: 250,
  },
  {
    name: "uploaded, 500 partitions, linger 250 ms",
    overrides: { flush: { lingerMs: 250 }, segment: { maxAgeMs: 60_000 } },
    load: { bytesPerSecond: 100 * KIB, recordBytes: KIB, partitions: 500 },
    warmSeconds: 70,
    seconds: 250,
  },
  {
    name: "uploaded, linger 5 ms on a store that takes 40 ms",
    overrides: { flush: { lingerMs: 5 } },
    load: { bytesPerSecond: 256 * KIB, recordBytes: KIB, partitions: 10, storeLatencyMs: 40 },
    warmSeconds: 30,
    seconds: 120,
  },
  {
    name: "journaled, upload_interval 10 s",
    overrides: {
      storage: { object: { ackAfterUpload: false } },
      journal: { uploadIntervalMs: 10_000 },
      checkpointEvery: 16,
    },
    load: { bytesPerSecond: 10 * KIB, recordBytes: KIB, partitions: 20 },
    warmSeconds: 400,
    seconds: 1600,
  },
  {
    name: "merging: small segments, all tiers, freed after a grace",
    overrides: {
      flush: { lingerMs: 1000 },
      segment: { sizeBytes: MIB, maxAgeMs: 600_000 },
      cache: { tailSizeBytes: 256 * KIB },
      gc: { graceMs: 60_000, intervalMs: 30_000 },
      checkpointEvery: 32,
    },
    load: { bytesPerSecond: 64 * KIB, recordBytes: 4 * KIB, partitions: 8 },
    warmSeconds: 500,
    seconds: 1000,
  },
  {
    name: "flushes that outgrow a part",
    overrides: {
      storage: { object: { multipartPartSizeBytes: 5 * MIB } },
      flush: { lingerMs: 4000, maxBytes: 12 * MIB },
      merge: { enabled: false },
    },
    load: { bytesPerSecond: 2 * MIB, recordBytes: 64 * KIB, partitions: 4 },
    warmSeconds: 10,
    seconds: 120,
  },
];

/** As they are billed. */
const CLASSES: readonly ((counts: RequestCounts) => number)[] = [putRequests, ({ get }) => get, ({ list }) => list];

test.each(CASES)("$name: forecast within 5 % of what is counted", { timeout: 120_000 }, async (given) => {
  const counted = await count(given);
  const load: ForecastLoad = { compressedTo: 1, storeLatencyMs: 0, retentionMs: 0, readers: 0, ...given.load };
  const { total } = forecast(testConfig(given.overrides), load, given.warmSeconds + given.seconds);
  const requests = CLASSES.map((of) => ({ forecast: of(total) * given.seconds, counted: of(counted) }));
  // Of a few, one more or less is too much or too little.
  const wrong = requests.filter((pair) => Math.abs(pair.forecast - pair.counted) > Math.max(4, 0.05 * pair.counted));
  expect(wrong).toEqual([]);
  const all = (side: "forecast" | "counted"): number => requests.reduce((sum, pair) => sum + pair[side], 0);
  expect(Math.abs(all("forecast") / all("counted") - 1)).toBeLessThan(0.05);
});

test("requests for flushes do not depend on the number of partitions", () => {
  const load = {
    compressedTo: 1,
    storeLatencyMs: 50,
    retentionMs: 0,
    readers: 0,
    bytesPerSecond: MIB,
    recordBytes: KIB,
  };
  const puts = [1, 500, 100_000].map((partitions) =>
    putRequests(forecast(testConfig(), { ...load, partitions }).requests.flush),
  );
  expect(puts[1]).toBe(puts[0]);
  expect(puts[2]).toBe(puts[0]);
});

test("more than merging may write is told", () => {
  const load = {
    compressedTo: 1,
    storeLatencyMs: 50,
    retentionMs: 0,
    readers: 0,
    bytesPerSecond: 64 * MIB,
    recordBytes: KIB,
  };
  const config = testConfig({ merge: { maxBytesPerSecond: MIB } });
  expect(forecast(config, { ...load, partitions: 10 }).warnings).toEqual([
    expect.stringMatching(/^merging would write \d+ MiB\/s, system\.merge\.max_bytes_per_second is 1 MiB\/s/),
  ]);
});
