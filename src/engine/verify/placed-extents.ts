import type { PartitionId, TopicId } from "../../domain.ts";
import { InvariantError } from "../../errors.ts";
import type { Extent, ExtentList, ObjectNumber } from "../../index-chain/extent-list.ts";
import type { ShardState } from "../../index-chain/shard-state.ts";

export interface PlacedExtent extends Extent, PartitionId {}

/** The extents of one object, by position. */
export interface ObjectExtents {
  readonly object: ObjectNumber;
  readonly extents: readonly PlacedExtent[];
}

/**
 * All extents of a state grouped by the object that holds them, data objects first, then index files; of one topic only where
 * `onlyTopic` is given. About 28 bytes of memory for each extent, and objects for one group at a time.
 */
export function* extentsByObject(state: ShardState, onlyTopic: TopicId | undefined): Generator<ObjectExtents> {
  const lists: { readonly id: PartitionId; readonly list: ExtentList }[] = [];
  let count = 0;
  for (const id of state.ends()) {
    const list = state.extents(id);
    if (list === undefined || (onlyTopic !== undefined && id.topicId !== onlyTopic)) continue;
    lists.push({ id, list });
    count += list.count;
  }
  const listOf = new Uint32Array(count);
  const placeOf = new Uint32Array(count);
  const objects = new Float64Array(count);
  const positions = new Float64Array(count);
  let n = 0;
  for (const [number, { list }] of lists.entries()) {
    for (let i = 0; i < list.count; i++, n++) {
      const extent = list.at(i);
      listOf[n] = number;
      placeOf[n] = i;
      objects[n] = extent.object;
      positions[n] = extent.position;
    }
  }
  // Every index lies below `count`: the accesses never miss.
  const order = Uint32Array.from({ length: count }, (_, i) => i).sort(
    (a, b) => objects[a]! - objects[b]! || positions[a]! - positions[b]!,
  );
  let group: PlacedExtent[] = [];
  for (const i of order) {
    const { id, list } = lists[listOf[i]!] ?? missing();
    const extent = list.at(placeOf[i]!);
    const first = group[0];
    if (first !== undefined && first.object !== extent.object) {
      yield { object: first.object, extents: group };
      group = [];
    }
    group.push({ ...extent, topicId: id.topicId, partition: id.partition });
  }
  const [first] = group;
  if (first !== undefined) yield { object: first.object, extents: group };
}

function missing(): never {
  throw new InvariantError("an extent of no partition");
}
