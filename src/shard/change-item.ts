import type { TierlogError } from "../errors.ts";
import type { LinkEntry } from "../index-chain/link-entries.ts";
import type { ShardState } from "../index-chain/shard-state.ts";
import type { PreparedFlight } from "./prepare.ts";

/** The entries that are to change a state, no append among them; none: nothing is sent. Throws what its caller is to be told. */
export type ChangePlan = (state: ShardState) => readonly LinkEntry[];

/**
 * A trim, replace or boundary on its way into the chain, in the queue of the flushes: it has no records, no bytes, and no offsets build
 * on it. Planned only once the shard is ours, or the plan would be for another state.
 */
export class ChangeItem {
  prepared: PreparedFlight | undefined;
  /** Settles when its link is live, or nothing was to be changed; rejects when it was given up. */
  readonly done: Promise<void>;
  readonly #plan: ChangePlan;
  #resolve: () => void = () => undefined;
  #reject: (error: Error) => void = () => undefined;

  constructor(plan: ChangePlan) {
    this.#plan = plan;
    this.done = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    // Whoever asked waits for it; a flush that waits for it too must not be needed.
    this.done.catch(() => undefined);
  }

  /** Of `flush.max_pending`. */
  readonly bytes = 0;
  readonly bufferedAcks = 0;

  endOf(): undefined {
    return undefined;
  }

  pendingRecords(): number {
    return 0;
  }

  /** What the link is to say; undefined where that is nothing, and it is done. REQUIRES: `state` is that of the owner. */
  plan(state: ShardState): PreparedFlight | undefined {
    try {
      const changes = this.#plan(state);
      if (changes.length > 0) return { extents: [], chunks: [], batchBytes: 0, object: undefined, changes };
      this.#resolve();
    } catch (error) {
      this.#reject(error instanceof Error ? error : new Error(String(error)));
    }
    return undefined;
  }

  committed(): void {
    this.#resolve();
  }

  failed(error: TierlogError): void {
    this.#reject(error);
  }
}
