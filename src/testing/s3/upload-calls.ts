import { bareETag } from "../../object-store/etag.ts";
import { PART_BYTES_MIN, PARTS_MAX } from "../../object-store/multipart.ts";
import type { HttpAnswer } from "../http-exchange.ts";
import { emptyAnswer, xmlAnswer } from "./answer.ts";
import type { S3Bucket, S3Object, S3Part, S3Upload } from "./bucket.ts";
import { mustAllow } from "./credentials.ts";
import { encryptionHeaders, mustUploadWith } from "./encryption.ts";
import { tagHeader, tagOf, tagOfParts, writtenTag } from "./etag.ts";
import { askedEncryption, checkKey, checksumHeaders, copyAnswer, copySource, storeObject } from "./object-calls.ts";
import { readCount } from "./page.ts";
import { mustMatch, readChecksum, type Checksum } from "./payload.ts";
import { readRange } from "./range.ts";
import { S3Refusal } from "./refusal.ts";
import { readStoredHeaders } from "./stored-headers.ts";
import type { S3Exchange, S3World } from "./world.ts";
import { childText, node, readXml, tag } from "./xml.ts";

const PAGE_PARTS = 1000;

export function createUpload(world: S3World, exchange: S3Exchange): HttpAnswer {
  const { call, headers, credential } = exchange;
  mustAllow(credential, "s3:PutObject");
  const bucket = world.bucket(call.bucket);
  checkKey(call.key);
  const encryption = askedEncryption(world, exchange);
  // Parts are read back when they become an object.
  if (encryption.kind === "kms") mustAllow(credential, "kms:Decrypt");
  const upload: S3Upload = {
    id: world.nextUploadId(),
    key: call.key,
    startedMs: world.nowMs(),
    headers: readStoredHeaders(headers),
    encryption,
    parts: new Map(),
  };
  bucket.addUpload(upload);
  return xmlAnswer(
    "InitiateMultipartUploadResult",
    [tag("Bucket", bucket.name), tag("Key", call.key), tag("UploadId", upload.id)],
    encryptionHeaders(encryption),
  );
}

export function uploadPart(world: S3World, exchange: S3Exchange): HttpAnswer {
  const { headers, payload, credential } = exchange;
  mustAllow(credential, "s3:PutObject");
  const { bucket, upload } = openUpload(world, exchange);
  const partNumber = readPartNumber(exchange);
  mustUploadWith(upload.encryption, headers, world.traits);
  const part = addPart(world, bucket, upload, partNumber, payload.bytes, payload.checksum);
  return emptyAnswer(200, {
    ...tagHeader(part.etag, world.traits),
    ...encryptionHeaders(upload.encryption),
    ...(part.checksum === undefined ? {} : { [part.checksum.header]: part.checksum.value }),
  });
}

export function uploadPartCopy(world: S3World, exchange: S3Exchange): HttpAnswer {
  const { headers, credential } = exchange;
  mustAllow(credential, "s3:PutObject");
  const { bucket, upload } = openUpload(world, exchange);
  const partNumber = readPartNumber(exchange);
  mustUploadWith(upload.encryption, headers, world.traits);
  const source = copySource(world, exchange);
  const header = headers["x-amz-copy-source-range"];
  const range = readRange(header, source.bytes.length);
  if (header !== undefined && range === undefined) {
    throw new S3Refusal("InvalidArgument", {
      message: "The x-amz-copy-source-range value must be of the form bytes=first-last",
    });
  }
  const { start, end } = range ?? { start: 0, end: source.bytes.length };
  const part = addPart(world, bucket, upload, partNumber, source.bytes.slice(start, end), undefined);
  return copyAnswer(world, "CopyPartResult", part, upload.encryption);
}

export function listParts(world: S3World, exchange: S3Exchange): HttpAnswer {
  const { call, headers, credential } = exchange;
  mustAllow(credential, "s3:ListMultipartUploadParts");
  const { bucket, upload } = openUpload(world, exchange);
  mustNameKeyOfChecksums(world, upload, headers);
  const marker = readCount(call.query, "part-number-marker", 0);
  const pageParts = Math.min(readCount(call.query, "max-parts", PAGE_PARTS), PAGE_PARTS);
  const after = [...upload.parts].filter(([number]) => number > marker).sort(([a], [b]) => a - b);
  const page = after.slice(0, pageParts);
  return xmlAnswer("ListPartsResult", [
    tag("Bucket", bucket.name),
    tag("Key", call.key),
    tag("UploadId", upload.id),
    tag("PartNumberMarker", marker),
    tag("NextPartNumberMarker", page.at(-1)?.[0] ?? 0),
    tag("MaxParts", pageParts),
    tag("IsTruncated", page.length < after.length),
    tag("StorageClass", "STANDARD"),
    ...page.map(([number, part]) =>
      node("Part", [
        tag("PartNumber", number),
        tag("LastModified", new Date(part.lastModifiedMs).toISOString()),
        ...tagElement(world, part.etag),
        tag("Size", part.bytes.length),
      ]),
    ),
  ]);
}

/** Checksums are encrypted with the object: requests that deal with them need the customer's key. Others may do without it. */
function mustNameKeyOfChecksums(world: S3World, upload: S3Upload, headers: S3Exchange["headers"]): void {
  if ([...upload.parts.values()].some(({ checksum }) => checksum !== undefined)) {
    mustUploadWith(upload.encryption, headers, world.traits);
  }
}

export async function completeUpload(world: S3World, exchange: S3Exchange): Promise<HttpAnswer> {
  const { call, headers, payload, credential } = exchange;
  mustAllow(credential, "s3:PutObject");
  const named = readNamedParts(payload.bytes);
  const bucket = world.bucket(call.bucket);
  const replayed = replay(world, bucket, exchange);
  if (replayed !== undefined) return completedAnswer(world, bucket, call.key, replayed);
  const object = await world.writes.run("complete", bucket, call.key, headers, () => {
    const { upload } = openUpload(world, exchange);
    mustNameKeyOfChecksums(world, upload, headers);
    const parts = matchParts(world, named, upload);
    const bytes = new Uint8Array(Buffer.concat(parts.map((part) => part.bytes)));
    const checksum = objectChecksum(world, exchange, bytes);
    const etag = tagOfParts(parts.map((part) => part.etag));
    const made = { bytes, headers: upload.headers, encryption: upload.encryption, checksum, etag };
    // Before the object is stored, so that the bytes are not counted twice.
    bucket.dropUpload(upload);
    const object = storeObject(world, bucket, call.key, made);
    bucket.rememberEnd(upload.id, {
      kind: "completed",
      key: call.key,
      etag: object.etag,
      encryption: object.encryption,
    });
    return object;
  });
  return completedAnswer(world, bucket, call.key, object);
}

export function abortUpload(world: S3World, exchange: S3Exchange): HttpAnswer {
  mustAllow(exchange.credential, "s3:AbortMultipartUpload");
  const bucket = world.bucket(exchange.call.bucket);
  const upload = bucket.uploads.get(uploadId(exchange));
  if (upload?.key !== exchange.call.key) throw new S3Refusal("NoSuchUpload");
  bucket.dropUpload(upload);
  bucket.rememberEnd(upload.id, { kind: "aborted", key: upload.key });
  return emptyAnswer(204);
}

function uploadId({ call }: S3Exchange): string {
  return call.query.get("uploadId") ?? "";
}

/** Throws what the server says of an upload that is not under way (any more). */
function openUpload(world: S3World, exchange: S3Exchange): { readonly bucket: S3Bucket; readonly upload: S3Upload } {
  const { key, operation, bucket: name } = exchange.call;
  const bucket = world.bucket(name);
  const id = uploadId(exchange);
  const upload = bucket.uploads.get(id);
  if (upload?.key === key) return { bucket, upload };
  if (world.traits.has("fails-complete-of-aborted") && bucket.endedUpload(id)?.kind === "aborted") {
    if (operation === "CompleteMultipartUpload") throw new S3Refusal("InternalError");
    if (operation === "ListParts") throw new S3Refusal("NoSuchKey");
  }
  throw new S3Refusal("NoSuchUpload", { elements: { UploadId: id } });
}

/** The part is kept as it is, so `bytes` must be the endpoint's own. */
function addPart(
  world: S3World,
  bucket: S3Bucket,
  upload: S3Upload,
  partNumber: number,
  bytes: Uint8Array,
  checksum: Checksum | undefined,
): S3Part {
  const etag = tagOf(bytes, upload.encryption, world.nextGeneration());
  const part: S3Part = { bytes, etag, lastModifiedMs: world.nowMs(), checksum };
  bucket.addPart(upload, partNumber, part);
  return part;
}

function readPartNumber({ call }: S3Exchange): number {
  const text = call.query.get("partNumber") ?? "";
  const number = /^\d{1,6}$/.test(text) ? Number(text) : 0;
  if (number >= 1 && number <= PARTS_MAX) return number;
  throw new S3Refusal("InvalidArgument", {
    message: `Part number must be an integer between 1 and ${PARTS_MAX}, inclusive`,
    elements: { ArgumentName: "partNumber", ArgumentValue: text },
  });
}

interface NamedPart {
  readonly partNumber: number;
  readonly etag: string;
  /** As in "x-amz-checksum-crc32". */
  readonly checksum: Checksum | undefined;
}

function readNamedParts(body: Uint8Array): readonly NamedPart[] {
  const request = readXml(body);
  const parts = request.children.filter(({ name }) => name === "Part");
  if (request.name !== "CompleteMultipartUpload" || parts.length === 0 || parts.length > PARTS_MAX) {
    throw new S3Refusal("MalformedXML");
  }
  return parts.map((part) => {
    const partNumber = Number(childText(part, "PartNumber") ?? "NaN");
    const etag = childText(part, "ETag");
    if (!Number.isInteger(partNumber) || etag === undefined) throw new S3Refusal("MalformedXML");
    const checksums = part.children.filter(({ name }) => name.startsWith("Checksum"));
    const headers = checksums.map(({ name, text }) => [
      `x-amz-${name.replace("Checksum", "checksum-").toLowerCase()}`,
      text,
    ]);
    return { partNumber, etag: bareETag(etag.trim()), checksum: readChecksum(Object.fromEntries(headers)) };
  });
}

/** The parts that become the object, in order. Throws what a Complete can be refused for. */
function matchParts({ traits }: S3World, named: readonly NamedPart[], upload: S3Upload): readonly S3Part[] {
  const ascending = named.every((part, i) => part.partNumber > (named[i - 1]?.partNumber ?? 0));
  if (!ascending && !traits.has("sorts-parts")) throw new S3Refusal("InvalidPartOrder");
  const sorted = ascending ? named : [...named].sort((a, b) => a.partNumber - b.partNumber);
  if (traits.has("needs-all-parts") && named.length !== upload.parts.size) throw new S3Refusal("InvalidPart");
  const parts = sorted.map(({ partNumber, etag, checksum }) => {
    const part = upload.parts.get(partNumber);
    const same = part !== undefined && (part.etag === etag || traits.has("no-etags"));
    if (!same || (checksum !== undefined && !sameChecksum(checksum, part.checksum))) {
      throw new S3Refusal("InvalidPart", {
        elements: { UploadId: upload.id, PartNumber: String(partNumber), ETag: etag },
      });
    }
    return part;
  });
  checkSizes(traits, sorted, parts);
  return parts;
}

function checkSizes(traits: S3World["traits"], named: readonly NamedPart[], parts: readonly S3Part[]): void {
  const small = parts.findIndex((part, i) => i < parts.length - 1 && part.bytes.length < PART_BYTES_MIN);
  if (small !== -1) {
    throw new S3Refusal("EntityTooSmall", {
      elements: {
        ProposedSize: String(parts[small]?.bytes.length),
        MinSizeAllowed: String(PART_BYTES_MIN),
        PartNumber: String(named[small]?.partNumber),
      },
    });
  }
  if (!traits.has("equal-parts")) return;
  const size = parts[0]?.bytes.length ?? 0;
  const unequal = parts.some((part, i) =>
    i < parts.length - 1 ? part.bytes.length !== size : part.bytes.length > size,
  );
  if (unequal) throw new S3Refusal("InvalidPart", { message: "All non-trailing parts must have the same length." });
}

function sameChecksum(a: Checksum, b: Checksum | undefined): boolean {
  return a.header === b?.header && a.value === b.value;
}

/** Of a Complete: the checksum of the whole object, where one was sent. */
function objectChecksum({ traits }: S3World, { headers }: S3Exchange, bytes: Uint8Array): Checksum | undefined {
  const checksum = readChecksum(headers);
  if (checksum === undefined) return undefined;
  if (/-\d+$/.test(checksum.value)) {
    throw new S3Refusal("NotImplemented", { message: "This endpoint does not check composite checksums of objects" });
  }
  if (!traits.has("unchecked-bodies") && !traits.has("unchecked-checksums")) mustMatch(checksum, bytes);
  return checksum;
}

/** What was answered to the Complete of an upload that is completed, where the server still knows. */
function replay(world: S3World, bucket: S3Bucket, exchange: S3Exchange): CompletedObject | undefined {
  const ended = bucket.endedUpload(uploadId(exchange));
  if (ended?.kind !== "completed" || ended.key !== exchange.call.key) return undefined;
  return world.traits.has("forgets-uploads") ? undefined : ended;
}

type CompletedObject = Pick<S3Object, "etag" | "encryption"> & { readonly checksum?: Checksum | undefined };

function completedAnswer(world: S3World, bucket: S3Bucket, key: string, object: CompletedObject): HttpAnswer {
  const etag = world.traits.has("empty-complete-etag") ? [tag("ETag", "")] : tagElement(world, object.etag);
  return xmlAnswer(
    "CompleteMultipartUploadResult",
    [tag("Location", `/${bucket.name}/${key}`), tag("Bucket", bucket.name), tag("Key", key), ...etag],
    { ...encryptionHeaders(object.encryption), ...checksumHeaders(object.checksum) },
  );
}

function tagElement({ traits }: S3World, etag: string): readonly string[] {
  const written = writtenTag(etag, traits);
  return written === "" ? [] : [tag("ETag", written)];
}
