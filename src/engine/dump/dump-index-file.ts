import type { ObjectKey } from "../../domain.ts";
import { decodeLink, HEADER_BYTES, readLinkHeader, type Link, type LinkHeader } from "../../index-chain/index-file.ts";
import type {
  AppendEntry,
  DataObjectRef,
  LinkEntry,
  LinkExtent,
  ReplaceEntry,
} from "../../index-chain/link-entries.ts";
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
    yield* dumpEntry(entry);
    if (entry.type !== "append") continue;
    for (const extent of entry.extents) {
      yield extentItem(entry, extent);
      if (extent.object !== 0) continue;
      const end = extent.position + extent.lengthBytes;
      yield* dumpBatches(source, { start: extent.position, end: Math.min(end, source.sizeBytes), depth: 2, records });
      if (end > source.sizeBytes) yield damageAt(source.sizeBytes, 2, "the file ends within this extent");
    }
  }
}

/** An entry and its parts, but for the extents of an append. */
function* dumpEntry(entry: LinkEntry): Generator<DumpItem> {
  switch (entry.type) {
    case "append": {
      const { objects, extents } = entry;
      yield entryItem("append", { dataObjects: objects.length, extents: extents.length });
      yield* objectItems(objects);
      break;
    }
    case "replace": {
      const { objects, ranges, extents, superseded } = entry;
      const counts = { dataObjects: objects.length, ranges: ranges.length, extents: extents.length };
      yield entryItem("replace", { ...counts, superseded });
      yield* objectItems(objects);
      for (const range of ranges) yield { type: "superseded", depth: 1, fields: { ...range } };
      for (const extent of extents) yield extentItem(entry, extent);
      break;
    }
    case "trim":
    case "fence":
    case "release":
    case "boundary": {
      const { type, ...fields } = entry;
      yield entryItem(type, fields);
      break;
    }
    default:
      entry satisfies never;
  }
}

function entryItem(entry: LinkEntry["type"], fields: DumpItem["fields"]): DumpItem {
  return { type: "entry", depth: 0, fields: { entry, ...fields } };
}

function* objectItems(objects: readonly DataObjectRef[]): Generator<DumpItem> {
  for (const [i, object] of objects.entries())
    yield { type: "data-object", depth: 1, fields: { object: i + 1, ...object } };
}

function extentItem({ objects }: AppendEntry | ReplaceEntry, extent: LinkExtent): DumpItem {
  const { position, object, ...fields } = extent;
  return {
    type: "extent",
    depth: 1,
    position,
    fields: { object: objects[object - 1]?.key ?? "inline", ...fields },
  };
}
