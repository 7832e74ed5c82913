import type { Epoch, ObjectKey, PartitionId, Seq, ShardId } from "../../src/domain.ts";
import { encodeCheckpoint } from "../../src/index-chain/checkpoint-file.ts";
import type { Extent } from "../../src/index-chain/extent-list.ts";
import { encodeLink } from "../../src/index-chain/index-file.ts";
import type { DataObjectRef, LinkEntry, LinkExtent, LinkRange } from "../../src/index-chain/link-entries.ts";
import { readLink } from "../../src/index-chain/read-link.ts";
import { ShardState } from "../../src/index-chain/shard-state.ts";
import { DataObjectDirectory } from "../../src/object-store/data-object.ts";
import { checkpointKey, dataKey, indexKey } from "../../src/object-store/object-names.ts";
import type { ObjectStore } from "../../src/object-store/object-store.ts";
import { writeId } from "../index-chain/links.ts";

const CREATED_AT_MS = 1_700_000_000_000;

/** Writes links of its own behind those that an engine left, and objects that they name, byte for byte as it says. */
export class ChainEditor {
  readonly #store: ObjectStore;
  readonly #shard: ShardId;
  readonly state: ShardState;
  #epoch: Epoch;
  #objects = 0;

  private constructor(store: ObjectStore, state: ShardState) {
    this.#store = store;
    this.#shard = state.shard;
    this.state = state;
    this.#epoch = state.epoch;
  }

  /** Behind all links of the shard; its epoch is the next one. */
  static async open(store: ObjectStore, shard: number): Promise<ChainEditor> {
    const state = new ShardState(shard as ShardId);
    for (;;) {
      const link = await readLink(store, state.shard, state.nextSeq);
      if (link === undefined) break;
      state.apply(link, indexKey(state.shard, link.seq));
    }
    const editor = new ChainEditor(store, state);
    editor.#epoch = (state.epoch + 1) as Epoch;
    await editor.commit([{ type: "fence", journalId: "0".repeat(32), endpoint: "" }]);
    return editor;
  }

  /** Of the link that comes next. */
  get seq(): number {
    return this.state.nextSeq;
  }

  async commit(entries: readonly LinkEntry[], payload: readonly Uint8Array[] = []): Promise<void> {
    const { seq } = this;
    const draft = {
      shard: this.#shard,
      seq: seq as Seq,
      epoch: this.#epoch,
      writeId: writeId(`edit ${this.#shard} ${seq}`),
      prev: this.state.lastLive,
      writerId: "editor",
      createdAtMs: CREATED_AT_MS,
      entries,
    };
    const { bytes } = await encodeLink(draft, payload);
    const key = indexKey(this.#shard, draft.seq);
    await this.#store.put(key, bytes, { condition: { kind: "none" } });
    const link = await readLink(this.#store, this.#shard, draft.seq);
    if (link === undefined || this.state.apply(link, key) !== "live") throw new Error(`link ${seq} is not live`);
  }

  /** Appends the batches of an extent once more, under new offsets, inline. */
  async appendAgain(id: PartitionId, extent: Extent): Promise<void> {
    const bytes = Buffer.from(await this.#bytesOf(extent));
    const baseOffset = this.state.extents(id)?.nextOffset ?? 0;
    // The two fields that lie outside the CRC.
    bytes.writeBigUInt64BE(BigInt(baseOffset), 0);
    bytes.writeUInt32BE(this.#epoch, 12);
    const nextOffset = baseOffset + extent.nextOffset - extent.baseOffset;
    const moved = { ...placed(id, extent), leaderEpoch: this.#epoch, object: 0, position: 0, baseOffset, nextOffset };
    await this.commit([{ type: "append", objects: [], extents: [moved as LinkExtent] }], [bytes]);
  }

  /**
   * What would put all extents of each partition but the last `keep` into a data object of its own, which is written here; not
   * committed.
   */
  async merge(ids: readonly PartitionId[], keep = 0): Promise<LinkEntry & { readonly type: "replace" }> {
    const objects: DataObjectRef[] = [];
    const ranges: LinkRange[] = [];
    const extents: LinkExtent[] = [];
    for (const id of ids) {
      const list = this.state.extents(id);
      if (list === undefined) throw new Error("no such partition");
      const directory = new DataObjectDirectory();
      const parts: Uint8Array[] = [];
      const count = list.count - keep;
      for (let i = 0; i < count; i++) {
        const extent = list.at(i);
        directory.add(id, extent.leaderEpoch, extent);
        parts.push(await this.#bytesOf(extent));
      }
      parts.push(directory.encodeTail(this.#shard, this.#epoch, CREATED_AT_MS));
      const key = dataKey(
        this.#shard,
        this.#epoch,
        900 + this.#objects,
        `5e${String(this.#objects++).padStart(14, "0")}`,
      );
      const bytes = Buffer.concat(parts);
      await this.#store.put(key, bytes, { condition: { kind: "none" } });
      objects.push({ key, sizeBytes: bytes.length });
      ranges.push({ ...id, baseOffset: list.at(0).baseOffset, nextOffset: list.at(count - 1).nextOffset, count });
      for (const extent of directory.extents)
        extents.push({ ...placed(id, extent), object: objects.length, position: extent.position });
    }
    return { type: "replace", objects, ranges, superseded: this.state.supersededDigest(ranges) ?? "", extents };
  }

  /** Writes the checkpoint of the last link. */
  async checkpoint(): Promise<void> {
    const snapshot = this.state.snapshot();
    const key = checkpointKey(this.#shard, snapshot.seq);
    await this.#store.put(key, await encodeCheckpoint(snapshot), { condition: { kind: "none" } });
  }

  async #bytesOf({ object, position, lengthBytes }: Extent): Promise<Uint8Array> {
    const key: ObjectKey = this.state.objectKey(object);
    const found = await this.#store.get(key, { range: { start: position, end: position + lengthBytes } });
    if (found === undefined) throw new Error(`${key} does not exist`);
    return found.body;
  }
}

function placed(
  id: PartitionId,
  extent: Pick<Extent, "leaderEpoch" | "baseOffset" | "nextOffset" | "lengthBytes" | "maxTimestampMs">,
): Omit<LinkExtent, "object" | "position"> {
  const { topicId, partition } = id;
  const { leaderEpoch, baseOffset, nextOffset, lengthBytes, maxTimestampMs } = extent;
  return { topicId, partition, leaderEpoch, baseOffset, nextOffset, lengthBytes, maxTimestampMs };
}
