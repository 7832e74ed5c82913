import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  ListPartsCommand,
  type S3Client,
} from "@aws-sdk/client-s3";

import type { ObjectKey } from "../domain.ts";
import { ObjectStoreError } from "../errors.ts";
import { bareETag, quotedETag } from "./etag.ts";
import { checkPartNumber, checkParts, uploadGone } from "./multipart.ts";
import type { CallOptions, MultipartUpload, PagedOptions, UploadedPart } from "./object-store.ts";
import type { S3Credentials } from "./s3-credentials.ts";
import type { S3Operation, S3Outcome, S3Request } from "./s3-outcome.ts";
import { crc32cHeader } from "./s3-payload.ts";
import type { S3Puts } from "./s3-puts.ts";

export type RequestOutcome<T> =
  | { readonly kind: "ok"; readonly value: T }
  | Exclude<S3Outcome, { readonly kind: "error" }>;

/** What the S3 store lends its uploads: one request, one deadline, one place for errors. */
interface S3Requests {
  readonly client: S3Client;
  readonly puts: S3Puts;
  readonly bucket: string;
  readonly keyPrefix: string;
  /** Parts go unsigned, with a CRC-32C. Settled when the upload starts: the store has to know then. */
  readonly unsigned: boolean;
  readonly request: <T>(
    what: S3Request,
    signal: AbortSignal | undefined,
    send: (signal: AbortSignal, signedWith: S3Credentials) => Promise<T>,
  ) => Promise<RequestOutcome<T>>;
}

/** Starts an upload in an S3 bucket: one request per call (`listParts`: one per 1,000 parts). */
export async function createS3Multipart(
  requests: S3Requests,
  key: ObjectKey,
  options: CallOptions | undefined,
): Promise<MultipartUpload> {
  const { client, bucket, request, unsigned } = requests;
  const object = { Bucket: bucket, Key: requests.keyPrefix + key };
  const about = (operation: S3Operation): S3Request => ({ operation, key, bucket });

  const creation = about("createMultipart");
  const created = await request(creation, options?.signal, (signal) =>
    client.send(new CreateMultipartUploadCommand(unsigned ? { ...object, ChecksumAlgorithm: "CRC32C" } : object), {
      abortSignal: signal,
    }),
  );
  const uploadId = created.kind === "ok" ? (created.value.UploadId ?? "") : "";
  if (uploadId === "") throw odd(creation, "the store started an upload without naming it", true);
  const upload = { ...object, UploadId: uploadId };
  /** Of unsigned parts, by number. An upload that was started with checksums is completed with those of all its parts. */
  const checksums = new Map<number, string>();

  return {
    key,
    uploadId,

    async putPart(partNumber, body, callOptions) {
      checkPartNumber(partNumber);
      const what = about("uploadPart");
      const checksum = unsigned ? await crc32cHeader(body, callOptions?.crc32c) : undefined;
      const part = { PartNumber: partNumber, UploadId: uploadId };
      const put = { bucket, key: object.Key, body, condition: {}, crc32c: checksum, part };
      const outcome = await request(what, callOptions?.signal, async (signal, signedWith) => ({
        etag: await requests.puts.put(put, signedWith, signal),
      }));
      if (outcome.kind === "no-such-upload") throw uploadGone(key);
      if (outcome.kind !== "ok") throw odd(what, `the store answered a part with "${outcome.kind}"`, false);
      const etag = bareETag(outcome.value.etag);
      // `complete` names parts by their tags: with a guess it would fail, or take another part. Sent again, it may come with one.
      if (etag === "") throw odd(what, `the store gave no ETag for part ${partNumber}`, true);
      if (checksum !== undefined) checksums.set(partNumber, checksum);
      return { partNumber, etag, sizeBytes: body.length };
    },

    async listParts(pagedOptions) {
      return listParts(requests, about("listParts"), upload, pagedOptions);
    },

    async complete(parts, callOptions) {
      checkParts(parts);
      const what = about("completeMultipart");
      const named = parts.map(({ partNumber, etag }) => {
        const checksum = checksums.get(partNumber);
        const part = { PartNumber: partNumber, ETag: quotedETag(etag) };
        return checksum === undefined ? part : { ...part, ChecksumCRC32C: checksum };
      });
      const outcome = await request(what, callOptions?.signal, (signal) =>
        client.send(new CompleteMultipartUploadCommand({ ...upload, MultipartUpload: { Parts: named } }), {
          abortSignal: signal,
        }),
      );
      if (outcome.kind === "ok") {
        // Some servers leave the ETag out. Without any field it is no answer to this request: a proxy's page, say.
        const { Bucket, Key, ETag, Location } = outcome.value;
        if ((Bucket ?? Key ?? ETag ?? Location) === undefined) throw odd(what, "the answer could not be read", true);
        return { kind: "completed" };
      }
      if (outcome.kind === "no-such-upload") return { kind: "gone" };
      throw odd(what, `the store answered a completion with "${outcome.kind}"`, false);
    },

    async abort(callOptions) {
      const what = about("abortMultipart");
      const outcome = await request(what, callOptions?.signal, (signal) =>
        client.send(new AbortMultipartUploadCommand(upload), { abortSignal: signal }),
      );
      if (outcome.kind === "ok" || outcome.kind === "no-such-upload") return;
      throw odd(what, `the store answered an abort with "${outcome.kind}"`, false);
    },
  };
}

async function listParts(
  { client, request }: S3Requests,
  what: S3Request,
  upload: { readonly Bucket: string; readonly Key: string; readonly UploadId: string },
  options: PagedOptions | undefined,
): Promise<readonly UploadedPart[] | undefined> {
  const parts: UploadedPart[] = [];
  let marker: string | undefined;
  for (;;) {
    const input = marker === undefined ? upload : { ...upload, PartNumberMarker: marker };
    const outcome = await request(what, options?.signal, (signal) => {
      options?.onRequest?.();
      return client.send(new ListPartsCommand(input), { abortSignal: signal });
    });
    if (outcome.kind === "no-such-upload") return undefined;
    if (outcome.kind !== "ok") throw odd(what, `the store answered a listing with "${outcome.kind}"`, false);
    const page = outcome.value;
    if ((page.Parts ?? page.UploadId ?? page.Bucket ?? page.Key ?? page.IsTruncated) === undefined) {
      throw odd(what, "this is no answer of an S3 server; did a proxy answer?", true);
    }
    for (const { PartNumber, ETag, Size } of page.Parts ?? []) {
      if (PartNumber === undefined || Size === undefined || PartNumber <= (parts.at(-1)?.partNumber ?? 0)) {
        throw odd(what, "the store listed a part without number or size, or out of order", false);
      }
      parts.push({ partNumber: PartNumber, etag: bareETag(ETag), sizeBytes: Size });
    }
    if (page.IsTruncated !== true) return parts;
    const next = page.NextPartNumberMarker;
    if (next === undefined || next === marker)
      throw odd(what, "the store says that parts follow, but not where", false);
    marker = next;
  }
}

/** An answer that no S3 server should give. */
function odd(what: S3Request, problem: string, retryable: boolean): ObjectStoreError {
  return new ObjectStoreError(
    `${what.operation} ${what.key}: ${problem}`,
    { operation: what.operation, key: what.key, retryable },
    { effect: what.operation === "completeMultipart" ? "unknown" : "none" },
  );
}
