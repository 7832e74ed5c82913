import { Damage } from "./bytes.ts";
import { checkpointKey, decodeCheckpoint, extentText } from "./checkpoint.ts";
import { decodeFooter, type Footer } from "./data-object.ts";
import { decodeIndexFile, indexKey, NO_ID, type Link, type LinkExtent } from "./index-file.ts";
import { decodeBatches, type FoundRecord } from "./record-batch.ts";
import type { StoreReader } from "./store-reader.ts";

export interface ChainRecord extends FoundRecord {
  readonly topicId: string;
  readonly partition: number;
  readonly seq: number;
}

export interface ChainFence {
  readonly seq: number;
  readonly epoch: number;
  readonly writeId: string;
  readonly journalId: string;
}

/** A shard's chain, folded from seq 0 to the first missing seq (DESIGN section 4, rule 1). */
export interface Chain {
  readonly shard: number;
  /** Live ones, in order. */
  readonly fences: readonly ChainFence[];
  readonly epoch: number;
  /** The owner has left since the last fence. */
  readonly released: boolean;
  readonly nextSeq: number;
  readonly liveLinks: number;
  readonly voidLinks: number;
  /** First offset after the last live record, by `topicId/partition`. */
  readonly ends: ReadonlyMap<string, number>;
  /** In the order of the chain. */
  readonly records: readonly ChainRecord[];
  /** What must not be: each with the invariant that it breaks. */
  readonly violations: readonly string[];
  readonly dataObjects: number;
}

/** Reads every byte that the chain of `shard` names. Never throws for what it finds, only where the store cannot be read. */
export async function foldChain(store: StoreReader, shard: number): Promise<Chain> {
  return await new Fold(store, shard).run();
}

class Fold {
  readonly #store: StoreReader;
  readonly #shard: number;
  readonly #violations: string[] = [];
  readonly #fences: ChainFence[] = [];
  readonly #ends = new Map<string, number>();
  readonly #records: ChainRecord[] = [];
  /** Leader epoch of the last extent, by partition. */
  readonly #leaderEpochs = new Map<string, number>();
  readonly #objects = new Map<string, { readonly bytes: Buffer; readonly footer: Footer } | undefined>();
  /** For the comparison with checkpoints. */
  readonly #extents = new Map<string, string[]>();
  readonly #states = new Map<number, string>();
  #lastWriteId = NO_ID;
  #journalSince = 0;
  #liveLinks = 0;
  #voidLinks = 0;
  #released = false;

  constructor(store: StoreReader, shard: number) {
    this.#store = store;
    this.#shard = shard;
  }

  async run(): Promise<Chain> {
    const checkpoints = await this.#checkpointSeqs();
    let seq = 0;
    for (; ; seq++) {
      const bytes = await this.#store.get(indexKey(this.#shard, seq));
      if (bytes === undefined) break;
      try {
        await this.#link(decodeIndexFile(bytes, this.#shard, seq), bytes);
      } catch (error) {
        if (!(error instanceof Damage)) throw error;
        this.#violations.push(`I3: ${error.message}`);
        break;
      }
      if (checkpoints.includes(seq)) this.#states.set(seq, this.#state());
    }
    for (const checkpoint of checkpoints) await this.#compare(checkpoint, seq);
    return {
      shard: this.#shard,
      fences: this.#fences,
      epoch: this.#epoch,
      released: this.#released,
      nextSeq: seq,
      liveLinks: this.#liveLinks,
      voidLinks: this.#voidLinks,
      ends: this.#ends,
      records: this.#records,
      violations: this.#violations,
      dataObjects: this.#objects.size,
    };
  }

  get #epoch(): number {
    return this.#fences.at(-1)?.epoch ?? 0;
  }

  async #link(link: Link, bytes: Buffer): Promise<void> {
    const right = link.fence === undefined ? link.epoch === this.#epoch : link.epoch > this.#epoch;
    if (link.prev !== this.#lastWriteId || !right) {
      this.#voidLinks++;
      return;
    }
    this.#lastWriteId = link.writeId;
    this.#liveLinks++;
    if (link.fence !== undefined) {
      if (this.#fences.at(-1)?.journalId !== link.fence.journalId) this.#journalSince = link.epoch;
      const { seq, epoch, writeId } = link;
      this.#fences.push({ seq, epoch, writeId, journalId: link.fence.journalId });
      this.#released = false;
      return;
    }
    if (this.#released) this.#violations.push(`I4: ${link.key} is live behind a release, without a fence`);
    if (link.release) this.#released = true;
    for (const extent of link.extents) await this.#extent(link, extent, bytes);
  }

  async #extent(link: Link, extent: LinkExtent, bytes: Buffer): Promise<void> {
    const { topicId, partition, baseOffset, nextOffset, leaderEpoch } = extent;
    const name = `${topicId}/${partition}`;
    const where = `${link.key}: ${name} ${baseOffset} … ${nextOffset - 1}`;
    const end = this.#ends.get(name) ?? 0;
    if (baseOffset !== end) throw new Damage(`${where}, but the partition ends at ${end}`);
    this.#ends.set(name, nextOffset);
    this.#checkLeaderEpoch(extent, link, where);
    this.#leaderEpochs.set(name, leaderEpoch);
    const place = extent.object === undefined ? link.key : `${extent.object.name} (${extent.object.sizeBytes})`;
    const texts = this.#extents.get(name);
    if (texts === undefined) this.#extents.set(name, [extentText(extent, place)]);
    else texts.push(extentText(extent, place));
    try {
      const stored = extent.object === undefined ? bytes : await this.#dataObject(extent, extent.object, where);
      if (stored === undefined) return;
      const batches = stored.subarray(extent.position, extent.position + extent.lengthBytes);
      for (const record of decodeBatches(batches, extent, where)) {
        this.#records.push({ ...record, topicId, partition, seq: link.seq });
      }
    } catch (error) {
      this.#violations.push(`I3: ${where}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  /** Rule 11: what was journaled in an earlier epoch comes later only from the journal that every fence since then has named. */
  #checkLeaderEpoch({ topicId, partition, leaderEpoch }: LinkExtent, link: Link, where: string): void {
    const before = this.#leaderEpochs.get(`${topicId}/${partition}`) ?? 0;
    if (leaderEpoch < before) this.#violations.push(`I4: ${where}: leader epoch ${leaderEpoch} behind ${before}`);
    if (leaderEpoch === link.epoch) return;
    const journals = new Set(
      this.#fences.filter(({ epoch }) => epoch >= leaderEpoch).map(({ journalId }) => journalId),
    );
    const began = this.#fences.some(({ epoch }) => epoch === leaderEpoch);
    if (!began || journals.size !== 1 || journals.has(NO_ID)) {
      this.#violations.push(
        `I4: ${where}: of epoch ${leaderEpoch} in a link of epoch ${link.epoch}, though the fences since then name ${journals.size} journals`,
      );
    }
  }

  async #dataObject(
    extent: LinkExtent,
    { name, sizeBytes }: NonNullable<LinkExtent["object"]>,
    where: string,
  ): Promise<Buffer | undefined> {
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

  async #checkpointSeqs(): Promise<number[]> {
    const keys = await this.#store.list(`checkpoint/${String(this.#shard).padStart(4, "0")}/`);
    return keys.map((key) => Number(/(\d{20})\.ckpt$/.exec(key)?.[1] ?? Number.NaN));
  }

  /** A checkpoint's content follows from the links up to its seq, and from nothing else. */
  async #compare(seq: number, foldedTo: number): Promise<void> {
    const bytes = await this.#store.get(checkpointKey(this.#shard, seq));
    if (bytes === undefined) return;
    if (seq >= foldedTo) {
      this.#violations.push(
        `I5: checkpoint of seq ${seq} of shard ${this.#shard}, but the links end before ${foldedTo}`,
      );
      return;
    }
    try {
      const checkpoint = decodeCheckpoint(bytes, this.#shard, seq, (seq) => indexKey(this.#shard, seq));
      const { seq: fenceSeq, epoch, writeId, journalId, journalSince } = checkpoint.fence;
      const { lastWriteId, liveLinks, released } = checkpoint;
      const claimed = stateText({
        chain: { lastWriteId, liveLinks, released },
        fence: { seq: fenceSeq, epoch, writeId, journalId },
        journalSince,
        extents: new Map([...checkpoint.partitions].map(([name, { extents }]) => [name, extents])),
      });
      if (claimed !== this.#states.get(seq)) {
        this.#violations.push(`I3: ${checkpoint.key} holds another state than the links up to its seq`);
      }
    } catch (error) {
      if (!(error instanceof Damage)) throw error;
      this.#violations.push(`I3: ${error.message}`);
    }
  }

  #state(): string {
    const { seq, epoch, writeId, journalId } = this.#fences.at(-1) ?? { seq: -1, epoch: 0, writeId: "", journalId: "" };
    return stateText({
      chain: { lastWriteId: this.#lastWriteId, liveLinks: this.#liveLinks, released: this.#released },
      fence: { seq, epoch, writeId, journalId },
      journalSince: this.#journalSince,
      extents: this.#extents,
    });
  }
}

interface State {
  readonly chain: { readonly lastWriteId: string; readonly liveLinks: number; readonly released: boolean };
  readonly fence: ChainFence;
  readonly journalSince: number;
  readonly extents: ReadonlyMap<string, readonly string[]>;
}

function stateText({ chain, fence, journalSince, extents }: State): string {
  return JSON.stringify([chain, fence, journalSince, [...extents]]);
}
