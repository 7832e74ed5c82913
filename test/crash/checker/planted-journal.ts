import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { crc32c } from "./bytes.ts";

export interface FrameFields {
  readonly sequence: number;
  readonly prev: number;
  readonly freed: number;
  readonly epoch: number;
  readonly topicId: string;
  readonly partition: number;
  readonly offset: number;
  /** One record with this id. */
  readonly id: string;
}

export const DIRECTORY_ID = "d1".repeat(16);
const TIME = 1_700_000_000_000;

/** A frame with one batch of one record, as docs/journal-format.md lays it out. */
export function encodeFrame(fields: FrameFields, fileNumber = 1): Buffer {
  const batch = encodeBatch(fields);
  const directory = Buffer.alloc(52);
  directory.write(fields.topicId, 0, "hex");
  directory.writeUInt32BE(fields.partition, 16);
  directory.writeBigUInt64BE(BigInt(fields.offset), 20);
  directory.writeBigUInt64BE(BigInt(fields.offset + 1), 28);
  directory.writeUInt32BE(batch.length, 40);
  directory.writeBigInt64BE(BigInt(TIME), 44);
  const header = Buffer.alloc(128);
  header.write("TLJF", 0, "latin1");
  header.writeUInt16BE(1, 4);
  header.write(DIRECTORY_ID, 8, "hex");
  const numbers = [fileNumber, fields.sequence, fields.prev, fields.prev, fields.freed];
  for (const [n, value] of numbers.entries()) header.writeBigUInt64BE(BigInt(value), 28 + 8 * n);
  header.writeUInt32BE(fields.epoch, 68);
  header.writeBigUInt64BE(BigInt(TIME), 72);
  const totalBytes = Math.ceil((128 + directory.length + batch.length) / 512) * 512;
  const sizes = [
    directory.length,
    batch.length,
    totalBytes,
    crc32c(directory),
    crc32c(Buffer.concat([directory, batch])),
  ];
  for (const [n, value] of sizes.entries()) header.writeUInt32BE(value, 80 + 4 * n);
  header.writeUInt32BE(crc32c(header.subarray(0, 124)), 124);
  return Buffer.concat([header, directory, batch], totalBytes);
}

function encodeBatch({ offset, epoch, id }: FrameFields): Buffer {
  const value = Buffer.from(`${id} journaled`);
  // Attributes, no timestamp or offset delta, no key (length −1 in zigzag is 1), value, no headers.
  const record = Buffer.from([0, 0, 0, 1, value.length << 1, ...value, 0]);
  const batch = Buffer.alloc(61 + 1 + record.length);
  batch.writeBigUInt64BE(BigInt(offset), 0);
  batch.writeUInt32BE(batch.length - 12, 8);
  batch.writeUInt32BE(epoch, 12);
  batch[16] = 2;
  batch.writeBigUInt64BE(BigInt(TIME), 27);
  batch.writeBigUInt64BE(BigInt(TIME), 35);
  batch.fill(0xff, 43, 57);
  batch.writeUInt32BE(1, 57);
  batch[61] = record.length << 1;
  record.copy(batch, 62);
  batch.writeUInt32BE(crc32c(batch.subarray(21)), 17);
  return batch;
}

export interface JournalFields {
  readonly journalId: string;
  readonly freedThrough: number;
  readonly frames: readonly Buffer[];
  readonly aside?: readonly Buffer[];
}

/** The journal of shard 0 in `directory`, which is made. */
export async function writeJournal(
  directory: string,
  { journalId, freedThrough, frames, aside }: JournalFields,
): Promise<void> {
  const path = join(directory, "0000");
  await mkdir(join(path, "aside"), { recursive: true });
  const body = `${JSON.stringify({ directoryId: DIRECTORY_ID, journalId, shard: 0, fences: [], freedThrough, cuts: [] })}\n`;
  const crc = crc32c(Buffer.from(body)).toString(16).padStart(8, "0");
  await writeFile(join(path, "MANIFEST"), `tierlog-journal 1 ${crc}\n${body}`);
  await writeFile(join(path, "0000.jrn"), Buffer.concat(frames, 64 * 1024));
  if (aside !== undefined) await writeFile(join(path, "aside", `${journalId}-1-2.jrn`), Buffer.concat(aside));
}
