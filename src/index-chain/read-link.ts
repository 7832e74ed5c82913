import type { Seq, ShardId } from "../domain.ts";
import { CorruptionError } from "../errors.ts";
import { indexKey } from "../object-store/object-names.ts";
import type { CallOptions, ObjectStore } from "../object-store/object-store.ts";
import { decodeLink, decodeLinkHeader, HEADER_BYTES, type Link } from "./index-file.ts";

/** The first GET of a link: holds header and directory of about 1,300 extents; the header says when a second is needed. */
const FIRST_READ_BYTES = 64 * 1024;

/**
 * The link at `seq`, undefined where there is none; its payload is not looked at. `CorruptionError`, `UnsupportedVersionError`.
 * A file that fails its checks is read twice: it may have been damaged on its way.
 */
export async function readLink(
  store: ObjectStore,
  shard: ShardId,
  seq: Seq,
  options: CallOptions = {},
): Promise<Link | undefined> {
  try {
    return await readOnce(store, shard, seq, options);
  } catch (error) {
    if (!(error instanceof CorruptionError)) throw error;
    return await readOnce(store, shard, seq, options);
  }
}

async function readOnce(store: ObjectStore, shard: ShardId, seq: Seq, options: CallOptions): Promise<Link | undefined> {
  const key = indexKey(shard, seq);
  const first = await store.get(key, { ...options, range: { start: 0, end: FIRST_READ_BYTES } });
  if (first === undefined) return undefined;
  const header = decodeLinkHeader(first.body, key, shard, seq);
  const directoryEnd = HEADER_BYTES + header.directoryBytes;
  if (directoryEnd <= first.body.length || directoryEnd > first.sizeBytes) {
    return decodeLink(first.body, header, first.sizeBytes, key);
  }
  const rest = await store.get(key, { ...options, range: { start: first.body.length, end: directoryEnd } });
  if (rest === undefined)
    throw new CorruptionError(key, first.body.length, "the index file vanished while it was read");
  return decodeLink(Buffer.concat([first.body, rest.body]), header, first.sizeBytes, key);
}
