import type { Config } from "../config/config.ts";
import type { ShardId, TopicId } from "../domain.ts";
import { ConfigError } from "../errors.ts";
import { JournalDirectory, storeOf } from "../journal/journal-directory.ts";
import { Journal } from "../journal/journal.ts";
import type { JournalMetrics } from "../journal/reports.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { JournaledSettings } from "../shard/journaled-pipeline.ts";
import type { ShardRecovery } from "../shard/recovery.ts";
import type { Shard, ShardJournal } from "../shard/shard.ts";
import type { EngineJournalMetrics, TopicDescription } from "./api.ts";
import type { RecoveryReport } from "./reports.ts";

/**
 * Of a frame. Most disks are at full speed with less; larger ones hold up the appends behind them, and one that takes all that wait
 * leaves nothing to be made ready while it is written.
 */
const FRAME_BYTES_MAX = 3 * 1024 * 1024;
/** Of a file, for header and directory of a frame. */
const FRAMING_BYTES = 64 * 1024;
const REPORTS_MAX = 1000;

/**
 * The directory of all journals of a process, locked; undefined where there is none and none is wanted. Also where
 * `ack_after_upload` is true an earlier process may have left records in it. Errors: `LockHeldError`, `ConfigError`.
 */
export async function openJournals(
  config: Config,
  runtime: Runtime,
  {
    storeId,
    outlives,
  }: { readonly storeId: string; /** The store is there when this process is gone. */ readonly outlives: boolean },
): Promise<JournalDirectory | undefined> {
  const create = !config.storage.object.ackAfterUpload;
  if (create && !outlives) {
    throw new ConfigError([
      {
        path: "system.storage.object.ack_after_upload",
        problem:
          'false makes no sense with storage.kind = "memory": what the journal keeps would have no store to go to',
      },
    ]);
  }
  const { fileSystem } = runtime;
  // Left by another store that used this directory once: nothing in it is ours, and none is made.
  if (!create && (await storeOf(config.journal.path, fileSystem)) !== storeId) return undefined;
  return await JournalDirectory.open({ path: config.journal.path, storeId, fileSystem, create });
}

/** The journal of one shard, to be opened when it is needed; undefined where there is none and none is wanted. */
export function shardJournal(
  directory: JournalDirectory | undefined,
  shard: ShardId,
  config: Config,
  runtime: Runtime,
): ShardJournal | undefined {
  const inUse = !config.storage.object.ackAfterUpload;
  if (directory === undefined || (!inUse && !directory.shards().includes(shard))) return undefined;
  const options = {
    ...runtime,
    directory: directory.shardPath(shard),
    shard,
    settings: config.journal,
  };
  return {
    inUse,
    settings: journaledSettings(config),
    open: () => (inUse ? Journal.open(options, "create") : Journal.open(options, "existing")),
  };
}

function journaledSettings({ journal, fence, flush }: Config): JournaledSettings {
  const payloadBytesMax = journal.fileSizeBytes - FRAMING_BYTES;
  return {
    uploadIntervalMs: journal.uploadIntervalMs,
    catchUpRateBytes: journal.catchUpRateBytes,
    leaseMs: fence.leaseMs,
    maxWaitMs: flush.maxWaitMs,
    frameBytesMax: Math.min(FRAME_BYTES_MAX, payloadBytesMax),
    // Room for what headers and compression of random bytes add: see `framedBytes`.
    appendBytesMax: Math.floor((payloadBytesMax - 1024) / 1.125),
    maxSizeBytes: journal.maxSizeBytes,
  };
}

/** Sums over all shards; undefined where the engine has no journal. */
export function journalMetrics(shards: Iterable<Shard>, config: Config): EngineJournalMetrics | undefined {
  if (config.storage.object.ackAfterUpload) return undefined;
  const total = {
    liveFrames: 0,
    liveBytes: 0,
    files: 0,
    usedBytes: 0,
    maxBytes: 0,
    framesWritten: 0,
    bytesWritten: 0,
    syncs: 0,
    syncFailures: 0,
    filesCreated: 0,
    filesRecycled: 0,
    filesFailed: 0,
    lagRecords: 0,
    lagBytes: 0,
    lagMs: 0,
  };
  for (const shard of shards) {
    const metrics: JournalMetrics | undefined = shard.journalMetrics();
    const { lag } = shard;
    if (metrics !== undefined) for (const name of JOURNAL_SUMS) total[name] += metrics[name];
    total.lagRecords += lag?.records ?? 0;
    total.lagBytes += lag?.bytes ?? 0;
    total.lagMs = Math.max(total.lagMs, lag?.ms ?? 0);
  }
  return total;
}

const JOURNAL_SUMS = [
  "liveFrames",
  "liveBytes",
  "files",
  "usedBytes",
  "maxBytes",
  "framesWritten",
  "bytesWritten",
  "syncs",
  "syncFailures",
  "filesCreated",
  "filesRecycled",
  "filesFailed",
] as const;

/** What shards found in journals, kept for whoever asks and told to the log. */
export class RecoveryReports {
  readonly #runtime: Runtime;
  readonly #topics: () => readonly TopicDescription[];
  readonly #reports: RecoveryReport[] = [];

  constructor(runtime: Runtime, topics: () => readonly TopicDescription[]) {
    this.#runtime = runtime;
    this.#topics = topics;
  }

  get list(): readonly RecoveryReport[] {
    return this.#reports;
  }

  add(recovery: ShardRecovery): void {
    const { outcome, shard, setAside, tornTail } = recovery;
    const report = this.#reportOf(recovery);
    if (outcome === "nothing" && tornTail === undefined) return;
    this.#reports.push(report);
    if (this.#reports.length > REPORTS_MAX) this.#reports.shift();
    const { logger } = this.#runtime;
    if (tornTail !== undefined) logger.warn("the end of the journal was torn, and is dropped", { shard, ...tornTail });
    if (setAside !== undefined) {
      logger.warn("journaled records were set aside: another writer's turn came between; see tierlog journal salvage", {
        shard,
        ...setAside,
      });
    }
    if (outcome === "disk-lost") {
      logger.warn("the last owner acknowledged from a journal that is not here: records may be lost", {
        shard,
        mayBeLost: report.mayBeLost,
        lastCommitAt: report.lastCommitAt,
      });
    }
    if (recovery.replayed.frames > 0) logger.info("goes on with journaled records", { shard, ...recovery.replayed });
  }

  #reportOf(recovery: ShardRecovery): RecoveryReport {
    const { shard, outcome, replayed, setAside, tornTail, mayBeLost, lastCommitAtMs } = recovery;
    return {
      shard,
      outcome,
      replayed,
      ...(setAside === undefined ? {} : { setAside }),
      ...(tornTail === undefined ? {} : { tornTail }),
      ...(mayBeLost === undefined ? {} : { mayBeLost: this.#partitionsOf(shard, mayBeLost) }),
      ...(lastCommitAtMs === undefined ? {} : { lastCommitAt: new Date(lastCommitAtMs).toISOString() }),
    };
  }

  /** All partitions of the shard: also one whose first records never came to the chain may have lost them. */
  #partitionsOf(
    shard: ShardId,
    ends: NonNullable<ShardRecovery["mayBeLost"]>,
  ): NonNullable<RecoveryReport["mayBeLost"]> {
    const names = new Map<TopicId, string>();
    const found = new Map(ends.map((end) => [`${end.topicId}/${end.partition}`, end]));
    for (const { id, name, shards } of this.#topics()) {
      names.set(id, name);
      for (const [partition, owner] of shards.entries()) {
        const key = `${id}/${partition}`;
        if (owner !== shard || found.has(key)) continue;
        found.set(key, { topicId: id, partition, firstOffset: 0 as (typeof ends)[number]["firstOffset"] });
      }
    }
    return Array.from(found.values(), (end) => ({ topic: names.get(end.topicId), ...end }));
  }
}
