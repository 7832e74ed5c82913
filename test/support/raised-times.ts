import type { ObjectKey, Seq, ShardId } from "../../src/domain.ts";
import { decodeLink, decodeLinkHeader, encodeLink } from "../../src/index-chain/index-file.ts";
import type { LinkExtent } from "../../src/index-chain/link-entries.ts";
import { DataObjectDirectory, decodeFooter, decodeTrailer, TRAILER_BYTES } from "../../src/object-store/data-object.ts";
import { indexKey } from "../../src/object-store/object-names.ts";
import type { ObjectStore } from "../../src/object-store/object-store.ts";
import { readBatchHeader } from "../../src/record/batch.ts";
import type { Random } from "../../src/runtime/random.ts";
import { resealed } from "../record/reframe.ts";

/**
 * Makes the maximum timestamps in a store too high, in batches, sparse indexes and links, each by itself and some of them not: what a
 * careless writer would leave. Every format and checksum stays right. All of shard 0; nobody may have the store open.
 */
export async function raiseMaxTimestamps(store: ObjectStore, random: Random, byMs: number): Promise<void> {
  const raised = (timestampMs: number): number =>
    random.float() < 0.3 ? timestampMs : timestampMs + Math.floor(random.float() * byMs);
  const replace = (key: ObjectKey, body: Uint8Array): Promise<unknown> =>
    store.put(key, body, { condition: { kind: "none" } });

  /** Raises the batches of bytes [start, end), which stay where they are; returns the highest maximum of them. */
  const raiseBatches = (body: Buffer, start: number, end: number): number => {
    let highest = 0;
    for (let position = start; position < end;) {
      const { lengthBytes, maxTimestampMs } = readBatchHeader(body, position, { key: "raised", position: 0 });
      const batch = body.subarray(position, position + lengthBytes);
      batch.writeBigInt64BE(BigInt(raised(maxTimestampMs)), 35);
      resealed(batch);
      highest = Math.max(highest, Number(batch.readBigInt64BE(35)));
      position += lengthBytes;
    }
    return highest;
  };

  const highest = new Map<string, number>();
  for await (const { key, sizeBytes } of store.list("data/")) {
    const body = Buffer.from((await store.get(key))?.body ?? []);
    const trailer = decodeTrailer(body.subarray(-TRAILER_BYTES), sizeBytes, key);
    const footerStart = sizeBytes - TRAILER_BYTES - trailer.footerBytes;
    const footer = decodeFooter(body.subarray(footerStart, -TRAILER_BYTES), trailer, footerStart, key);
    const directory = new DataObjectDirectory();
    for (const extent of footer.extents) {
      for (const [i, { offset, position }] of extent.blocks.entries()) {
        const next = extent.blocks[i + 1] ?? { offset: extent.nextOffset, position: extent.lengthBytes };
        const start = extent.position + position;
        const maxTimestampMs = raised(raiseBatches(body, start, extent.position + next.position));
        const lengthBytes = next.position - position;
        directory.add(extent, extent.leaderEpoch, {
          baseOffset: offset,
          nextOffset: next.offset,
          lengthBytes,
          maxTimestampMs,
        });
      }
    }
    for (const { position, maxTimestampMs } of directory.extents) highest.set(`${key}@${position}`, maxTimestampMs);
    const tail = directory.encodeTail(footer.shard, footer.epoch, footer.createdAtMs);
    await replace(key, Buffer.concat([body.subarray(0, footerStart), tail]));
  }

  for (let seq = 0 as Seq; ; seq = (seq + 1) as Seq) {
    const shard = 0 as ShardId;
    const key = indexKey(shard, seq);
    const stored = await store.get(key);
    if (stored === undefined) return;
    const body = Buffer.from(stored.body);
    const header = decodeLinkHeader(body, key, shard, seq);
    const link = decodeLink(body, header, body.length, key);
    const payloadStart = body.length - header.payloadBytes;
    const entries = link.entries.map((entry) => {
      if (entry.type !== "append") return entry;
      const extents = entry.extents.map((extent): LinkExtent => {
        const { object, position, lengthBytes } = extent;
        const inner =
          object === 0
            ? raiseBatches(body, position, position + lengthBytes)
            : (highest.get(`${entry.objects[object - 1]?.key}@${position}`) ?? extent.maxTimestampMs);
        // A draft counts from the start of the payload.
        return {
          ...extent,
          position: object === 0 ? position - payloadStart : position,
          maxTimestampMs: raised(inner),
        };
      });
      return { ...entry, extents };
    });
    const { bytes } = await encodeLink({ ...link, entries }, [body.subarray(payloadStart)]);
    await replace(key, bytes);
  }
}
