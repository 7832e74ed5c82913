import type { ObjectKey } from "../../domain.ts";
import { CHECKPOINT_HEADER_BYTES, decodeCheckpoint, readCheckpointName } from "../../index-chain/checkpoint-file.ts";
import { ShardState, type StateSnapshot } from "../../index-chain/shard-state.ts";
import { damageAt, damageItem, type ByteSource, type DumpItem } from "./dump-item.ts";

/** The state that a checkpoint holds. Read whole: it is one CRC. */
export async function* dumpCheckpoint(
  source: ByteSource,
  name: { readonly shard: number; readonly seq: number },
): AsyncGenerator<DumpItem> {
  const key = source.name as ObjectKey;
  const bytes = await source.read(0, source.sizeBytes);
  let snapshot: StateSnapshot;
  try {
    const found = readCheckpointName(bytes, key);
    yield { type: "header", depth: 0, position: 0, fields: found };
    if (found.shard !== name.shard || found.seq !== name.seq)
      yield damageAt(12, 0, `stands under a wrong name: it is of seq ${found.seq} of shard ${found.shard}`);
    snapshot = await decodeCheckpoint(bytes, key, found.shard, found.seq);
  } catch (error) {
    yield damageItem(error, 0, 0);
    return;
  }
  const { lastLive, liveLinks, released, fence, boundary, objects, partitions } = snapshot;
  yield {
    type: "state",
    depth: 0,
    position: CHECKPOINT_HEADER_BYTES,
    fields: {
      ...(boundary === 0 ? {} : { boundary }),
      lastLive,
      liveLinks,
      released,
      dataObjects: objects.length,
      partitions: partitions.length,
    },
  };
  yield { type: "fence", depth: 0, fields: { ...fence } };
  const state = new ShardState(snapshot.shard);
  state.restore(snapshot);
  for (const [i, { key: object, sizeBytes }] of objects.entries())
    yield { type: "data-object", depth: 0, fields: { object: i + 1, key: object, sizeBytes } };
  for (const { topicId, partition } of partitions) {
    const list = state.extents({ topicId, partition });
    if (list === undefined) continue;
    const { startOffset, nextOffset, count } = list;
    yield { type: "partition", depth: 0, fields: { topicId, partition, startOffset, nextOffset, extents: count } };
    for (let i = 0; i < count; i++) {
      const { object, position, ...fields } = list.at(i);
      yield { type: "extent", depth: 1, fields: { object: state.objectKey(object), at: position, ...fields } };
    }
  }
}
