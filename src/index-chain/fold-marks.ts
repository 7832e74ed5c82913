import type { Epoch, Seq } from "../domain.ts";
import type { ShardState } from "./shard-state.ts";
import type { WriteId } from "./write-id.ts";

/** What a fold held behind a seq: by this a checkpoint of that seq is told to be of the same chain. */
export interface FoldMark {
  readonly lastLive: WriteId;
  readonly epoch: Epoch;
}

/** The marks of one fold, behind every seq from the one it started at. */
export class FoldMarks {
  #first = 0;
  #lastLive: WriteId[] = [];
  #epochs: Epoch[] = [];

  /** Notes what `state` holds behind its last folded seq. REQUIRES: called behind each seq, in order. */
  note(state: ShardState): void {
    const seq = state.nextSeq - 1;
    if (this.#lastLive.length === 0) this.#first = seq;
    this.#lastLive.push(state.lastLive);
    this.#epochs.push(state.epoch);
  }

  at(seq: Seq): FoldMark | undefined {
    const lastLive = this.#lastLive[seq - this.#first];
    const epoch = this.#epochs[seq - this.#first];
    return lastLive === undefined || epoch === undefined ? undefined : { lastLive, epoch };
  }

  /** Forgets those below `seq`: no checkpoint below it can be the newest any more. */
  dropBelow(seq: Seq): void {
    const count = seq - this.#first;
    if (count <= 0) return;
    this.#lastLive.splice(0, count);
    this.#epochs.splice(0, count);
    this.#first = seq;
  }
}
