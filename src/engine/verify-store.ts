import type { Config } from "../config/config.ts";
import type { ShardId } from "../domain.ts";
import { ConfigError, InvalidArgumentError, NotFoundError } from "../errors.ts";
import { FORMAT_KEY } from "../object-store/object-names.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import { systemRuntime, type Runtime } from "../runtime/runtime.ts";
import type { TopicDescription } from "./api.ts";
import { connect } from "./connect.ts";
import { parseStoreFormat } from "./store-format.ts";
import { shownPrefix } from "./store-root.ts";
import { BatchChecks, type WorkerPool } from "./verify/batch-checks.ts";
import { checkCatalogs } from "./verify/check-catalogs.ts";
import { checkEpochs, checkObjects, findUnreferenced, type UnreferencedObjects } from "./verify/check-objects.ts";
import { dataProblem, readTwice } from "./verify/data-problem.ts";
import { DeepCheck } from "./verify/deep-check.ts";
import { Findings, type Finding, type FindingCode } from "./verify/finding.ts";
import { foldShard, type FoldedShard } from "./verify/fold-shard.ts";
import { checkProbeNames, listShards, listTop } from "./verify/inventory.ts";
import { Verification, type VerifyProgress } from "./verify/verification.ts";

export type { WorkerPool } from "./verify/batch-checks.ts";
export type { UnreferencedObjects } from "./verify/check-objects.ts";
export type { ConcernedOffsets, Finding, FindingCode, Severity } from "./verify/finding.ts";
export type { VerifyProgress } from "./verify/verification.ts";

export interface VerifyOptions {
  /** Check every batch and record as well: reads all bytes. Default: false. */
  readonly deep?: boolean;
  /** Only this topic: the shards that it uses, and of those only its extents. Leftovers are not looked for. */
  readonly topic?: string | undefined;
  /** Only this shard. Of leftovers, only its own. */
  readonly shard?: number | undefined;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: VerifyProgress) => void;
  /** Where batches are checked with `deep`; else in this thread. The caller ends it. */
  readonly workers?: WorkerPool | undefined;
  /** Instead of the store that the config names; it stays open. */
  readonly objectStore?: ObjectStore;
  readonly runtime?: Partial<Runtime>;
}

export interface StoreVerification {
  /** No damage was found. */
  readonly clean: boolean;
  /** undefined where FORMAT cannot be read. */
  readonly storeId: string | undefined;
  readonly deep: boolean;
  /** In the order in which they were found; at most 1,000 of each code. */
  readonly findings: readonly Finding[];
  /** Of all findings. */
  readonly counts: Readonly<Partial<Record<FindingCode, number>>>;
  /** Data objects that no link names. undefined: not looked for, as one topic was asked for, or FORMAT could not be read. */
  readonly unreferenced: UnreferencedObjects | undefined;
  readonly totals: VerifiedTotals;
}

/** What was looked at. */
export interface VerifiedTotals {
  readonly catalogs: number;
  readonly shards: number;
  /** Index files by what folding says of them. */
  readonly liveLinks: number;
  readonly voidLinks: number;
  /** Read, but behind one that could not be folded. */
  readonly unfoldedLinks: number;
  /** Index files below a shard's boundary: they wait to be deleted, and mean nothing. */
  readonly linksBelowBoundary: number;
  /** Replaces, trims and boundaries of live links that had no effect, as the state was not the one that they were made for. */
  readonly voidEntries: number;
  /** That could be read. */
  readonly checkpoints: number;
  readonly dataObjects: number;
  readonly dataObjectBytes: number;
  readonly extents: number;
  /** As the chain has them. */
  readonly records: number;
  readonly bytes: number;
  /** Whose bytes were checked; 0 without `deep`. */
  readonly checkedBatches: number;
  readonly checkedRecords: number;
  readonly checkedBytes: number;
  readonly elapsedMs: number;
}

/**
 * Checks a whole store from its objects alone and changes nothing: takes nothing over, and may run beside a writer. What came after
 * it began is not looked at. Damage is part of the result. Errors: `NotFoundError` where there is no store, or no such topic;
 * `InvalidArgumentError`, `ConfigError` (kind "memory"), `ObjectStoreError`, `AbortedError`.
 */
export async function verifyStore(config: Config, options: VerifyOptions = {}): Promise<StoreVerification> {
  const { objectStore } = options;
  if (config.storage.kind === "memory" && objectStore === undefined) {
    throw new ConfigError([
      {
        path: "system.storage.kind",
        problem: '"memory" ends with its process: there is nothing to verify; use "fs" or "object"',
      },
    ]);
  }
  const runtime: Runtime = { ...systemRuntime, ...options.runtime };
  const connection = await connect({ config, runtime, readOnly: true, objectStore });
  try {
    const findings = new Findings();
    const { signal, onProgress } = options;
    const { clock } = runtime;
    const verification = new Verification({ store: connection.store, findings, clock, signal, onProgress });
    const checks = new BatchChecks(options.workers, runtime.logger);
    const deep = options.deep === true ? new DeepCheck(verification, checks) : undefined;
    return await verify(verification, { config, options, deep });
  } finally {
    await connection.close();
  }
}

interface Run {
  readonly config: Config;
  readonly options: VerifyOptions;
  readonly deep: DeepCheck | undefined;
}

async function verify(verification: Verification, { config, options, deep }: Run): Promise<StoreVerification> {
  const { findings } = verification;
  const totals = { ...NOTHING };
  const result = (storeId: string | undefined, unreferenced: UnreferencedObjects | undefined): StoreVerification => ({
    clean: !findings.damaged,
    storeId,
    deep: deep !== undefined,
    findings: findings.list(),
    counts: findings.counts(),
    unreferenced,
    totals: {
      ...totals,
      checkedBatches: deep?.counts.batches ?? 0,
      checkedRecords: deep?.counts.records ?? 0,
      checkedBytes: deep?.counts.bytes ?? 0,
      elapsedMs: verification.elapsedMs,
    },
  });

  verification.begin("looking at the store", 0);
  const top = await listTop(verification);
  const format = await checkFormat(verification, top.hasDirectories, config.storage.object.prefix);
  if (format.kind === "unsupported") return result(undefined, undefined);

  const catalogs = await checkCatalogs(verification);
  totals.catalogs = catalogs.count;
  findings.nameTopics(new Map(catalogs.topics.map(({ id, name }) => [id, name])));
  const topic = options.topic === undefined ? undefined : topicNamed(catalogs.topics, options.topic);
  verification.onlyTopic = topic?.id;
  const written = await listShards(verification);
  const shards = shardsOf(written, catalogs.topics, topic, options.shard);

  const folded: FoldedShard[] = [];
  for (const shard of shards) {
    const one = await foldShard(verification, shard);
    folded.push(one);
    totals.shards++;
    totals.liveLinks += one.liveLinks;
    totals.voidLinks += one.voidLinks;
    totals.unfoldedLinks += one.linksBehind;
    totals.linksBelowBoundary += one.linksBelow;
    totals.voidEntries += one.voidEntries;
    totals.checkpoints += one.checkpoints;
    checkEpochs(verification, one);
    const { dataObjects, dataObjectBytes, extents, records, bytes } = await checkObjects(verification, one, deep);
    totals.dataObjects += dataObjects;
    totals.dataObjectBytes += dataObjectBytes;
    totals.extents += extents;
    totals.records += records;
    totals.bytes += bytes;
  }
  if (topic !== undefined) return result(format.storeId, undefined);
  await checkProbeNames(verification);
  return result(format.storeId, await findUnreferenced(verification, folded, options.shard === undefined));
}

const NOTHING = {
  catalogs: 0,
  shards: 0,
  liveLinks: 0,
  voidLinks: 0,
  unfoldedLinks: 0,
  linksBelowBoundary: 0,
  voidEntries: 0,
  checkpoints: 0,
  dataObjects: 0,
  dataObjectBytes: 0,
  extents: 0,
  records: 0,
  bytes: 0,
};

/** "unsupported": nothing else may be looked at, another version may say anything else in another way. */
async function checkFormat(
  { store, calls, findings }: Verification,
  hasDirectories: boolean,
  prefix: string,
): Promise<{ readonly kind: "unsupported" } | { readonly kind: "checked"; readonly storeId: string | undefined }> {
  try {
    const format = await readTwice(async () => {
      const found = await store.get(FORMAT_KEY, calls);
      return found === undefined ? undefined : parseStoreFormat(found.body);
    });
    if (format !== undefined) return { kind: "checked", storeId: format.storeId };
    if (!hasDirectories) {
      const hint = "nothing of tierlog's lies there; tierlog stores list shows the stores that there are";
      throw new NotFoundError(`a store at prefix ${shownPrefix(prefix)}`, hint);
    }
    findings.add({
      code: "missing-format",
      key: FORMAT_KEY,
      problem:
        "does not exist, and other objects of a store do: no reader opens this store, and a writer would make it another one",
    });
  } catch (error) {
    const { unsupported, position, problem } = dataProblem(error);
    findings.add({
      code: unsupported ? "unsupported-version" : "damaged-format",
      key: FORMAT_KEY,
      position,
      problem: unsupported ? `${problem}; nothing else was checked` : `${problem}; no engine opens this store`,
    });
    if (unsupported) return { kind: "unsupported" };
  }
  return { kind: "checked", storeId: undefined };
}

function topicNamed(topics: readonly TopicDescription[], name: string): TopicDescription {
  const found = topics.find((topic) => topic.name === name);
  if (found === undefined)
    throw new NotFoundError(`topic ${JSON.stringify(name)}`, "tierlog topics list shows those that do");
  return found;
}

/** Ascending. Without a choice, all that were written to and all that topics name. */
function shardsOf(
  written: ReadonlySet<ShardId>,
  topics: readonly TopicDescription[],
  topic: TopicDescription | undefined,
  only: number | undefined,
): readonly ShardId[] {
  const chosen = topic === undefined ? topics : [topic];
  const known = new Set<number>([...(topic === undefined ? written : []), ...chosen.flatMap(({ shards }) => shards)]);
  if (only !== undefined && !known.has(only)) {
    const what = topic === undefined ? "nothing was ever written to it" : `topic ${topic.name} does not use it`;
    throw new InvalidArgumentError("shard", only, `shard ${only}: ${what}`);
  }
  return [...known].filter((shard) => only === undefined || shard === only).sort((a, b) => a - b) as ShardId[];
}
