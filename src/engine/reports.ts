import type { Offset, ShardId, TopicId } from "../domain.ts";
import type { AsideReport, TornTail } from "../journal/reports.ts";

/** What `recover()` found in the journal of one shard and did about it. */
export interface RecoveryReport {
  readonly shard: ShardId;
  /**
   * "nothing": no live frame. "replayed": all are in the object store now. "set-aside": another writer's turn lies between; they are kept
   * beside the journal and are not in the log. "disk-lost": the chain says that there was a journal here, and it is gone.
   */
  readonly outcome: "nothing" | "replayed" | "set-aside" | "disk-lost";
  readonly replayed: { readonly frames: number; readonly records: number; readonly bytes: number };
  readonly setAside?: AsideReport;
  readonly tornTail?: TornTail;
  /** Of a lost disk: where each partition goes on. What was acknowledged from the journal at these offsets and behind may be lost. */
  readonly mayBeLost?: readonly {
    readonly topic: string | undefined;
    readonly topicId: TopicId;
    readonly partition: number;
    readonly firstOffset: Offset;
  }[];
  /** ISO 8601: of the last link of the chain before. */
  readonly lastCommitAt?: string;
}

export interface RecoveryProgress {
  readonly shard: ShardId;
  readonly framesLeft: number;
  readonly bytesLeft: number;
  readonly recordsUploaded: number;
}

/** What is acknowledged from the journal and not in the object store: the next start uploads it. Empty: nothing is. */
export interface CloseReport {
  readonly journaled: readonly { readonly shard: ShardId; readonly records: number; readonly bytes: number }[];
}
