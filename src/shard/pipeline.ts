import type { AppendReceipt, ObjectKey, Offset, PartitionId, ShardId } from "../domain.ts";
import type { TierlogError } from "../errors.ts";
import type { Commit, IndexChain } from "../index-chain/index-chain.ts";
import type { DataObjectRef } from "../index-chain/link-entries.ts";
import type { BufferedMultipartWriter } from "../object-store/buffered-multipart-writer.ts";
import { dataKey } from "../object-store/object-names.ts";
import type { LogRecord } from "../record/record.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { ChangePlan } from "./change-item.ts";
import type { AppendTarget, Waiter } from "./pending.ts";
import type { PreparedFlight, PrepareOptions } from "./prepare.ts";

export interface FlushSettings {
  readonly lingerMs: number;
  readonly flushBytesMax: number;
  readonly batchBytesMax: number;
  /** Of an index file: one part. */
  readonly linkBytesMax: number;
}

export interface PipelineOptions {
  readonly shard: ShardId;
  readonly chain: IndexChain;
  readonly runtime: Runtime;
  readonly writerId: string;
  readonly settings: FlushSettings;
  readonly openWriter: (key: ObjectKey, signal: AbortSignal) => BufferedMultipartWriter;
  /** A data object, whole or not, that no link will ever name: it was written and then given up. */
  readonly onGivenUp: (object: DataObjectRef) => void;
  /** Gives back what appends hold of `flush.max_pending`. */
  readonly leave: (bytes: number) => void;
  /** After a link is live and its appends are acknowledged. */
  readonly onCommit: (commit: Commit, flights: readonly { readonly prepared: PreparedFlight | undefined }[]) => void;
}

/** The way of a shard's appends to their acks and into its chain. */
export interface Pipeline {
  /** Counts the flushes taken: appends made under the same number ride together. */
  readonly flushes: number;
  /** Appends acknowledged as buffered whose records were given up afterwards. */
  readonly bufferedLost: number;
  /** Records of a partition that are neither committed nor in a journal. */
  pendingRecords(key: string): number;
  /** REQUIRES: the records were checked, and `bytes` admitted: they are given back when the records are stored or given up. */
  addRecords(target: AppendTarget, records: readonly LogRecord[], bytes: number, waiter: Waiter): void;
  /** REQUIRES: the batch was checked, and `bytes` admitted. Takes `encoded` over. */
  addEncoded(target: AppendTarget, encoded: Uint8Array, records: number, bytes: number, waiter: Waiter): void;
  /**
   * Takes the shard over unless it is ours, and sends a change behind the flushes that are on their way; resolves when its link is live,
   * or nothing was to be changed. Rejects with what `plan` throws, or as a flush does. One call at a time.
   */
  change(plan: ChangePlan): Promise<void>;
  /** Sends everything pending to the store now and waits until it is there; rejects with the error that its appends got. */
  flush(): Promise<void>;
  /**
   * REQUIRES: nothing is added any more. Gives up what is still pending: it fails with `reason`, of effect "unknown" where it may be
   * stored all the same. Resolves when nothing is on its way.
   */
  end(reason: TierlogError): Promise<void>;
}

type ObjectOpenerOptions = Pick<PipelineOptions, "shard" | "chain" | "runtime" | "openWriter" | "onGivenUp">;

/** How the data objects of one pipeline are opened and cleared away. */
export class ObjectOpener {
  readonly #options: ObjectOpenerOptions;
  readonly #keys = new WeakMap<BufferedMultipartWriter, ObjectKey>();
  /** Uploads that are being cleared away. */
  readonly #abandoning = new Set<Promise<void>>();
  #objects = 0;

  constructor(options: ObjectOpenerOptions) {
    this.#options = options;
  }

  get prepareOptions(): Pick<PrepareOptions, "openObject" | "abandon"> {
    const { shard, chain, runtime, openWriter, onGivenUp } = this.#options;
    const { epoch } = chain.state;
    return {
      openObject: (signal) => {
        const key = dataKey(shard, epoch, this.#objects++, Buffer.from(runtime.random.bytes(8)).toString("hex"));
        const writer = openWriter(key, signal);
        this.#keys.set(writer, key);
        return { key, writer };
      },
      abandon: (writer) => {
        const abandoning = writer.abandon().finally(() => {
          this.#abandoning.delete(abandoning);
          const key = this.#keys.get(writer);
          // What was sent may have come to be all the same: an abort says nothing of a part or a completion that is still under way.
          if (key !== undefined) onGivenUp({ key, sizeBytes: 0 });
        });
        this.#abandoning.add(abandoning);
      },
    };
  }

  /** Waits until all that was given up is cleared away, or given up too. */
  async cleared(): Promise<void> {
    await Promise.allSettled(this.#abandoning);
  }
}

/** Of an append to one partition that asked for no more than memory. */
export function bufferedReceipt(
  { partition }: PartitionId,
  firstOffset: Offset,
  records: number,
  epoch: AppendReceipt["epoch"],
): AppendReceipt {
  return { partition, firstOffset, nextOffset: (firstOffset + records) as Offset, level: "buffered", epoch };
}
