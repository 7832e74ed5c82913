import { createHash } from "node:crypto";

import type { S3Client } from "@aws-sdk/client-s3";

import { isSecureLink } from "../config/s3-names.ts";
import { InvalidArgumentError } from "../errors.ts";
import { nextTurn } from "../runtime/turn.ts";
import { crc32cInSteps } from "./crc32c-in-steps.ts";

/**
 * What guards the bytes of objects and parts on their way.
 *
 * - "signed": the signature covers their SHA-256; every S3 server checks it.
 * - "unsigned": a CRC-32C stands in a header, at a tenth of the cost. Some servers check it, some ignore it: `readingBack` is for those.
 * - "auto": unsigned where the store was seen to refuse a wrong CRC-32C, over a link that is TLS or stays on this machine; else signed.
 */
export type PayloadSigning = "auto" | "signed" | "unsigned";

export interface PayloadSettings {
  /** Default "auto". "unsigned" needs a secure link. */
  readonly payloadSigning?: PayloadSigning;
  /** Does the store refuse a body whose CRC-32C header is wrong? Asked for each object. undefined: nobody has tried. */
  readonly wrongChecksumRefused?: () => boolean | undefined;
}

/** Hashed in one turn of the event loop: 0.15 ms. */
const SHA256_BYTES_PER_TURN = 128 * 1024;

const SHA256_HEADER = "x-amz-content-sha256";
const CRC32C_HEADER = "x-amz-checksum-crc32c";

/** Tells, for the next object, whether its payload goes unsigned. Throws `InvalidArgumentError` where that is never safe. */
export function payloadPolicy(settings: PayloadSettings & { readonly endpoint?: string }): () => boolean {
  const signing = settings.payloadSigning ?? "auto";
  const secure = isSecureLink(settings.endpoint);
  if (signing === "unsigned" && !secure) {
    throw new InvalidArgumentError(
      "payloadSigning",
      signing,
      'is "unsigned" over plain HTTP: whoever sits on the line could change what is stored; use "signed", or https',
    );
  }
  if (signing !== "auto") return () => signing === "unsigned";
  return () => secure && settings.wrongChecksumRefused?.() === true;
}

/**
 * Sends bodies that come with a CRC-32C header unsigned, and computes the SHA-256 of other large ones, which the signature covers,
 * in small steps. The SDK would do it in one go: 5 ms and more for a part of 8 MiB, in which no append is taken and no ack given.
 * (`webcrypto` is no way out: it copies the body first, on the event loop, which takes as long.)
 */
export function guardPayloads(client: S3Client): void {
  client.middlewareStack.add(
    (next) => async (args) => {
      const { request } = args;
      if (isHttpRequest(request) && request.body instanceof Uint8Array) {
        // The signer takes the hash from this header where it stands.
        if (request.headers[CRC32C_HEADER] !== undefined) request.headers[SHA256_HEADER] = "UNSIGNED-PAYLOAD";
        else if (request.body.length > SHA256_BYTES_PER_TURN) {
          request.headers[SHA256_HEADER] = await payloadHash(request.body);
        }
      }
      return next(args);
    },
    { step: "build", name: "guardPayloads" },
  );
}

/**
 * As the header has it: base64 of the four bytes, most significant first. `known`: the CRC-32C of `body` where the caller has it. Not by
 * the SDK, which does it in JavaScript.
 */
export async function crc32cHeader(body: Uint8Array, known?: number): Promise<string> {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(known ?? (await crc32cInSteps(body)));
  return bytes.toString("base64");
}

/** SHA-256 in hex, as the signature covers it. REQUIRES: nobody changes `body` meanwhile. */
export async function payloadHash(body: Uint8Array): Promise<string> {
  const hash = createHash("sha256");
  for (let at = 0; at < body.length; at += SHA256_BYTES_PER_TURN) {
    if (at > 0) await nextTurn();
    hash.update(body.subarray(at, at + SHA256_BYTES_PER_TURN));
  }
  return hash.digest("hex");
}

function isHttpRequest(
  request: unknown,
): request is { readonly body?: unknown; readonly headers: Record<string, string> } {
  return typeof request === "object" && request !== null && "headers" in request && "body" in request;
}
