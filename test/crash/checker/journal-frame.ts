import { crc32c, Reader } from "./bytes.ts";

export interface JournalExtent {
  readonly topicId: string;
  readonly partition: number;
  readonly baseOffset: number;
  readonly nextOffset: number;
  /** In the payload. */
  readonly position: number;
  readonly lengthBytes: number;
  readonly maxTimestamp: number;
}

/** A whole frame, both CRCs right: docs/journal-format.md. */
export interface JournalFrame {
  readonly where: string;
  readonly directoryId: string;
  readonly shard: number;
  readonly fileNumber: number;
  readonly sequence: number;
  readonly prev: number;
  readonly synced: number;
  readonly freed: number;
  readonly epoch: number;
  readonly extents: readonly JournalExtent[];
  readonly payload: Buffer;
  readonly totalBytes: number;
}

const HEADER_BYTES = 128;
const EXTENT_BYTES = 52;

/** undefined: no whole frame of version 1 stands at `at`. */
export function decodeFrame(bytes: Buffer, at: number, where: string): JournalFrame | undefined {
  if (at + HEADER_BYTES > bytes.length || bytes.toString("latin1", at, at + 4) !== "TLJF") return undefined;
  const headerCrc = bytes.readUInt32BE(at + HEADER_BYTES - 4);
  if (headerCrc !== crc32c(bytes.subarray(at, at + HEADER_BYTES - 4))) return undefined;
  const header = new Reader(bytes, where, at + 4);
  header.expect(header.u16() === 1 && header.u16() === 0, "version, flags or encryption unknown");
  const directoryId = header.hex(16);
  const shard = header.u32();
  const fileNumber = header.u64();
  const sequence = header.u64();
  const prev = header.u64();
  const synced = header.u64();
  const freed = header.u64();
  const epoch = header.u32();
  header.u64();
  const directoryBytes = header.u32();
  const payloadBytes = header.u32();
  const totalBytes = header.u32();
  const directoryCrc = header.u32();
  const bodyCrc = header.u32();
  const directoryAt = at + HEADER_BYTES;
  const payloadAt = directoryAt + directoryBytes;
  const end = at + totalBytes;
  header.expect(prev < sequence && synced < sequence && freed < sequence, `frame ${sequence} follows itself`);
  if (end > bytes.length || payloadAt + payloadBytes > end) return undefined;
  if (bodyCrc !== crc32c(bytes.subarray(directoryAt, payloadAt + payloadBytes))) return undefined;
  header.expect(directoryCrc === crc32c(bytes.subarray(directoryAt, payloadAt)), "CRC of the directory alone");

  const directory = new Reader(bytes, where, directoryAt, payloadAt);
  const extents: JournalExtent[] = [];
  while (directory.left > 0) {
    directory.expect(directory.left >= EXTENT_BYTES, "half an extent");
    const extent = {
      topicId: directory.hex(16),
      partition: directory.u32(),
      baseOffset: directory.u64(),
      nextOffset: directory.u64(),
      position: directory.u32(),
      lengthBytes: directory.u32(),
      maxTimestamp: directory.i64(),
    };
    directory.expect(extent.nextOffset > extent.baseOffset, "an empty extent");
    directory.expect(extent.position + extent.lengthBytes <= payloadBytes, "an extent past the payload");
    extents.push(extent);
  }
  const payload = bytes.subarray(payloadAt, payloadAt + payloadBytes);
  return { where, directoryId, shard, fileNumber, sequence, prev, synced, freed, epoch, extents, payload, totalBytes };
}
