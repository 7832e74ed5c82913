import type { TopicId } from "../domain.ts";
import { MissingObjectError } from "../errors.ts";
import type { LinkTrim } from "../index-chain/link-entries.ts";
import type { ShardState } from "../index-chain/shard-state.ts";
import type { SweptShard } from "../merge/swept-shard.ts";
import { CATALOG_PREFIX } from "../object-store/object-names.ts";
import type { Catalog } from "./catalog.ts";

/**
 * Topics that have records in these states and are not in the catalog. The catalog is read after the states were folded: an id is given
 * once, and a topic is in the catalog before its first record, so what is missing now was deleted. Rejects where the catalog cannot be
 * read, or there is none: a catalog that was lost must not cost the records too.
 */
export async function deletedTopics(states: readonly ShardState[], catalog: Catalog): Promise<ReadonlySet<TopicId>> {
  const topics = new Set<TopicId>();
  for (const state of states) for (const id of state.ends()) if (holdsRecords(state, id)) topics.add(id.topicId);
  if (topics.size === 0) return topics;
  await catalog.refresh();
  if (!catalog.isKnown) throw new MissingObjectError(CATALOG_PREFIX, "records of topics in the index chain");
  for (const { id } of catalog.list()) topics.delete(id);
  return topics;
}

/** Moves the start of every partition of `topics` to its end: one link. What lies in the chain before it is nobody's any more. */
export async function trimAway(shard: SweptShard, topics: ReadonlySet<TopicId>): Promise<number> {
  const plan = (state: ShardState): readonly LinkTrim[] => {
    const trims: LinkTrim[] = [];
    for (const { topicId, partition, firstOffset } of state.ends()) {
      const extents = state.extents({ topicId, partition });
      if (extents === undefined || extents.count === 0 || !topics.has(topicId)) continue;
      trims.push({ topicId, partition, oldStart: extents.startOffset, newStart: firstOffset });
    }
    return trims;
  };
  let trimmed = 0;
  if (plan(shard.chainState).length === 0) return 0;
  await shard.change((state) => {
    const trims = plan(state);
    trimmed = trims.length;
    return trims.length === 0 ? [] : [{ type: "trim", trims }];
  });
  return trimmed;
}

function holdsRecords(state: ShardState, id: { readonly topicId: TopicId; readonly partition: number }): boolean {
  return (state.extents(id)?.count ?? 0) > 0;
}
