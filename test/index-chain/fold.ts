import type { Epoch } from "../../src/domain.ts";
import { ShardState } from "../../src/index-chain/shard-state.ts";
import { NO_WRITE_ID, type WriteId } from "../../src/index-chain/write-id.ts";
import { indexKey } from "../../src/object-store/object-names.ts";
import { SHARD, writeId } from "./links.ts";

/** A state that live links are folded into, without a store. */
export interface Fold {
  readonly state: ShardState;
  lastLive: WriteId;
}

/** Folds one more link with these entries. */
export function fold(into: Fold, epoch: number, entries: Parameters<ShardState["apply"]>[0]["entries"]): void {
  const { state } = into;
  const id = writeId(`link ${state.nextSeq}`);
  const key = indexKey(SHARD, state.nextSeq);
  const liveness = state.apply(
    {
      shard: SHARD,
      seq: state.nextSeq,
      epoch: epoch as Epoch,
      writeId: id,
      prev: into.lastLive,
      writerId: "host:42:beef",
      createdAtMs: 1_700_000_000_000,
      entries,
      sizeBytes: 1000,
    },
    key,
  );
  if (liveness !== "live") throw new Error("void link in a fixture");
  into.lastLive = id;
}

/** Behind the fence of epoch 3. */
export function fenced(): Fold {
  const into = { state: new ShardState(SHARD), lastLive: NO_WRITE_ID };
  fold(into, 3, [{ type: "fence", journalId: "7".repeat(32), endpoint: "10.0.0.7:9092" }]);
  return into;
}
