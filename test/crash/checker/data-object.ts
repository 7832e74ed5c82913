import { checkCrc, Reader } from "./bytes.ts";

/** An extent as the footer of a data object describes it: docs/data-object-format.md. */
export interface FooterExtent {
  readonly topicId: string;
  readonly partition: number;
  readonly leaderEpoch: number;
  readonly baseOffset: number;
  readonly nextOffset: number;
  readonly lengthBytes: number;
  readonly position: number;
  readonly maxTimestamp: number;
}

export interface Footer {
  readonly shard: number;
  readonly epoch: number;
  readonly extents: readonly FooterExtent[];
}

const MAGIC = "544c4f4744415441";
const TRAILER_BYTES = 32;

export function decodeFooter(bytes: Uint8Array, key: string): Footer {
  const trailerAt = bytes.length - TRAILER_BYTES;
  const trailer = new Reader(bytes, key, Math.max(trailerAt, 0));
  trailer.expect(trailerAt >= 0 && trailer.hex(8) === MAGIC, "no trailer");
  checkCrc(bytes, trailerAt, bytes.length - 4, key);
  trailer.expect(trailer.u16() === 1 && trailer.u16() === 0, "version, flags or encryption unknown");
  const footerBytes = trailer.u32();
  trailer.expect(trailer.u64() === bytes.length, "object length in the trailer is wrong");
  trailer.expect(footerBytes <= trailerAt, `a footer of ${footerBytes} bytes`);
  const footerAt = trailerAt - footerBytes;
  // The CRC of the footer stands in the trailer, not behind the footer.
  const footerBody = bytes.subarray(footerAt, trailerAt);
  checkCrc(Buffer.concat([footerBody, trailer.take(4)]), 0, footerBytes, `${key}, footer`);

  const reader = new Reader(bytes, `${key}, footer`, footerAt, trailerAt);
  const shard = reader.u32();
  const epoch = reader.u32();
  reader.u64();
  const topics = Array.from({ length: reader.count(16) }, () => reader.hex(16));
  let end = 0;
  const extents = Array.from({ length: reader.count(64) }, () => {
    const topicId = topics[reader.u32()];
    if (topicId === undefined) throw reader.fail("topic index too large");
    const partition = reader.u32();
    const leaderEpoch = reader.u32();
    const blocks = reader.u32();
    const baseOffset = reader.u64();
    const span = reader.u32();
    const lengthBytes = reader.u32();
    const position = reader.u64();
    const maxTimestamp = reader.i64();
    reader.expect(span >= 1 && lengthBytes >= 1 && blocks >= 1, "an empty extent");
    reader.expect(position >= end && position + lengthBytes <= footerAt, "extents overlap or reach into the footer");
    end = position + lengthBytes;
    decodeBlocks(reader, blocks, span, lengthBytes, maxTimestamp);
    return {
      topicId,
      partition,
      leaderEpoch,
      baseOffset,
      nextOffset: baseOffset + span,
      lengthBytes,
      position,
      maxTimestamp,
    };
  });
  reader.atEnd();
  return { shard, epoch, extents };
}

function decodeBlocks(reader: Reader, count: number, span: number, lengthBytes: number, maxTimestamp: number): void {
  let offset = -1;
  let position = -1;
  let newest = -1;
  for (let block = 0; block < count; block++) {
    const nextOffset = reader.u32();
    const nextPosition = reader.u32();
    newest = Math.max(newest, reader.i64());
    reader.expect(block > 0 || (nextOffset === 0 && nextPosition === 0), "the first block is not at the start");
    reader.expect(nextOffset > offset && nextOffset < span, `block ${block} at offset ${nextOffset} of ${span}`);
    reader.expect(
      nextPosition > position && nextPosition < lengthBytes,
      `block ${block} at ${nextPosition} of ${lengthBytes}`,
    );
    offset = nextOffset;
    position = nextPosition;
  }
  reader.expect(newest === maxTimestamp, `greatest timestamp of the blocks ${newest}, of the extent ${maxTimestamp}`);
}
