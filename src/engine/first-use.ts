import type { Config } from "../config/config.ts";
import type { ObjectKey } from "../domain.ts";
import { ObjectStoreError, UnsupportedProviderError } from "../errors.ts";
import { metered, totalRequests } from "../object-store/metered.ts";
import { probeRunPrefix } from "../object-store/object-names.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import { findProbeRecord, writeProbeRecord, type ProbedServer } from "../object-store/probe/probe-record.ts";
import { raceOver } from "../object-store/probe/race-create.ts";
import { S3Wire } from "../object-store/probe/s3-wire.ts";
import {
  failedFacts,
  probeStore,
  removeProbeKeys,
  verdictOf,
  type ProbeFacts,
} from "../object-store/probe/store-probe.ts";
import { createHeaderName } from "../object-store/s3-create-header.ts";
import { settling } from "../object-store/settling.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { StoreFacts } from "./open-store.ts";
import type { S3Settings } from "./s3-settings.ts";

export interface FirstUse {
  readonly config: Config;
  readonly runtime: Runtime;
  readonly writerId: string;
  /** One attempt per call. */
  readonly raw: ObjectStore;
  /** `raw`, settled and counted: for the records. */
  readonly store: ObjectStore;
  /** Filled in with what is found. */
  readonly facts: StoreFacts;
  /** undefined: the caller brought the store along; it is asked by its own calls, not by requests beside them. */
  readonly s3: S3Settings | undefined;
}

/**
 * Makes sure that a bucket can do what the fence stands on, before anything of the engine is written there: believes a stored record
 * of the same server that says so, as far as one PUT bears it out; else probes and stores what was found. A bad record is not
 * believed: the server may be another one by now. Resolves to the requests that the probe sent. Errors: `UnsupportedProviderError`, `ObjectStoreError`.
 */
export async function proveStore(options: FirstUse): Promise<number> {
  const { config, runtime, store } = options;
  const server = probedServer(config);
  const known = await findProbeRecord(store, server);
  if (known?.record.verdict === "fenced" && (await isKept(options, known.key))) {
    learn(options.facts, known.record.facts);
    return 0;
  }
  const { facts, requests } = await probe(options);
  // A process that is started again and again must not leave a record each time.
  if (known === undefined || JSON.stringify(known.record.facts) !== JSON.stringify(facts)) {
    const random = hex(runtime.random.bytes(8));
    await writeProbeRecord(store, { server, facts, timeMs: runtime.clock.now(), random, writerId: options.writerId });
  }
  const failed = failedFacts(facts, createHeaderName(config.storage.object.createIfAbsent));
  if (failed.length > 0) throw new UnsupportedProviderError(placeOf(config), failed, verdictOf(facts) !== "unusable");
  learn(options.facts, facts);
  runtime.logger.info("probed the object store: it can be fenced", { ...facts, requests });
  return requests;
}

/**
 * Tries to create a record that is there. A bucket can change under its record: once versioning is switched on, Ceph RGW ignores
 * If-None-Match, and every writer is told that it won. Then the record is lost, which is right: nobody can read it any more.
 */
async function isKept({ store, runtime }: FirstUse, record: ObjectKey): Promise<boolean> {
  // Bytes that nobody else writes: the same ones would be taken for an earlier attempt of ours that was stored.
  const body = Buffer.from(`not a record ${hex(runtime.random.bytes(16))}`);
  return (await store.put(record, body, { condition: { kind: "if-absent" } })).kind === "condition-failed";
}

export function probedServer(config: Config): ProbedServer {
  const { endpoint, region, bucket, createIfAbsent } = config.storage.object;
  return { endpoint: endpoint ?? "aws", region, bucket, createIfAbsent };
}

/** For people. */
export function placeOf(config: Config): string {
  const { endpoint, region, bucket, prefix } = config.storage.object;
  const below = prefix === "" ? "" : `, prefix ${prefix}`;
  return `bucket ${bucket}${below} at ${endpoint ?? `AWS ${region}`}`;
}

/** An engine must not wait long for what only tidies up. */
const SWEEP_DEADLINE_MS = 5_000;

async function probe(options: FirstUse): Promise<{ readonly facts: ProbeFacts; readonly requests: number }> {
  const { config, runtime, raw } = options;
  const { requestTimeoutMs, deadlineMs } = config.storage.object;
  const meter = metered(raw, runtime.clock);
  const { clock, random, logger } = runtime;
  const store = settling(meter.store, { clock, random, logger, deadlineMs, requestTimeoutMs });
  const prefix = probeRunPrefix("start", hex(random.bytes(8)));
  const wire = options.s3 === undefined ? undefined : new S3Wire(options.s3, runtime.clock);
  const race = wire?.race ?? raceOver(meter.store);
  try {
    const outcome = await probeStore({
      store,
      race,
      header: createHeaderName(config.storage.object.createIfAbsent),
      wire,
      prefix,
      random,
    });
    if (outcome.kind === "unclear") {
      throw new ObjectStoreError(
        `probe of ${placeOf(config)}: ${outcome.detail}; try again, or look closer with tierlog doctor`,
        { operation: "probe", key: prefix, retryable: true },
        { cause: outcome.error },
      );
    }
    return { facts: outcome.facts, requests: totalRequests(meter.metrics()) + (wire?.requests ?? 0) };
  } finally {
    try {
      const sweeping = settling(meter.store, { clock, random, deadlineMs: SWEEP_DEADLINE_MS, requestTimeoutMs });
      await removeProbeKeys(sweeping, prefix);
    } catch (error) {
      // Some keys may write but not delete. The objects are small, and what matters was found out.
      logger.warn("the probe of the store could not remove what it wrote", { prefix, problem: String(error) });
    }
    wire?.close();
  }
}

function learn(known: StoreFacts, found: ProbeFacts): void {
  known.ifMatchEtag = found.ifMatchEtag === "bare" ? "bare" : "quoted";
  known.wrongChecksumRefused = found.wrongChecksumRefused ?? undefined;
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
