import { checkCrc, Reader } from "./bytes.ts";

/** The folded state that a checkpoint claims: docs/checkpoint-format.md. */
export interface Checkpoint {
  readonly key: string;
  readonly seq: number;
  readonly lastWriteId: string;
  readonly liveLinks: number;
  readonly released: boolean;
  readonly fence: {
    readonly seq: number;
    readonly epoch: number;
    readonly writeId: string;
    readonly journalId: string;
    readonly journalSince: number;
    readonly writerId: string;
    readonly endpoint: string;
  };
  /** By `topicId/partition`: each extent as text, see `extentText`. */
  readonly partitions: ReadonlyMap<string, { readonly start: number; readonly extents: readonly string[] }>;
}

export function checkpointKey(shard: number, seq: number): string {
  return `checkpoint/${String(shard).padStart(4, "0")}/${String(seq).padStart(20, "0")}.ckpt`;
}

/** One spelling for an extent of the fold and of a checkpoint, so that they can be compared. `place`: key of the object, and its size if it is a data object. */
export function extentText(
  extent: {
    baseOffset: number;
    nextOffset: number;
    leaderEpoch: number;
    lengthBytes: number;
    position: number;
    maxTimestamp: number;
  },
  place: string,
): string {
  const { baseOffset, nextOffset, leaderEpoch, lengthBytes, position, maxTimestamp } = extent;
  return `${baseOffset}-${nextOffset} e${leaderEpoch} ${place}@${position}+${lengthBytes} t${maxTimestamp}`;
}

export function decodeCheckpoint(
  bytes: Uint8Array,
  shard: number,
  seq: number,
  inlineKey: (seq: number) => string,
): Checkpoint {
  const key = checkpointKey(shard, seq);
  const reader = new Reader(bytes, key);
  reader.expect(bytes.length >= 68 && reader.take(8).toString("latin1") === "TLOGCKPT", "no checkpoint");
  checkCrc(bytes, 0, 60, key);
  reader.expect(reader.u16() === 1 && reader.u16() === 0, "version, flags or encryption unknown");
  reader.expect(reader.u32() === shard && reader.u64() === seq, "shard or seq are not those of the name");
  reader.expect(reader.u64() === bytes.length - 64, "the length of the body is wrong");
  checkCrc(bytes, 64, bytes.length - 4, key);

  const body = new Reader(bytes, key, 64, bytes.length - 4);
  const lastWriteId = body.hex(16);
  const liveLinks = body.u64();
  body.expect(body.u64() === 0, "a boundary");
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
  const objects = Array.from({ length: body.count(10) }, () => `${body.string()} (${body.u64()})`);
  const partitions = new Map<string, { start: number; extents: string[] }>();
  for (let left = body.count(20); left > 0; left--) {
    const topicId = topics[body.u32()];
    if (topicId === undefined) throw body.fail("topic index too large");
    const name = `${topicId}/${body.u32()}`;
    body.expect(!partitions.has(name), `${name} twice`);
    const start = body.u64();
    let baseOffset = start;
    const extents = Array.from({ length: body.count(36) }, () => {
      const nextOffset = baseOffset + body.u32();
      const leaderEpoch = body.u32();
      const lengthBytes = body.u32();
      const place = body.i64();
      const object = place >= 0 ? inlineKey(place) : objects[-1 - place];
      if (object === undefined) throw body.fail("data object index too large");
      const text = extentText(
        { baseOffset, nextOffset, leaderEpoch, lengthBytes, position: body.u64(), maxTimestamp: body.i64() },
        object,
      );
      baseOffset = nextOffset;
      return text;
    });
    partitions.set(name, { start, extents });
  }
  body.atEnd();
  return { key, seq, lastWriteId, liveLinks, released, fence, partitions };
}
