import type { StoreReader } from "./store-reader.ts";

/** Shard of each `topicId/partition` of the newest catalog: docs/store-layout.md. */
export async function readPlaces(store: StoreReader): Promise<Map<string, number>> {
  const newest = (await store.list("catalog/")).at(-1);
  const bytes = newest === undefined ? undefined : await store.get(newest);
  if (bytes === undefined) throw new Error("the store has no catalog");
  const { topics } = JSON.parse(bytes.toString("utf8")) as { topics: { id: string; shards: number[] }[] };
  return new Map(topics.flatMap(({ id, shards }) => shards.map((shard, partition) => [`${id}/${partition}`, shard])));
}
