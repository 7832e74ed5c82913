import type { AppendReceipt } from "../domain.ts";
import { asTierlogError, InvalidArgumentError } from "../errors.ts";
import { checkRecords } from "../record/batch-builder.ts";
import { partitionForKey } from "../record/murmur2.ts";
import type { LogRecord } from "../record/record.ts";
import type { AppendOptions, TopicApi, TopicDescription } from "./api.ts";
import { Partition, type EngineContext } from "./partition.ts";

export class Topic implements TopicApi {
  readonly description: TopicDescription;
  readonly #context: EngineContext;
  /** Made on first use: a topic may have a hundred thousand. */
  readonly #partitions = new Map<number, Partition>();
  #sticky = 0;
  #stickyFlush = -1;

  constructor(context: EngineContext, description: TopicDescription) {
    this.#context = context;
    this.description = description;
  }

  partition(number: number): Partition {
    const known = this.#partitions.get(number);
    if (known !== undefined) return known;
    const { name, partitions, shards } = this.description;
    const shard = Number.isInteger(number) ? shards[number] : undefined;
    if (shard === undefined) {
      throw new InvalidArgumentError("partition", number, `topic ${name} has partitions 0 … ${partitions - 1}`);
    }
    const partition = new Partition(this.#context, this.description, number, this.#context.shard(shard));
    this.#partitions.set(number, partition);
    return partition;
  }

  async append(records: readonly LogRecord[], options?: AppendOptions): Promise<readonly AppendReceipt[]> {
    // Before any group is sent: a bad record in one must not leave the others stored.
    checkRecords(records, this.#context.batchBytesMax);
    const groups = new Map<number, LogRecord[]>();
    for (const record of records) {
      const number =
        record.key instanceof Uint8Array ? partitionForKey(record.key, this.description.partitions) : this.#unkeyed();
      const group = groups.get(number);
      if (group === undefined) groups.set(number, [record]);
      else group.push(record);
    }
    return allOrFailure([...groups].map(([number, group]) => this.partition(number).append(group, options)));
  }

  /** One partition per flush, the next one for the next: full batches, and all partitions used in turn. */
  #unkeyed(): number {
    const flush = this.partition(this.#sticky).flushNumber;
    if (flush !== this.#stickyFlush) {
      this.#sticky = this.#stickyFlush === -1 ? this.#sticky : (this.#sticky + 1) % this.description.partitions;
      this.#stickyFlush = this.partition(this.#sticky).flushNumber;
    }
    return this.#sticky;
  }
}

/** All receipts, or, when all are settled, the first error: of effect "none" only if none of the appends left anything behind. */
async function allOrFailure(appends: readonly Promise<AppendReceipt>[]): Promise<readonly AppendReceipt[]> {
  const outcomes = await Promise.allSettled(appends);
  const receipts = outcomes.flatMap((outcome) => (outcome.status === "fulfilled" ? [outcome.value] : []));
  const errors = outcomes.flatMap((outcome) => (outcome.status === "rejected" ? [asTierlogError(outcome.reason)] : []));
  const [first] = errors;
  if (first === undefined) return receipts;
  const nothing = receipts.length === 0 && errors.every((error) => error.effect === "none");
  throw first.withEffect(nothing ? "none" : "unknown");
}
