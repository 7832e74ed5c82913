import { countRequests, type RequestCounts } from "../../bench/request-counts.ts";
import type { EngineApi } from "../../engine/api.ts";
import { PartitionRounds } from "../partition-rounds.ts";
import { PartitionHash, type PartitionDigest } from "./partition-hash.ts";

export interface ReadResult {
  readonly partitions: readonly PartitionDigest[];
  readonly requests: RequestCounts;
}

/** Reads all partitions of a topic from the beginning to the end. */
export async function readDemo(engine: EngineApi, topicName: string): Promise<ReadResult> {
  const topic = await engine.topic(topicName);
  const numbers = Array.from({ length: topic.description.partitions }, (_, number) => number);
  const hashes = numbers.map(() => new PartitionHash());
  const rounds = new PartitionRounds(numbers.map((number) => ({ partition: topic.partition(number), offset: 0 })));
  for await (const { partition, records } of rounds.run()) {
    hashes[partition]?.add(records.map(({ value }) => value));
  }
  return { partitions: hashes.map((hash) => hash.digest()), requests: countRequests(engine.metrics().store) };
}
