import type { Offset } from "../domain.ts";
import { asTierlogError, type TierlogError } from "../errors.ts";
import type { LogRecord } from "../record/record.ts";
import type { ScheduledTask } from "../runtime/clock.ts";
import { afterThisTurn } from "../runtime/turn.ts";
import { ChangeItem, type ChangePlan } from "./change-item.ts";
import { CommitQueue } from "./commit-queue.ts";
import { Flight } from "./flight.ts";
import { Gathering, type AppendTarget, type PendingPartition, type Waiter } from "./pending.ts";
import { bufferedReceipt, ObjectOpener, type Pipeline, type PipelineOptions } from "./pipeline.ts";

export interface FlushPipelineOptions extends PipelineOptions {
  /** Makes the chain ours. */
  readonly takeOver: () => Promise<void>;
}

/** Flushes on their way at once: uploads of the next ones overlap with the commit of the first. */
const FLIGHTS_MAX = 4;

/**
 * The way of a shard's appends into its chain: gather → take (offsets are given) → prepare (seal; upload what outgrows a link) →
 * commit, in order, one link at a time; flushes that are ready meanwhile ride in the same link.
 *
 * A small flush waits for the commit before it, because then more appends share its link. A flush larger than a link is
 * taken at once, up to four, so that its upload runs meanwhile.
 *
 * When a flush fails, everything behind it fails with it: its offsets build on the one that failed, and a producer must not get
 * an ack for what it sent after a record that was lost.
 */
export class FlushPipeline implements Pipeline {
  readonly #options: FlushPipelineOptions;
  readonly #objects: ObjectOpener;
  #gathering = new Gathering();
  /** In the order in which they were taken and will be committed. */
  readonly #flights: CommitQueue<Flight | ChangeItem>;
  #linger: ScheduledTask | undefined;
  #due = false;
  #acquiring: Promise<void> | undefined;
  #flushes = 0;
  #bufferedLost = 0;

  constructor(options: FlushPipelineOptions) {
    this.#options = options;
    this.#objects = new ObjectOpener(options);
    this.#flights = new CommitQueue({
      chain: options.chain,
      writerId: options.writerId,
      linkBytesMax: options.settings.linkBytesMax,
      onCommit: (commit, flights) => {
        for (const flight of flights) {
          options.leave(flight.bytes);
          flight.committed();
        }
        options.onCommit(commit, flights);
        this.#pump();
      },
      onFailure: (at, count, error) => this.#giveUp(at, count, error),
    });
  }

  get flushes(): number {
    return this.#flushes;
  }

  get bufferedLost(): number {
    return this.#bufferedLost;
  }

  pendingRecords(key: string): number {
    const pending = this.#gathering.pendingRecords(key);
    return this.#flights.items.reduce((sum, flight) => sum + flight.pendingRecords(key), pending);
  }

  addRecords(target: AppendTarget, records: readonly LogRecord[], bytes: number, waiter: Waiter): void {
    const { runtime, settings } = this.#options;
    const partition = this.#gathering.partition(target, settings.batchBytesMax);
    const ack = this.#bufferedAck(target, partition, records.length, waiter);
    partition.appendRecords(records, runtime.clock.now(), ack === undefined ? waiter : undefined);
    ack?.();
    this.#added(bytes);
  }

  addEncoded(target: AppendTarget, encoded: Uint8Array, records: number, bytes: number, waiter: Waiter): void {
    const partition = this.#gathering.partition(target, this.#options.settings.batchBytesMax);
    const ack = this.#bufferedAck(target, partition, records, waiter);
    // A buffered ack gives the buffer back to its caller at once.
    const own = ack === undefined ? encoded : new Uint8Array(encoded);
    partition.appendEncoded(own, records, ack === undefined ? waiter : undefined);
    ack?.();
    this.#added(bytes);
  }

  /** How to acknowledge an append that memory is enough for, as soon as its offsets are certain; else it waits with the others. */
  #bufferedAck(
    target: AppendTarget,
    partition: PendingPartition,
    records: number,
    waiter: Waiter,
  ): (() => void) | undefined {
    const { chain } = this.#options;
    if (waiter.level !== "buffered" || !chain.isOwner) return undefined;
    const first = (this.#endOf(target, target.key) + partition.records) as Offset;
    const gathering = this.#gathering;
    return () => {
      gathering.bufferedAcks++;
      waiter.resolve(bufferedReceipt(target, first, records, chain.state.epoch));
    };
  }

  #added(bytes: number): void {
    const { settings, chain } = this.#options;
    this.#gathering.add(bytes);
    // The fence travels while the flush gathers.
    if (!chain.isOwner && this.#flights.length === 0) this.#acquire().catch(() => undefined);
    if (this.#gathering.bytes >= settings.flushBytesMax) this.#wake();
    else this.#linger ??= this.#afterLinger(() => this.#wake());
  }

  #afterLinger(wake: () => void): ScheduledTask {
    const { settings, runtime } = this.#options;
    // Not by a timer: one of 0 ms takes 1 to 2 ms.
    return settings.lingerMs === 0 ? afterThisTurn(wake) : runtime.clock.schedule(settings.lingerMs, wake);
  }

  /** Takes the shard over unless it is ours. A failure is told to all appends that wait. */
  #acquire(): Promise<void> {
    const { chain, runtime, shard, takeOver } = this.#options;
    if (chain.isOwner) return Promise.resolve();
    this.#acquiring ??= takeOver().then(
      () => {
        this.#acquiring = undefined;
        const { epoch } = chain.state;
        runtime.logger.info("took the shard over", { shard, epoch });
        this.#gathering.assignOffsets((target, key) => this.#endOf(target, key));
        this.#gathering.reached("buffered", epoch);
      },
      (error: unknown) => {
        // Before the appends are told: those that they let in need a take-over of their own, not the end of this one.
        this.#acquiring = undefined;
        const reason = asTierlogError(error);
        this.#giveUp(0, 0, reason);
        throw reason;
      },
    );
    return this.#acquiring;
  }

  async change(plan: ChangePlan): Promise<void> {
    const { chain } = this.#options;
    while (!chain.isOwner) await this.#acquire();
    const item = new ChangeItem(plan);
    const prepared = item.plan(chain.state);
    if (prepared !== undefined) this.#flights.push(item, Promise.resolve(prepared));
    await item.done;
  }

  async flush(): Promise<void> {
    const pending = this.#flights.items.map((flight) => flight.done);
    if (!this.#gathering.isEmpty) {
      pending.push(this.#gathering.done);
      this.#wake();
    }
    await Promise.all(pending);
  }

  async end(reason: TierlogError): Promise<void> {
    this.#giveUp(0, this.#flights.length, reason.withEffect("unknown"));
    await this.#acquiring?.catch(() => undefined);
    await this.#objects.cleared();
    this.#linger?.cancel();
  }

  #wake(): void {
    this.#due = true;
    this.#pump();
  }

  #pump(): void {
    const { chain, settings } = this.#options;
    while (this.#due && !this.#gathering.isEmpty) {
      if (this.#flights.length > 0) {
        const mayOverlap =
          chain.isOwner && this.#flights.length < FLIGHTS_MAX && this.#gathering.bytes > settings.linkBytesMax;
        if (!mayOverlap) return;
      } else if (!chain.isOwner) {
        this.#acquire().then(
          () => this.#pump(),
          () => undefined,
        );
        return;
      }
      this.#take();
    }
  }

  #take(): void {
    const { chain, settings, shard, runtime, writerId } = this.#options;
    this.#due = false;
    this.#linger?.cancel();
    this.#linger = undefined;
    const gathering = this.#gathering;
    this.#gathering = new Gathering(gathering.busyPartitions());
    this.#flushes++;
    const flight = new Flight(gathering, chain.state.epoch, (target, key) => this.#endOf(target, key));
    const preparing = flight.prepare({
      shard,
      nowMs: Math.max(0, Math.floor(runtime.clock.now())),
      linkBytesMax: settings.linkBytesMax,
      writerIdBytes: Buffer.byteLength(writerId),
      ...this.#objects.prepareOptions,
    });
    this.#flights.push(flight, preparing);
  }

  /** Where a partition ends behind everything taken so far. */
  #endOf(target: AppendTarget, key: string): Offset {
    const { items } = this.#flights;
    for (let i = items.length - 1; i >= 0; i--) {
      const end = items[i]?.endOf(key);
      if (end !== undefined) return end;
    }
    return this.#options.chain.state.extents(target)?.nextOffset ?? (0 as Offset);
  }

  /** `count` flushes from `at` on fail with `error`; what is behind them was never sent to the chain and fails with effect "none". */
  #giveUp(at: number, count: number, error: TierlogError): void {
    const { leave, onGivenUp } = this.#options;
    const none = error.withEffect("none");
    // Taken out first: each append that is told lets others in, and those belong to the next flush.
    const flights = this.#flights.takeFrom(at);
    const gathering = this.#gathering;
    this.#gathering = new Gathering();
    this.#linger?.cancel();
    this.#linger = undefined;
    this.#due = false;
    this.#bufferedLost += flights.reduce((sum, flight) => sum + flight.bufferedAcks, gathering.bufferedAcks);
    for (const [i, flight] of flights.entries()) {
      leave(flight.bytes);
      const reason = i < count ? error : none;
      flight.failed(reason);
      if (reason.effect === "none" && flight.prepared?.object !== undefined) onGivenUp(flight.prepared.object);
    }
    leave(gathering.bytes);
    gathering.failed(none);
  }
}
