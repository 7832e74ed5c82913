import { checkCrc, Damage, Reader } from "./bytes.ts";

/** An extent of a link: docs/index-file-format.md. */
export interface LinkExtent {
  readonly topicId: string;
  readonly partition: number;
  readonly leaderEpoch: number;
  readonly baseOffset: number;
  readonly nextOffset: number;
  readonly lengthBytes: number;
  /** In the data object, or in the index file (its payload's start added) where `object` is undefined. */
  readonly position: number;
  readonly maxTimestamp: number;
  readonly object: { readonly name: string; readonly sizeBytes: number } | undefined;
}

/** An extent in the state of a shard. */
export interface StateExtent extends LinkExtent {
  /** Of the index file in which it lies inline. */
  readonly seq: number | undefined;
  /** For messages: by what it came into the state. */
  readonly where: string;
}

/** Extents of one partition that a replace supersedes. */
export interface LinkRange {
  readonly topicId: string;
  readonly partition: number;
  readonly baseOffset: number;
  readonly nextOffset: number;
  readonly count: number;
}

export interface LinkTrim {
  readonly topicId: string;
  readonly partition: number;
  readonly oldStart: number;
  readonly newStart: number;
}

/** In the order of the directory: they apply one behind the other. */
export type LinkEntry =
  | { readonly type: "append"; readonly extents: readonly LinkExtent[] }
  | {
      readonly type: "replace";
      readonly superseded: string;
      readonly ranges: readonly LinkRange[];
      readonly extents: readonly LinkExtent[];
    }
  | { readonly type: "trim"; readonly trims: readonly LinkTrim[] }
  | { readonly type: "boundary"; readonly seq: number }
  | { readonly type: "release" };

export interface Link {
  readonly key: string;
  readonly seq: number;
  readonly epoch: number;
  readonly writeId: string;
  readonly prev: string;
  readonly writerId: string;
  readonly entries: readonly LinkEntry[];
  /** Of its appends. */
  readonly extents: readonly LinkExtent[];
  readonly fence: { readonly journalId: string; readonly endpoint: string } | undefined;
  readonly release: boolean;
}

export const NO_ID = "0".repeat(32);

const MAGIC = "544c4f4749445800";
const HEADER_BYTES = 64;
const EXTENT_BYTES = 48;
const MAX_EPOCH = 0x7fff_ffff;

export function indexKey(shard: number, seq: number): string {
  return `index/${String(shard).padStart(4, "0")}/${String(seq).padStart(20, "0")}.idx`;
}

export function decodeIndexFile(bytes: Uint8Array, shard: number, seq: number): Link {
  const key = indexKey(shard, seq);
  const reader = new Reader(bytes, key);
  reader.expect(bytes.length >= HEADER_BYTES && reader.hex(8) === MAGIC, "no index file");
  checkCrc(bytes, 0, 60, key);
  reader.expect(reader.u16() === 1 && reader.u16() === 0, "version, flags or encryption unknown");
  reader.expect(reader.u32() === shard && reader.u64() === seq, "shard or seq are not those of the name");
  const epoch = reader.u32();
  reader.expect(epoch >= 1 && epoch <= MAX_EPOCH, `epoch ${epoch}`);
  const directoryBytes = reader.u32();
  const payloadBytes = reader.u64();
  const payloadAt = HEADER_BYTES + directoryBytes;
  reader.expect(payloadAt + payloadBytes === bytes.length, `${bytes.length} bytes are not what the header says`);
  reader.expect(directoryBytes >= 4, "no directory");
  checkCrc(bytes, HEADER_BYTES, payloadAt - 4, key);

  const directory = new Reader(bytes, key, HEADER_BYTES, payloadAt - 4);
  const writeId = directory.hex(16);
  const prev = directory.hex(16);
  const writerId = directory.string();
  directory.u64();
  const entries = directory.count(5);
  directory.expect(entries >= 1, "no entry");
  const found: LinkEntry[] = [];
  let fence: Link["fence"];
  for (let entry = 0; entry < entries; entry++) {
    const type = directory.u8();
    const length = directory.u32();
    const start = directory.position;
    directory.take(length);
    const body = new Reader(bytes, key, start, start + length);
    if (type === 1) {
      const topics = decodeTopics(body);
      const objects = decodeObjects(body);
      const payload = { at: payloadAt, bytes: payloadBytes };
      found.push({ type: "append", extents: decodeExtents(body, { topics, objects, epoch, payload }) });
    } else if (type === 2) found.push(decodeReplace(body, epoch));
    else if (type === 3) found.push(decodeTrim(body));
    else if (type === 4) {
      directory.expect(entries === 1, "a fence beside other entries");
      fence = { journalId: body.hex(16), endpoint: body.string() };
    } else if (type === 5) found.push({ type: "release" });
    else if (type === 7) found.push({ type: "boundary", seq: body.u64() });
    else throw new Damage(`${key}: entry type ${type} is unknown`);
    body.atEnd();
  }
  directory.atEnd();
  const extents = found.flatMap((entry) => (entry.type === "append" ? entry.extents : []));
  const release = found.some((entry) => entry.type === "release");
  return { key, seq, epoch, writeId, prev, writerId, entries: found, extents, fence, release };
}

function decodeTopics(reader: Reader): string[] {
  return Array.from({ length: reader.count(16) }, () => reader.hex(16));
}

function decodeObjects(reader: Reader): NonNullable<LinkExtent["object"]>[] {
  return Array.from({ length: reader.count(10) }, () => ({ name: reader.string(), sizeBytes: reader.u64() }));
}

function topicAt(reader: Reader, topics: readonly string[]): string {
  const topicId = topics[reader.u32()];
  if (topicId === undefined) throw reader.fail("topic index too large");
  return topicId;
}

function decodeTrim(reader: Reader): LinkEntry {
  const topics = decodeTopics(reader);
  const trims = Array.from({ length: reader.count(24) }, () => ({
    topicId: topicAt(reader, topics),
    partition: reader.u32(),
    oldStart: reader.u64(),
    newStart: reader.u64(),
  }));
  reader.expect(trims.length > 0 && areDistinct(trims), "no trim, or two of one partition");
  return { type: "trim", trims };
}

function decodeReplace(reader: Reader, epoch: number): LinkEntry {
  const topics = decodeTopics(reader);
  const objects = decodeObjects(reader);
  const superseded = reader.hex(16);
  const ranges = Array.from({ length: reader.count(28) }, () => ({
    topicId: topicAt(reader, topics),
    partition: reader.u32(),
    baseOffset: reader.u64(),
    nextOffset: reader.u64(),
    count: reader.u32(),
  }));
  reader.expect(ranges.length > 0 && areDistinct(ranges), "no range, or two of one partition");
  const extents = decodeExtents(reader, { topics, objects, epoch, payload: { at: 0, bytes: 0 } });
  // Range by range, each covered without a hole.
  let at = 0;
  for (const { topicId, partition, baseOffset, nextOffset, count } of ranges) {
    reader.expect(count >= 1 && baseOffset < nextOffset, "an empty range");
    for (let next = baseOffset; next < nextOffset; at++) {
      const extent = extents[at];
      const fits = extent?.topicId === topicId && extent.partition === partition && extent.baseOffset === next;
      if (!fits || extent.object === undefined || extent.nextOffset > nextOffset)
        throw reader.fail("a range is not covered");
      next = extent.nextOffset;
    }
  }
  reader.expect(at === extents.length, "extents of no range");
  return { type: "replace", superseded, ranges, extents };
}

function areDistinct(ids: readonly { readonly topicId: string; readonly partition: number }[]): boolean {
  return new Set(ids.map(({ topicId, partition }) => `${topicId}/${partition}`)).size === ids.length;
}

function decodeExtents(
  reader: Reader,
  {
    topics,
    objects,
    epoch,
    payload,
  }: {
    readonly topics: readonly string[];
    readonly objects: readonly NonNullable<LinkExtent["object"]>[];
    readonly epoch: number;
    readonly payload: { readonly at: number; readonly bytes: number };
  },
): LinkExtent[] {
  return Array.from({ length: reader.count(EXTENT_BYTES) }, () => {
    const topicId = topicAt(reader, topics);
    const partition = reader.u32();
    const leaderEpoch = reader.u32();
    reader.expect(leaderEpoch >= 1 && leaderEpoch <= epoch, `leader epoch ${leaderEpoch} in a link of epoch ${epoch}`);
    const number = reader.u32();
    reader.expect(number <= objects.length, `data object ${number} of ${objects.length}`);
    const object = number === 0 ? undefined : objects[number - 1];
    const baseOffset = reader.u64();
    const nextOffset = baseOffset + reader.u32();
    const lengthBytes = reader.u32();
    const position = reader.u64();
    reader.expect(nextOffset > baseOffset && lengthBytes > 0, "an empty extent");
    reader.expect(Number.isSafeInteger(nextOffset), "offsets are no safe integers");
    const limit = object === undefined ? payload.bytes : object.sizeBytes;
    reader.expect(position + lengthBytes <= limit, `an extent that ends at ${position + lengthBytes} of ${limit}`);
    const maxTimestamp = reader.i64();
    return {
      topicId,
      partition,
      leaderEpoch,
      baseOffset,
      nextOffset,
      lengthBytes,
      position: object === undefined ? payload.at + position : position,
      maxTimestamp,
      object,
    };
  });
}
