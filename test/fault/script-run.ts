import type { Config } from "../../src/config/config.ts";
import { defaultConfig } from "../../src/config/resolve-config.ts";
import { Engine } from "../../src/engine/engine.ts";
import { isTierlogError } from "../../src/errors.ts";
import { seededRandom } from "../../src/runtime/random.ts";
import { systemRuntime } from "../../src/runtime/runtime.ts";
import { randomFaults } from "../../src/testing/fault-script.ts";
import type { FaultKind } from "../../src/testing/fault.ts";
import type { S3Endpoint } from "../../src/testing/s3-endpoint.ts";
import { startEndpoint } from "../support/endpoint.ts";
import { readAll } from "../support/engine.ts";
import { Ledger, type LedgerCounts } from "./ledger.ts";

const MIB = 1024 * 1024;
const TOPIC = "events";
const PARTITIONS = 2;
const APPENDS = 60;

export interface ScriptReport extends LedgerCounts {
  readonly faults: number;
  readonly kinds: ReadonlySet<FaultKind>;
  readonly takenOver: boolean;
  readonly dataObjects: number;
}

export interface Progress {
  phase: string;
  /** The endpoint, once there is one: what it holds says why a script hangs. */
  server?: S3Endpoint;
}

/**
 * One seeded script of faults, with a producing engine, one that follows the log all the while, and in every second script another
 * that takes the shard over half-way. Then the faults end, what was late lands, and everything is checked. Throws, with an
 * expression that makes the script again, when a promise was broken. Writes into `progress` how far it is.
 */
export async function runScript(seed: number, progress: Progress): Promise<ScriptReport> {
  const random = seededRandom(seed);
  const faults = randomFaults({ seed, rate: 0.05 + random.float() * 0.25 });
  const takenOver = random.float() < 0.5;
  // Every fifth script: flushes above one part.
  const { producers, valueBytes } =
    random.float() < 0.2 ? { producers: 12, valueBytes: 900_000 } : { producers: 4, valueBytes: 200 };
  const { server, settings } = await startEndpoint({ faults });
  progress.server = server;
  const { endpoint, bucket, region, prefix } = settings;
  const { accessKeyId, secretAccessKey } = server.credentials;
  const config: Config = defaultConfig({
    storage: {
      kind: "object",
      object: {
        endpoint,
        bucket,
        region,
        prefix,
        credentials: { accessKeyId, secretAccessKey },
        requestTimeoutMs: 250,
        deadlineMs: 2500,
        multipartPartSizeBytes: 5 * MIB,
      },
    },
    index: { checkpointEvery: 16 },
    flush: { lingerMs: 2 },
  });
  const runtime = { random: { ...systemRuntime.random, float: () => random.float() } };
  const engines: Engine[] = [];
  // For what must be done once the faults are over, however busy the machine is.
  const { object } = config.storage;
  const patient: Config = {
    ...config,
    storage: { ...config.storage, object: { ...object, requestTimeoutMs: 20_000, deadlineMs: 60_000 } },
  };
  const open = async (readOnly = false, settings = config): Promise<Engine> => {
    const engine = await Engine.open(settings, { readOnly, runtime });
    engines.push(engine);
    return engine;
  };
  try {
    faults.pause();
    // Its first open probes the store, with a crowd of requests that may take longer than the short timeouts below.
    const maker = await open(false, patient);
    await maker.createTopic(TOPIC, { partitions: PARTITIONS });
    await maker.close();
    const first = await onceAvailable(() => open());
    const follower = await onceAvailable(() => open(true));
    faults.resume();

    progress.phase = "produce";
    const ledger = new Ledger();
    let told = 0;
    const goOn = (): boolean => told++ < APPENDS;
    const produce = async (engine: Engine): Promise<void> => {
      await ledger.produce(await onceAvailable(() => engine.topic(TOPIC)), {
        producers,
        valueBytes,
        goOn,
        onError: (error) => (isTierlogError(error) && error.kind === "fenced" ? "stop" : "go-on"),
      });
    };
    const stop = new AbortController();
    const seen = follow(follower, stop.signal);
    const producing = [produce(first)];
    if (takenOver) {
      await until(() => told >= APPENDS / 2);
      producing.push(open().then(produce, ignoreUnavailable));
    }
    await Promise.all(producing);
    faults.clear();
    progress.phase = "late landings";
    await server.landLate();
    progress.phase = "check";

    const reader = await open(true, patient);
    const counts = await ledger.check(reader, TOPIC);
    progress.phase = "end of the follower";
    stop.abort();
    const followed = await seen;
    const stored = await readAll((await reader.topic(TOPIC)).partition(0));
    for (const [offset, value] of followed) {
      if (stored[offset] !== value) throw new Error(`two readers saw different records at offset ${offset}`);
    }
    progress.phase = "another append";
    // Whoever owns the shard, or nobody: the next one can go on.
    const last = await open(false, patient);
    await ledger.produce(await last.topic(TOPIC), { producers: 1, goOn: onceMore() });
    await ledger.check(reader, TOPIC);
    if (server.failures.length > 0) throw new Error("the endpoint failed", { cause: server.failures[0] });
    return {
      ...counts,
      faults: faults.firedCount,
      kinds: new Set(faults.fired.map(({ fault }) => fault.kind)),
      takenOver,
      dataObjects: server.requests.count("CompleteMultipartUpload", 200),
    };
  } catch (error) {
    throw new Error(`seed ${seed}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  } finally {
    progress.phase = "close of the engines";
    await Promise.allSettled(engines.map((engine) => engine.close()));
    progress.phase = "close of the server";
    await server.close();
  }
}

/** Values by offset, as a consumer at the tail saw them; it starts again where it was after an error. */
async function follow(engine: Engine, signal: AbortSignal): Promise<Map<number, string>> {
  const seen = new Map<number, string>();
  while (!signal.aborted) {
    try {
      const partition = (await engine.topic(TOPIC)).partition(0);
      for await (const record of partition.records({ from: seen.size, follow: true, signal })) {
        if (record.offset !== seen.size) throw new Error(`offset ${record.offset} where ${seen.size} is due`);
        seen.set(record.offset, Buffer.from(record.value ?? []).toString());
      }
    } catch (error) {
      if (!isTierlogError(error)) throw error;
      await pause(5);
    }
  }
  return seen;
}

/** Again while the store is not there: its faults, or a machine too busy for the short deadlines, are no broken promise. */
async function onceAvailable<T>(work: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!isTierlogError(error) || error.kind !== "unavailable") throw error;
      await pause(5);
    }
  }
}

function ignoreUnavailable(error: unknown): void {
  if (!isTierlogError(error)) throw error;
}

function onceMore(): () => boolean {
  let left = 1;
  return () => left-- > 0;
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await pause(5);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
