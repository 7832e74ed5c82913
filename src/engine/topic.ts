import type { AppendReceipt } from "../domain.ts";
import { InvalidArgumentError } from "../errors.ts";
import { partitionForKey } from "../record/murmur2.ts";
import type { LogRecord } from "../record/record.ts";
import type { TopicApi, TopicDescription } from "./api.ts";
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

  async append(records: readonly LogRecord[]): Promise<readonly AppendReceipt[]> {
    const groups = new Map<number, LogRecord[]>();
    for (const record of records) {
      const number =
        record.key instanceof Uint8Array ? partitionForKey(record.key, this.description.partitions) : this.#unkeyed();
      const group = groups.get(number);
      if (group === undefined) groups.set(number, [record]);
      else group.push(record);
    }
    if (groups.size === 0) return [await this.partition(0).append(records)];
    return Promise.all([...groups].map(([number, group]) => this.partition(number).append(group)));
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
