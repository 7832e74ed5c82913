import type { TierlogError } from "../errors.ts";
import type { LinkTrim } from "../index-chain/index-file.ts";
import type { ShardState } from "../index-chain/shard-state.ts";
import type { PreparedFlight } from "./prepare.ts";

/** What is to be trimmed in a state; none: nothing is sent. Throws what its caller is to be told. */
export type TrimPlan = (state: ShardState) => readonly LinkTrim[];

/**
 * A trim on its way into the chain, in the queue of the flushes: it has no records, no bytes, and no offsets build on it. Planned
 * only once the shard is ours, or the plan would be for another state.
 */
export class TrimItem {
  prepared: PreparedFlight | undefined;
  /** Settles when the link of the trim is live, or nothing was to be trimmed; rejects when it was given up. */
  readonly done: Promise<void>;
  readonly #plan: TrimPlan;
  #resolve: () => void = () => undefined;
  #reject: (error: Error) => void = () => undefined;

  constructor(plan: TrimPlan) {
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
      const trims = this.#plan(state);
      if (trims.length > 0) return { extents: [], chunks: [], batchBytes: 0, object: undefined, trims };
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
