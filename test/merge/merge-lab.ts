import { partitionKey, type Epoch, type ObjectKey, type Offset, type PartitionId } from "../../src/domain.ts";
import { MissingObjectError } from "../../src/errors.ts";
import { IndexChain } from "../../src/index-chain/index-chain.ts";
import type { LinkEntry, LinkExtent } from "../../src/index-chain/link-entries.ts";
import type { MergeJob } from "../../src/merge/job-builder.ts";
import { runMerge, type MergeOptions, type MergeOutcome } from "../../src/merge/merge-job.ts";
import { Pace } from "../../src/merge/pace.ts";
import { planMerge } from "../../src/merge/plan-merge.ts";
import { BufferedMultipartWriter } from "../../src/object-store/buffered-multipart-writer.ts";
import { DataObjectDirectory } from "../../src/object-store/data-object.ts";
import { createMemoryStore } from "../../src/object-store/memory-store.ts";
import { dataKey } from "../../src/object-store/object-names.ts";
import type { ObjectStore } from "../../src/object-store/object-store.ts";
import { PartBufferPool } from "../../src/object-store/part-buffer-pool.ts";
import { settling } from "../../src/object-store/settling.ts";
import { BatchBuilder } from "../../src/record/batch-builder.ts";
import { readBatchHeader, readExtent } from "../../src/record/batch.ts";
import { systemClock } from "../../src/runtime/clock.ts";
import { silentLogger } from "../../src/runtime/logger.ts";
import { seededRandom } from "../../src/runtime/random.ts";
import { SHARD, TOPIC } from "../index-chain/links.ts";

const MIB = 1024 * 1024;

/** One extent to be appended: its batches by the sizes of their one value. */
export interface ToAppend {
  readonly partition: number;
  readonly valueBytes: readonly number[];
}

/** One shard over a store, with appends that are placed by hand, to run merges on. */
export class MergeLab {
  readonly raw: ObjectStore;
  readonly store: ObjectStore;
  readonly chain: IndexChain;
  readonly random = seededRandom(1);
  readonly abandoned: ObjectKey[] = [];
  readonly ends = new Map<number, number>();
  #objects = 0;

  constructor(raw: ObjectStore = createMemoryStore()) {
    this.raw = raw;
    const runtime = { clock: systemClock, random: this.random, logger: silentLogger };
    this.store = settling(raw, { ...runtime, deadlineMs: 2000, requestTimeoutMs: 1000 });
    this.chain = new IndexChain({
      store: this.store,
      shard: SHARD,
      writerId: "lab",
      checkpointEvery: 1e6,
      graceMs: 3_600_000,
      ...runtime,
    });
  }

  /** One link: inline, or with one data object. */
  async append(extents: readonly ToAppend[], where: "inline" | "object" = "inline"): Promise<void> {
    const { epoch } = this.chain.state;
    const directory = new DataObjectDirectory();
    const chunks: Uint8Array[] = [];
    for (const { partition, valueBytes } of extents) {
      for (const bytes of valueBytes) {
        const baseOffset = (this.ends.get(partition) ?? 0) as Offset;
        const builder = new BatchBuilder({ baseOffset, epoch, maxBytes: 16 * MIB });
        const value = Buffer.alloc(bytes, baseOffset % 251);
        value.set(this.random.bytes(Math.min(bytes, 16)));
        builder.appendSome([{ value, timestampMs: 1_700_000_000_000 + baseOffset }], 0, 0);
        const sealed = await builder.seal("none");
        chunks.push(sealed.bytes);
        this.ends.set(partition, baseOffset + 1);
        directory.add(
          { topicId: TOPIC, partition },
          epoch,
          readBatchHeader(sealed.bytes, 0, { key: "lab", position: 0 }),
        );
      }
    }
    const object = where === "inline" ? 0 : 1;
    const linked: LinkExtent[] = [];
    for (const { blocks: _, ...extent } of directory.extents) linked.push({ ...extent, object });
    if (where === "inline") {
      await this.chain.commit([{ type: "append", objects: [], extents: linked }], chunks);
      return;
    }
    const key = dataKey(SHARD, epoch, this.#objects++, "f".repeat(16));
    const body = Buffer.concat([...chunks, directory.encodeTail(SHARD, epoch, 1)]);
    await this.raw.put(key, body, { condition: { kind: "none" } });
    await this.chain.commit([{ type: "append", objects: [{ key, sizeBytes: body.length }], extents: linked }], []);
  }

  /** Everything inline, or what is due else. */
  plan(limits: { segmentBytes?: number; memoryBytes?: number; extentsMax?: number } = {}): MergeJob {
    const { state } = this.chain;
    const job = planMerge(
      {
        partitions: state.snapshot().partitions,
        objects: state.dataObjects,
        settledBelow: state.nextSeq,
        overdueBelow: state.nextSeq,
      },
      { segmentBytes: 64 * MIB, memoryBytes: 64 * MIB, extentsMax: 10_000, ...limits },
    );
    if (job === undefined) throw new Error("nothing is due");
    return job;
  }

  merge(job: MergeJob, options: Partial<MergeOptions> = {}): Promise<MergeOutcome> {
    const { chain } = this;
    const { state } = chain;
    const pool = new PartBufferPool({ partSizeBytes: 5 * MIB, buffersMax: 3 });
    const isBusy = (): boolean => false;
    return runMerge({
      shard: SHARD,
      epoch: state.epoch,
      job,
      keyOf: (object) => state.objectKey(object),
      source: {
        fromTail: () => undefined,
        fetch: async (key, start, end) => {
          const found = await this.store.get(key, { range: { start, end } });
          if (found === undefined) throw new MissingObjectError(key, "the lab");
          return found.body;
        },
      },
      openWriter: (signal) => {
        const random = Buffer.from(this.random.bytes(8)).toString("hex");
        const key = dataKey(SHARD, state.epoch, this.#objects++, random);
        const writer = new BufferedMultipartWriter({ store: this.store, key, pool, partsInFlight: 2, signal });
        return { key, writer };
      },
      commit: (plan) => this.commit(plan(state)),
      state: () => state,
      onGivenUp: ({ key }) => this.abandoned.push(key),
      pace: new Pace({ clock: systemClock, bytesPerSecond: 1024 * MIB, isBusy }),
      memoryBytes: 64 * MIB,
      nowMs: 1,
      signal: new AbortController().signal,
      ...options,
    });
  }

  async commit(entries: readonly LinkEntry[]): Promise<void> {
    if (entries.length > 0) await this.chain.commit(entries, []);
  }

  /** Every batch of a partition as the state has it, checked, with the places of its extents. */
  async contents(partition: number): Promise<{ readonly bytes: Buffer; readonly keys: readonly ObjectKey[] }> {
    const id: PartitionId = { topicId: TOPIC, partition };
    const { state } = this.chain;
    const extents = state.extents(id);
    const keys: ObjectKey[] = [];
    const found: Uint8Array[] = [];
    for (let i = 0; i < (extents?.count ?? 0); i++) {
      const { object, position, lengthBytes, baseOffset, nextOffset, leaderEpoch } = extents!.at(i);
      const key = state.objectKey(object);
      const read = await this.raw.get(key, { range: { start: position, end: position + lengthBytes } });
      if (read === undefined) throw new Error(`${key} of ${partitionKey(id)} is missing`);
      const expected = { baseOffset, nextOffset, epoch: leaderEpoch };
      for (const { bytes } of readExtent(read.body, expected, { key, position })) found.push(bytes);
      keys.push(key);
    }
    return { bytes: Buffer.concat(found), keys };
  }

  async takeOver(): Promise<Epoch> {
    return await this.chain.takeOver();
  }

  async dataKeys(): Promise<ObjectKey[]> {
    const keys: ObjectKey[] = [];
    for await (const { key } of this.raw.list("data/")) keys.push(key);
    return keys;
  }
}
