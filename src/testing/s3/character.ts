import { InvalidArgumentError } from "../../errors.ts";

/** One way in which a real server differs from Amazon S3. */
export const S3_TRAITS = {
  // Conditional writes.
  "ignores-conditions": "takes conditions of PUT, Complete, Copy and Delete without minding them: everybody wins",
  "races-conditions":
    "looks at a condition first and writes a moment later: concurrent writers can all win, one alone sees nothing",
  "refuses-conditions": "answers 501 NotImplemented to every write with If-Match or If-None-Match",
  "ignores-complete-conditions": "minds conditions of PutObject only, not of Complete, Copy and Delete",
  "wants-generation-match":
    "ignores If-None-Match and If-Match on writes; x-goog-if-generation-match: 0 creates if absent, another number replaces that generation; multipart takes no condition (501); requests with both x-amz- and x-goog- headers are 400 ExcessHeaderValues, so such a one is signed with GOOG4-HMAC-SHA256",
  "wants-forbid-overwrite":
    "ignores If-None-Match and If-Match on writes; x-oss-forbid-overwrite: true creates if absent, and answers 409 FileAlreadyExists",
  "fails-race-losers":
    "a PUT with If-Match that loses while others are under way gets 500 UnknownError, every second one of them, in place of 412",
  "misses-with-412": "If-Match on a missing key is 412, where Amazon says 404 NoSuchKey",
  // Entity tags.
  "bare-etags": "answers ETags without quotes, and If-Match on a write matches only without them",
  "matches-bare-etags": "answers ETags with quotes, but If-Match on a write matches only without them",
  "weak-etags": 'answers ETags as W/"…"',
  "no-etags": "answers no ETag anywhere; If-Match never matches",
  // Uploads in parts.
  "equal-parts": "all parts but the last must have the same size, and the last must not be larger (InvalidPart)",
  "forgets-uploads":
    "a second Complete of a completed upload is 404 NoSuchUpload, where Amazon repeats its first answer",
  "needs-all-parts": "Complete must name every part uploaded (InvalidPart)",
  "sorts-parts": "Complete takes the parts in any order, and sorts them",
  "empty-complete-etag": "the answer to Complete has an empty ETag",
  "fails-complete-of-aborted": "Complete of an aborted upload is 500 InternalError, and ListParts of it 404 NoSuchKey",
  "lists-uploads-by-exact-key": "the prefix of ListMultipartUploads finds only the upload whose whole key it is",
  // Bodies.
  "unchecked-bodies": "takes bodies that do not match their Content-MD5, checksum or x-amz-content-sha256",
  "unchecked-checksums": "takes bodies that do not match their x-amz-checksum-*; Content-MD5 is checked",
  "refuses-checksum-headers": "answers 501 NotImplemented to every x-amz-checksum-* header",
  "refuses-chunked-bodies": "answers 411 MissingContentLength to aws-chunked bodies (STREAMING-…)",
  "wants-checksums":
    "PutObject and UploadPart need a Content-MD5 or an x-amz-checksum-* (InvalidRequest), as in an Amazon bucket whose Object Lock has a default retention",
  "wants-content-md5": "DeleteObjects needs a Content-MD5 (InvalidRequest); a checksum does not do",
  // Reading and listing.
  "unordered-listing": "lists keys in a stable order that is not that of their bytes",
  "stale-reads":
    "for a while GET, HEAD and listings answer as before a write or delete; conditions see the newest state",
  // Encryption and signatures.
  "plain-by-default": "does not encrypt what is not asked for, where Amazon uses AES256 and says so",
  "ignores-encryption": "takes x-amz-server-side-encryption… headers, stores plainly and echoes nothing",
  "refuses-encryption": "answers 501 NotImplemented to x-amz-server-side-encryption… headers",
  "blocks-customer-keys":
    "answers 403 AccessDenied to writes with a customer's key, as new Amazon buckets do since April 2026",
  "any-region": "does not look at the region of a signature",
} as const;

export type S3Trait = keyof typeof S3_TRAITS;

/** What providers are known for, made of traits. As good as the reports they come from: a probe of the real one decides. */
export const S3_PROVIDERS = {
  aws: [],
  r2: ["equal-parts", "plain-by-default"],
  gcs: ["wants-generation-match", "plain-by-default"],
  oss: ["wants-forbid-overwrite", "plain-by-default"],
  /** Reports disagree on If-None-Match: this is the worse one. */
  oci: ["ignores-conditions", "refuses-chunked-bodies", "plain-by-default"],
  b2: ["refuses-conditions", "plain-by-default"],
  wasabi: ["ignores-conditions", "plain-by-default"],
  garage: ["ignores-conditions", "plain-by-default"],
  minio: ["forgets-uploads", "lists-uploads-by-exact-key", "plain-by-default"],
  seaweedfs: ["races-conditions", "plain-by-default"],
  rustfs: ["races-conditions", "plain-by-default"],
  digitalocean: ["matches-bare-etags", "plain-by-default"],
  /** RGW 16.2.15, measured request by request. */
  ceph: [
    "matches-bare-etags",
    "misses-with-412",
    "fails-race-losers",
    "ignores-complete-conditions",
    "needs-all-parts",
    "sorts-parts",
    "empty-complete-etag",
    "fails-complete-of-aborted",
    "unchecked-checksums",
    "refuses-chunked-bodies",
    "plain-by-default",
    "any-region",
  ],
  /** 2.30.1 with s3api, measured. */
  swift: [
    "refuses-conditions",
    "unchecked-checksums",
    "refuses-chunked-bodies",
    "wants-content-md5",
    "plain-by-default",
  ],
} as const satisfies Readonly<Record<string, readonly S3Trait[]>>;

export type S3Provider = keyof typeof S3_PROVIDERS;

/** A provider, a trait, or several of both: `"ceph"`, `"stale-reads"`, `["r2", "refuses-checksum-headers"]`. */
export type S3Character = S3Provider | S3Trait | readonly (S3Provider | S3Trait)[];

/** Of each group a server can have one. */
const EXCLUSIVE: readonly (readonly S3Trait[])[] = [
  [
    "ignores-conditions",
    "races-conditions",
    "refuses-conditions",
    "wants-generation-match",
    "wants-forbid-overwrite",
    "fails-race-losers",
  ],
  ["bare-etags", "matches-bare-etags", "weak-etags", "no-etags"],
  ["ignores-encryption", "refuses-encryption"],
];

/** Throws `InvalidArgumentError` for a name that is neither, and for traits that exclude each other. */
export function s3Traits(character: S3Character): ReadonlySet<S3Trait> {
  const names: readonly string[] = typeof character === "string" ? [character] : character;
  const traits = new Set<S3Trait>(names.flatMap(traitsOf));
  for (const group of EXCLUSIVE) {
    const both = group.filter((trait) => traits.has(trait));
    if (both.length > 1) {
      throw new InvalidArgumentError("character", character, `${both.join(" and ")} exclude each other: choose one`);
    }
  }
  return traits;
}

function traitsOf(name: string): readonly S3Trait[] {
  if (Object.hasOwn(S3_TRAITS, name)) return [name as S3Trait];
  if (Object.hasOwn(S3_PROVIDERS, name)) return S3_PROVIDERS[name as S3Provider];
  const known = [...Object.keys(S3_PROVIDERS), ...Object.keys(S3_TRAITS)].join(", ");
  throw new InvalidArgumentError("character", name, `"${name}" is no provider or trait; known are ${known}`);
}
