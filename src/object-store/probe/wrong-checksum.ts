import { createHash } from "node:crypto";

import { PutObjectCommand, type PutObjectCommandInput } from "@aws-sdk/client-s3";

import type { ObjectKey } from "../../domain.ts";
import { crc32c } from "../../record/crc32c.ts";
import { answered, type S3Wire, type WireAnswer } from "./s3-wire.ts";

/** "unclear": the answers say neither, or the store does not take the header at all. */
export type ChecksumFinding = "refused" | "accepted" | "unclear";

export interface ChecksumReport {
  readonly finding: ChecksumFinding;
  /** To the wrong one, as in "HTTP 400 BadDigest". */
  readonly answer: string;
}

const BODY = Buffer.from("not what the checksum says");
const OTHER = Buffer.from("something else");

/** Those that a PUT can carry. */
const CHECKSUMS = {
  "x-amz-checksum-crc32c": (of: Buffer) => {
    const sum = Buffer.alloc(4);
    sum.writeUInt32BE(crc32c(of));
    return { input: { ChecksumCRC32C: sum.toString("base64") }, headers: {} };
  },
  "content-md5": (of: Buffer) => ({
    input: { ContentMD5: createHash("md5").update(of).digest("base64") },
    headers: {},
  }),
  "x-amz-content-sha256": (of: Buffer) => ({
    input: {},
    headers: { "x-amz-content-sha256": createHash("sha256").update(of).digest("hex") },
  }),
} satisfies Record<string, (of: Buffer) => { input: Partial<PutObjectCommandInput>; headers: Record<string, string> }>;

export type ChecksumHeader = keyof typeof CHECKSUMS;

/**
 * Puts a body with the checksum of another: one request. Where that is refused, with the right one too: a store that only does
 * not know the header refuses both.
 */
export async function sendWrongChecksum(wire: S3Wire, key: ObjectKey, header: ChecksumHeader): Promise<ChecksumReport> {
  const wrong = await send(wire, key, header, OTHER);
  const answer = answered(wrong);
  if (wrong.error === undefined) return { finding: "accepted", answer };
  if (wrong.status !== 400) return { finding: "unclear", answer };
  const right = await send(wire, key, header, BODY);
  return { finding: right.error === undefined ? "refused" : "unclear", answer };
}

function send(wire: S3Wire, key: ObjectKey, header: ChecksumHeader, of: Buffer): Promise<WireAnswer<object>> {
  const { input, headers } = CHECKSUMS[header](of);
  const command = new PutObjectCommand({ ...wire.object(key), Body: BODY, ...input });
  return wire.send("put", key, command, { headers });
}
