import type { PartitionId, TopicId } from "../domain.ts";
import { ExtentList } from "./extent-list.ts";

/** One partition of a shard's state. */
export interface ListedPartition extends PartitionId {
  readonly extents: ExtentList;
  /** Which check last came by here, and where the partition ends behind the extents that it has seen. */
  checkedBy: number;
  checkedEnd: number;
}

/**
 * The partitions of a state, in the order in which they came; none ever leaves. By topic and number, not by a name made of both: a link
 * speaks of ten thousand of them, and making and hashing the names would take longer than folding the rest.
 */
export class PartitionTable {
  readonly #byTopic = new Map<TopicId, Map<number, ListedPartition>>();
  readonly #all: ListedPartition[] = [];

  get all(): readonly ListedPartition[] {
    return this.#all;
  }

  get({ topicId, partition }: PartitionId): ListedPartition | undefined {
    return this.#byTopic.get(topicId)?.get(partition);
  }

  /** REQUIRES: it is not there. */
  add({ topicId, partition }: PartitionId, extents = new ExtentList()): ListedPartition {
    const added = { topicId, partition, extents, checkedBy: 0, checkedEnd: 0 };
    let numbers = this.#byTopic.get(topicId);
    if (numbers === undefined) this.#byTopic.set(topicId, (numbers = new Map()));
    numbers.set(partition, added);
    this.#all.push(added);
    return added;
  }
}
