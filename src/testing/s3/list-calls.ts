import { compareKeys } from "../../object-store/object-key.ts";
import type { HttpAnswer } from "../http-exchange.ts";
import { xmlAnswer } from "./answer.ts";
import type { S3Bucket, S3Upload } from "./bucket.ts";
import { mustAllow } from "./credentials.ts";
import { writtenTag } from "./etag.ts";
import { listPage, readCount } from "./page.ts";
import { S3Refusal } from "./refusal.ts";
import type { S3Exchange, S3World } from "./world.ts";
import { node, tag } from "./xml.ts";

const PAGE_ENTRIES = 1000;

export function listObjects(world: S3World, { call, credential }: S3Exchange): HttpAnswer {
  mustAllow(credential, "s3:ListBucket");
  const { query } = call;
  const bucket = world.bucket(call.bucket);
  const encode = readEncoding(query);
  const prefix = query.get("prefix") ?? "";
  const delimiter = query.get("delimiter") ?? "";
  const startAfter = query.get("start-after") ?? "";
  const token = query.get("continuation-token");
  const maxEntries = Math.min(readCount(query, "max-keys", PAGE_ENTRIES), PAGE_ENTRIES);
  const scrambled = world.traits.has("unordered-listing");
  const after = token === null ? undefined : readToken(token);
  const { entries, truncated } = listPage(bucket.keys(), {
    prefix,
    delimiter,
    startAfter,
    after,
    maxEntries,
    scrambled,
  });
  const last = entries.at(-1);
  return xmlAnswer("ListBucketResult", [
    tag("Name", bucket.name),
    tag("Prefix", encode(prefix)),
    ...(delimiter === "" ? [] : [tag("Delimiter", encode(delimiter))]),
    ...(startAfter === "" ? [] : [tag("StartAfter", encode(startAfter))]),
    ...(token === null ? [] : [tag("ContinuationToken", token)]),
    ...(truncated && last !== undefined ? [tag("NextContinuationToken", writeToken(last.name))] : []),
    ...(query.has("encoding-type") ? [tag("EncodingType", "url")] : []),
    tag("KeyCount", entries.length),
    tag("MaxKeys", maxEntries),
    tag("IsTruncated", truncated),
    ...entries.map(({ kind, name }) =>
      kind === "key" ? contents(world, bucket, name, encode) : node("CommonPrefixes", [tag("Prefix", encode(name))]),
    ),
  ]);
}

function contents(world: S3World, bucket: S3Bucket, key: string, encode: (text: string) => string): string {
  const object = bucket.visible(key);
  if (object === undefined) return "";
  const etag = writtenTag(object.etag, world.traits);
  return node("Contents", [
    tag("Key", encode(key)),
    tag("LastModified", new Date(object.lastModifiedMs).toISOString()),
    ...(etag === "" ? [] : [tag("ETag", etag)]),
    tag("Size", object.bytes.length),
    tag("StorageClass", "STANDARD"),
  ]);
}

export function listUploads(world: S3World, { call, credential }: S3Exchange): HttpAnswer {
  mustAllow(credential, "s3:ListBucketMultipartUploads");
  const { query } = call;
  const bucket = world.bucket(call.bucket);
  const encode = readEncoding(query);
  if (query.get("delimiter")) {
    throw new S3Refusal("NotImplemented", { message: "This endpoint lists uploads without a delimiter only" });
  }
  const prefix = query.get("prefix") ?? "";
  const keyMarker = query.get("key-marker") ?? "";
  const idMarker = query.get("upload-id-marker") ?? "";
  const maxUploads = Math.min(readCount(query, "max-uploads", PAGE_ENTRIES), PAGE_ENTRIES);
  const exact = world.traits.has("lists-uploads-by-exact-key") && prefix !== "";
  const found = [...bucket.uploads.values()]
    .filter(({ key }) => (exact ? key === prefix : key.startsWith(prefix)))
    .filter((upload) => isAfterMarkers(upload, keyMarker, idMarker))
    .sort((a, b) => compareKeys(a.key, b.key) || (a.id < b.id ? -1 : 1));
  const page = found.slice(0, maxUploads);
  const last = page.at(-1);
  const truncated = maxUploads > 0 && found.length > page.length;
  return xmlAnswer("ListMultipartUploadsResult", [
    tag("Bucket", bucket.name),
    tag("Prefix", encode(prefix)),
    tag("KeyMarker", encode(keyMarker)),
    tag("UploadIdMarker", idMarker),
    ...(truncated && last !== undefined
      ? [tag("NextKeyMarker", encode(last.key)), tag("NextUploadIdMarker", last.id)]
      : []),
    ...(query.has("encoding-type") ? [tag("EncodingType", "url")] : []),
    tag("MaxUploads", maxUploads),
    tag("IsTruncated", truncated),
    ...page.map(({ key, id, startedMs }) =>
      node("Upload", [
        tag("Key", encode(key)),
        tag("UploadId", id),
        tag("StorageClass", "STANDARD"),
        tag("Initiated", new Date(startedMs).toISOString()),
      ]),
    ),
  ]);
}

/** Without an upload-id-marker the whole key of the marker is left out. */
function isAfterMarkers({ key, id }: S3Upload, keyMarker: string, idMarker: string): boolean {
  if (keyMarker === "") return true;
  const order = compareKeys(key, keyMarker);
  return order > 0 || (order === 0 && idMarker !== "" && id > idMarker);
}

function readEncoding(query: URLSearchParams): (text: string) => string {
  const type = query.get("encoding-type");
  if (type === null) return (text) => text;
  if (type !== "url") {
    throw new S3Refusal("InvalidArgument", { message: "Invalid Encoding Method specified in Request" });
  }
  return (text) => encodeURIComponent(text).replaceAll("%2F", "/").replaceAll("%20", "+");
}

/** Opaque to clients: that they should not make one of a key. */
function writeToken(name: string): string {
  return Buffer.from(`1 ${name}`, "utf8").toString("base64url");
}

function readToken(token: string): string {
  const text = Buffer.from(token, "base64url").toString("utf8");
  if (text.startsWith("1 ")) return text.slice(2);
  throw new S3Refusal("InvalidArgument", { message: "The continuation token provided is incorrect" });
}
