import { Damage } from "./bytes.ts";
import { checkpointKey, decodeCheckpoint, type Checkpoint } from "./checkpoint.ts";
import { decodeFooter, type Footer } from "./data-object.ts";
import { FoldState, type ChainFence, type Merge } from "./fold-state.ts";
import { decodeIndexFile, indexKey, type StateExtent } from "./index-file.ts";
import { decodeBatches, type FoundRecord } from "./record-batch.ts";
import type { StoreReader } from "./store-reader.ts";

export interface ChainRecord extends FoundRecord {
  readonly topicId: string;
  readonly partition: number;
  /** Where it lies, for messages. */
  readonly where: string;
}

/** A shard's chain, folded to the first missing seq (DESIGN section 4, rule 1), and all that it names. */
export interface Chain {
  readonly shard: number;
  /** Live ones, in order; not those before the checkpoint that the fold began with, but for the last. */
  readonly fences: readonly ChainFence[];
  readonly epoch: number;
  /** The epoch since which every live fence has named this journal. */
  readonly journalSince: number;
  /** The owner has left since the last fence. */
  readonly released: boolean;
  /** The first seq that was folded: 0, or behind the checkpoint that the fold began with. */
  readonly foldedFrom: number;
  readonly nextSeq: number;
  readonly liveLinks: number;
  readonly voidLinks: number;
  readonly voidEntries: number;
  readonly boundary: number;
  /** Replaces that had their effect, by partition; of how many of them both sides could be read and compared. */
  readonly merges: number;
  readonly mergesCompared: number;
  /** First offset that is still in the log, and first one after the last live record, by `topicId/partition`. */
  readonly starts: ReadonlyMap<string, number>;
  readonly ends: ReadonlyMap<string, number>;
  /** Encoded, in extents that are still in the log, by `topicId/partition`. */
  readonly bytes: ReadonlyMap<string, number>;
  /** Of each partition by offset. */
  readonly records: readonly ChainRecord[];
  /** What must not be: each with the invariant that it breaks. */
  readonly violations: readonly string[];
  /** Names of those that extents lie in. */
  readonly dataObjects: ReadonlySet<string>;
  /** Extents, and those of them that lie in index files. */
  readonly extents: number;
  readonly inlineExtents: number;
}

/** Two checkpoints are kept once links may be deleted (rule 8). */
const CHECKPOINTS_KEPT = 2;

/** Reads every byte that the chain of `shard` names. Never throws for what it finds, only where the store cannot be read. */
export async function foldChain(store: StoreReader, shard: number): Promise<Chain> {
  return await new ChainCheck(store, shard).run();
}

/** One way through the links: from the first, or from behind a checkpoint. */
interface Fold {
  readonly state: FoldState;
  readonly foldedFrom: number;
  /** By the seq of a checkpoint: the state behind it. */
  readonly states: ReadonlyMap<number, string>;
  /** Why it ended, where that is not for a missing link. */
  readonly damage: string | undefined;
}

interface StoredCheckpoint {
  readonly seq: number;
  readonly decoded: Checkpoint | Damage;
}

class ChainCheck {
  readonly #store: StoreReader;
  readonly #shard: number;
  readonly #violations: string[] = [];
  readonly #objects = new Map<string, { readonly bytes: Buffer; readonly footer: Footer } | undefined>();

  constructor(store: StoreReader, shard: number) {
    this.#store = store;
    this.#shard = shard;
  }

  async run(): Promise<Chain> {
    const checkpoints = await this.#checkpoints();
    const fold = await this.#fold(checkpoints);
    const { state, foldedFrom } = fold;
    this.#violations.push(...state.violations);
    if (fold.damage !== undefined) this.#violations.push(`I3: ${fold.damage}`);
    for (const checkpoint of checkpoints) this.#compare(checkpoint, fold);
    this.#checkBoundary(state.boundary, checkpoints);
    const records = await this.#records(state);
    let mergesCompared = 0;
    for (const merge of state.merges) if (await this.#compareMerge(merge)) mergesCompared++;
    const extents = [...state.partitions.values()].flatMap((partition) => partition.extents);
    const dataObjects = new Set(extents.map(({ object }) => object?.name).filter((name) => name !== undefined));
    return {
      shard: this.#shard,
      fences: state.fences,
      epoch: state.epoch,
      journalSince: state.journalSince,
      released: state.released,
      foldedFrom,
      nextSeq: state.nextSeq,
      liveLinks: state.liveLinks,
      voidLinks: state.voidLinks,
      voidEntries: state.voidEntries,
      boundary: state.boundary,
      merges: state.merges.length,
      mergesCompared,
      starts: new Map([...state.partitions].map(([name, { start }]) => [name, start])),
      ends: new Map([...state.partitions.keys()].map((name) => [name, state.end(name)])),
      bytes: new Map([...state.partitions].map(([name, partition]) => [name, bytesOf(partition.extents)])),
      records,
      violations: this.#violations,
      dataObjects,
      extents: extents.length,
      inlineExtents: extents.filter(({ object }) => object === undefined).length,
    };
  }

  /**
   * From seq 0, unless a link on the way is missing and a checkpoint behind it leads to a boundary: then from that checkpoint, the oldest
   * that can be read. What is missing there must lie below the boundary. A checkpoint followed by a link below the boundary does not
   * count: a stopped owner's PUT of one that is deleted by now may land at any time, and links behind it are gone.
   */
  async #fold(checkpoints: readonly StoredCheckpoint[]): Promise<Fold> {
    const fromFirst = await this.#foldFrom(undefined, checkpoints);
    const missing = fromFirst.state.nextSeq;
    const readable = checkpoints.flatMap(({ decoded }) => (decoded instanceof Damage ? [] : [decoded]));
    const newest = readable.at(-1);
    if (newest === undefined || newest.seq < missing) return fromFirst;
    const left = (await this.#foldFrom(newest, checkpoints)).state.boundary - 1;
    for (const checkpoint of readable) {
      const { seq } = checkpoint;
      if (seq < missing || seq < left) continue;
      const fromCheckpoint = await this.#foldFrom(checkpoint, checkpoints);
      const { boundary } = fromCheckpoint.state;
      if (boundary === 0) continue;
      // At or above the boundary all links are there, also those that the checkpoint stands for.
      for (let kept = Math.max(boundary, missing); kept <= seq; kept++) {
        const problem = await this.#problemOf(kept);
        if (problem !== undefined) this.#violations.push(`I5: ${problem}, though the boundary is ${boundary}`);
      }
      return fromCheckpoint;
    }
    return fromFirst;
  }

  async #foldFrom(checkpoint: Checkpoint | undefined, checkpoints: readonly StoredCheckpoint[]): Promise<Fold> {
    const state = new FoldState(this.#shard, checkpoint);
    const foldedFrom = state.nextSeq;
    const states = new Map<number, string>();
    let damage: string | undefined;
    for (let seq = foldedFrom; ; seq++) {
      const bytes = await this.#store.get(indexKey(this.#shard, seq));
      if (bytes === undefined) break;
      try {
        state.apply(decodeIndexFile(bytes, this.#shard, seq));
      } catch (error) {
        if (!(error instanceof Damage)) throw error;
        damage = error.message;
        state.nextSeq = seq;
        break;
      }
      if (checkpoints.some((other) => other.seq === seq)) states.set(seq, state.text());
    }
    return { state, foldedFrom, states, damage };
  }

  async #problemOf(seq: number): Promise<string | undefined> {
    const key = indexKey(this.#shard, seq);
    const bytes = await this.#store.get(key);
    if (bytes === undefined) return `${key} is missing`;
    try {
      decodeIndexFile(bytes, this.#shard, seq);
      return undefined;
    } catch (error) {
      if (!(error instanceof Damage)) throw error;
      return error.message;
    }
  }

  /** Ascending. */
  async #checkpoints(): Promise<StoredCheckpoint[]> {
    const keys = await this.#store.list(`checkpoint/${String(this.#shard).padStart(4, "0")}/`);
    const found: StoredCheckpoint[] = [];
    for (const key of keys) {
      const seq = Number(/(\d{20})\.ckpt$/.exec(key)?.[1] ?? Number.NaN);
      const bytes = await this.#store.get(checkpointKey(this.#shard, seq));
      if (bytes === undefined) continue;
      try {
        found.push({ seq, decoded: decodeCheckpoint(bytes, this.#shard, seq) });
      } catch (error) {
        if (!(error instanceof Damage)) throw error;
        this.#violations.push(`I3: ${error.message}`);
        found.push({ seq, decoded: error });
      }
    }
    return found;
  }

  /** A checkpoint's content follows from the links up to its seq, and from nothing else: also from another checkpoint and those between. */
  #compare({ seq, decoded }: StoredCheckpoint, { state, foldedFrom, states }: Fold): void {
    if (decoded instanceof Damage || seq < foldedFrom) return;
    if (seq >= state.nextSeq) {
      this.#violations.push(
        `I5: checkpoint of seq ${seq} of shard ${this.#shard}, but the links end before ${state.nextSeq}`,
      );
    } else if (new FoldState(this.#shard, decoded).text() !== states.get(seq)) {
      this.#violations.push(`I3: ${decoded.key} holds another state than the links up to its seq`);
    }
  }

  /** Rules 7 and 8: links are only deleted that two checkpoints stand for. */
  #checkBoundary(boundary: number, checkpoints: readonly StoredCheckpoint[]): void {
    if (boundary === 0) return;
    const kept = checkpoints.slice(-CHECKPOINTS_KEPT);
    const older = kept[0];
    if (older === undefined || kept.length < CHECKPOINTS_KEPT) {
      this.#violations.push(`I5: shard ${this.#shard} has a boundary of ${boundary} and ${kept.length} checkpoints`);
    } else if (boundary > older.seq + 1) {
      this.#violations.push(
        `I5: shard ${this.#shard} has a boundary of ${boundary}, its older checkpoint is of seq ${older.seq}`,
      );
    }
  }

  async #records(state: FoldState): Promise<ChainRecord[]> {
    const records: ChainRecord[] = [];
    for (const { start, extents } of state.partitions.values()) {
      for (const extent of extents) {
        const { topicId, partition, where } = extent;
        const found = await this.#read(extent);
        for (const record of found ?? []) {
          if (record.offset >= start) records.push({ ...record, topicId, partition, where });
        }
      }
    }
    return records;
  }

  /** The records of an extent that the state names; undefined where they cannot be read, which is a violation. */
  async #read(extent: StateExtent): Promise<FoundRecord[] | undefined> {
    const { where } = extent;
    try {
      const stored = await this.#bytesOf(extent);
      return stored === undefined ? undefined : decodeExtent(stored, extent);
    } catch (error) {
      this.#violations.push(`I3: ${where}: ${error instanceof Error ? error.message : String(error)}`);
      return undefined;
    }
  }

  async #bytesOf(extent: StateExtent): Promise<Buffer | undefined> {
    const { seq, where } = extent;
    if (extent.object !== undefined) return await this.#dataObject(extent, extent.object);
    const key = indexKey(this.#shard, seq ?? -1);
    const bytes = await this.#store.get(key);
    if (bytes === undefined) this.#violations.push(`I5: ${where}: ${key} is missing`);
    return bytes;
  }

  /** The same records as those that they superseded, where these can still be read. true: they were compared. */
  async #compareMerge({ where, before, after }: Merge): Promise<boolean> {
    const old: FoundRecord[] = [];
    const now: FoundRecord[] = [];
    for (const [extents, into] of [
      [before, old],
      [after, now],
    ] as const) {
      for (const extent of extents) {
        const bytes = await this.#store.get(extent.object?.name ?? indexKey(this.#shard, extent.seq ?? -1));
        if (bytes === undefined) return false;
        try {
          into.push(...decodeExtent(bytes, extent));
        } catch {
          // What was superseded may be anything by now; what the state names was reported when it was read.
          return false;
        }
      }
    }
    const at = old.findIndex((record, i) => JSON.stringify(record) !== JSON.stringify(now[i]));
    if (old.length !== now.length || at >= 0) {
      const first = at < 0 ? Math.min(old.length, now.length) : at;
      this.#violations.push(
        `I2: ${where}: merged, record ${old[first]?.id} at offset ${old[first]?.offset} became ${now[first]?.id} at ${now[first]?.offset}`,
      );
    }
    return true;
  }

  async #dataObject(
    extent: StateExtent,
    { name, sizeBytes }: NonNullable<StateExtent["object"]>,
  ): Promise<Buffer | undefined> {
    const { where } = extent;
    if (!this.#objects.has(name)) this.#objects.set(name, await this.#readDataObject(name, sizeBytes, where));
    const object = this.#objects.get(name);
    if (object === undefined) return undefined;
    const { topicId, partition, leaderEpoch, baseOffset, nextOffset, position, lengthBytes, maxTimestamp } = extent;
    const described = object.footer.extents.some(
      (other) =>
        other.topicId === topicId &&
        other.partition === partition &&
        other.leaderEpoch === leaderEpoch &&
        other.baseOffset === baseOffset &&
        other.nextOffset === nextOffset &&
        other.position === position &&
        other.lengthBytes === lengthBytes &&
        other.maxTimestamp === maxTimestamp,
    );
    if (!described) this.#violations.push(`I3: ${where}: the footer of ${name} does not describe this extent`);
    return object.bytes;
  }

  async #readDataObject(
    name: string,
    sizeBytes: number,
    where: string,
  ): Promise<{ readonly bytes: Buffer; readonly footer: Footer } | undefined> {
    const bytes = await this.#store.get(name);
    if (bytes === undefined) {
      this.#violations.push(`I5: ${where}: ${name} is missing`);
      return undefined;
    }
    if (bytes.length !== sizeBytes) {
      this.#violations.push(`I5: ${where}: ${name} has ${bytes.length} bytes, not ${sizeBytes}`);
      return undefined;
    }
    return { bytes, footer: decodeFooter(bytes, name) };
  }
}

function bytesOf(extents: readonly StateExtent[]): number {
  return extents.reduce((sum, { lengthBytes }) => sum + lengthBytes, 0);
}

function decodeExtent(stored: Buffer, extent: StateExtent): FoundRecord[] {
  const batches = stored.subarray(extent.position, extent.position + extent.lengthBytes);
  return decodeBatches(batches, extent, extent.where);
}
