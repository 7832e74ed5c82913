import type { ObjectKey, Seq } from "../../../src/domain.ts";
import type { Extent } from "../../../src/index-chain/extent-list.ts";
import type { ObjectStore } from "../../../src/object-store/object-store.ts";
import { ChainEditor } from "../../support/chain-editor.ts";
import { bytesOf, checkpoint, copyOf, dataObjects, filledStore, index } from "./damaged-store.ts";

export interface MergedStore {
  readonly store: ObjectStore;
  /** Of partitions 0 and 1, of one size. */
  readonly segments: readonly [ObjectKey, ObjectKey];
  /** What they replace. */
  readonly superseded: readonly [ObjectKey, ObjectKey];
  /** The checkpoint of 3, which was deleted when newer ones were there. */
  readonly early: Uint8Array;
}

/** The lowest seq that is kept. */
export const BOUNDARY = 12;

/**
 * `filledStore`, merged: the fence of epoch 2 at seq 10; at 11 a replace of all records by one segment of each partition; the same again
 * at 12, which has no effect; small appends to partition 0 at 13 … 15 and at 17; a boundary of 12 at 16; the release at 18. Checkpoints
 * of 15 and 17. All links are still there, and what is superseded.
 */
export async function mergedStore(): Promise<MergedStore> {
  const store = await filledStore();
  const superseded = await dataObjects(store);
  const editor = await ChainEditor.open(store, 0);
  const ids = editor.state.ends().map(({ topicId, partition }) => ({ topicId, partition }));
  const [id] = ids;
  if (id === undefined) throw new Error("no partition");
  const small: Extent | undefined = editor.state.extents(id)?.at(0);
  if (small === undefined) throw new Error("no extent");
  const replace = await editor.merge(ids);
  await editor.commit([replace]);
  await editor.commit([replace]);
  for (let seq = 13; seq <= 15; seq++) await editor.appendAgain(id, small);
  await editor.checkpoint();
  await editor.commit([{ type: "boundary", seq: BOUNDARY as Seq }]);
  await editor.appendAgain(id, small);
  await editor.checkpoint();
  await editor.commit([{ type: "release" }]);
  const early = await bytesOf(store, checkpoint(3));
  await store.delete([checkpoint(3), checkpoint(7)]);
  const [first, second] = replace.objects.map(({ key }) => key);
  if (first === undefined || second === undefined) throw new Error("no segments");
  return { store, segments: [first, second], superseded, early };
}

/** As it is once all that may be deleted has been. */
export async function collected(merged: MergedStore): Promise<MergedStore> {
  const store = await copyOf(merged.store);
  await store.delete([...Array.from({ length: BOUNDARY }, (_, seq) => index(seq)), ...merged.superseded]);
  return { ...merged, store };
}
