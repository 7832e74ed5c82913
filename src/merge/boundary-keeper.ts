import type { Seq } from "../domain.ts";
import type { Clock } from "../runtime/clock.ts";
import { boundaryLimit, highestBoundary, linksWorthABoundary } from "./garbage.ts";
import { boundaryViewOf, proveTurn, type SweptShard } from "./swept-shard.ts";

/**
 * The boundary of one shard that this process owns: moves it, and knows since when it is live (DESIGN section 4 rule 7: checkpoint
 * written and compared → boundary live → grace from then → delete). One at a time: the next is written when the links below the one
 * before are gone.
 */
export class BoundaryKeeper {
  readonly #shard: SweptShard;
  readonly #clock: Clock;
  /** The newest whose links were not all deleted yet. `sinceMs`: monotonic, when this process first saw it live. */
  #unswept: { readonly seq: Seq; readonly sinceMs: number } | undefined;
  /** The newest whose links were. */
  #swept = 0;
  /** Where the chain ended at the last look. */
  #endedAt: Seq | undefined;

  constructor(shard: SweptShard, clock: Clock) {
    this.#shard = shard;
    this.#clock = clock;
  }

  /** When the boundary was seen whose links are still there; undefined: there is none. */
  get unsweptSinceMs(): number | undefined {
    return this.#unswept?.sinceMs;
  }

  /**
   * The boundary whose links may go, seen live a grace ago. `again`: that was done, but late PUTs land below it for ever.
   * By the monotonic clock: it may stand still, and then the wait is longer; a wall clock that is set forward would make it shorter.
   */
  due(graceMs: number): { readonly seq: Seq; readonly again: boolean } | undefined {
    const unswept = this.#unswept;
    if (unswept !== undefined && this.#clock.monotonic() - unswept.sinceMs >= graceMs)
      return { seq: unswept.seq, again: false };
    return this.#swept > 0 ? { seq: this.#swept as Seq, again: true } : undefined;
  }

  /** The links below `seq` are gone. */
  swept(seq: Seq): void {
    this.#swept = Math.max(this.#swept, seq);
    if (this.#unswept?.seq === seq) this.#unswept = undefined;
  }

  /** Is there a boundary that was not seen yet? */
  get hasNews(): boolean {
    const { boundary } = this.#shard.chainState;
    return boundary > this.#swept && this.#unswept?.seq !== boundary;
  }

  /** Looks which boundary is live. REQUIRES: the view is proved. */
  see(): void {
    if (this.hasNews) this.#unswept = { seq: this.#shard.chainState.boundary, sinceMs: this.#clock.monotonic() };
  }

  /** Writes a boundary where that is worth a link: `step` links, few where nothing else happens, any with `squeeze`. */
  async move(step: number, squeeze: boolean): Promise<void> {
    const shard = this.#shard;
    const idle = this.#endedAt === shard.chainState.nextSeq;
    const worth = linksWorthABoundary(step, squeeze ? "squeeze" : idle ? "idle" : "busy");
    try {
      // One after the other, or in a busy shard the wait would begin anew again and again. Who squeezes comes once, and waits for the last.
      if (this.unsweptSinceMs !== undefined && !squeeze) return;
      if (idle || squeeze) await this.#renewCheckpoints(worth, squeeze);
      if (this.#gain() < worth) return;
      await proveTurn(shard);
      // Planned anew: the state has gone on, and with it what may be freed.
      await shard.change(() => (this.#gain() < worth ? [] : [{ type: "boundary", seq: this.#highest() }]));
      this.see();
    } finally {
      this.#endedAt = shard.chainState.nextSeq;
    }
  }

  #highest(): Seq {
    return highestBoundary(boundaryViewOf(this.#shard));
  }

  #gain(): number {
    return this.#highest() - this.#shard.chainState.boundary;
  }

  /**
   * A busy shard writes checkpoints by itself. Where nothing happens its newest two may lie far back, or there is but one: two at the end
   * of the chain then let all before them go. Between them stands a link that says nothing: a boundary where it is already.
   */
  async #renewCheckpoints(worth: number, squeeze: boolean): Promise<void> {
    const shard = this.#shard;
    const limit = boundaryLimit(boundaryViewOf(shard));
    const enough = (): boolean => (squeeze ? this.#highest() >= limit : this.#gain() >= worth);
    if (limit - shard.chainState.boundary < worth || enough()) return;
    if (!(await shard.checkpointNow()) || enough()) return;
    await shard.change(({ boundary }) => [{ type: "boundary", seq: boundary }]);
    await shard.checkpointNow();
  }
}
