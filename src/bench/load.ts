import type { AckLevel } from "../domain.ts";
import type { PartitionApi } from "../engine/api.ts";
import { AbortedError, InvariantError } from "../errors.ts";
import { sleep, type Clock } from "../runtime/clock.ts";
import { nextTurn } from "../runtime/turn.ts";
import type { Latencies } from "./latencies.ts";

export interface LoadOptions {
  /** Records go to them in turn. */
  readonly partitions: readonly PartitionApi[];
  /** Values of the records, in turn. Read only. */
  readonly values: readonly Uint8Array[];
  readonly ack: AckLevel;
  readonly seconds: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly latencies: Latencies;
}

export interface LoadResult {
  /** Acknowledged, and bytes of their values. */
  readonly records: number;
  readonly bytes: number;
  /** From the first append to the last ack. */
  readonly seconds: number;
  /** Of an open loop: records whose time had come and that were not sent because too many others waited for their acks. */
  readonly unsent: number;
}

/** Appends between two turns of the event loop: acks that need none would else keep it from its timers. */
const APPENDS_PER_TURN = 256;
const TICK_MS = 1;

/**
 * `producers` that each append one record and wait for its ack before the next. Rejects with the first error of an append, or when
 * `signal` fires, after all appends have settled.
 */
export async function closedLoop(options: LoadOptions, producers: number): Promise<LoadResult> {
  const { clock, seconds } = options;
  const load = new Load(options);
  const startMs = clock.monotonic();
  const endMs = startMs + seconds * 1000;
  const produce = async (): Promise<void> => {
    for (let nowMs = clock.monotonic(); nowMs < endMs && !load.isOver; nowMs = clock.monotonic()) {
      await load.append(nowMs);
      if (load.sent % APPENDS_PER_TURN === 0) await nextTurn();
    }
  };
  await Promise.all(Array.from({ length: producers }, produce));
  return load.result(startMs, 0);
}

export interface OpenLoop {
  /** Records, each at its time, whoever still waits for an ack. */
  readonly perSecond: number;
  /** Appends that may wait for their acks at a time: what is due beyond them is sent late, and its time runs. */
  readonly waitingMax: number;
}

/**
 * One record every 1 / `perSecond` seconds. Its latency counts from when it was due, not from when it could be sent, so a stall counts
 * for all that should have been sent during it (coordinated omission). Rejects as `closedLoop`.
 */
export async function openLoop(options: LoadOptions, { perSecond, waitingMax }: OpenLoop): Promise<LoadResult> {
  const { clock, seconds, signal } = options;
  const total = Math.max(1, Math.floor(perSecond * seconds));
  const load = new Load(options);
  const startMs = clock.monotonic();
  const appends = new Set<Promise<void>>();
  const endMs = startMs + seconds * 1000;
  while (load.sent < total && !load.isOver) {
    const nowMs = clock.monotonic();
    if (nowMs >= endMs && load.waiting >= waitingMax) break;
    const due = Math.min(total, Math.floor(((nowMs - startMs) / 1000) * perSecond) + 1);
    for (let n = 0; load.sent < due && load.waiting < waitingMax && n < APPENDS_PER_TURN && !load.isOver; n++) {
      const append = load.append(startMs + (load.sent / perSecond) * 1000).finally(() => appends.delete(append));
      appends.add(append);
    }
    if (load.sent < due && load.waiting < waitingMax) await nextTurn();
    else await sleep(clock, TICK_MS, signal).catch(() => undefined);
  }
  const sent = load.sent;
  await Promise.all(appends);
  return load.result(startMs, total - sent);
}

/** Appends of one run, and what came of them. */
class Load {
  readonly #options: LoadOptions;
  readonly #ack: { readonly ack: AckLevel };
  #failure: { readonly error: unknown } | undefined;
  #sent = 0;
  #waiting = 0;
  #acked = 0;
  #bytes = 0;
  #lastAckMs = 0;

  constructor(options: LoadOptions) {
    this.#options = options;
    this.#ack = { ack: options.ack };
  }

  get sent(): number {
    return this.#sent;
  }

  get waiting(): number {
    return this.#waiting;
  }

  /** Nothing more is to be sent. */
  get isOver(): boolean {
    return this.#failure !== undefined || this.#options.signal.aborted;
  }

  /** Resolves when the next record is acknowledged, or could not be. */
  async append(sinceMs: number): Promise<void> {
    const { partitions, values, latencies, clock } = this.#options;
    const number = this.#sent++;
    const partition = partitions[number % partitions.length];
    const value = values[number % values.length];
    if (partition === undefined || value === undefined) throw new InvariantError("a load without partitions or values");
    this.#waiting++;
    try {
      await partition.append([{ value }], this.#ack);
      this.#lastAckMs = clock.monotonic();
      latencies.record(this.#lastAckMs - sinceMs);
      this.#acked++;
      this.#bytes += value.length;
    } catch (error) {
      this.#failure ??= { error };
    } finally {
      this.#waiting--;
    }
  }

  /** REQUIRES: all appends have settled. */
  result(startMs: number, unsent: number): LoadResult {
    if (this.#options.signal.aborted) throw new AbortedError("load", { cause: this.#options.signal.reason });
    if (this.#failure !== undefined) throw this.#failure.error;
    return { records: this.#acked, bytes: this.#bytes, seconds: (this.#lastAckMs - startMs) / 1000, unsent };
  }
}
