import type { Config } from "../config/config.ts";
import { externallyFenced } from "../object-store/external-fencing.ts";
import { metered, type StoreMetrics } from "../object-store/metered.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import { PartLimiter } from "../object-store/part-limiter.ts";
import { settling } from "../object-store/settling.ts";
import { writerIdentity } from "../runtime/identity.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { FirstUse } from "./first-use.ts";
import { checkingStore, noFacts, openStore } from "./open-store.ts";
import { s3Settings, uploadPartsMax, type S3Settings } from "./s3-settings.ts";

export interface ConnectOptions {
  readonly config: Config;
  readonly runtime: Runtime;
  /** Nothing is proved, and nothing should be written that somebody relies on. */
  readonly readOnly: boolean;
  /** Instead of the store that the config names; `close` leaves it open. */
  readonly objectStore: ObjectStore | undefined;
}

/** A store that can be worked with: settled, metered, and, for writing, seen to be able to do what it must. */
export interface Connection {
  readonly store: ObjectStore;
  readonly storeMetrics: () => StoreMetrics;
  readonly probeRequests: number;
  readonly partLimiter: PartLimiter;
  readonly writerId: string;
  readonly close: () => Promise<void>;
}

const EXTERNAL_FENCING_WARNING =
  'fencing = "external": nothing in the store keeps two writers apart. Two processes that write below one prefix at once lose ' +
  "acknowledged records; make sure by other means that there is never more than one";

/**
 * Opens the store of a config. For writing, a bucket is made where `create_bucket` asks for that, its encryption is tried, and its first
 * use is preceded by a probe. Errors: `ConfigError`, `UnsupportedProviderError`, `ObjectStoreError`.
 */
export async function connect({ config, runtime, readOnly, objectStore }: ConnectOptions): Promise<Connection> {
  const facts = noFacts();
  // Once for all clients: they share the credentials in it.
  const s3 =
    config.storage.kind === "object" && objectStore === undefined ? await s3Settings(config, runtime) : undefined;
  const raw = objectStore ?? (await openStore(config, runtime, readOnly, facts, s3));
  const close = objectStore === undefined ? () => raw.close() : () => Promise.resolve();
  try {
    const meter = metered(raw, runtime.clock);
    const { requestTimeoutMs, deadlineMs, partsInFlight, fencing, encryption } = config.storage.object;
    // A directory and memory are fenced by our own code; a bucket by whatever stands behind its endpoint.
    const isBucket = config.storage.kind === "object" && !readOnly;
    const external = isBucket && fencing === "external";
    const { clock, random, logger } = runtime;
    const partLimiter = new PartLimiter({ partsMax: uploadPartsMax(partsInFlight), clock, logger });
    const settled = settling(external ? externallyFenced(meter.store) : meter.store, {
      clock,
      random,
      logger,
      deadlineMs,
      requestTimeoutMs,
      partLimiter,
    });
    const store = objectStore === undefined ? checkingStore(settled, config, facts) : settled;
    const writerId = writerIdentity(random);
    if (external) logger.warn(EXTERNAL_FENCING_WARNING);
    if (isBucket && s3 !== undefined && encryption.mode !== "none") {
      await encryptionProved(config, runtime, store, s3);
    }
    const probeRequests =
      isBucket && !external ? await probed({ config, runtime, writerId, raw, store, facts, s3 }) : 0;
    return { store, storeMetrics: () => meter.metrics(), probeRequests, partLimiter, writerId, close };
  } catch (error) {
    await close();
    throw error;
  }
}

// Loaded late, both: they load the AWS SDK.

async function probed(options: FirstUse): Promise<number> {
  const { proveStore } = await import("./first-use.ts");
  return proveStore(options);
}

async function encryptionProved(config: Config, runtime: Runtime, store: ObjectStore, s3: S3Settings): Promise<void> {
  const { proveEncryption } = await import("./prove-encryption.ts");
  await proveEncryption(config, runtime, store, s3);
}
