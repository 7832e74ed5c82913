import { asTierlogError, type TierlogError } from "../errors.ts";
import type { Commit, IndexChain } from "../index-chain/index-chain.ts";
import { LinkBuilder } from "./link-builder.ts";
import type { PreparedFlight } from "./prepare.ts";

/** A flush on its way into the chain. */
export interface CommitItem {
  /** undefined while its bytes are not where a link can name them. */
  prepared: PreparedFlight | undefined;
}

export interface CommitQueueOptions<Item> {
  readonly chain: IndexChain;
  readonly writerId: string;
  /** Of an index file: one part. */
  readonly linkBytesMax: number;
  /** The link that names these items is live. They have left the queue. */
  readonly onCommit: (commit: Commit, items: readonly Item[]) => void;
  /**
   * `count` items from the index `at` on failed with `error`: they could not be prepared, or their link could not be committed. They
   * and all behind them are still in the queue, for the owner to take out: their offsets build on what failed.
   */
  readonly onFailure: (at: number, count: number, error: TierlogError) => void;
}

/** Flushes in the order of their offsets: prepared side by side, committed in order, one link at a time, those that are ready together. */
export class CommitQueue<Item extends CommitItem> {
  readonly #options: CommitQueueOptions<Item>;
  #items: Item[] = [];
  #committing = false;

  constructor(options: CommitQueueOptions<Item>) {
    this.#options = options;
  }

  /** Oldest first. */
  get items(): readonly Item[] {
    return this.#items;
  }

  get length(): number {
    return this.#items.length;
  }

  push(item: Item, preparing: Promise<PreparedFlight>): void {
    this.#items.push(item);
    preparing.then(
      (prepared) => {
        item.prepared = prepared;
        this.#commitReady();
      },
      (error: unknown) => {
        const at = this.#items.indexOf(item);
        // It was taken out before, with one ahead of it.
        if (at >= 0) this.#options.onFailure(at, 1, asTierlogError(error).withEffect("none"));
      },
    );
  }

  /** Takes out all items from the index `at` on. */
  takeFrom(at: number): Item[] {
    return this.#items.splice(at);
  }

  /** Commits the items at the head that are ready, as many as one link takes. */
  #commitReady(): void {
    if (this.#committing) return;
    const { linkBytesMax, writerId, chain, onCommit, onFailure } = this.#options;
    const link = new LinkBuilder(linkBytesMax, Buffer.byteLength(writerId));
    let count = 0;
    for (const { prepared } of this.#items) {
      if (prepared === undefined || !link.tryAdd(prepared)) break;
      count++;
    }
    if (count === 0) return;
    this.#committing = true;
    chain.commit(link.entries, link.payload).then(
      (commit) => {
        this.#committing = false;
        onCommit(commit, this.#items.splice(0, count));
        this.#commitReady();
      },
      (error: unknown) => {
        this.#committing = false;
        onFailure(0, count, asTierlogError(error));
      },
    );
  }
}
