import type { HttpRequest } from "./http-exchange.ts";

export type S3Operation =
  | "ListBuckets"
  | "CreateBucket"
  | "HeadBucket"
  | "DeleteBucket"
  | "PutObject"
  | "CopyObject"
  | "GetObject"
  | "HeadObject"
  | "DeleteObject"
  | "DeleteObjects"
  | "ListObjectsV2"
  | "CreateMultipartUpload"
  | "UploadPart"
  | "UploadPartCopy"
  | "ListParts"
  | "ListMultipartUploads"
  | "CompleteMultipartUpload"
  | "AbortMultipartUpload"
  | "Unknown";

/**
 * In a query these make a request for something else than the object or the bucket: without the list a `PUT /bucket/key?tagging`
 * would be taken for a PutObject, and overwrite the object with its tags.
 */
const OTHER_RESOURCES = [
  "accelerate",
  "acl",
  "analytics",
  "attributes",
  "cors",
  "encryption",
  "intelligent-tiering",
  "inventory",
  "legal-hold",
  "lifecycle",
  "location",
  "logging",
  "metrics",
  "notification",
  "object-lock",
  "ownershipControls",
  "policy",
  "policyStatus",
  "publicAccessBlock",
  "replication",
  "requestPayment",
  "restore",
  "retention",
  "select",
  "session",
  "tagging",
  "torrent",
  "versionId",
  "versioning",
  "versions",
  "website",
];

/** What a request asks for, in S3's words. */
export interface S3Call {
  readonly operation: S3Operation;
  /** "" where the request names none. */
  readonly bucket: string;
  /** Unescaped; "" where the request names none. */
  readonly key: string;
  readonly query: URLSearchParams;
}

/** Reads a path-style request (`/bucket/key?…`); the API reference of Amazon S3 says which query means which operation. */
export function readS3Call({ method, url, headers }: HttpRequest): S3Call {
  const path = pathOf(url);
  const query = new URLSearchParams(url.slice(path.length + 1));
  const [, bucket = "", key = ""] = /^\/([^/]*)\/?(.*)$/s.exec(path) ?? [];
  const copies = headers["x-amz-copy-source"] !== undefined;
  const place = { bucket: unescaped(bucket), key: unescaped(key), query };
  if (place.bucket === "") return { operation: method === "GET" ? "ListBuckets" : "Unknown", ...place };
  if (OTHER_RESOURCES.some((name) => query.has(name))) return { operation: "Unknown", ...place };
  const operation = place.key === "" ? bucketOperation(method, query) : objectOperation(method, query, copies);
  return { operation, ...place };
}

function bucketOperation(method: string, query: URLSearchParams): S3Operation {
  if (method === "POST") return query.has("delete") ? "DeleteObjects" : "Unknown";
  if (method === "GET" && query.has("uploads")) return "ListMultipartUploads";
  if (method === "GET") return query.get("list-type") === "2" ? "ListObjectsV2" : "Unknown";
  if (method === "PUT") return "CreateBucket";
  if (method === "HEAD") return "HeadBucket";
  return method === "DELETE" ? "DeleteBucket" : "Unknown";
}

function objectOperation(method: string, query: URLSearchParams, copies: boolean): S3Operation {
  const inUpload = query.has("uploadId");
  switch (method) {
    case "PUT":
      if (inUpload) return copies ? "UploadPartCopy" : "UploadPart";
      return copies ? "CopyObject" : "PutObject";
    case "POST":
      if (query.has("uploads")) return "CreateMultipartUpload";
      return inUpload ? "CompleteMultipartUpload" : "Unknown";
    case "GET":
      return inUpload ? "ListParts" : "GetObject";
    case "HEAD":
      return "HeadObject";
    case "DELETE":
      return inUpload ? "AbortMultipartUpload" : "DeleteObject";
    default:
      return "Unknown";
  }
}

/** The path of `HttpRequest.url`, still escaped. */
export function pathOf(url: string): string {
  return url.split("?", 1)[0] ?? "";
}

/** As it stands where it is not well escaped. */
function unescaped(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
