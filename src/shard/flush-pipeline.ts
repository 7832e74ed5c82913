import type { ObjectKey, Offset, ShardId } from "../domain.ts";
import { asTierlogError, type TierlogError } from "../errors.ts";
import type { Commit, IndexChain } from "../index-chain/index-chain.ts";
import type { BufferedMultipartWriter } from "../object-store/buffered-multipart-writer.ts";
import { dataKey } from "../object-store/object-names.ts";
import type { LogRecord } from "../record/record.ts";
import type { ScheduledTask } from "../runtime/clock.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { Flight, type PreparedFlight } from "./flight.ts";
import { LinkBuilder } from "./link-builder.ts";
import { Gathering, type AppendTarget, type Waiter } from "./pending.ts";

export interface FlushSettings {
  readonly lingerMs: number;
  readonly flushBytesMax: number;
  readonly batchBytesMax: number;
  /** Of an index file: one part. */
  readonly linkBytesMax: number;
}

export interface FlushPipelineOptions {
  readonly shard: ShardId;
  readonly chain: IndexChain;
  readonly runtime: Runtime;
  readonly writerId: string;
  readonly settings: FlushSettings;
  readonly openWriter: (key: ObjectKey, signal: AbortSignal) => BufferedMultipartWriter;
  /** After a link is live and its appends are acknowledged. */
  readonly onCommit: (commit: Commit, flights: readonly PreparedFlight[]) => void;
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
export class FlushPipeline {
  readonly #options: FlushPipelineOptions;
  #gathering = new Gathering();
  /** In the order in which they were taken and will be committed. */
  #flights: Flight[] = [];
  #linger: ScheduledTask | undefined;
  #due = false;
  #committing = false;
  #acquiring: Promise<void> | undefined;
  /** Uploads that are being cleared away. */
  readonly #abandoning = new Set<Promise<void>>();
  #flushes = 0;
  #objects = 0;

  constructor(options: FlushPipelineOptions) {
    this.#options = options;
  }

  /** Counts the flushes taken: appends made under the same number ride together. */
  get flushes(): number {
    return this.#flushes;
  }

  /** Records of a partition that are not committed yet. */
  pendingRecords(key: string): number {
    return this.#flights.reduce((sum, flight) => sum + flight.pendingRecords(key), this.#gathering.pendingRecords(key));
  }

  /** REQUIRES: the records were checked. */
  addRecords(target: AppendTarget, records: readonly LogRecord[], waiter: Waiter): void {
    const { runtime, settings } = this.#options;
    this.#gathering.partition(target, settings.batchBytesMax).appendRecords(records, runtime.clock.now(), waiter);
    this.#added(waiter);
  }

  /** REQUIRES: the batch was checked. Takes `encoded` over. */
  addEncoded(target: AppendTarget, encoded: Uint8Array, records: number, waiter: Waiter): void {
    this.#gathering.partition(target, this.#options.settings.batchBytesMax).appendEncoded(encoded, records, waiter);
    this.#added(waiter);
  }

  #added(waiter: Waiter): void {
    const { settings, chain, runtime } = this.#options;
    this.#gathering.add(waiter.bytes);
    // The fence travels while the flush gathers.
    if (!chain.isOwner && this.#flights.length === 0) this.#acquire().catch(() => undefined);
    if (this.#gathering.bytes >= settings.flushBytesMax) this.#wake();
    else this.#linger ??= runtime.clock.schedule(settings.lingerMs, () => this.#wake());
  }

  /** Takes the shard over unless it is ours. A failure is told to all appends that wait. */
  #acquire(): Promise<void> {
    const { chain, runtime, shard } = this.#options;
    if (chain.isOwner) return Promise.resolve();
    this.#acquiring ??= chain.takeOver().then(
      (epoch) => {
        this.#acquiring = undefined;
        runtime.logger.info("took the shard over", { shard, epoch });
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

  /** Sends everything pending now and waits until it is settled; rejects with the error that its appends got. */
  async flush(): Promise<void> {
    const pending = this.#flights.map((flight) => flight.done);
    if (!this.#gathering.isEmpty) {
      pending.push(this.#gathering.done);
      this.#wake();
    }
    await Promise.all(pending);
  }

  /** REQUIRES: nothing is added any more. Resolves when nothing is on its way, however it ended. */
  async settled(): Promise<void> {
    await Promise.allSettled([...this.#flights.map((flight) => flight.done), this.#acquiring]);
    await Promise.allSettled(this.#abandoning);
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
    const { chain, settings, shard, runtime, writerId, openWriter } = this.#options;
    this.#due = false;
    this.#linger?.cancel();
    this.#linger = undefined;
    const gathering = this.#gathering;
    this.#gathering = new Gathering();
    this.#flushes++;
    const { epoch } = chain.state;
    const flight = new Flight(
      gathering,
      {
        shard,
        epoch,
        nowMs: Math.max(0, Math.floor(runtime.clock.now())),
        linkBytesMax: settings.linkBytesMax,
        writerIdBytes: Buffer.byteLength(writerId),
        openObject: (signal) => {
          const key = dataKey(shard, epoch, this.#objects++, Buffer.from(runtime.random.bytes(8)).toString("hex"));
          return { key, writer: openWriter(key, signal) };
        },
        abandon: (writer) => {
          const abandoning = writer.abandon().finally(() => this.#abandoning.delete(abandoning));
          this.#abandoning.add(abandoning);
        },
      },
      (target, key) => this.#endOf(target, key),
    );
    this.#flights.push(flight);
    flight.prepare().then(
      (prepared) => {
        flight.prepared = prepared;
        this.#commitReady();
      },
      (error: unknown) => this.#failFrom(flight, asTierlogError(error).withEffect("none")),
    );
  }

  /** Where a partition ends behind everything taken so far. */
  #endOf(target: AppendTarget, key: string): Offset {
    for (let i = this.#flights.length - 1; i >= 0; i--) {
      const end = this.#flights[i]?.endOf(key);
      if (end !== undefined) return end;
    }
    return this.#options.chain.state.extents(target)?.nextOffset ?? (0 as Offset);
  }

  /** Commits the flushes at the head that are ready, as many as one link takes. */
  #commitReady(): void {
    if (this.#committing) return;
    const { settings, writerId, chain } = this.#options;
    const link = new LinkBuilder(settings.linkBytesMax, Buffer.byteLength(writerId));
    const group: { flight: Flight; prepared: PreparedFlight }[] = [];
    for (const flight of this.#flights) {
      const { prepared } = flight;
      if (prepared === undefined || !link.tryAdd(prepared)) break;
      group.push({ flight, prepared });
    }
    const first = group[0]?.flight;
    if (first === undefined) return;
    this.#committing = true;
    chain.commit(link.entries, link.payload).then(
      (commit) => {
        this.#committing = false;
        this.#flights.splice(0, group.length);
        for (const { flight } of group) flight.committed();
        this.#options.onCommit(
          commit,
          group.map(({ prepared }) => prepared),
        );
        this.#commitReady();
        this.#pump();
      },
      (error: unknown) => {
        this.#committing = false;
        const reason = asTierlogError(error);
        this.#giveUp(0, group.length, reason);
      },
    );
  }

  /** `flight` could not be prepared: it and all behind it fail; those before it go on. */
  #failFrom(flight: Flight, error: TierlogError): void {
    const at = this.#flights.indexOf(flight);
    // It was given up before, with one ahead of it.
    if (at >= 0) this.#giveUp(at, 1, error);
  }

  /** `count` flushes from `at` on fail with `error`; what is behind them was never sent to the chain and fails with effect "none". */
  #giveUp(at: number, count: number, error: TierlogError): void {
    const none = error.withEffect("none");
    // Taken out first: each append that is told lets others in, and those belong to the next flush.
    const flights = this.#flights.splice(at);
    const gathering = this.#gathering;
    this.#gathering = new Gathering();
    this.#linger?.cancel();
    this.#linger = undefined;
    this.#due = false;
    for (const [i, flight] of flights.entries()) flight.failed(i < count ? error : none);
    gathering.failed(none);
  }
}
