import type { Epoch, Offset, ShardId, TopicId } from "../../src/domain.ts";
import { FencedError, isTierlogError } from "../../src/errors.ts";
import { IndexChain } from "../../src/index-chain/index-chain.ts";
import type { ShardState } from "../../src/index-chain/shard-state.ts";
import { indexKey } from "../../src/object-store/object-names.ts";
import type { ObjectStore } from "../../src/object-store/object-store.ts";
import { settling } from "../../src/object-store/settling.ts";
import { seededRandom, type Random } from "../../src/runtime/random.ts";
import { World, type SimProcess } from "./simulator.ts";

const SHARD = 0 as ShardId;
const TOPIC = "ab".repeat(16) as TopicId;
const PARTITIONS = 2;
const RECORD_BYTES = 8;

interface Ack {
  readonly partition: number;
  readonly offset: number;
  readonly record: string;
  readonly epoch: Epoch;
}

/** What one run of the world must not break; throws with the seed in the message of the caller. */
export class History {
  readonly #world: World;
  readonly #random: Random;
  readonly #acks: Ack[] = [];
  /** Digest of the state at each seq, by whoever folded it first. */
  readonly #digests = new Map<number, { digest: string; by: string }>();
  readonly #sent = new Map<string, number>();
  #records = 0;
  #names = 0;
  fenced = 0;

  constructor(seed: number, seen: Map<string, number>) {
    this.#random = seededRandom(seed);
    this.#world = new World(this.#random, seen, 1 + Math.floor(this.#random.float() * 8));
  }

  async run(): Promise<void> {
    const writers = this.#random.float() < 0.6 ? 2 : 3;
    const tasks = Array.from({ length: writers }, () => this.#writer(2));
    for (let reader = 0; reader < 2; reader++) tasks.push(this.#reader());
    const state = { running: true };
    let failure: unknown;
    const done = Promise.all(tasks)
      .catch((error: unknown) => {
        failure = error;
      })
      .finally(() => {
        state.running = false;
      });
    for (let step = 0; state.running; step++) {
      if (step > 5000) throw new Error("the history does not end");
      if (step > 400) this.#world.calm();
      const moved = await this.#world.step();
      if (!moved && state.running) await new Promise((resolve) => setImmediate(resolve));
    }
    await done;
    if (failure !== undefined) throw failure;
    // Whatever is still on the wire lands now, after its sender is long gone.
    this.#world.calm();
    while (await this.#world.step());
    await this.#check();
  }

  /** A process that appends; killed ones come back under a new name, `lives` times. */
  async #writer(lives: number): Promise<void> {
    for (let life = 0; life < lives; life++) {
      const name = `${String.fromCharCode(65 + (this.#names % 26))}${this.#names++}`;
      const process = this.#world.process(name);
      const crashed = new Promise<"crashed">((resolve) => {
        process.onCrash = () => resolve("crashed");
      });
      const outcome = await Promise.race([this.#produce(process, name), crashed]);
      if (outcome !== "crashed") return;
    }
  }

  async #produce(process: SimProcess, name: string): Promise<"done"> {
    const chain = this.#chain(process, name);
    const appends = 1 + Math.floor(this.#random.float() * 4);
    for (let i = 0; i < appends;) {
      try {
        if (!chain.isOwner) {
          await chain.takeOver();
          this.#observe(chain.state, name);
        }
        await this.#append(chain);
        this.#observe(chain.state, name);
        i++;
      } catch (error) {
        if (error instanceof FencedError) {
          this.fenced++;
          return "done";
        }
        if (!isTierlogError(error) || error.kind !== "unavailable") throw error;
        // Unknown or not sent: the records are given up, the next append takes the shard over from ourselves.
        i++;
      }
    }
    return "done";
  }

  async #append(chain: IndexChain): Promise<void> {
    const partition = Math.floor(this.#random.float() * PARTITIONS);
    const count = 1 + Math.floor(this.#random.float() * 2);
    const records = Array.from({ length: count }, () => String(this.#records++).padStart(RECORD_BYTES, "0"));
    for (const record of records) this.#sent.set(record, this.#sent.size);
    const baseOffset = chain.state.extents({ topicId: TOPIC, partition })?.nextOffset ?? (0 as Offset);
    const epoch = chain.state.epoch;
    const commit = await chain.commit(
      [
        {
          type: "append",
          extents: [
            {
              topicId: TOPIC,
              partition,
              leaderEpoch: epoch,
              baseOffset,
              nextOffset: (baseOffset + count) as Offset,
              position: 0,
              lengthBytes: count * RECORD_BYTES,
              maxTimestampMs: 0,
            },
          ],
        },
      ],
      [Buffer.from(records.join(""))],
    );
    for (const [i, record] of records.entries()) {
      this.#acks.push({ partition, offset: baseOffset + i, record, epoch: commit.link.epoch });
    }
  }

  async #reader(): Promise<void> {
    const process = this.#world.process("reader");
    process.mayCrash = false;
    const chain = this.#chain(process, "reader");
    for (let look = 0; look < 6; look++) {
      try {
        await chain.refresh();
      } catch (error) {
        if (!isTierlogError(error) || error.kind !== "unavailable") throw error;
      }
      this.#observe(chain.state, "reader");
    }
  }

  #chain(process: SimProcess, name: string): IndexChain {
    return new IndexChain({
      store: settling(process.store, {
        clock: process.clock,
        random: this.#random,
        deadlineMs: 2000,
        requestTimeoutMs: 500,
      }),
      shard: SHARD,
      writerId: name,
      clock: process.clock,
      random: this.#random,
    });
  }

  /** Everybody who has folded the same number of links holds the same state. */
  #observe(state: ShardState, by: string): void {
    const partitions = Array.from({ length: PARTITIONS }, (_, partition) => {
      const extents = state.extents({ topicId: TOPIC, partition });
      return extents === undefined
        ? "-"
        : Array.from({ length: extents.count }, (_, i) => JSON.stringify(extents.at(i))).join();
    });
    const digest = [state.lastLive, state.epoch, state.fence?.writeId, state.liveLinks, ...partitions].join("|");
    const known = this.#digests.get(state.nextSeq);
    if (known === undefined) this.#digests.set(state.nextSeq, { digest, by });
    else if (known.digest !== digest) {
      throw new Error(
        `I2: ${by} and ${known.by} fold different states at seq ${state.nextSeq}:\n${digest}\n${known.digest}`,
      );
    }
  }

  async #check(): Promise<void> {
    const { server } = this.#world;
    const chain = new IndexChain({
      store: server,
      shard: SHARD,
      writerId: "checker",
      clock: this.#world.process("checker").clock,
      random: this.#random,
    });
    await chain.refresh();
    this.#observe(chain.state, "checker");
    const logs = await Promise.all(
      Array.from({ length: PARTITIONS }, (_, partition) => readLog(server, chain.state, partition)),
    );

    for (const ack of this.#acks) {
      const found = logs[ack.partition]?.[ack.offset];
      if (found?.record !== ack.record) {
        throw new Error(`I1: acked ${ack.record} at ${ack.partition}/${ack.offset}, the log has ${found?.record}`);
      }
      if (found.epoch !== ack.epoch) throw new Error(`I4: acked under epoch ${ack.epoch}, stored under ${found.epoch}`);
    }
    const all = logs.flat().map((entry) => entry.record);
    if (new Set(all).size !== all.length) throw new Error(`I2: a record twice in ${all.join()}`);
    for (const log of logs) {
      for (const [i, entry] of log.entries()) {
        const before = log[i - 1];
        if (before === undefined) continue;
        if (entry.epoch < before.epoch) throw new Error("I4: a link of an older epoch is live behind a newer one");
        // One writer per epoch, and its records in the order it sent them.
        if (
          entry.epoch === before.epoch &&
          (this.#sent.get(entry.record) ?? 0) < (this.#sent.get(before.record) ?? 0)
        ) {
          throw new Error(`I2: ${entry.record} behind ${before.record} in epoch ${entry.epoch}`);
        }
        if (entry.epoch === before.epoch && entry.writerId !== before.writerId) {
          throw new Error(`I4: ${entry.writerId} and ${before.writerId} both wrote in epoch ${entry.epoch}`);
        }
      }
    }
  }
}

interface LogEntry {
  readonly record: string;
  readonly epoch: Epoch;
  readonly writerId: string;
}

async function readLog(server: ObjectStore, state: ShardState, partition: number): Promise<LogEntry[]> {
  const extents = state.extents({ topicId: TOPIC, partition });
  const log: LogEntry[] = [];
  for (let i = 0; i < (extents?.count ?? 0); i++) {
    const extent = extents?.at(i);
    if (extent === undefined) break;
    const object = await server.get(indexKey(SHARD, extent.seq));
    if (object === undefined) throw new Error(`seq ${extent.seq} is gone`);
    const body = Buffer.from(object.body);
    const writerId = body.toString("utf8", 64 + 34, 64 + 34 + body.readUInt16BE(64 + 32));
    const bytes = body.subarray(extent.position, extent.position + extent.lengthBytes);
    for (let at = 0; at < bytes.length; at += RECORD_BYTES) {
      log.push({ record: bytes.toString("latin1", at, at + RECORD_BYTES), epoch: extent.leaderEpoch, writerId });
    }
  }
  return log;
}
