import type { ObjectKey, ShardId } from "../domain.ts";
import { asTierlogError, InvariantError } from "../errors.ts";
import { parseObjectName } from "../object-store/object-names.ts";
import type { ObjectInfo, ObjectStore } from "../object-store/object-store.ts";
import type { OpenUploads } from "../object-store/open-uploads.ts";
import type { Clock } from "../runtime/clock.ts";
import type { Logger } from "../runtime/logger.ts";
import { BoundaryKeeper } from "./boundary-keeper.ts";
import { BATCH_KEYS, GarbageDeleter, type GarbageCounts } from "./garbage-deleter.ts";
import type { ShardView } from "./garbage.ts";
import { GarbageListing, type Found } from "./list-garbage.ts";
import { proveTurn, type SweptShard } from "./swept-shard.ts";
import { WaitingList, type Noted, type Waiting } from "./waiting.ts";

/** Names that wait for their grace, about 250 bytes each. */
const NAMES_MAX = 100_000;
/** Of one kind in one round: behind so many requests that deleted nothing, more of them will not help. */
const REFUSALS_MAX = 3;

export interface SweeperOptions {
  /** Settling. */
  readonly store: ObjectStore;
  /** undefined: this kind of store has none that outlive a process. */
  readonly uploads: (() => Promise<OpenUploads>) | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly graceMs: number;
  /** Links to be freed that are worth a boundary while a shard is busy. */
  readonly boundaryStep: number;
  readonly namesMax?: number;
}

export interface RoundOptions {
  /** List what is in the store. */
  readonly list: boolean;
  /** Write boundaries: as many as are worth it, for whatever can be freed, or none. */
  readonly boundaries: "worth" | "squeeze" | "none";
  readonly signal?: AbortSignal;
}

export type GarbageMetrics = GarbageCounts & {
  readonly rounds: number;
  /** Names that wait for their grace to pass, and their bytes; boundaries that do. */
  readonly waiting: number;
  readonly waitingBytes: number;
  readonly waitingBoundaries: number;
  /** Names for which there was no room; the next listing finds them again. */
  readonly turnedAway: number;
  /** Of the last round; undefined where all went well. */
  readonly lastError: string | undefined;
};

/**
 * Deletes garbage, in rounds, one at a time (DESIGN section 4 rules 7 to 9). What a round sees for the first time waits for the grace, in
 * memory; a round after that proves the view again, looks whether nobody needs it still, and deletes it. A round that broke off anywhere
 * is repaired by the next one.
 */
export class Sweeper {
  readonly #options: SweeperOptions;
  readonly #waiting: WaitingList;
  readonly #keepers = new Map<ShardId, BoundaryKeeper>();
  readonly #deleter: GarbageDeleter;
  #rounds = 0;
  #lastError: string | undefined;
  /** Of this round. */
  #problems = 0;
  #uploads: OpenUploads | undefined;

  constructor(options: SweeperOptions) {
    this.#options = options;
    this.#waiting = new WaitingList(options.namesMax ?? NAMES_MAX);
    this.#deleter = new GarbageDeleter(options, (problem) => this.#failed(problem));
  }

  metrics(): GarbageMetrics {
    return {
      ...this.#deleter.counts,
      rounds: this.#rounds,
      waiting: this.#waiting.count,
      waitingBytes: this.#waiting.bytes,
      waitingBoundaries: [...this.#keepers.values()].filter(({ unsweptSinceMs }) => unsweptSinceMs !== undefined)
        .length,
      turnedAway: this.#waiting.turnedAway,
      lastError: this.#lastError,
    };
  }

  /** In how long the grace of everything that waits now is over; undefined: nothing waits. */
  get allDueInMs(): number | undefined {
    const since = [this.#waiting.lastSinceMs, ...[...this.#keepers.values()].map((keeper) => keeper.unsweptSinceMs)];
    const last = Math.max(...since.filter((ms) => ms !== undefined));
    if (!Number.isFinite(last)) return undefined;
    return Math.max(0, last + this.#options.graceMs - this.#options.clock.monotonic());
  }

  /** Rejects only when `signal` fires; what fails is logged, counted, and tried again by the next round. REQUIRES: one at a time. */
  async round(shards: Iterable<SweptShard>, { list, boundaries, signal }: RoundOptions): Promise<void> {
    const { logger } = this.#options;
    this.#problems = 0;
    this.#lastError = undefined;
    const owned = new Map<ShardId, SweptShard>();
    for (const shard of shards) if (shard.isOwner) owned.set(shard.id, shard);
    // What was seen in a turn that is over has to be seen again.
    this.#waiting.keepShards(new Set(owned.keys()));
    for (const id of this.#keepers.keys()) if (!owned.has(id)) this.#keepers.delete(id);

    for (const shard of owned.values()) await this.#attempt(signal, () => this.#look(shard, boundaries));
    if (list && owned.size > 0) await this.#list(owned, signal);
    for (const shard of owned.values()) await this.#attempt(signal, () => this.#deleteLinks(shard, list, signal));
    await this.#deleteDue(owned, signal);
    this.#rounds++;
    if (this.#problems > 0) {
      logger.warn("not all garbage could be collected; tried again in the next round", {
        problems: this.#problems,
        first: this.#lastError,
      });
    }
  }

  close(): void {
    this.#uploads?.close();
    this.#uploads = undefined;
  }

  /** A shard that fails, or is fenced, must not keep the others from theirs. */
  async #attempt(signal: AbortSignal | undefined, work: () => Promise<void>): Promise<void> {
    signal?.throwIfAborted();
    try {
      await work();
    } catch (error) {
      signal?.throwIfAborted();
      this.#failed(asTierlogError(error).message);
    }
  }

  #failed(problem: string): void {
    this.#problems++;
    this.#lastError ??= problem;
  }

  async #look(shard: SweptShard, boundaries: RoundOptions["boundaries"]): Promise<void> {
    const { clock, boundaryStep } = this.#options;
    let keeper = this.#keepers.get(shard.id);
    if (keeper === undefined) this.#keepers.set(shard.id, (keeper = new BoundaryKeeper(shard, clock)));
    if (shard.givenUp.count > 0 || keeper.hasNews) {
      await proveTurn(shard);
      keeper.see();
    }
    if (boundaries !== "none") await keeper.move(boundaryStep, boundaries === "squeeze");
    this.#noteGivenUp(shard);
  }

  #noteGivenUp(shard: SweptShard): void {
    for (const { key, sizeBytes } of shard.givenUp.take(this.#waiting.room)) {
      const name = parseObjectName(key);
      // A link may name what it likes; of another shard's objects we know nothing.
      if (name?.kind !== "data" || name.shard !== shard.id) continue;
      this.#note({ kind: "object", key, sizeBytes, shard: shard.id, epoch: name.epoch, givenUp: true });
    }
  }

  #note(item: Noted): void {
    this.#waiting.note(item, this.#options.clock.monotonic());
  }

  async #list(owned: ReadonlyMap<ShardId, SweptShard>, signal: AbortSignal | undefined): Promise<void> {
    const listing = new GarbageListing(this.#options.store, signal);
    const views = new Map<ShardId, ShardView>();
    const noteAll = async (found: AsyncIterable<Found>): Promise<void> => {
      for await (const item of found) this.#noteFound(item);
    };
    for (const shard of owned.values()) {
      await this.#attempt(signal, async () => {
        await proveTurn(shard);
        const view = this.#viewOf(shard);
        views.set(shard.id, view);
        await noteAll(listing.checkpoints(shard.id, view));
      });
    }
    await this.#attempt(signal, () => noteAll(listing.objects(views)));
    await this.#attempt(signal, async () => {
      if (this.#options.uploads === undefined) return;
      this.#uploads ??= await this.#options.uploads();
      // Where the store does not tell of them a lifecycle rule of the bucket ends them.
      await listing.uploads(this.#uploads, views, (item) => this.#noteFound(item));
    });
    await this.#attempt(signal, () => noteAll(listing.catalogs()));
    await this.#attempt(signal, () => noteAll(listing.probes()));
  }

  #noteFound(found: Found): void {
    if (found.judgement.kind !== "garbage" || found.kind === "link") return;
    const { key, sizeBytes } = found;
    switch (found.kind) {
      case "checkpoint":
        this.#note({ kind: found.kind, key, sizeBytes, shard: found.shard, seq: found.seq });
        break;
      case "object":
      case "upload": {
        const { shard, epoch } = found;
        const item = { key, sizeBytes, shard, epoch, givenUp: this.#waiting.isGivenUp(key) };
        this.#note(
          found.kind === "upload"
            ? { ...item, kind: found.kind, uploadId: found.uploadId }
            : { ...item, kind: found.kind },
        );
        break;
      }
      case "catalog":
      case "probe":
        this.#note({ kind: found.kind, key, sizeBytes });
        break;
      default:
        throw new InvariantError(`unknown garbage ${JSON.stringify(found satisfies never)}`);
    }
  }

  /** As it is now: an object of an older epoch that it does not name is named by no later state either. */
  #viewOf({ chainState, keptCheckpoints }: SweptShard): ShardView {
    const named = new Set<ObjectKey>();
    for (const { key } of chainState.dataObjects) named.add(key);
    return {
      epoch: chainState.epoch,
      epochOver: false,
      boundary: chainState.boundary,
      older: keptCheckpoints.older,
      isNamed: (key) => named.has(key),
      isGivenUp: (key) => this.#waiting.isGivenUp(key),
    };
  }

  /** Late PUTs land below a boundary for ever, so each listing round looks there again. */
  async #deleteLinks(shard: SweptShard, list: boolean, signal: AbortSignal | undefined): Promise<void> {
    const keeper = this.#keepers.get(shard.id);
    const due = keeper?.due(this.#options.graceMs);
    if (keeper === undefined || due === undefined || (due.again && !list)) return;
    let batch: ObjectInfo[] = [];
    let refusals = 0;
    const remove = async (): Promise<void> => {
      await this.#deleter.pace(signal);
      await proveTurn(shard);
      const left = await this.#deleter.delete("link", batch, signal);
      if (left.size > 0) refusals++;
      batch = [];
    };
    for await (const info of new GarbageListing(this.#options.store, signal).links(shard.id, due.seq)) {
      batch.push(info);
      if (batch.length >= BATCH_KEYS) await remove();
      if (refusals >= REFUSALS_MAX) return;
    }
    if (batch.length > 0) await remove();
    if (refusals === 0) keeper.swept(due.seq);
  }

  async #deleteDue(owned: ReadonlyMap<ShardId, SweptShard>, signal: AbortSignal | undefined): Promise<void> {
    const { clock, graceMs } = this.#options;
    const groups = new Map<string, Waiting[]>();
    for (const item of this.#waiting.since(clock.monotonic() - graceMs)) {
      const name = `${item.kind} ${item.shard ?? ""}`;
      const group = groups.get(name);
      if (group === undefined) groups.set(name, [item]);
      else group.push(item);
    }
    for (const group of groups.values()) {
      await this.#attempt(signal, async () => {
        for (let at = 0, refusals = 0; at < group.length && refusals < REFUSALS_MAX; at += BATCH_KEYS) {
          await this.#deleter.pace(signal);
          const batch = group.slice(at, at + BATCH_KEYS);
          if (!(await this.#deleteBatch(batch, owned, signal))) refusals++;
        }
      });
    }
  }

  /** Of one kind and one shard. false: none of it was deleted. */
  async #deleteBatch(
    batch: readonly Waiting[],
    owned: ReadonlyMap<ShardId, SweptShard>,
    signal: AbortSignal | undefined,
  ): Promise<boolean> {
    const id = batch[0]?.shard;
    const shard = id === undefined ? undefined : owned.get(id);
    if (shard !== undefined) await proveTurn(shard);
    else if (id !== undefined) return true;
    const named = shard === undefined ? new Set() : namedAmong(batch, shard);
    // What is none any more cannot have come into use, but might be judged by an older view than this one.
    const wanted = batch.filter((item) => shard === undefined || (!named.has(item.key) && isStillGarbage(item, shard)));
    const kept = new Set(wanted);
    for (const item of batch) if (!kept.has(item)) this.#waiting.remove(item);
    const kind = wanted[0]?.kind;
    if (kind === undefined) return true;
    const uploads = wanted.filter((item) => item.kind === "upload");
    const left =
      kind === "upload"
        ? await this.#deleter.abort(uploads, this.#uploads, signal)
        : await this.#deleter.delete(kind, wanted, signal);
    for (const item of wanted) {
      if (left.has(item.key)) this.#waiting.putLast(item);
      else this.#waiting.remove(item);
    }
    return left.size < wanted.length;
  }
}

/** Those of `items` that an extent lies in. */
function namedAmong(items: readonly Waiting[], { chainState }: SweptShard): ReadonlySet<ObjectKey> {
  const sought = new Set(items.map(({ key }) => key));
  const named = new Set<ObjectKey>();
  for (const { key } of chainState.dataObjects) if (sought.has(key)) named.add(key);
  return named;
}

function isStillGarbage(item: Waiting, { chainState, keptCheckpoints }: SweptShard): boolean {
  if (item.kind === "checkpoint") return item.seq < (keptCheckpoints.older ?? 0);
  if (item.kind === "catalog" || item.kind === "probe") return true;
  return item.givenUp || item.epoch < chainState.epoch;
}
