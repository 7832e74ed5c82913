import type { ObjectKey } from "../../domain.ts";
import { decodeLink, HEADER_BYTES, readLinkHeader, type Link, type LinkHeader } from "../../index-chain/index-file.ts";
import { dumpBatches } from "./dump-batches.ts";
import { damageAt, damageItem, type ByteSource, type DumpItem } from "./dump-item.ts";

/** A link: header, directory, and the batches that lie inline. `name`: what its key says it is. */
export async function* dumpIndexFile(
  source: ByteSource,
  name: { readonly shard: number; readonly seq: number },
  records: boolean,
): AsyncGenerator<DumpItem> {
  const key = source.name as ObjectKey;
  let header: LinkHeader;
  try {
    header = readLinkHeader(await source.read(0, HEADER_BYTES), key);
  } catch (error) {
    yield damageItem(error, 0, 0);
    return;
  }
  yield { type: "header", depth: 0, position: 0, fields: { ...header } };
  if (header.shard !== name.shard || header.seq !== name.seq)
    yield damageAt(12, 0, `stands under a wrong name: it is seq ${header.seq} of shard ${header.shard}`);

  const payloadStart = HEADER_BYTES + header.directoryBytes;
  const sizeBytes = payloadStart + header.payloadBytes;
  if (source.sizeBytes !== sizeBytes)
    yield damageAt(
      Math.min(sizeBytes, source.sizeBytes),
      0,
      `has ${source.sizeBytes} bytes, its header says ${sizeBytes}`,
    );
  let link: Link;
  try {
    // With the size that the header says: what the directory holds can be told where only the payload is cut.
    link = decodeLink(await source.read(0, payloadStart), header, sizeBytes, key);
  } catch (error) {
    yield damageItem(error, 0, HEADER_BYTES);
    return;
  }
  const { writeId, prev, writerId, createdAtMs } = link;
  yield {
    type: "link",
    depth: 0,
    position: HEADER_BYTES,
    fields: { writeId, prev, writerId, createdAt: new Date(createdAtMs).toISOString() },
  };
  for (const entry of link.entries) {
    if (entry.type !== "append") {
      const { type, ...fields } = entry;
      yield { type: "entry", depth: 0, fields: { entry: type, ...fields } };
      continue;
    }
    const { objects, extents } = entry;
    yield {
      type: "entry",
      depth: 0,
      fields: { entry: "append", dataObjects: objects.length, extents: extents.length },
    };
    for (const [i, object] of objects.entries())
      yield { type: "data-object", depth: 1, fields: { object: i + 1, ...object } };
    for (const { position, object, ...fields } of extents) {
      yield { type: "extent", depth: 1, position, fields: { object: objects[object - 1]?.key ?? "inline", ...fields } };
      if (object !== 0) continue;
      const end = position + fields.lengthBytes;
      yield* dumpBatches(source, { start: position, end: Math.min(end, source.sizeBytes), depth: 2, records });
      if (end > source.sizeBytes) yield damageAt(source.sizeBytes, 2, "the file ends within this extent");
    }
  }
}
