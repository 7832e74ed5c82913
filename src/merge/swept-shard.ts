import type { Seq, ShardId } from "../domain.ts";
import { AbortedError } from "../errors.ts";
import type { LinkEntry } from "../index-chain/link-entries.ts";
import type { ShardState } from "../index-chain/shard-state.ts";
import type { BoundaryView } from "./garbage.ts";
import type { GivenUpObjects } from "./given-up.ts";

/** A shard as whoever frees its space sees it. */
export interface SweptShard {
  readonly id: ShardId;
  readonly isOwner: boolean;
  /** As far as it was folded. */
  readonly chainState: ShardState;
  /** Those that this process knows to be good. */
  readonly keptCheckpoints: { readonly newest: Seq | undefined; readonly older: Seq | undefined };
  readonly givenUp: GivenUpObjects;
  /** Rule 6: afterwards the view is proved by a request that started less than half of the grace ago, maybe as a reader's. `FencedError`. */
  ensureProved(): Promise<void>;
  /** Writes a checkpoint of the present state, unless there is one at that seq. false: it could not be written. */
  checkpointNow(): Promise<boolean>;
  /** Sends the entries planned for the state at that moment in one link. `FencedError`, and what appends reject with. */
  change(plan: (state: ShardState) => readonly LinkEntry[]): Promise<void>;
}

export function boundaryViewOf({ chainState, keptCheckpoints }: SweptShard): BoundaryView {
  const { boundary, nextSeq } = chainState;
  return { boundary, nextSeq, lowestInline: chainState.lowestInline(), older: keptCheckpoints.older };
}

/** Behind it the view is proved, and an owner's. Rejects where the turn is over. */
export async function proveTurn(shard: SweptShard): Promise<void> {
  await shard.ensureProved();
  if (!shard.isOwner) throw new AbortedError(`freeing space of shard ${shard.id}, which is not ours any more,`);
}
