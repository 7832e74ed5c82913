import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  UploadPartCommand,
  type CompleteMultipartUploadOutput,
  type CreateMultipartUploadOutput,
  type UploadPartOutput,
} from "@aws-sdk/client-s3";

import type { ObjectKey } from "../../domain.ts";
import type { S3Wire, WireAnswer } from "../probe/s3-wire.ts";
import { crc32cHeader } from "../s3-payload.ts";
import type { Lab, RawUpload } from "./check.ts";

/** A part as the store named it. */
export interface RawPart {
  readonly number: number;
  readonly etag: string | undefined;
  /** CRC-32C, where the wire sends them. */
  readonly checksum: string | undefined;
}

/** An upload whose every answer can be looked at. Rejects where a step fails that is not the one in question. */
export async function startRawUpload(wire: S3Wire, lab: Lab, key: ObjectKey): Promise<RawUpload> {
  const command = new CreateMultipartUploadCommand({
    ...wire.object(key),
    ...(wire.checksummed ? { ChecksumAlgorithm: "CRC32C" } : {}),
  });
  const { error, output } = await wire.send<CreateMultipartUploadOutput>("createMultipart", key, command);
  if (error !== undefined) throw error;
  const upload = { key, uploadId: output?.UploadId ?? "" };
  lab.uploads.add(upload);
  return upload;
}

export async function sendRawPart(wire: S3Wire, upload: RawUpload, number: number, body: Uint8Array): Promise<RawPart> {
  const checksum = wire.checksummed ? await crc32cHeader(body) : undefined;
  const answer = await tryRawPart(wire, upload, number, body, checksum);
  if (answer.error !== undefined) throw answer.error;
  return { number, etag: answer.output?.ETag, checksum };
}

function tryRawPart(
  wire: S3Wire,
  { key, uploadId }: RawUpload,
  number: number,
  body: Uint8Array,
  checksum: string | undefined,
): Promise<WireAnswer<UploadPartOutput>> {
  const command = new UploadPartCommand({
    ...wire.object(key),
    UploadId: uploadId,
    PartNumber: number,
    Body: body,
    ContentLength: body.length,
    ...(checksum === undefined ? {} : { ChecksumCRC32C: checksum }),
  });
  return wire.send<UploadPartOutput>("uploadPart", key, command);
}

export async function completeRaw(
  wire: S3Wire,
  lab: Lab,
  upload: RawUpload,
  parts: readonly RawPart[],
  conditions: { readonly IfNoneMatch?: string } = {},
): Promise<WireAnswer<CompleteMultipartUploadOutput>> {
  const named = parts.map(({ number, etag, checksum }) => ({
    PartNumber: number,
    ETag: etag,
    ...(checksum === undefined ? {} : { ChecksumCRC32C: checksum }),
  }));
  const command = new CompleteMultipartUploadCommand({
    ...wire.object(upload.key),
    UploadId: upload.uploadId,
    MultipartUpload: { Parts: named },
    ...conditions,
  });
  const answer = await wire.send<CompleteMultipartUploadOutput>("completeMultipart", upload.key, command);
  if (answer.error === undefined) lab.uploads.delete(upload);
  return answer;
}

export async function abortRaw(wire: S3Wire, lab: Lab, upload: RawUpload): Promise<WireAnswer<object>> {
  const command = new AbortMultipartUploadCommand({ ...wire.object(upload.key), UploadId: upload.uploadId });
  const answer = await wire.send<object>("abortMultipart", upload.key, command);
  if (answer.error === undefined || answer.code === "NoSuchUpload") lab.uploads.delete(upload);
  return answer;
}
