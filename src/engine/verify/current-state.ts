import type { Seq, ShardId } from "../../domain.ts";
import { isTierlogError } from "../../errors.ts";
import { decodeCheckpoint } from "../../index-chain/checkpoint-file.ts";
import { readLink } from "../../index-chain/read-link.ts";
import { ShardState } from "../../index-chain/shard-state.ts";
import { checkpointKey, checkpointPrefix, indexKey, parseObjectName } from "../../object-store/object-names.ts";
import type { Verification } from "./verification.ts";

/**
 * The state of a shard by what its owner has written since `state` was folded, to tell what is lost from what was merged, trimmed and
 * deleted meanwhile: from a checkpoint that is newer than the links of `state`, else from `state`, which stays as it is. Links behind one
 * that cannot be read are not looked at.
 */
export async function currentState(verification: Verification, state: ShardState): Promise<ShardState> {
  const { store, calls } = verification;
  const { shard } = state;
  const current = new ShardState(shard);
  try {
    const newest = await newestCheckpoint(verification, shard);
    const stored =
      newest !== undefined && newest >= state.nextSeq
        ? await store.get(checkpointKey(shard, newest), calls)
        : undefined;
    if (newest !== undefined && stored !== undefined)
      current.restore(await decodeCheckpoint(stored.body, checkpointKey(shard, newest), shard, newest));
    else if (state.fence !== undefined) current.restore(state.snapshot());
    for (;;) {
      const seq = current.nextSeq;
      const link = await readLink(store, shard, seq, calls);
      if (link === undefined) return current;
      current.apply(link, indexKey(shard, seq));
    }
  } catch (error) {
    // What came after the check began is not for this run to report.
    if (!isTierlogError(error) || error.kind !== "data") throw error;
    return current.nextSeq === 0 ? state : current;
  }
}

async function newestCheckpoint({ store, calls }: Verification, shard: ShardId): Promise<Seq | undefined> {
  let newest: Seq | undefined;
  for await (const { key } of store.list(checkpointPrefix(shard), calls)) {
    const name = parseObjectName(key);
    if (name?.kind === "checkpoint") newest = name.seq;
  }
  return newest;
}
