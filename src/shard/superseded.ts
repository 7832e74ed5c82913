import type { PartitionId } from "../domain.ts";
import { MissingObjectError } from "../errors.ts";
import type { ShardState } from "../index-chain/shard-state.ts";

/** A view that can be folded on. */
export interface FoldedView {
  readonly chainState: ShardState;
  /** Folds on to the end of the chain, as owner too. */
  refold(): Promise<ShardState>;
}

/** Each but the last needs another merge or trim of just these records, and its objects deleted, while one read runs. */
const TRIES_MAX = 8;

/**
 * What `read` finds in the view. An object that is gone is no loss as long as a new fold does not name it: its records were merged into
 * another one, or trimmed, since `read` looked (DESIGN section 4 rule 9). Then it reads again, from the view as it is by then. REQUIRES:
 * `read` goes by the view each time, and keeps nothing from one time to the next.
 */
export async function readThroughMerges<T>(view: FoldedView, id: PartitionId, read: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await read();
    } catch (error) {
      if (!(error instanceof MissingObjectError) || tries === TRIES_MAX) throw error;
      // The own view may know it without asking.
      if (isNamed(view.chainState, id, error.key) && isNamed(await view.refold(), id, error.key)) throw error;
    }
  }
}

/** Do extents of the partition lie in the object? */
function isNamed(state: ShardState, id: PartitionId, key: string): boolean {
  const extents = state.extents(id);
  let last = Number.NaN;
  for (let i = 0; i < (extents?.count ?? 0); i++) {
    const object = extents?.at(i).object;
    if (object === undefined || object === last) continue;
    last = object;
    if (state.objectKey(object) === key) return true;
  }
  return false;
}
