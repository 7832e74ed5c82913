import { MAX_EPOCH, type Epoch, type ObjectKey, type Seq, type ShardId } from "../domain.ts";
import { CorruptionError, InvariantError, UnsupportedVersionError } from "../errors.ts";
import { ByteReader, ByteWriter } from "../record/bytes.ts";
import { crc32c } from "../record/crc32c.ts";
import { takeMemory } from "../record/spare-buffers.ts";
import { nextTurn } from "../runtime/turn.ts";
import { decodeEntry, encodeEntry, EXTENT_BYTES, type LinkEntry, type LinkExtent } from "./link-entries.ts";
import { WRITE_ID_BYTES, type WriteId } from "./write-id.ts";

/**
 * The codec of an index file, one link of a shard's index chain. Layout, worked example and the rules for versions:
 * docs/index-file-format.md. Golden files: test/format/.
 */

export const INDEX_FORMAT_VERSION = 1;
export const HEADER_BYTES = 64;
/** The bytes that only the attempt which made this file can have: where the settling store looks to see whose object it found. */
export const IDENTITY_RANGE = { start: HEADER_BYTES, end: HEADER_BYTES + WRITE_ID_BYTES } as const;

const MAGIC = 0x544c_4f47; // "TLOG"
const MAGIC_INDEX = 0x4944_5800; // "IDX\0"
const CRC_BYTES = 4;
/** Counts in a directory are bounded by its own length; this bounds the length itself before anything is allocated. */
const MAX_DIRECTORY_BYTES = 64 * 1024 * 1024;

/** Of a payload: copied in one turn of the event loop. */
const COPY_BYTES_PER_TURN = 192 * 1024;

export interface Link {
  readonly shard: ShardId;
  readonly seq: Seq;
  readonly epoch: Epoch;
  readonly writeId: WriteId;
  /** The writeId of the last live link before this one, not "of seq − 1": `prev` skips void links. */
  readonly prev: WriteId;
  /** For people: host, process. Decides nothing. */
  readonly writerId: string;
  readonly createdAtMs: number;
  readonly entries: readonly LinkEntry[];
  /** Of the whole file: header, directory, payload. */
  readonly sizeBytes: number;
}

/** What `encodeLink` needs; positions in the payload are counted from its start and shifted here. */
export type LinkDraft = Omit<Link, "sizeBytes">;

export interface LinkHeader {
  readonly shard: ShardId;
  readonly seq: Seq;
  readonly epoch: Epoch;
  readonly directoryBytes: number;
  readonly payloadBytes: number;
}

/** Bytes of the header and directory of such a link without data objects: lets a flush fill a link up to its limit. */
export function linkOverheadBytes(extents: number, topics: number, writerIdBytes: number): number {
  return (
    HEADER_BYTES +
    2 * WRITE_ID_BYTES +
    2 +
    writerIdBytes +
    8 +
    4 +
    5 +
    12 +
    topics * 16 +
    extents * EXTENT_BYTES +
    CRC_BYTES
  );
}

export interface EncodedLink {
  /** The caller's own: see `takeMemory`. */
  readonly bytes: Uint8Array;
  readonly link: Link;
}

/**
 * The bytes of a link. `payload` chunks are copied behind the directory in order, once, over several turns of the event loop
 * where they are many bytes: they must not change meanwhile. Resolves to the file and the link as a decoder will see it
 * (positions from the start of the file).
 */
export async function encodeLink(draft: LinkDraft, payload: readonly Uint8Array[]): Promise<EncodedLink> {
  const directory = encodeDirectory(draft);
  // Stored, it would be damage to every reader, for ever.
  if (directory.length > MAX_DIRECTORY_BYTES)
    throw new InvariantError(`link with a directory of ${directory.length} bytes`);
  let payloadBytes = 0;
  for (const chunk of payload) payloadBytes += chunk.length;
  const payloadStart = HEADER_BYTES + directory.length;
  const sizeBytes = payloadStart + payloadBytes;

  // Not from Buffer's pool: the file outlives this call in the tail cache and must not pin a shared slab.
  const bytes = takeMemory(sizeBytes);
  const header = new ByteWriter(HEADER_BYTES);
  header.u32(MAGIC);
  header.u32(MAGIC_INDEX);
  header.u16(INDEX_FORMAT_VERSION);
  header.u8(0); // flags
  header.u8(0); // encryption: 0 is none
  header.u32(draft.shard);
  header.u64(draft.seq);
  header.u32(draft.epoch);
  header.u32(directory.length);
  header.u64(payloadBytes);
  header.zeros(HEADER_BYTES - CRC_BYTES - header.position);
  header.u32(crc32c(header.bytes()));
  bytes.set(header.bytes(), 0);
  bytes.set(directory, HEADER_BYTES);
  let position = payloadStart;
  let turnBytes = 0;
  for (const chunk of payload) {
    // In one go, into fresh memory, 8 MiB take 4 ms and now and then 20.
    if (turnBytes + chunk.length > COPY_BYTES_PER_TURN && turnBytes > 0) {
      turnBytes = 0;
      await nextTurn();
    }
    bytes.set(chunk, position);
    position += chunk.length;
    turnBytes += chunk.length;
  }

  const entries = draft.entries.map((entry): LinkEntry => {
    if (entry.type !== "append") return entry;
    return { ...entry, extents: entry.extents.map((extent) => fromStartOfFile(extent, payloadStart)) };
  });
  return { bytes, link: { ...draft, entries, sizeBytes } };
}

function fromStartOfFile(extent: LinkExtent, payloadStart: number): LinkExtent {
  return extent.object === 0 ? { ...extent, position: payloadStart + extent.position } : extent;
}

function encodeDirectory(draft: LinkDraft): Uint8Array {
  const out = new ByteWriter(1024);
  out.hex(draft.writeId, WRITE_ID_BYTES);
  out.hex(draft.prev, WRITE_ID_BYTES);
  out.string(draft.writerId);
  out.u64(draft.createdAtMs);
  out.u32(draft.entries.length);
  for (const entry of draft.entries) encodeEntry(out, entry);
  out.u32(crc32c(out.bytes()));
  return out.bytes();
}

/**
 * Checks and reads the header. `bytes` holds at least the first 64 bytes of the object; fewer is corruption: an index file is
 * created whole. The caller compares shard and seq with the name it asked for by passing them in.
 */
export function decodeLinkHeader(bytes: Uint8Array, key: ObjectKey, shard: ShardId, seq: Seq): LinkHeader {
  return decodeHeader(bytes, key, { shard, seq });
}

/** The header whatever the name of the object: for tools that tell what stands under a wrong one. Else as `decodeLinkHeader`. */
export function readLinkHeader(bytes: Uint8Array, key: ObjectKey): LinkHeader {
  return decodeHeader(bytes, key, undefined);
}

function decodeHeader(
  bytes: Uint8Array,
  key: ObjectKey,
  name: { readonly shard: ShardId; readonly seq: Seq } | undefined,
): LinkHeader {
  if (bytes.length < HEADER_BYTES)
    throw new CorruptionError(key, bytes.length, `index file of ${bytes.length} bytes has no whole header`);
  const reader = new ByteReader(bytes.subarray(0, HEADER_BYTES), key, 0);
  const magic = reader.u32();
  const magicIndex = reader.u32();
  if (magic !== MAGIC || magicIndex !== MAGIC_INDEX)
    throw new CorruptionError(key, 0, "not an index file (magic bytes differ)");
  const stored = new ByteReader(
    bytes.subarray(HEADER_BYTES - CRC_BYTES, HEADER_BYTES),
    key,
    HEADER_BYTES - CRC_BYTES,
  ).u32();
  // Before the version is believed: a flipped version byte is corruption, not a newer format.
  if (crc32c(bytes.subarray(0, HEADER_BYTES - CRC_BYTES)) !== stored)
    throw new CorruptionError(key, 0, "header fails its CRC32C");
  const version = reader.u16();
  if (version !== INDEX_FORMAT_VERSION)
    throw new UnsupportedVersionError(`index file ${key}`, version, INDEX_FORMAT_VERSION);
  const flags = reader.u8();
  if (flags !== 0) throw new UnsupportedVersionError(`flags of index file ${key}`, flags, 0);
  const encryption = reader.u8();
  if (encryption !== 0) throw new UnsupportedVersionError(`encryption of index file ${key}`, encryption, "0 (none)");
  const shard = reader.u32() as ShardId;
  const seq = reader.u64() as Seq;
  if (name !== undefined && (shard !== name.shard || seq !== name.seq)) {
    throw new CorruptionError(key, 12, `holds seq ${seq} of shard ${shard}: the object stands under a wrong name`);
  }
  const epoch = reader.u32();
  // A fence beyond it could be live, and then no further take-over would be possible.
  if (epoch > MAX_EPOCH) throw new CorruptionError(key, 24, `epoch ${epoch}, the limit is ${MAX_EPOCH}`);
  const directoryBytes = reader.u32();
  const payloadBytes = reader.u64();
  if (directoryBytes > MAX_DIRECTORY_BYTES) {
    throw new CorruptionError(key, 28, `directory of ${directoryBytes} bytes, the limit is ${MAX_DIRECTORY_BYTES}`);
  }
  return { shard, seq, epoch: epoch as Epoch, directoryBytes, payloadBytes };
}

/**
 * Checks and reads the directory that follows `header`. `bytes` starts at the start of the file and holds the whole directory;
 * `sizeBytes` is the size of the stored object.
 */
export function decodeLink(bytes: Uint8Array, header: LinkHeader, sizeBytes: number, key: ObjectKey): Link {
  const payloadStart = HEADER_BYTES + header.directoryBytes;
  if (sizeBytes !== payloadStart + header.payloadBytes) {
    throw new CorruptionError(
      key,
      sizeBytes,
      `object has ${sizeBytes} bytes, its header says ${payloadStart + header.payloadBytes}`,
    );
  }
  if (bytes.length < payloadStart)
    throw new CorruptionError(key, bytes.length, `directory is cut at byte ${bytes.length}`);
  const directory = bytes.subarray(HEADER_BYTES, payloadStart);
  const body = directory.subarray(0, Math.max(0, directory.length - CRC_BYTES));
  const stored = new ByteReader(directory.subarray(body.length), key, HEADER_BYTES + body.length).u32();
  if (crc32c(body) !== stored) throw new CorruptionError(key, HEADER_BYTES, "directory fails its CRC32C");

  const reader = new ByteReader(body, key, HEADER_BYTES);
  const writeId = reader.hex(WRITE_ID_BYTES) as WriteId;
  const prev = reader.hex(WRITE_ID_BYTES) as WriteId;
  const writerId = reader.string();
  const createdAtMs = reader.u64();
  const count = reader.u32();
  const entries: LinkEntry[] = [];
  for (let i = 0; i < count; i++) {
    const type = reader.u8();
    const length = reader.u32();
    entries.push(decodeEntry(reader.slice(length), type, { key, epoch: header.epoch, payloadStart, sizeBytes }));
  }
  reader.end();
  const fence = entries.some((entry) => entry.type === "fence");
  if (entries.length === 0 || (fence && entries.length > 1)) {
    throw new CorruptionError(
      key,
      HEADER_BYTES,
      `link with ${entries.length} entries${fence ? ", one of them a fence" : ""}`,
    );
  }
  return {
    shard: header.shard,
    seq: header.seq,
    epoch: header.epoch,
    writeId,
    prev,
    writerId,
    createdAtMs,
    entries,
    sizeBytes,
  };
}
