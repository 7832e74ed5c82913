import { createHash } from "node:crypto";

import type { S3Client } from "@aws-sdk/client-s3";

import type { CreateIfAbsentHeader } from "../config/provider-presets.ts";
import { isSecureLink } from "../config/s3-names.ts";
import type { Secret } from "../config/secret.ts";
import { InvalidArgumentError } from "../errors.ts";

/** How a store is asked to encrypt what it keeps. Not at all: the default of the bucket holds. */
export type S3Encryption =
  /** With keys of the store. */
  | { readonly kind: "sse-s3" }
  /** With a key of its key management; undefined: the one that the account has for S3. */
  | { readonly kind: "sse-kms"; readonly keyId: string | undefined; readonly bucketKey: boolean }
  /** With a key that comes with every request: 32 bytes in base64. */
  | { readonly kind: "sse-c"; readonly key: Secret };

const PREFIX = "x-amz-server-side-encryption";

/** Requests that make an object say how it is to be kept. A part or a completion that says so is refused by AWS. */
const MAKERS: ReadonlySet<string> = new Set(["PutObjectCommand", "CreateMultipartUploadCommand"]);

/**
 * Requests that need a customer's key. Completing and listing parts need it where parts carry checksums, and may have it elsewhere.
 */
const KEY_USERS: ReadonlySet<string> = new Set([
  ...MAKERS,
  "GetObjectCommand",
  "HeadObjectCommand",
  "UploadPartCommand",
  "CompleteMultipartUploadCommand",
  "ListPartsCommand",
]);

/**
 * Adds the headers of encryption at rest to every request of `client` that needs them, whoever makes it: a read-back without the key
 * could not settle anything. Throws `InvalidArgumentError` where the headers would not arrive, or somebody else would read the key.
 */
export function encryptAtRest(
  client: S3Client,
  settings: {
    readonly encryption?: S3Encryption;
    readonly endpoint?: string;
    readonly createIfAbsent?: CreateIfAbsentHeader;
  },
): void {
  const { encryption } = settings;
  if (encryption === undefined) return;
  if (settings.createIfAbsent === "x-goog-if-generation-match") {
    // Its signature takes Amazon's headers out: objects would be kept as if nothing had been asked for.
    throw new InvalidArgumentError("encryption", encryption.kind, "cannot be asked for in Google's requests");
  }
  if (encryption.kind === "sse-c" && !isSecureLink(settings.endpoint)) {
    throw new InvalidArgumentError(
      "encryption",
      encryption.kind,
      "needs https, or an endpoint on this machine: every request carries the key",
    );
  }
  const headers = headersOf(encryption);
  const users = encryption.kind === "sse-c" ? KEY_USERS : MAKERS;
  client.middlewareStack.add(
    (next, context) => (args) => {
      const { request } = args;
      if (users.has(String(context["commandName"])) && hasHeaders(request)) Object.assign(request.headers, headers);
      return next(args);
    },
    // Before the signature, which covers them.
    { step: "build", name: "encryptAtRest" },
  );
}

/** Takes them away again, for who wants to see what the store answers without. */
export function withoutEncryption(headers: Record<string, string>): void {
  for (const name of Object.keys(headers)) if (name.startsWith(PREFIX)) delete headers[name];
}

/** How the store says that it keeps an object, in the headers of a PUT or HEAD (names in lower case). undefined: it says nothing. */
export function encryptionSaid(headers: Readonly<Record<string, string>>): string | undefined {
  if (headers[`${PREFIX}-customer-algorithm`] !== undefined) return "customer key";
  return headers[PREFIX];
}

/** Is that what was asked for? */
export function isSaidAsAsked({ kind }: S3Encryption, said: string | undefined): boolean {
  switch (kind) {
    case "sse-s3":
      return said === "AES256";
    case "sse-kms":
      return said?.startsWith("aws:kms") === true;
    case "sse-c":
      return said === "customer key";
  }
}

function headersOf(encryption: S3Encryption): Readonly<Record<string, string>> {
  switch (encryption.kind) {
    case "sse-s3":
      return { [PREFIX]: "AES256" };
    case "sse-kms":
      return {
        [PREFIX]: "aws:kms",
        ...(encryption.keyId === undefined ? {} : { [`${PREFIX}-aws-kms-key-id`]: encryption.keyId }),
        ...(encryption.bucketKey ? { [`${PREFIX}-bucket-key-enabled`]: "true" } : {}),
      };
    case "sse-c": {
      const key = encryption.key.reveal();
      return {
        [`${PREFIX}-customer-algorithm`]: "AES256",
        [`${PREFIX}-customer-key`]: key,
        [`${PREFIX}-customer-key-md5`]: createHash("md5").update(Buffer.from(key, "base64")).digest("base64"),
      };
    }
  }
}

function hasHeaders(request: unknown): request is { readonly headers: Record<string, string> } {
  return typeof request === "object" && request !== null && "headers" in request;
}
