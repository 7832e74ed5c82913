import { createHistogram } from "node:perf_hooks";

import type { PartitionApi, TopicApi } from "../../engine/api.ts";
import { InvariantError } from "../../errors.ts";
import type { Clock } from "../../runtime/clock.ts";
import { nextTurn } from "../../runtime/turn.ts";
import { AppendWindow } from "../append-window.ts";
import type { LineBatch } from "../line-batches.ts";
import { PartitionHash, type PartitionDigest } from "./partition-hash.ts";

const BATCHES_PER_TURN = 8;

export interface WriteResult {
  readonly records: number;
  readonly bytesIn: number;
  /** From the first append to the last ack. */
  readonly seconds: number;
  readonly ackMs: { readonly p50: number; readonly p99: number };
  readonly partitions: readonly PartitionDigest[];
}

export interface WriteOptions {
  readonly topic: TopicApi;
  readonly batches: Iterable<LineBatch> | AsyncIterable<LineBatch>;
  readonly clock: Clock;
  /** Of what waits for its ack. */
  readonly maxPendingBytes: number;
  readonly onAck: (records: number) => void;
}

/** Appends each batch to the next partition in turn and waits for all acks. Rejects with the first error, after all settled. */
export async function writeDemo(options: WriteOptions): Promise<WriteResult> {
  const { topic, clock, onAck } = options;
  const count = topic.description.partitions;
  const targets = Array.from({ length: count }, (_, number) => new Target(topic.partition(number)));
  const window = new AppendWindow({ maxBytes: options.maxPendingBytes, maxAppends: 4096 });
  // In microseconds: a histogram holds whole numbers only.
  const acks = createHistogram();
  let records = 0;
  let bytesIn = 0;
  let acknowledged = 0;
  let next = 0;
  const startedMs = clock.monotonic();
  try {
    for await (const { lines, bytes } of options.batches) {
      await window.room();
      const target = targets[next++ % count];
      if (target === undefined) throw new InvariantError(`a topic of ${count} partitions`);
      records += lines.length;
      for (const line of lines) bytesIn += line.length;
      const appendedMs = clock.monotonic();
      const append = target.append(lines).then(() => {
        acks.record(Math.max(1, Math.round((clock.monotonic() - appendedMs) * 1000)));
        onAck((acknowledged += lines.length));
      });
      window.add(bytes, append);
      // Events are made faster than they are stored: without a turn now and then no ack would be seen in time.
      if (next % BATCHES_PER_TURN === 0) await nextTurn();
    }
  } finally {
    // Also after an error: the engine must not be closed under appends that still run.
    await window.drain();
  }
  return {
    records,
    bytesIn,
    seconds: (clock.monotonic() - startedMs) / 1000,
    ackMs: { p50: milliseconds(acks.percentile(50)), p99: milliseconds(acks.percentile(99)) },
    partitions: targets.map((target) => target.digest()),
  };
}

/** One partition, and what was sent to it. */
class Target {
  readonly #partition: PartitionApi;
  readonly #hash = new PartitionHash();

  constructor(partition: PartitionApi) {
    this.#partition = partition;
  }

  async append(lines: readonly Uint8Array[]): Promise<void> {
    // Appends of one producer get their offsets in the order of the calls, so the hash can run ahead of the acks.
    const firstOffset = this.#hash.records;
    this.#hash.add(lines);
    const receipt = await this.#partition.append(lines.map((value) => ({ value })));
    if (receipt.firstOffset !== firstOffset || receipt.nextOffset !== firstOffset + lines.length) {
      throw new InvariantError(
        `partition ${this.#partition.number} gave the offsets ${receipt.firstOffset} … ${receipt.nextOffset} to ` +
          `${lines.length} records appended at ${firstOffset}`,
      );
    }
  }

  digest(): PartitionDigest {
    return this.#hash.digest();
  }
}

function milliseconds(microseconds: number): number {
  return Math.round(microseconds / 10) / 100;
}
