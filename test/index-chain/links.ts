import type { Epoch, ObjectKey, Offset, Seq, ShardId, TopicId } from "../../src/domain.ts";
import { IndexChain } from "../../src/index-chain/index-chain.ts";
import { encodeLink, type LinkDraft } from "../../src/index-chain/index-file.ts";
import type { LinkExtent } from "../../src/index-chain/link-entries.ts";
import type { WriteId } from "../../src/index-chain/write-id.ts";
import { checkpointPrefix, indexKey } from "../../src/object-store/object-names.ts";
import type { ObjectStore } from "../../src/object-store/object-store.ts";
import { settling } from "../../src/object-store/settling.ts";
import { systemClock, type Clock } from "../../src/runtime/clock.ts";
import { silentLogger, type Logger } from "../../src/runtime/logger.ts";
import { seededRandom } from "../../src/runtime/random.ts";

export const SHARD = 0 as ShardId;
export const TOPIC = "0123456789abcdef".repeat(2) as TopicId;
export const GRACE_MS = 3_600_000;
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
  const { bytes } = await encodeLink(link, payload);
  return (await store.put(indexKey(SHARD, link.seq), bytes, { condition: { kind: "if-absent" } })).kind;
}

/** One process on `store`. Without `checkpointEvery` its checkpoints are too rare to matter. */
export function chain(
  name: string,
  store: ObjectStore,
  options: { readonly checkpointEvery?: number; readonly logger?: Logger; readonly clock?: Clock } = {},
): IndexChain {
  const random = seededRandom(name.charCodeAt(0));
  const { clock = systemClock } = options;
  return new IndexChain({
    store: settling(store, { clock, random, deadlineMs: 300 }),
    shard: SHARD,
    writerId: name,
    clock,
    random,
    logger: options.logger ?? silentLogger,
    checkpointEvery: options.checkpointEvery ?? 1_000_000,
    graceMs: GRACE_MS,
  });
}

/** Commits one record; returns the seq of its link. */
export async function append(to: IndexChain): Promise<number> {
  const base = to.state.extents(PARTITION)?.nextOffset ?? 0;
  const { link } = await to.commit(
    [{ type: "append", objects: [], extents: [extent(base, base + 1, to.state.epoch)] }],
    [Buffer.from("abcd")],
  );
  return link.seq;
}

export async function keysBelow(store: ObjectStore, prefix: string): Promise<ObjectKey[]> {
  const keys: ObjectKey[] = [];
  for await (const { key } of store.list(prefix)) keys.push(key);
  return keys;
}

/** Names of the checkpoints in the store, oldest first. */
export function checkpointKeys(store: ObjectStore): Promise<ObjectKey[]> {
  return keysBelow(store, checkpointPrefix(SHARD));
}

/** Puts `change` of the object's bytes in its place, as damage does. */
export async function damage(
  store: ObjectStore,
  key: ObjectKey,
  change: (bytes: Uint8Array) => Uint8Array,
): Promise<void> {
  const stored = await store.get(key);
  if (stored === undefined) throw new Error(`${key} does not exist`);
  await store.put(key, change(stored.body), { condition: { kind: "none" } });
}

export function flipped(at: number): (bytes: Uint8Array) => Uint8Array {
  return (bytes) => {
    const copy = Uint8Array.from(bytes);
    copy[at] = (copy[at] ?? 0) ^ 1;
    return copy;
  };
}

/** Keeps what was warned of. */
export function listeningLogger(): Logger & {
  readonly warnings: { message: string; fields: Record<string, unknown> }[];
} {
  const warnings: { message: string; fields: Record<string, unknown> }[] = [];
  return { warnings, info: () => undefined, warn: (message, fields = {}) => void warnings.push({ message, fields }) };
}
