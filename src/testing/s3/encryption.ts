import { createHash } from "node:crypto";

import type { S3Trait } from "./character.ts";
import { S3Refusal } from "./refusal.ts";

const PREFIX = "x-amz-server-side-encryption";
const COPY_SOURCE_PREFIX = "x-amz-copy-source-server-side-encryption";

type Headers = Readonly<Record<string, string>>;

/** How an object is kept. Nothing is really encrypted: the endpoint remembers, echoes and refuses as S3 does. */
export type Encryption =
  | { readonly kind: "none" }
  | { readonly kind: "s3" }
  | {
      readonly kind: "kms";
      readonly algorithm: "aws:kms" | "aws:kms:dsse";
      readonly keyId: string;
      readonly bucketKey: boolean;
    }
  | { readonly kind: "customer"; readonly keyMd5: string };

interface EncryptionRules {
  readonly traits: ReadonlySet<S3Trait>;
  /** undefined: every key exists. */
  readonly kmsKeys: readonly string[] | undefined;
  /** Of requests for KMS that name no key. */
  readonly defaultKmsKey: string;
}

/** What the headers of a PutObject, CopyObject or CreateMultipartUpload ask for. */
export function readEncryption(headers: Headers, { traits, kmsKeys, defaultKmsKey }: EncryptionRules): Encryption {
  const asked = Object.keys(headers).find((name) => name.startsWith(PREFIX));
  if (asked !== undefined && traits.has("refuses-encryption")) {
    throw new S3Refusal("NotImplemented", {
      message: `Header '${asked}' not implemented`,
      elements: { Header: asked },
    });
  }
  if (traits.has("ignores-encryption")) return { kind: "none" };
  const keyMd5 = readCustomerKey(headers);
  const algorithm = headers[PREFIX];
  if (keyMd5 !== undefined) {
    if (algorithm !== undefined) {
      throw new S3Refusal("InvalidArgument", {
        message:
          "Server Side Encryption with Customer provided key is incompatible with the encryption method specified",
      });
    }
    if (traits.has("blocks-customer-keys")) {
      throw new S3Refusal("AccessDenied", { message: "Writes with SSE-C are blocked for this bucket" });
    }
    return { kind: "customer", keyMd5 };
  }
  const keyId = headers[`${PREFIX}-aws-kms-key-id`];
  if (algorithm === "aws:kms" || algorithm === "aws:kms:dsse") {
    const used = keyId ?? defaultKmsKey;
    if (keyId !== undefined && kmsKeys !== undefined && !kmsKeys.includes(keyId)) {
      throw new S3Refusal("KMS.NotFoundException", { message: `Key '${keyId}' does not exist` });
    }
    return { kind: "kms", algorithm, keyId: used, bucketKey: headers[`${PREFIX}-bucket-key-enabled`] === "true" };
  }
  if (keyId !== undefined) {
    throw new S3Refusal("InvalidArgument", {
      message: `Server Side Encryption with AWS KMS managed key requires HTTP header ${PREFIX} : aws:kms`,
    });
  }
  if (algorithm === undefined) return { kind: traits.has("plain-by-default") ? "none" : "s3" };
  if (algorithm !== "AES256") {
    throw new S3Refusal("InvalidArgument", { message: "The encryption method specified is not supported" });
  }
  return { kind: "s3" };
}

/** What S3 says of it in answers to writes, GET and HEAD. */
export function encryptionHeaders(encryption: Encryption): Headers {
  switch (encryption.kind) {
    case "none":
      return {};
    case "s3":
      return { [PREFIX]: "AES256" };
    case "kms":
      return {
        [PREFIX]: encryption.algorithm,
        [`${PREFIX}-aws-kms-key-id`]: encryption.keyId,
        ...(encryption.bucketKey ? { [`${PREFIX}-bucket-key-enabled`]: "true" } : {}),
      };
    case "customer":
      return {
        [`${PREFIX}-customer-algorithm`]: "AES256",
        [`${PREFIX}-customer-key-md5`]: encryption.keyMd5,
      };
  }
}

/** Checks that a GET, a HEAD or the source of a copy comes with the key that the object was written with. */
export function mustReadWith(
  encryption: Encryption,
  headers: Headers,
  source: "object" | "copy-source",
  traits: ReadonlySet<S3Trait>,
): void {
  if (traits.has("ignores-encryption")) return;
  const keyMd5 = readCustomerKey(headers, source === "object" ? PREFIX : COPY_SOURCE_PREFIX);
  if (encryption.kind !== "customer") {
    if (keyMd5 === undefined) return;
    throw new S3Refusal("InvalidRequest", {
      message: "The encryption parameters are not applicable to this object.",
    });
  }
  if (keyMd5 === undefined) {
    throw new S3Refusal("InvalidRequest", {
      message:
        "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object.",
    });
  }
  if (keyMd5 !== encryption.keyMd5) throw new S3Refusal("AccessDenied");
}

/** Checks that a part comes with the customer key that its upload was started with, or with none. */
export function mustUploadWith(encryption: Encryption, headers: Headers, traits: ReadonlySet<S3Trait>): void {
  if (traits.has("ignores-encryption")) return;
  const keyMd5 = readCustomerKey(headers);
  const started = encryption.kind === "customer" ? encryption.keyMd5 : undefined;
  if (keyMd5 === started) return;
  throw new S3Refusal("InvalidRequest", {
    message:
      keyMd5 === undefined
        ? "The multipart upload initiate requested encryption. Subsequent part requests must include the appropriate encryption parameters."
        : "The provided encryption parameters did not match the ones used originally.",
  });
}

/** The MD5 of a customer's key, its three headers checked; undefined where none came. */
function readCustomerKey(headers: Headers, prefix = PREFIX): string | undefined {
  const algorithm = headers[`${prefix}-customer-algorithm`];
  const key = headers[`${prefix}-customer-key`];
  const keyMd5 = headers[`${prefix}-customer-key-md5`];
  if (algorithm === undefined && key === undefined && keyMd5 === undefined) return undefined;
  if (algorithm !== "AES256") {
    throw new S3Refusal("InvalidArgument", {
      message:
        "Requests specifying Server Side Encryption with Customer provided keys must provide a valid encryption algorithm.",
    });
  }
  if (key === undefined || Buffer.from(key, "base64").length !== 32) {
    throw new S3Refusal("InvalidArgument", { message: "The secret key was invalid for the specified algorithm." });
  }
  const computed = createHash("md5").update(Buffer.from(key, "base64")).digest("base64");
  if (computed !== keyMd5) {
    throw new S3Refusal("InvalidArgument", {
      message: "The calculated MD5 hash of the key did not match the hash that was provided.",
    });
  }
  return computed;
}
