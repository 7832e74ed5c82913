import type { ObjectKey, Seq } from "../../../src/domain.ts";
import { encodeLink, type Link } from "../../../src/index-chain/index-file.ts";
import type { LinkExtent } from "../../../src/index-chain/link-entries.ts";
import { readLink } from "../../../src/index-chain/read-link.ts";
import { createMemoryStore } from "../../../src/object-store/memory-store.ts";
import { checkpointKey, indexKey } from "../../../src/object-store/object-names.ts";
import type { ObjectStore } from "../../../src/object-store/object-store.ts";
import { crc32c } from "../../../src/record/crc32c.ts";
import { damage, keysBelow, SHARD, writeId } from "../../index-chain/links.ts";
import { Cluster, testConfig, values } from "../../support/engine.ts";

const MIB = 1024 * 1024;

/**
 * A store as an engine leaves it: shard 0 with the fence at seq 0, small appends at 1 … 4, 7 and 8, two data objects of one size at
 * 5 and 6, the release at 9; checkpoints of 3 and 7. Three catalogs: "gone" was made and deleted.
 */
export async function filledStore(store: ObjectStore = createMemoryStore()): Promise<ObjectStore> {
  const cluster = new Cluster(store);
  const config = testConfig({
    checkpointEvery: 4,
    flush: { lingerMs: 60_000, maxBytes: 64 * MIB },
    storage: { object: { multipartPartSizeBytes: 5 * MIB } },
  });
  try {
    const engine = await cluster.open(config);
    await engine.createTopic("events", { partitions: 2, compression: "lz4" });
    await engine.createTopic("gone", { partitions: 1 });
    await engine.deleteTopic("gone");
    const topic = await engine.topic("events");
    for (const seq of [1, 2, 3, 4, 5, 6, 7, 8]) {
      const isBig = seq === 5 || seq === 6;
      const appends = [0, 1].map((partition) =>
        topic
          .partition(partition)
          .append(isBig ? bigValues() : values(`first of ${seq} `.repeat(50), `second of ${seq} `.repeat(50))),
      );
      await engine.flush();
      await Promise.all(appends);
      if (seq === 3 || seq === 7) await untilStored(store, checkpointKey(SHARD, seq as Seq));
    }
  } finally {
    await cluster.close();
  }
  return store;
}

/** 3 MiB that lz4 does not shrink, the same each time, so that the objects have the same size. */
function bigValues(): { value: Uint8Array }[] {
  let state = 1;
  return Array.from({ length: 96 }, () => {
    const value = new Uint8Array(32 * 1024);
    for (let i = 0; i < value.length; i++) {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      value[i] = state >>> 24;
    }
    return { value };
  });
}

async function untilStored(store: ObjectStore, key: ObjectKey): Promise<void> {
  while ((await store.head(key)) === undefined) await new Promise((resolve) => setImmediate(resolve));
}

export async function copyOf(store: ObjectStore): Promise<ObjectStore> {
  const copy = createMemoryStore();
  for (const key of await keysBelow(store, "")) await put(copy, key, await bytesOf(store, key));
  return copy;
}

export async function bytesOf(store: ObjectStore, key: ObjectKey): Promise<Uint8Array> {
  const found = await store.get(key);
  if (found === undefined) throw new Error(`${key} does not exist`);
  return found.body;
}

export async function put(store: ObjectStore, key: ObjectKey, bytes: Uint8Array): Promise<void> {
  await store.put(key, bytes, { condition: { kind: "none" } });
}

export function index(seq: number): ObjectKey {
  return indexKey(SHARD, seq as Seq);
}

export function checkpoint(seq: number): ObjectKey {
  return checkpointKey(SHARD, seq as Seq);
}

/** The data objects in the order of their flushes. */
export async function dataObjects(store: ObjectStore): Promise<[first: ObjectKey, second: ObjectKey]> {
  const keys: ObjectKey[] = [];
  for (const seq of [5, 6]) {
    for (const entry of (await linkAt(store, seq)).entries) {
      if (entry.type === "append") keys.push(...entry.objects.map(({ key }) => key));
    }
  }
  const [first, second] = keys;
  if (first === undefined || second === undefined) throw new Error(`only ${keys.length} data objects`);
  return [first, second];
}

export async function linkAt(store: ObjectStore, seq: number): Promise<Link> {
  const link = await readLink(store, SHARD, seq as Seq);
  if (link === undefined) throw new Error(`no link at ${seq}`);
  return link;
}

export async function extentsAt(store: ObjectStore, seq: number): Promise<readonly LinkExtent[]> {
  return (await linkAt(store, seq)).entries.flatMap((entry) => (entry.type === "append" ? entry.extents : []));
}

/**
 * Adds a live append behind the link at `lastSeq`: of the batches that lie in the index file of `seq`, as beginning at `baseOffset` of
 * partition 0.
 */
export async function appendAgain(store: ObjectStore, seq: number, baseOffset: number, lastSeq = 9): Promise<void> {
  const last = await linkAt(store, lastSeq);
  const [extent] = await extentsAt(store, seq);
  if (extent === undefined) throw new Error(`no extent at ${seq}`);
  const bytes = (await bytesOf(store, index(seq))).slice(extent.position, extent.position + extent.lengthBytes);
  const moved = {
    ...extent,
    position: 0,
    baseOffset: baseOffset as LinkExtent["baseOffset"],
    nextOffset: (baseOffset + extent.nextOffset - extent.baseOffset) as LinkExtent["nextOffset"],
  };
  const draft = {
    ...last,
    seq: (lastSeq + 1) as Seq,
    prev: last.writeId,
    writeId: writeId(`crafted ${lastSeq}`),
    entries: [{ type: "append" as const, objects: [], extents: [moved] }],
  };
  await put(store, index(lastSeq + 1), (await encodeLink(draft, [bytes])).bytes);
}

export async function swap(store: ObjectStore, a: ObjectKey, b: ObjectKey): Promise<void> {
  const [ofA, ofB] = [await bytesOf(store, a), await bytesOf(store, b)];
  await put(store, a, ofB);
  await put(store, b, ofA);
}

/** Without its last `count` bytes. */
export async function truncate(store: ObjectStore, key: ObjectKey, count: number): Promise<void> {
  await damage(store, key, (bytes) => bytes.slice(0, bytes.length - count));
}

/** Changes the first batch of partition 0 in the index file of `seq`, its CRC as well where `resealed`. Resolves to its position. */
export async function changeBatch(
  store: ObjectStore,
  seq: number,
  change: (batch: Buffer) => void,
  { resealed }: { readonly resealed: boolean },
): Promise<number> {
  const [extent] = await extentsAt(store, seq);
  if (extent === undefined) throw new Error(`no extent at ${seq}`);
  const { position, lengthBytes } = extent;
  await damage(store, index(seq), (bytes) => {
    const copy = Buffer.from(bytes);
    const batch = copy.subarray(position, position + lengthBytes);
    change(batch);
    if (resealed) batch.writeUInt32BE(crc32c(batch.subarray(21)), 17);
    return copy;
  });
  return position;
}

/** Puts the link of `seq` there once more, changed, with its payload. */
export async function changeLink(store: ObjectStore, seq: number, change: (link: Link) => Link): Promise<void> {
  const link = await linkAt(store, seq);
  const bytes = await bytesOf(store, index(seq));
  const payloadStart = Math.min(...(await extentsAt(store, seq)).map(({ position }) => position));
  const entries = change(link).entries.map((entry) =>
    entry.type === "append"
      ? { ...entry, extents: entry.extents.map((extent) => ({ ...extent, position: extent.position - payloadStart })) }
      : entry,
  );
  await put(store, index(seq), (await encodeLink({ ...link, entries }, [bytes.slice(payloadStart)])).bytes);
}

/** Adds the fence of the next epoch behind the link at `lastSeq`. */
export async function addFence(store: ObjectStore, lastSeq: number): Promise<void> {
  const last = await linkAt(store, lastSeq);
  const draft = {
    ...last,
    seq: (lastSeq + 1) as Seq,
    epoch: (last.epoch + 1) as Link["epoch"],
    prev: last.writeId,
    writeId: writeId(`fence ${lastSeq}`),
    entries: [{ type: "fence" as const, journalId: "0".repeat(32), endpoint: "" }],
  };
  await put(store, index(lastSeq + 1), (await encodeLink(draft, [])).bytes);
}
