import type { Config } from "../../src/config/config.ts";
import type { PartitionApi } from "../../src/engine/api.ts";
import { Engine, type OpenOptions } from "../../src/engine/engine.ts";
import { createMemoryStore } from "../../src/object-store/memory-store.ts";
import type { ObjectStore } from "../../src/object-store/object-store.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

export interface Overrides {
  readonly path?: string;
  readonly shards?: number;
  readonly checkpointEvery?: number;
  readonly shutdownTimeoutMs?: number;
  readonly leaseMs?: number;
  readonly storage?: Partial<Omit<Config["storage"], "object">> & {
    readonly object?: Partial<Config["storage"]["object"]>;
  };
  readonly flush?: Partial<Config["flush"]>;
  readonly batch?: Partial<Config["batch"]>;
  readonly journal?: Partial<Config["journal"]>;
  readonly cache?: Partial<Config["cache"]>;
  readonly retention?: Partial<Config["retention"]>;
  readonly segment?: Partial<Config["segment"]>;
  readonly merge?: Partial<Config["merge"]>;
  readonly gc?: Partial<Config["gc"]>;
}

/** A config for tests: memory, and a linger short enough not to wait for. */
export function testConfig(overrides: Overrides = {}): Config {
  return {
    path: overrides.path ?? "/nonexistent",
    shards: overrides.shards ?? 1,
    storage: {
      kind: overrides.storage?.kind ?? "memory",
      object: {
        service: "s3",
        provider: undefined,
        account: undefined,
        bucket: "",
        region: "us-east-1",
        endpoint: undefined,
        allowHttp: false,
        tlsCaFile: undefined,
        tlsCertFile: undefined,
        tlsKeyFile: undefined,
        profile: undefined,
        prefix: "",
        multipartPartSizeBytes: 8 * MIB,
        partsInFlight: 4,
        ackAfterUpload: true,
        fencing: "conditional-put",
        createBucket: false,
        encryption: {
          mode: "none",
          kmsKeyId: undefined,
          bucketKey: true,
          customerKey: undefined,
          customerKeyFile: undefined,
        },
        credentials: undefined,
        forcePathStyle: true,
        payloadSigning: "auto",
        createIfAbsent: "if-none-match",
        requestTimeoutMs: 15_000,
        deadlineMs: 60_000,
        ...overrides.storage?.object,
      },
    },
    shutdownTimeoutMs: overrides.shutdownTimeoutMs ?? 30_000,
    journal: {
      path: `${overrides.path ?? "/nonexistent"}/journal`,
      fsync: "always",
      fsyncIntervalMs: 100,
      fileSizeBytes: 4 * MIB,
      maxSizeBytes: 64 * MIB,
      uploadIntervalMs: 100,
      catchUpRateBytes: 128 * MIB,
      oDirect: false,
      ...overrides.journal,
    },
    fence: { leaseMs: overrides.leaseMs ?? 0 },
    retention: { ms: 0, bytes: 0, checkIntervalMs: 300_000, ...overrides.retention },
    segment: { sizeBytes: 256 * MIB, maxAgeMs: 600_000, ...overrides.segment },
    merge: { enabled: true, maxBytesPerSecond: 64 * MIB, checkIntervalMs: 5000, ...overrides.merge },
    gc: {
      enabled: true,
      graceMs: 3_600_000,
      intervalMs: 600_000,
      sweepIntervalMs: 21_600_000,
      ...overrides.gc,
    },
    index: { checkpointEvery: overrides.checkpointEvery ?? 256 },
    flush: { lingerMs: 2, maxBytes: 32 * MIB, maxPendingBytes: 128 * MIB, maxWaitMs: 10_000, ...overrides.flush },
    batch: { maxBytes: MIB, ...overrides.batch },
    cache: { tailSizeBytes: 32 * MIB, sizeBytes: 64 * MIB, ...overrides.cache },
  };
}

/** Engines that share one memory store, as processes share a bucket; all closed by `close`. */
export class Cluster {
  readonly store: ObjectStore;
  readonly #engines: Engine[] = [];

  constructor(store: ObjectStore = createMemoryStore()) {
    this.store = store;
  }

  async open(config: Config = testConfig(), options: OpenOptions = {}): Promise<Engine> {
    const engine = await Engine.open(config, { objectStore: this.store, ...options });
    this.#engines.push(engine);
    return engine;
  }

  async flushAll(): Promise<void> {
    await Promise.all(this.#engines.map((engine) => engine.flush()));
  }

  async close(): Promise<void> {
    await Promise.allSettled(this.#engines.map((engine) => engine.close()));
  }
}

export function values(...texts: string[]): { value: Uint8Array }[] {
  return texts.map((text) => ({ value: Buffer.from(text) }));
}

/** Every value of a partition from the start, as text. */
export async function readAll(partition: PartitionApi): Promise<string[]> {
  const texts: string[] = [];
  for await (const record of partition.records({ from: "earliest" })) {
    if (record.offset !== texts.length) throw new Error(`offset ${record.offset} where ${texts.length} is due`);
    texts.push(Buffer.from(record.value ?? []).toString());
  }
  return texts;
}

export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}
