import type { Epoch, ObjectKey, Offset, Seq, ShardId, TopicId } from "../../src/domain.ts";
import { ClosedError, FencedError, InvariantError, isTierlogError, ObjectStoreError } from "../../src/errors.ts";
import { decodeCheckpoint } from "../../src/index-chain/checkpoint-file.ts";
import { IndexChain } from "../../src/index-chain/index-chain.ts";
import type { LinkExtent, LinkTrim } from "../../src/index-chain/link-entries.ts";
import { ShardState } from "../../src/index-chain/shard-state.ts";
import { dataKey, indexKey, parseCheckpointKey, parseObjectName } from "../../src/object-store/object-names.ts";
import type { ObjectStore } from "../../src/object-store/object-store.ts";
import { settling } from "../../src/object-store/settling.ts";
import { silentLogger } from "../../src/runtime/logger.ts";
import { seededRandom, type Random } from "../../src/runtime/random.ts";
import { keysBelow } from "./links.ts";
import { World, type SimProcess } from "./simulator.ts";
import { digest, digestsFromZero } from "./states.ts";

const SHARD = 0 as ShardId;
const TOPIC = "ab".repeat(16) as TopicId;
const PARTITIONS = 2;
const RECORD_BYTES = 8;
/** Long enough for every deadline within half of it, short enough for a pause to outlast it. */
const GRACE_MS = 10_000;

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
  /** Each record with its place in the order of sending and its writer. */
  readonly #sent = new Map<string, { readonly order: number; readonly writer: string }>();
  /** Starts that somebody once tried to move a partition to; and those that were answered for. */
  readonly #trims: { readonly partition: number; readonly newStart: number; acked: boolean }[] = [];
  readonly #chains: IndexChain[] = [];
  /** What readers were given, by partition and offset. */
  readonly #served = new Map<string, string>();
  readonly #long: boolean;
  #objects = 0;
  #records = 0;
  #names = 0;
  fenced = 0;

  constructor(seed: number, seen: Map<string, number>) {
    this.#random = seededRandom(seed);
    // Most are short and hit hard at the start. In the long ones a writer is mostly alone, or they fence each other before they
    // come to checkpoints that replace older ones.
    this.#long = this.#random.float() < 0.15;
    const faults = 1 + Math.floor(this.#random.float() * (this.#long ? 24 : 12));
    this.#world = new World(this.#random, seen, faults, this.#long ? 0.05 : 0.12);
  }

  async run(): Promise<void> {
    const writers = this.#random.float() < 0.6 ? 2 : 3;
    const tasks = Array.from({ length: this.#long ? writers - 1 : writers }, () => this.#writer(this.#long ? 4 : 2));
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
      if (step > (this.#long ? 900 : 400)) this.#world.calm();
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
    const store = this.#store(process);
    const chain = this.#chain(process, name, store);
    /** Planned by an earlier look: its old start may be out of date when it is sent. */
    let stale: LinkTrim[] | undefined;
    const collecting: Promise<void>[] = [];
    const appends = 1 + Math.floor(this.#random.float() * (this.#long ? 16 : 5));
    for (let i = 0; i < appends;) {
      try {
        if (!chain.isOwner) {
          await chain.takeOver();
          this.#observe(chain.state, name);
          if (!process.readFirstLink) this.#world.count("taken over from a checkpoint");
        }
        const trims = this.#random.float() < 0.4 ? this.#planTrim(chain.state) : [];
        const alone = this.#random.float() < 0.6;
        if (trims.length > 0 && alone) await this.#trim(chain, trims);
        await this.#append(chain, store, name, alone ? [] : trims);
        this.#observe(chain.state, name);
        if (stale !== undefined && chain.isOwner) await this.#trimLate(chain, stale);
        const planned = this.#random.float() < 0.2 ? this.#planTrim(chain.state) : [];
        stale = planned.length > 0 ? planned : undefined;
        if (this.#random.float() < 0.4) await this.#merge(chain, store, name);
        if (this.#random.float() < 0.3) collecting.push(this.#collect(chain, process, store));
        if (this.#random.float() < 0.1) await sleep(process, GRACE_MS * this.#random.float());
        i++;
      } catch (error) {
        if (error instanceof FencedError) {
          this.fenced++;
          break;
        }
        // The turn may have ended under the collection, between a look and a commit.
        if (!isOverWithout(error) && (!isTierlogError(error) || error.kind !== "unavailable")) throw error;
        // Unknown or not sent: the records are given up, the next append takes the shard over from ourselves.
        i++;
      }
    }
    await Promise.all(collecting);
    // Otherwise a checkpoint that it has begun goes on beside those who come after it.
    if (this.#random.float() < 0.5) await chain.close();
    return "done";
  }

  /** Puts a few extents of a partition into one object, one extent for each epoch; sometimes the partition changes meanwhile. */
  async #merge(chain: IndexChain, store: ObjectStore, name: string): Promise<void> {
    const partition = Math.floor(this.#random.float() * PARTITIONS);
    const list = chain.state.extents({ topicId: TOPIC, partition });
    if (list === undefined || list.count === 0) return;
    const first = Math.floor(this.#random.float() * list.count);
    const count = Math.min(list.count - first, 1 + Math.floor(this.#random.float() * 6));
    const old = Array.from({ length: count }, (_, i) => list.at(first + i));
    const range = {
      topicId: TOPIC,
      partition,
      baseOffset: old[0]!.baseOffset,
      nextOffset: old.at(-1)!.nextOffset,
      count,
    };
    const superseded = chain.state.supersededDigest([range]);
    if (superseded === undefined) throw new Error("the extents that were just looked at do not match");
    const chunks: Uint8Array[] = [];
    const extents: LinkExtent[] = [];
    let position = 0;
    const epoch = chain.state.epoch;
    for (const extent of old) {
      const { position: start, lengthBytes, object } = extent;
      const found = await store.get(chain.state.objectKey(object), { range: { start, end: start + lengthBytes } });
      if (found === undefined)
        throw new ObjectStoreError("merge: gone", { operation: "get", key: "", retryable: true });
      chunks.push(found.body);
      const last = extents.at(-1);
      if (last?.leaderEpoch === extent.leaderEpoch) {
        extents[extents.length - 1] = {
          ...last,
          nextOffset: extent.nextOffset,
          lengthBytes: last.lengthBytes + lengthBytes,
        };
      } else extents.push({ ...extent, topicId: TOPIC, partition, object: 1, position });
      position += lengthBytes;
    }
    const key = dataKey(SHARD, epoch, ++this.#objects, Buffer.from(this.#random.bytes(8)).toString("hex"));
    await store.put(key, Buffer.concat(chunks), { condition: { kind: "if-absent" } });
    const late = this.#random.float() < 0.3;
    if (late) await this.#append(chain, store, name, this.#planTrim(chain.state));
    const matches = chain.state.supersededDigest([range]) === superseded;
    await chain.commit(
      [{ type: "replace", objects: [{ key, sizeBytes: position }], ranges: [range], superseded, extents }],
      [],
    );
    this.#world.count(matches ? "replace" : "void replace");
  }

  /** Garbage collection by the rules 6 to 9, beside the appends: whatever goes wrong leaves it to a later round. */
  async #collect(chain: IndexChain, process: SimProcess, store: ObjectStore): Promise<void> {
    try {
      if (!chain.isOwner) return;
      await chain.checkpointNow();
      const { older } = chain.keptCheckpoints;
      const { state } = chain;
      const boundary = Math.min((older ?? -1) + 1, state.nextSeq, state.lowestInline());
      if (boundary > state.boundary) await chain.commit([{ type: "boundary", seq: boundary as Seq }], []);
      const { epoch } = chain.state;
      const end = indexKey(SHARD, chain.state.boundary);
      const dead = await unnamed(store, chain.state, epoch);
      await sleep(process, GRACE_MS);
      await chain.ensureProved();
      if (!chain.isOwner || chain.state.epoch !== epoch) return;
      const links: ObjectKey[] = [];
      for await (const { key } of store.list("index/")) if (key < end) links.push(key);
      const still = new Set(await unnamed(store, chain.state, epoch));
      // Both listings take their time: the proof must not have grown old over them.
      await chain.ensureProved();
      if (!chain.isOwner || chain.state.epoch !== epoch) return;
      const objects = dead.filter((key) => still.has(key));
      if (links.length > 0) this.#world.count("links deleted");
      if (objects.length > 0) this.#world.count("data objects deleted");
      if (links.length + objects.length > 0) await store.delete([...links, ...objects]);
    } catch (error) {
      if (isOverWithout(error) || error instanceof FencedError || error instanceof ClosedError) return;
      if (!isTierlogError(error) || error.kind !== "unavailable") throw error;
    }
  }

  /** Moves the start of one or both partitions forward, anywhere up to the end; mostly not at an extent's edge. */
  #planTrim(state: ShardState): LinkTrim[] {
    const trims: LinkTrim[] = [];
    const both = this.#random.float() < 0.5;
    const first = Math.floor(this.#random.float() * PARTITIONS);
    for (let i = 0; i < (both ? PARTITIONS : 1); i++) {
      const id = { topicId: TOPIC, partition: (first + i) % PARTITIONS };
      const { startOffset = 0, nextOffset = 0 } = state.extents(id) ?? {};
      if (startOffset === nextOffset) continue;
      const newStart = startOffset + 1 + Math.floor(this.#random.float() * (nextOffset - startOffset));
      trims.push({ ...id, oldStart: startOffset as Offset, newStart: newStart as Offset });
    }
    return trims;
  }

  #noteTrims(trims: readonly LinkTrim[]): () => void {
    const noted = trims.map(({ partition, newStart }) => ({ partition, newStart, acked: false }));
    this.#trims.push(...noted);
    return () => {
      for (const trim of noted) trim.acked = true;
    };
  }

  async #trim(chain: IndexChain, trims: readonly LinkTrim[]): Promise<void> {
    const acked = this.#noteTrims(trims);
    await chain.commit([{ type: "trim", trims }], []);
    acked();
    this.#world.count("trim");
    for (const { partition, newStart } of trims) {
      const start = chain.state.extents({ topicId: TOPIC, partition })?.startOffset ?? 0;
      if (start < newStart)
        throw new Error(`a trim of ${partition} to ${newStart} was answered, it begins at ${start}`);
    }
  }

  /** What was planned before may not match any more: then the whole entry is void. */
  async #trimLate(chain: IndexChain, trims: readonly LinkTrim[]): Promise<void> {
    const startOf = (trim: LinkTrim): number => chain.state.extents(trim)?.startOffset ?? 0;
    const before = trims.map(startOf);
    const matches = trims.every((trim, i) => trim.oldStart === before[i]);
    if (matches) {
      await this.#trim(chain, trims);
      return;
    }
    await chain.commit([{ type: "trim", trims }], []);
    this.#world.count("void trim");
    const after = trims.map(startOf);
    if (after.join() !== before.join())
      throw new Error(`a trim that does not match moved ${before.join()} to ${after.join()}`);
  }

  async #append(chain: IndexChain, store: ObjectStore, name: string, trims: readonly LinkTrim[]): Promise<void> {
    const partition = Math.floor(this.#random.float() * PARTITIONS);
    const count = 1 + Math.floor(this.#random.float() * 2);
    const records = Array.from({ length: count }, () => String(this.#records++).padStart(RECORD_BYTES, "0"));
    for (const record of records) this.#sent.set(record, { order: this.#sent.size, writer: name });
    const bytes = Buffer.from(records.join(""));
    const position = Math.floor(this.#random.float() * 3) * RECORD_BYTES;
    let key: ObjectKey | undefined;
    if (this.#random.float() < 0.4) {
      // Bytes first, under a name of their own; then the link that names them. Whatever ends in between leaves an orphan.
      const random = Buffer.from(this.#random.bytes(8)).toString("hex");
      key = dataKey(SHARD, chain.state.epoch, ++this.#objects, random);
      const body = Buffer.concat([Buffer.alloc(position, "-"), bytes]);
      const outcome = await store.put(key, body, { condition: { kind: "if-absent" } });
      if (outcome.kind !== "written") throw new InvariantError(`the name ${key} was used before`);
      this.#world.count("data object");
    }
    const baseOffset = chain.state.extents({ topicId: TOPIC, partition })?.nextOffset ?? (0 as Offset);
    const epoch = chain.state.epoch;
    const trimmed = this.#noteTrims(trims);
    const commit = await chain.commit(
      [
        ...(trims.length > 0 ? [{ type: "trim" as const, trims }] : []),
        {
          type: "append",
          objects: key === undefined ? [] : [{ key, sizeBytes: position + bytes.length }],
          extents: [
            {
              topicId: TOPIC,
              partition,
              leaderEpoch: epoch,
              baseOffset,
              nextOffset: (baseOffset + count) as Offset,
              object: key === undefined ? 0 : 1,
              position: key === undefined ? 0 : position,
              lengthBytes: count * RECORD_BYTES,
              maxTimestampMs: 0,
            },
          ],
        },
      ],
      key === undefined ? [bytes] : [],
    );
    trimmed();
    for (const [i, record] of records.entries()) {
      this.#acks.push({ partition, offset: baseOffset + i, record, epoch: commit.link.epoch });
    }
  }

  async #reader(): Promise<void> {
    const process = this.#world.process("reader");
    process.mayCrash = false;
    let chain = this.#chain(process, "reader");
    for (let look = 0; look < 6; look++) {
      if (this.#random.float() < 0.3) {
        chain = this.#chain(process, "reader");
        process.readFirstLink = false;
      }
      try {
        await chain.refresh();
        if (!process.readFirstLink) this.#world.count("read from a checkpoint");
        this.#observe(chain.state, "reader");
        await this.#read(chain, process);
      } catch (error) {
        if (!isTierlogError(error) || error.kind !== "unavailable") throw error;
      }
      if (this.#random.float() < 0.2) await sleep(process, GRACE_MS * 2 * this.#random.float());
    }
  }

  /** Reads an extent as readers do: what is gone is looked up again in a newer view; two of them never see different records. */
  async #read(chain: IndexChain, process: SimProcess): Promise<void> {
    const partition = Math.floor(this.#random.float() * PARTITIONS);
    const id = { topicId: TOPIC, partition };
    const count = chain.state.extents(id)?.count ?? 0;
    if (count === 0) return;
    const extent = chain.state.extents(id)!.at(Math.floor(this.#random.float() * count));
    const key = chain.state.objectKey(extent.object);
    if (this.#random.float() < 0.3) await sleep(process, 3 * GRACE_MS * this.#random.float());
    const { position: start, lengthBytes } = extent;
    const found = await this.#store(process).get(key, { range: { start, end: start + lengthBytes } });
    if (found === undefined) {
      this.#world.count("read of a deleted object");
      await chain.refresh();
      const list = chain.state.extents(id);
      const at = list?.find(extent.baseOffset) ?? 0;
      const again = list === undefined || at >= list.count ? undefined : list.at(at);
      if (
        again !== undefined &&
        chain.state.objectKey(again.object) === key &&
        (await this.#world.server.head(key)) === undefined
      )
        throw new Error(`I5: ${key} is gone, and a new fold names it`);
      return;
    }
    // It took longer than the view was good for: a reader would ask again.
    if (!chain.isViewProved) return;
    const bytes = Buffer.from(found.body);
    for (let at = 0; at < bytes.length; at += RECORD_BYTES) {
      const offset = extent.baseOffset + at / RECORD_BYTES;
      const record = bytes.toString("latin1", at, at + RECORD_BYTES);
      const place = `${partition}/${offset}`;
      const before = this.#served.get(place);
      if (before !== undefined && before !== record) throw new Error(`I2: ${place} was ${before}, now it is ${record}`);
      this.#served.set(place, record);
      this.#world.count("record read");
    }
  }

  #store(process: SimProcess): ObjectStore {
    return settling(process.store, {
      clock: process.clock,
      random: this.#random,
      deadlineMs: 2000,
      requestTimeoutMs: 500,
    });
  }

  #chain(process: SimProcess, name: string, store = this.#store(process)): IndexChain {
    const chain = new IndexChain({
      store,
      shard: SHARD,
      writerId: name,
      clock: process.clock,
      random: this.#random,
      logger: silentLogger,
      graceMs: GRACE_MS,
      checkpointEvery: 3 + Math.floor(this.#random.float() * 3),
    });
    this.#chains.push(chain);
    return chain;
  }

  /** Everybody who has folded the same number of links holds the same state. */
  #observe(state: ShardState, by: string): void {
    const seen = digest(state);
    const known = this.#digests.get(state.nextSeq);
    if (known === undefined) this.#digests.set(state.nextSeq, { digest: seen, by });
    else if (known.digest !== seen) {
      throw new Error(
        `I2: ${by} and ${known.by} fold different states at seq ${state.nextSeq}:\n${seen}\n${known.digest}`,
      );
    }
  }

  async #check(): Promise<void> {
    const { server, chain: links } = this.#world;
    const starts = Array.from({ length: PARTITIONS }, () => 0);
    const truth = await digestsFromZero(links, new ShardState(SHARD), (state) => {
      for (const [partition, before] of starts.entries()) {
        const start = startOf(state, partition);
        if (start < before)
          throw new Error(`${partition} begins at ${start} behind seq ${state.nextSeq - 1}, at ${before} before`);
        starts[partition] = start;
      }
    });
    for (const [nextSeq, { digest, by }] of this.#digests) {
      if (nextSeq > 0 && digest !== truth[nextSeq - 1]) {
        throw new Error(`I2: ${by} held at seq ${nextSeq}:\n${digest}\nthe links say:\n${truth[nextSeq - 1]}`);
      }
    }
    await this.#checkCheckpoints(truth);
    const chain = this.#chain(this.#world.process("checker"), "checker", server);
    await chain.refresh();
    if (digest(chain.state) !== (truth.at(-1) ?? digest(new ShardState(SHARD)))) {
      throw new Error(`C12: opened from a checkpoint:\n${digest(chain.state)}\nthe links say:\n${truth.at(-1)}`);
    }
    await this.#countOrphans(chain.state);
    const logs = await Promise.all(
      Array.from({ length: PARTITIONS }, (_, partition) => readLog(server, chain.state, partition)),
    );

    this.#checkStarts(chain.state);
    for (const ack of this.#acks) {
      if (ack.offset < startOf(chain.state, ack.partition)) continue;
      const found = logs[ack.partition]?.[ack.offset];
      if (found?.record !== ack.record) {
        throw new Error(`I1: acked ${ack.record} at ${ack.partition}/${ack.offset}, the log has ${found?.record}`);
      }
      if (found.epoch !== ack.epoch) throw new Error(`I4: acked under epoch ${ack.epoch}, stored under ${found.epoch}`);
    }
    for (const [place, record] of this.#served) {
      const [partition = 0, offset = 0] = place.split("/").map(Number);
      const found = logs[partition]?.[offset];
      if (found !== undefined && found.record !== record)
        throw new Error(`I2: a reader got ${record} at ${place}, the log has ${found.record}`);
    }
    const all = logs.flat().flatMap((entry) => entry?.record ?? []);
    if (new Set(all).size !== all.length) throw new Error(`I2: a record twice in ${all.join()}`);
    for (const log of logs) {
      for (const [i, entry] of log.entries()) {
        // Trimmed.
        if (entry === undefined) continue;
        if (!this.#sent.has(entry.record)) throw new Error(`I3: "${entry.record}" was never sent`);
        const before = log[i - 1];
        if (before === undefined) continue;
        if (entry.epoch < before.epoch) throw new Error("I4: a link of an older epoch is live behind a newer one");
        // One writer per epoch, and its records in the order it sent them.
        if (
          entry.epoch === before.epoch &&
          (this.#sent.get(entry.record)?.order ?? 0) < (this.#sent.get(before.record)?.order ?? 0)
        ) {
          throw new Error(`I2: ${entry.record} behind ${before.record} in epoch ${entry.epoch}`);
        }
        const writers = [before, entry].map(({ record }) => this.#sent.get(record)?.writer);
        if (entry.epoch === before.epoch && writers[0] !== writers[1]) {
          throw new Error(`I4: ${writers.join(" and ")} both wrote in epoch ${entry.epoch}`);
        }
      }
    }
  }

  /** A start is where somebody once meant it to be, never below one that was answered for. */
  #checkStarts(state: ShardState): void {
    for (let partition = 0; partition < PARTITIONS; partition++) {
      const start = startOf(state, partition);
      const trims = this.#trims.filter((trim) => trim.partition === partition);
      const least = Math.max(0, ...trims.filter(({ acked }) => acked).map(({ newStart }) => newStart));
      if (start < least) throw new Error(`I1: ${partition} was trimmed to ${least} and begins at ${start}`);
      if (start > 0 && !trims.some(({ newStart }) => newStart === start))
        throw new Error(`I1: ${partition} begins at ${start}, which nobody asked for`);
    }
  }

  /** C12: whatever ever landed as a checkpoint holds what the links up to its seq give, and two that do are kept. */
  async #checkCheckpoints(truth: readonly string[]): Promise<void> {
    const { server, landedCheckpoints, damagedCheckpoints } = this.#world;
    for (const { key, body } of landedCheckpoints) {
      const seq = parseCheckpointKey(key) ?? (0 as Seq);
      const state = new ShardState(SHARD);
      state.restore(await decodeCheckpoint(body, key, SHARD, seq));
      if (digest(state) !== truth[seq]) {
        throw new Error(`C12: checkpoint ${seq} holds:\n${digest(state)}\nthe links say:\n${truth[seq]}`);
      }
    }
    let most = 0;
    for (const chain of this.#chains) {
      const { checkpointsWritten, checkpointsFailed, checkpointFallbacks } = chain.checkpointMetrics();
      most = Math.max(most, checkpointsWritten);
      if (checkpointsWritten > 0) this.#world.count("checkpoint written");
      if (checkpointsFailed > 0) this.#world.count("checkpoint failed");
      if (checkpointFallbacks > 0) this.#world.count("checkpoint fallback");
    }
    const kept = (await keysBelow(server, "checkpoint/")).length;
    if (kept < landedCheckpoints.length) this.#world.count("checkpoint deleted");
    // Two stay as soon as somebody has written two, whoever else deletes and whenever it lands.
    if (damagedCheckpoints === 0 && kept < Math.min(most, 2)) {
      throw new Error(`${kept} checkpoints left of ${landedCheckpoints.length}, one process wrote ${most}`);
    }
  }

  async #countOrphans(state: ShardState): Promise<void> {
    const named = state.fence === undefined ? 0 : state.snapshot().objects.length;
    const orphans = (await keysBelow(this.#world.server, "data/")).length - named;
    if (orphans < 0) throw new Error(`I1: the chain names ${named} data objects, ${-orphans} of them are gone`);
    if (orphans > 0) this.#world.count("orphan");
  }
}

/** Data objects of epochs below `epoch` that no extent lies in. */
async function unnamed(store: ObjectStore, state: ShardState, epoch: Epoch): Promise<ObjectKey[]> {
  const named = new Set(Array.from(state.dataObjects, ({ key }) => key));
  const found: ObjectKey[] = [];
  for await (const { key } of store.list("data/")) {
    const name = parseObjectName(key);
    if (name?.kind === "data" && name.epoch < epoch && !named.has(key)) found.push(key);
  }
  return found;
}

function isOverWithout(error: unknown): boolean {
  return error instanceof InvariantError && error.message.includes("without owning");
}

function sleep(process: SimProcess, delayMs: number): Promise<void> {
  return new Promise((resolve) => process.clock.schedule(delayMs, resolve));
}

interface LogEntry {
  readonly record: string;
  readonly epoch: Epoch;
}

function startOf(state: ShardState, partition: number): number {
  return state.extents({ topicId: TOPIC, partition })?.startOffset ?? 0;
}

/** By offset; nothing below the first extent that is left. */
async function readLog(server: ObjectStore, state: ShardState, partition: number): Promise<(LogEntry | undefined)[]> {
  const extents = state.extents({ topicId: TOPIC, partition });
  const first = extents === undefined || extents.count === 0 ? undefined : extents.at(0);
  const log: (LogEntry | undefined)[] = Array.from({ length: first?.baseOffset ?? 0 });
  for (let i = 0; i < (extents?.count ?? 0); i++) {
    const extent = extents?.at(i);
    if (extent === undefined) break;
    const object = await server.get(state.objectKey(extent.object));
    if (object === undefined) throw new Error(`${state.objectKey(extent.object)} is gone`);
    if (extent.object < 0 && state.dataObject(extent.object).sizeBytes !== object.sizeBytes)
      throw new Error(`${state.objectKey(extent.object)} has ${object.sizeBytes} bytes`);
    const bytes = Buffer.from(object.body).subarray(extent.position, extent.position + extent.lengthBytes);
    if (bytes.length !== extent.lengthBytes) throw new Error(`${state.objectKey(extent.object)} is cut`);
    for (let at = 0; at < bytes.length; at += RECORD_BYTES) {
      log.push({ record: bytes.toString("latin1", at, at + RECORD_BYTES), epoch: extent.leaderEpoch });
    }
  }
  return log;
}
