import { createHash } from "node:crypto";

import { crc32 } from "@node-rs/crc32";

import { crc32c } from "../../record/crc32c.ts";
import type { HttpRequest } from "../http-exchange.ts";
import type { S3Operation } from "../s3-call.ts";
import type { S3Trait } from "./character.ts";
import { readChunkedBody } from "./chunked-body.ts";
import { S3Refusal } from "./refusal.ts";
import { payloadHash, type Signer } from "./signature.ts";

/** A checksum that was sent and is right: stored with the object, answered with it. */
export interface Checksum {
  /** As in "x-amz-checksum-crc32c". */
  readonly header: string;
  /** Base64. */
  readonly value: string;
}

export interface Payload {
  /** Without chunk framing; the endpoint's own copy. */
  readonly bytes: Uint8Array;
  readonly checksum: Checksum | undefined;
}

const DIGESTS: Readonly<Record<string, (bytes: Uint8Array) => Buffer>> = {
  "x-amz-checksum-crc32": (bytes) => bigEndian(crc32(bytes)),
  "x-amz-checksum-crc32c": (bytes) => bigEndian(crc32c(bytes)),
  "x-amz-checksum-sha1": (bytes) => createHash("sha1").update(bytes).digest(),
  "x-amz-checksum-sha256": (bytes) => createHash("sha256").update(bytes).digest(),
};

/** Headers of that kind that name no digest. */
const NO_DIGEST = new Set(["x-amz-checksum-mode", "x-amz-checksum-type", "x-amz-checksum-algorithm"]);

/** The body of a request, checked against everything that was sent with it. Throws the refusal of what does not match. */
export function readPayload(
  request: HttpRequest,
  operation: S3Operation,
  signer: Signer,
  traits: ReadonlySet<S3Trait>,
): Payload {
  const { headers } = request;
  if (traits.has("refuses-checksum-headers")) refuseChecksums(headers);
  const sent = payloadHash(headers) ?? "";
  const chunked = sent.startsWith("STREAMING-");
  if (chunked && traits.has("refuses-chunked-bodies")) throw new S3Refusal("MissingContentLength");
  const { bytes, trailer } = chunked
    ? readChunkedBody(request, sent, signer)
    : { bytes: new Uint8Array(request.body), trailer: {} };
  if (!chunked) checkHash(bytes, sent, traits);
  if (!traits.has("unchecked-bodies")) checkMd5(bytes, headers["content-md5"]);
  // Of a completion these headers speak of the object, not of this body.
  const about = operation === "CompleteMultipartUpload" ? {} : { ...headers, ...trailer };
  const checksum = readChecksum(about);
  const unchecked = traits.has("unchecked-bodies") || traits.has("unchecked-checksums");
  if (checksum !== undefined && !unchecked) mustMatch(checksum, bytes);
  if (traits.has("wants-checksums") && checksum === undefined && headers["content-md5"] === undefined) {
    refuseUnguarded(operation);
  }
  return { bytes, checksum };
}

function refuseUnguarded(operation: S3Operation): void {
  const what = operation === "PutObject" ? "Put Object" : operation === "UploadPart" ? "Put Part" : undefined;
  if (what === undefined) return;
  throw new S3Refusal("InvalidRequest", {
    message: `Content-MD5 OR x-amz-checksum- HTTP header is required for ${what} requests with Object Lock parameters`,
  });
}

/** The one checksum among `headers`. One that the endpoint cannot check is refused, not believed. */
export function readChecksum(headers: Readonly<Record<string, string>>): Checksum | undefined {
  const found = Object.entries(headers).filter(([name]) => name.startsWith("x-amz-checksum-") && !NO_DIGEST.has(name));
  const [first] = found;
  if (first === undefined) return undefined;
  if (found.length > 1) {
    throw new S3Refusal("InvalidRequest", {
      message: "Expecting a single x-amz-checksum- header. Multiple checksum types are not allowed.",
    });
  }
  const [header, value] = first;
  if (DIGESTS[header] === undefined) {
    throw new S3Refusal("NotImplemented", {
      message: `This endpoint cannot check ${header}`,
      elements: { Header: header },
    });
  }
  return { header, value };
}

/** Throws `BadDigest` unless `checksum` is that of `bytes`. */
export function mustMatch({ header, value }: Checksum, bytes: Uint8Array): void {
  const computed = DIGESTS[header]?.(bytes).toString("base64");
  if (computed === value) return;
  throw new S3Refusal("BadDigest", {
    message: `The ${header.slice("x-amz-checksum-".length).toUpperCase()} you specified did not match the calculated checksum.`,
  });
}

function checkHash(bytes: Uint8Array, sent: string, traits: ReadonlySet<S3Trait>): void {
  if (sent === "UNSIGNED-PAYLOAD") return;
  if (!/^[0-9a-f]{64}$/.test(sent)) {
    throw new S3Refusal("InvalidArgument", {
      message: "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-… or a valid sha256 value.",
    });
  }
  if (traits.has("unchecked-bodies")) return;
  const computed = createHash("sha256").update(bytes).digest("hex");
  if (computed === sent) return;
  throw new S3Refusal("XAmzContentSHA256Mismatch", {
    elements: { ClientComputedContentSHA256: sent, S3ComputedContentSHA256: computed },
  });
}

function checkMd5(bytes: Uint8Array, sent: string | undefined): void {
  if (sent === undefined) return;
  if (Buffer.from(sent, "base64").length !== 16) throw new S3Refusal("InvalidDigest");
  const computed = createHash("md5").update(bytes).digest("base64");
  if (computed === sent) return;
  throw new S3Refusal("BadDigest", { elements: { ExpectedDigest: sent, CalculatedDigest: computed } });
}

function refuseChecksums(headers: Readonly<Record<string, string>>): void {
  const named = Object.keys(headers).find((name) => name.startsWith("x-amz-checksum-") && !NO_DIGEST.has(name));
  const header =
    named ?? (headers["x-amz-trailer"]?.startsWith("x-amz-checksum-") === true ? "x-amz-trailer" : undefined);
  if (header === undefined) return;
  throw new S3Refusal("NotImplemented", {
    message: `Header '${header}' not implemented`,
    elements: { Header: header },
  });
}

function bigEndian(crc: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(crc >>> 0);
  return bytes;
}
