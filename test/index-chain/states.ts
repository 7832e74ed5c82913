import { decodeLink, decodeLinkHeader, type Link } from "../../src/index-chain/index-file.ts";
import type { ShardState } from "../../src/index-chain/shard-state.ts";
import { indexKey } from "../../src/object-store/object-names.ts";
import type { ObjectStore } from "../../src/object-store/object-store.ts";

/** Everything a state knows, as text: two states with the same digest behave the same for ever. */
export function digest(state: ShardState): string {
  if (state.fence === undefined) return `empty at ${state.nextSeq}`;
  const { fence, objects, partitions, ...rest } = state.snapshot();
  const lines = [
    JSON.stringify({ ...rest, nextSeq: state.nextSeq, epoch: state.epoch }),
    ...Object.entries(fence)
      .map(([name, value]) => `fence ${name} ${value}`)
      .sort(),
  ];
  for (const { key, sizeBytes } of objects) lines.push(`object ${key} ${sizeBytes}`);
  for (const id of partitions) {
    const list = state.extents(id);
    if (list === undefined) throw new Error(`partition ${id.partition} is in the snapshot, not in the state`);
    lines.push(`${id.topicId}/${id.partition}: ${list.startOffset} … ${list.nextOffset}, ${list.bytes} bytes`);
    for (let i = 0; i < list.count; i++) {
      const { object, ...extent } = list.at(i);
      lines.push(`${state.objectKey(object)} ${Object.values(extent).join(" ")}`);
    }
  }
  return lines.join("\n");
}

async function readLink(store: ObjectStore, state: ShardState): Promise<Link | undefined> {
  const { shard, nextSeq } = state;
  const key = indexKey(shard, nextSeq);
  const stored = await store.get(key);
  if (stored === undefined) return undefined;
  return decodeLink(stored.body, decodeLinkHeader(stored.body, key, shard, nextSeq), stored.sizeBytes, key);
}

/** The digest behind each link of the chain in `store`, folded from the first and without any checkpoint: entry n is behind seq n. */
export async function digestsFromZero(
  store: ObjectStore,
  state: ShardState,
  onLink: (state: ShardState) => void = () => undefined,
): Promise<string[]> {
  if (state.nextSeq !== 0) throw new Error("a state that has begun");
  const digests: string[] = [];
  for (;;) {
    const link = await readLink(store, state);
    if (link === undefined) return digests;
    state.apply(link, indexKey(link.shard, link.seq));
    digests.push(digest(state));
    onLink(state);
  }
}
