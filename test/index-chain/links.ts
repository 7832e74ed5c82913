import type { Epoch, Offset, Seq, ShardId, TopicId } from "../../src/domain.ts";
import { encodeLink, type LinkDraft, type LinkExtent } from "../../src/index-chain/index-file.ts";
import type { WriteId } from "../../src/index-chain/write-id.ts";
import { indexKey } from "../../src/object-store/object-names.ts";
import type { ObjectStore } from "../../src/object-store/object-store.ts";

export const SHARD = 0 as ShardId;
export const TOPIC = "0123456789abcdef".repeat(2) as TopicId;
export const PARTITION = { topicId: TOPIC, partition: 0 };

/** A writeId that people can tell from others in a failure message. */
export function writeId(name: string): WriteId {
  return Buffer.from(name.padEnd(16, ".")).toString("hex") as WriteId;
}

export function extent(
  baseOffset: number,
  nextOffset: number,
  epoch: number,
  position = 0,
  lengthBytes = 4,
): LinkExtent {
  return {
    ...PARTITION,
    leaderEpoch: epoch as Epoch,
    baseOffset: baseOffset as Offset,
    nextOffset: nextOffset as Offset,
    object: 0,
    position,
    lengthBytes,
    maxTimestampMs: 1_700_000_000_000,
  };
}

interface Fields {
  readonly seq: number;
  readonly epoch: number;
  readonly id: string;
  readonly prev: WriteId;
}

export function fenceDraft(fields: Fields): LinkDraft {
  return { ...draft(fields), entries: [{ type: "fence", journalId: "0".repeat(32), endpoint: "" }] };
}

/** One record at `baseOffset`. */
export function appendDraft(fields: Fields & { readonly baseOffset: number }): LinkDraft {
  return {
    ...draft(fields),
    entries: [
      { type: "append", objects: [], extents: [extent(fields.baseOffset, fields.baseOffset + 1, fields.epoch)] },
    ],
  };
}

function draft(fields: Fields): Omit<LinkDraft, "entries"> {
  return {
    shard: SHARD,
    seq: fields.seq as Seq,
    epoch: fields.epoch as Epoch,
    writeId: writeId(fields.id),
    prev: fields.prev,
    writerId: `writer of ${fields.id}`,
    createdAtMs: 1_700_000_000_000,
  };
}

/** Puts a link where it belongs, as a store does when a late request lands. */
export async function land(store: ObjectStore, link: LinkDraft): Promise<"written" | "condition-failed"> {
  const payload = link.entries.some((entry) => entry.type === "append") ? [Buffer.from("abcd")] : [];
  const { bytes } = encodeLink(link, payload);
  return (await store.put(indexKey(SHARD, link.seq), bytes, { condition: { kind: "if-absent" } })).kind;
}
