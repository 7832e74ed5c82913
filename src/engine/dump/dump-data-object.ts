import type { ObjectKey } from "../../domain.ts";
import { decodeFooter, decodeTrailer, TRAILER_BYTES, type Footer } from "../../object-store/data-object.ts";
import { dumpBatches } from "./dump-batches.ts";
import { damageAt, damageItem, type ByteSource, type DumpItem } from "./dump-item.ts";

/** Footer, extents and batches; without a whole footer the batches that follow each other from the first byte on. */
export async function* dumpDataObject(
  source: ByteSource,
  name: { readonly shard: number; readonly epoch: number },
  records: boolean,
): AsyncGenerator<DumpItem> {
  const { sizeBytes } = source;
  const key = source.name as ObjectKey;
  let footer: Footer;
  let footerStart: number;
  try {
    const trailerAt = Math.max(0, sizeBytes - TRAILER_BYTES);
    const trailer = decodeTrailer(await source.read(trailerAt, sizeBytes), sizeBytes, key);
    footerStart = trailerAt - trailer.footerBytes;
    footer = decodeFooter(await source.read(footerStart, trailerAt), trailer, footerStart, key);
  } catch (error) {
    yield damageItem(error, 0);
    yield* dumpBatches(source, { start: 0, end: sizeBytes, depth: 0, records, endsAnywhere: true });
    return;
  }
  const { shard, epoch, createdAtMs, extents } = footer;
  yield {
    type: "footer",
    depth: 0,
    position: footerStart,
    fields: { shard, epoch, createdAt: new Date(createdAtMs).toISOString(), extents: extents.length },
  };
  if (shard !== name.shard || epoch !== name.epoch)
    yield damageAt(footerStart, 0, `is of shard ${shard} and epoch ${epoch}: it stands under a wrong name`);
  for (const { position, blocks, ...fields } of extents) {
    yield { type: "extent", depth: 0, position, fields: { ...fields, blocks: blocks.length } };
    yield* dumpBatches(source, { start: position, end: position + fields.lengthBytes, depth: 1, records });
  }
}
