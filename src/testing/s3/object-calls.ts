import type { HttpAnswer } from "../http-exchange.ts";
import { emptyAnswer, xmlAnswer } from "./answer.ts";
import type { S3Bucket, S3Object } from "./bucket.ts";
import { mustAllow } from "./credentials.ts";
import { encryptionHeaders, mustReadWith, readEncryption, type Encryption } from "./encryption.ts";
import { matchesOnRead, tagHeader, tagOf } from "./etag.ts";
import type { Checksum } from "./payload.ts";
import { readRange } from "./range.ts";
import { S3Refusal } from "./refusal.ts";
import { readStoredHeaders } from "./stored-headers.ts";
import type { S3Exchange, S3World } from "./world.ts";
import { childText, node, readXml, tag } from "./xml.ts";

const KEY_BYTES_MAX = 1024;
const DELETE_KEYS_MAX = 1000;

type Headers = Readonly<Record<string, string>>;

export async function putObject(world: S3World, exchange: S3Exchange): Promise<HttpAnswer> {
  const { call, headers, payload, credential } = exchange;
  mustAllow(credential, "s3:PutObject");
  if (headers["if-match"] !== undefined) mustAllow(credential, "s3:GetObject");
  const bucket = world.bucket(call.bucket);
  checkKey(call.key);
  const stored = readStoredHeaders(headers);
  const encryption = askedEncryption(world, exchange);
  const object = await world.writes.run("put", bucket, call.key, headers, () =>
    storeObject(world, bucket, call.key, {
      bytes: payload.bytes,
      headers: stored,
      encryption,
      checksum: payload.checksum,
    }),
  );
  return emptyAnswer(200, writtenHeaders(world, object));
}

export function getObject(world: S3World, exchange: S3Exchange): HttpAnswer {
  const { call, headers, credential } = exchange;
  if (call.query.has("partNumber")) {
    throw new S3Refusal("NotImplemented", { message: "This endpoint does not read single parts" });
  }
  const object = readableObject(exchange, world.bucket(call.bucket), call.key);
  if (call.operation === "GetObject" && object.encryption.kind === "kms") mustAllow(credential, "kms:Decrypt");
  mustReadWith(object.encryption, headers, "object", world.traits);

  const { traits } = world;
  const ifMatch = headers["if-match"];
  if (ifMatch !== undefined && !matchesOnRead(ifMatch, object.etag, traits)) {
    throw new S3Refusal("PreconditionFailed", { elements: { Condition: "If-Match" } });
  }
  const ifNoneMatch = headers["if-none-match"];
  if (ifNoneMatch !== undefined && matchesOnRead(ifNoneMatch, object.etag, traits)) {
    return emptyAnswer(304, tagHeader(object.etag, traits));
  }

  const size = object.bytes.length;
  const range = readRange(headers["range"], size);
  const wantsChecksum = headers["x-amz-checksum-mode"]?.toUpperCase() === "ENABLED" && range === undefined;
  const { start, end } = range ?? { start: 0, end: size };
  return {
    status: range === undefined ? 200 : 206,
    headers: {
      ...object.headers,
      ...tagHeader(object.etag, traits),
      ...encryptionHeaders(object.encryption),
      ...generationHeader(world, object.generation),
      ...(wantsChecksum ? checksumHeaders(object.checksum) : {}),
      ...(range === undefined ? {} : { "content-range": `bytes ${start}-${end - 1}/${size}` }),
      "last-modified": new Date(object.lastModifiedMs).toUTCString(),
      "accept-ranges": "bytes",
      "content-length": String(end - start),
    },
    body: object.bytes.slice(start, end),
  };
}

export async function deleteObject(world: S3World, exchange: S3Exchange): Promise<HttpAnswer> {
  const { call, headers, credential } = exchange;
  mustAllow(credential, "s3:DeleteObject");
  const bucket = world.bucket(call.bucket);
  await world.writes.run("delete", bucket, call.key, headers, () => bucket.remove(call.key));
  return emptyAnswer(204);
}

export async function deleteObjects(
  world: S3World,
  { call, headers, payload, credential }: S3Exchange,
): Promise<HttpAnswer> {
  const bucket = world.bucket(call.bucket);
  const checked = headers["content-md5"] !== undefined;
  if (!checked && (payload.checksum === undefined || world.traits.has("wants-content-md5"))) {
    throw new S3Refusal("InvalidRequest", { message: "Missing required header for this request: Content-MD5" });
  }
  const request = readXml(payload.bytes);
  const named = request.children.filter(({ name }) => name === "Object");
  if (request.name !== "Delete" || named.length === 0 || named.length > DELETE_KEYS_MAX) {
    throw new S3Refusal("MalformedXML");
  }
  const quiet = childText(request, "Quiet") === "true";
  const results: string[] = [];
  for (const one of named) {
    const key = childText(one, "Key");
    if (key === undefined) throw new S3Refusal("MalformedXML");
    const etag = childText(one, "ETag");
    try {
      mustAllow(credential, "s3:DeleteObject");
      const condition: Headers = etag === undefined ? {} : { "if-match": etag };
      await world.writes.run("delete", bucket, key, condition, () => bucket.remove(key));
      if (!quiet) results.push(node("Deleted", [tag("Key", key)]));
    } catch (error) {
      if (!(error instanceof S3Refusal)) throw error;
      results.push(node("Error", [tag("Key", key), tag("Code", error.code), tag("Message", error.message)]));
    }
  }
  return xmlAnswer("DeleteResult", results);
}

export async function copyObject(world: S3World, exchange: S3Exchange): Promise<HttpAnswer> {
  const { call, headers, credential } = exchange;
  mustAllow(credential, "s3:PutObject");
  const source = copySource(world, exchange);
  const bucket = world.bucket(call.bucket);
  checkKey(call.key);
  const replaces = headers["x-amz-metadata-directive"]?.toUpperCase() === "REPLACE";
  const encryption = askedEncryption(world, exchange);
  const object = await world.writes.run("copy", bucket, call.key, headers, () =>
    storeObject(world, bucket, call.key, {
      bytes: source.bytes,
      headers: replaces ? readStoredHeaders(headers) : source.headers,
      encryption,
      checksum: source.checksum,
    }),
  );
  return copyAnswer(world, "CopyObjectResult", object, encryption);
}

export function copyAnswer(
  world: S3World,
  root: string,
  copy: { readonly etag: string; readonly lastModifiedMs: number },
  encryption: Encryption,
): HttpAnswer {
  const { etag = "" } = tagHeader(copy.etag, world.traits);
  const modified = new Date(copy.lastModifiedMs).toISOString();
  return xmlAnswer(root, [tag("LastModified", modified), tag("ETag", etag)], encryptionHeaders(encryption));
}

/** The object that `x-amz-copy-source` names, its conditions and key right. */
export function copySource(world: S3World, exchange: S3Exchange): S3Object {
  const { headers, credential } = exchange;
  const source = headers["x-amz-copy-source"] ?? "";
  const [, bucketName, escapedKey] = /^\/?([^/?]+)\/([^?]+)$/.exec(source) ?? [];
  if (bucketName === undefined || escapedKey === undefined) {
    throw new S3Refusal("InvalidArgument", {
      message: "x-amz-copy-source must be bucket/key, escaped and without a version",
      elements: { ArgumentName: "x-amz-copy-source", ArgumentValue: source },
    });
  }
  const object = readableObject(exchange, world.bucket(bucketName), unescaped(escapedKey));
  if (object.encryption.kind === "kms") mustAllow(credential, "kms:Decrypt");
  mustReadWith(object.encryption, headers, "copy-source", world.traits);
  if (world.traits.has("ignores-conditions") || world.traits.has("ignores-complete-conditions")) return object;
  const ifMatch = headers["x-amz-copy-source-if-match"];
  const ifNoneMatch = headers["x-amz-copy-source-if-none-match"];
  const fails =
    (ifMatch !== undefined && !matchesOnRead(ifMatch, object.etag, world.traits)) ||
    (ifNoneMatch !== undefined && matchesOnRead(ifNoneMatch, object.etag, world.traits));
  if (fails) throw new S3Refusal("PreconditionFailed");
  return object;
}

/** Makes the object and keeps it; the one place where a body becomes visible. */
export function storeObject(
  world: S3World,
  bucket: S3Bucket,
  key: string,
  parts: Pick<S3Object, "bytes" | "headers" | "encryption" | "checksum"> & { readonly etag?: string },
): S3Object {
  const generation = world.nextGeneration();
  const object: S3Object = {
    ...parts,
    generation,
    etag: parts.etag ?? tagOf(parts.bytes, parts.encryption, generation),
    lastModifiedMs: world.nowMs(),
  };
  bucket.write(key, object);
  return object;
}

export function checkKey(key: string): void {
  const size = Buffer.byteLength(key, "utf8");
  if (size <= KEY_BYTES_MAX) return;
  throw new S3Refusal("KeyTooLongError", {
    elements: { Size: String(size), MaxSizeAllowed: String(KEY_BYTES_MAX) },
  });
}

/** The encryption that a write asks for, if its credential may use it. */
export function askedEncryption(world: S3World, { headers, credential }: S3Exchange): Encryption {
  const encryption = readEncryption(headers, world);
  if (encryption.kind === "kms") mustAllow(credential, "kms:GenerateDataKey");
  return encryption;
}

export function checksumHeaders(checksum: Checksum | undefined): Headers {
  return checksum === undefined ? {} : { [checksum.header]: checksum.value, "x-amz-checksum-type": "FULL_OBJECT" };
}

export function generationHeader(world: S3World, generation: number): Headers {
  return world.traits.has("wants-generation-match") ? { "x-goog-generation": String(generation) } : {};
}

function writtenHeaders(world: S3World, object: S3Object): Headers {
  return {
    ...tagHeader(object.etag, world.traits),
    ...encryptionHeaders(object.encryption),
    ...checksumHeaders(object.checksum),
    ...generationHeader(world, object.generation),
  };
}

function readableObject({ credential }: S3Exchange, bucket: S3Bucket, key: string): S3Object {
  mustAllow(credential, "s3:GetObject");
  const object = bucket.visible(key);
  if (object !== undefined) return object;
  // Who may not list a bucket must not learn from a 404 what is in it.
  mustAllow(credential, "s3:ListBucket");
  throw new S3Refusal("NoSuchKey", { elements: { Key: key } });
}

function unescaped(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new S3Refusal("InvalidArgument", { message: "x-amz-copy-source is not well escaped" });
  }
}
