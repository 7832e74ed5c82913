import { checkCrc, Reader } from "./bytes.ts";
import type { StateExtent } from "./index-file.ts";

/** The folded state that a checkpoint claims: docs/checkpoint-format.md. */
export interface Checkpoint {
  readonly key: string;
  readonly seq: number;
  readonly lastWriteId: string;
  readonly liveLinks: number;
  readonly released: boolean;
  /** The lowest seq that is kept; 0 in versions 1 and 2. */
  readonly boundary: number;
  readonly fence: {
    readonly seq: number;
    readonly epoch: number;
    readonly writeId: string;
    readonly journalId: string;
    readonly journalSince: number;
    readonly writerId: string;
    readonly endpoint: string;
  };
  /** By `topicId/partition`. */
  readonly partitions: ReadonlyMap<string, { readonly start: number; readonly extents: readonly StateExtent[] }>;
}

export function checkpointKey(shard: number, seq: number): string {
  return `checkpoint/${String(shard).padStart(4, "0")}/${String(seq).padStart(20, "0")}.ckpt`;
}

export function decodeCheckpoint(bytes: Uint8Array, shard: number, seq: number): Checkpoint {
  const key = checkpointKey(shard, seq);
  const reader = new Reader(bytes, key);
  reader.expect(bytes.length >= 68 && reader.take(8).toString("latin1") === "TLOGCKPT", "no checkpoint");
  checkCrc(bytes, 0, 60, key);
  const version = reader.u16();
  reader.expect(version >= 1 && version <= 3 && reader.u16() === 0, "version, flags or encryption unknown");
  reader.expect(reader.u32() === shard && reader.u64() === seq, "shard or seq are not those of the name");
  reader.expect(reader.u64() === bytes.length - 64, "the length of the body is wrong");
  checkCrc(bytes, 64, bytes.length - 4, key);

  const body = new Reader(bytes, key, 64, bytes.length - 4);
  const lastWriteId = body.hex(16);
  const liveLinks = body.u64();
  const boundary = body.u64();
  body.expect(boundary <= seq && (version === 3) === boundary > 0, `a boundary of ${boundary} in version ${version}`);
  const released = body.u8() === 1;
  const fence = {
    seq: body.u64(),
    epoch: body.u32(),
    writeId: body.hex(16),
    journalId: body.hex(16),
    journalSince: body.u32(),
    writerId: body.string(),
    endpoint: body.string(),
  };
  const topics = Array.from({ length: body.count(16) }, () => body.hex(16));
  const objects = Array.from({ length: body.count(10) }, () => ({ name: body.string(), sizeBytes: body.u64() }));
  const partitions = new Map<string, { start: number; extents: StateExtent[] }>();
  let cut = false;
  for (let left = body.count(20); left > 0; left--) {
    const topicId = topics[body.u32()];
    if (topicId === undefined) throw body.fail("topic index too large");
    const partition = body.u32();
    const name = `${topicId}/${partition}`;
    body.expect(!partitions.has(name), `${name} twice`);
    const start = body.u64();
    let baseOffset = version === 1 ? start : body.u64();
    body.expect(baseOffset <= start, `${name} begins at ${start}, its first extent at ${baseOffset}`);
    cut ||= baseOffset < start;
    const extents = Array.from({ length: body.count(36) }, () => {
      const nextOffset = baseOffset + body.u32();
      const leaderEpoch = body.u32();
      const lengthBytes = body.u32();
      const place = body.i64();
      const object = place < 0 ? objects[-1 - place] : undefined;
      if (place < 0 && object === undefined) throw body.fail("data object index too large");
      body.expect(place < 0 || (place >= boundary && place <= seq), `an extent in the index file of seq ${place}`);
      const position = body.u64();
      const maxTimestamp = body.i64();
      const range = { topicId, partition, baseOffset, nextOffset, leaderEpoch };
      const where = `${key}: ${name} ${baseOffset} … ${nextOffset - 1}`;
      baseOffset = nextOffset;
      return { ...range, lengthBytes, position, maxTimestamp, object, seq: place < 0 ? undefined : place, where };
    });
    body.expect(start <= baseOffset, `${name} begins behind its end`);
    partitions.set(name, { start, extents });
  }
  body.atEnd();
  // So that a release that does not know the one or the other goes on with a shard that has neither.
  body.expect(version === 3 || (version === 2) === cut, `version ${version}`);
  return { key, seq, lastWriteId, liveLinks, released, boundary, fence, partitions };
}
