import type { S3Operation } from "./s3-call.ts";

/** Does the request take effect all the same? Default: no. */
interface MayCommit {
  readonly committed?: boolean;
}

/** What goes wrong with one request; `FAULTS` says of each kind what happens and who does that. */
export type Fault =
  | { readonly kind: "lost-answer" }
  | { readonly kind: "lost-request" }
  /** Default of `afterBytes`: half of the body. */
  | { readonly kind: "reset-mid-body"; readonly afterBytes?: number }
  /** Defaults: 1000 ms (`Infinity`: only by `landLate`), "reset". */
  | { readonly kind: "late-landing"; readonly delayMs?: number; readonly answer?: "reset" | "silence" }
  | { readonly kind: "conflict" }
  | { readonly kind: "precondition-failed-though-own" }
  | { readonly kind: "slow-down"; readonly retryAfterSeconds?: number }
  | { readonly kind: "slow-down-after-commit" }
  | ({ readonly kind: "internal-error" } & MayCommit)
  | ({ readonly kind: "ok-with-error" } & MayCommit)
  | ({ readonly kind: "empty-ok" } & MayCommit)
  /** Default: 1024. Counts the head of the answer too. */
  | { readonly kind: "slow-loris"; readonly bytesPerSecond?: number }
  | ({ readonly kind: "silence" } & MayCommit)
  | { readonly kind: "truncated-answer" }
  | { readonly kind: "short-answer" }
  | { readonly kind: "missing-etag" }
  | { readonly kind: "weak-etag" }
  | { readonly kind: "empty-etag" }
  /** Defaults: 20 minutes (negative: the server is behind), true. */
  | { readonly kind: "clock-skew"; readonly offsetMs?: number; readonly refuse?: boolean }
  /** Default: 400. */
  | { readonly kind: "expired-token"; readonly status?: 400 | 403 }
  | { readonly kind: "access-denied" }
  | ({ readonly kind: "no-such-upload" } & MayCommit)
  | { readonly kind: "duplicate-delivery" }
  /** Default: a position drawn from the seed. */
  | { readonly kind: "bit-flip"; readonly position?: number }
  | { readonly kind: "delay"; readonly delayMs: number }
  | { readonly kind: "refuse" }
  | { readonly kind: "close-idle" };

export type FaultKind = Fault["kind"];

/** `docs/testing.md` holds the same table; a test compares the two. */
export interface FaultDescription {
  /** What the client, and the store behind, get to see. */
  readonly does: string;
  /** Does the request take effect? "as said": by `committed: true` (`refuse: false`), else no. */
  readonly commits: "yes" | "no" | "as said" | "later" | "twice";
  /** A real system that does it. */
  readonly seenIn: string;
  /** Only these can be struck; absent: all of them. */
  readonly operations?: readonly S3Operation[];
}

const WITH_BODY: readonly S3Operation[] = ["PutObject", "UploadPart", "CompleteMultipartUpload", "DeleteObjects"];
const MUTATING: readonly S3Operation[] = [
  "CreateBucket",
  "DeleteBucket",
  "PutObject",
  "CopyObject",
  "DeleteObject",
  "DeleteObjects",
  "CreateMultipartUpload",
  "UploadPart",
  "UploadPartCopy",
  "CompleteMultipartUpload",
  "AbortMultipartUpload",
];
/** Those whose good answer has an XML body; an empty one is no answer. */
const XML_ANSWERED: readonly S3Operation[] = [
  "ListBuckets",
  "CopyObject",
  "DeleteObjects",
  "ListObjectsV2",
  "CreateMultipartUpload",
  "UploadPartCopy",
  "ListParts",
  "ListMultipartUploads",
  "CompleteMultipartUpload",
];
const IN_UPLOAD: readonly S3Operation[] = [
  "UploadPart",
  "UploadPartCopy",
  "ListParts",
  "CompleteMultipartUpload",
  "AbortMultipartUpload",
];
const TAGGED: readonly S3Operation[] = ["PutObject", "UploadPart"];

export const FAULTS: Readonly<Record<FaultKind, FaultDescription>> = {
  "lost-answer": {
    does: "done, then the connection is reset before a byte of the answer",
    commits: "yes",
    seenIn: "any network; slatedb #1164, foundationdb #14027 and ClickHouse #118829 are about it",
  },
  "lost-request": {
    does: "the connection is reset before the server has looked at the request",
    commits: "no",
    seenIn: "any network; load balancers that lose a backend",
  },
  "reset-mid-body": {
    does: "the connection is reset after `afterBytes` bytes of the request body",
    commits: "no",
    seenIn: "gateways that restart or hit a limit during an upload",
    operations: WITH_BODY,
  },
  "late-landing": {
    does: "reset (or silence) now; done `delayMs` later, even after a HEAD said 404",
    commits: "later",
    seenIn: "Ceph RGW with a paused OSD: the client times out, the object is there afterwards",
    operations: MUTATING,
  },
  conflict: {
    does: "409 ConditionalRequestConflict: another request was under way, nothing is decided",
    commits: "no",
    seenIn: "AWS S3; CoreWeave, for two `If-None-Match: *` at once",
    operations: ["PutObject", "CompleteMultipartUpload"],
  },
  "precondition-failed-though-own": {
    does: "done, then 412 PreconditionFailed",
    commits: "yes",
    seenIn: "every proxy or SDK that repeats a conditional write after a lost answer",
    operations: ["PutObject", "CompleteMultipartUpload"],
  },
  "slow-down": {
    does: "503 SlowDown (give the rule `lastsMs` for a storm)",
    commits: "no",
    seenIn: "AWS S3 above its request rate per prefix; RustFS for concurrent UploadPart",
  },
  "slow-down-after-commit": {
    does: "done, then 503 SlowDown",
    commits: "yes",
    seenIn: "gateways that turn the timeout of their backend into 503",
  },
  "internal-error": {
    does: "500 InternalError",
    commits: "as said",
    seenIn: "AWS S3; Ceph RGW 16, for losers of a race of `If-Match`",
  },
  "ok-with-error": {
    does: "200, and an `<Error>` InternalError as the body",
    commits: "as said",
    seenIn: "AWS S3, for CompleteMultipartUpload and CopyObject, as its API reference says",
    operations: ["PutObject", "UploadPart", ...XML_ANSWERED],
  },
  "empty-ok": {
    does: "200 without a body where one belongs",
    commits: "as said",
    seenIn: "AWS S3, for CompleteMultipartUpload; its SDKs check for it",
    operations: XML_ANSWERED,
  },
  "slow-loris": {
    does: "done, the answer comes at `bytesPerSecond`",
    commits: "yes",
    seenIn: "overloaded gateways; links that drop most packets",
  },
  silence: {
    does: "the request is taken, no answer ever comes, the connection stays open",
    commits: "as said",
    seenIn: "load balancers in front of a hung server; a stopped Ceph OSD",
  },
  "truncated-answer": {
    does: "done, then half of the answer's body and a reset",
    commits: "yes",
    seenIn: "aws-sdk-js-v3 #4897; any gateway that dies while it sends",
  },
  "short-answer": {
    does: "done, then half of the body that Content-Length announced and an orderly close",
    commits: "yes",
    seenIn: "proxies whose own source broke off",
  },
  "missing-etag": {
    does: "done, no ETag in the answer",
    commits: "yes",
    seenIn: "gateways that pass on only the headers they know",
    operations: TAGGED,
  },
  "weak-etag": {
    does: 'done, `ETag: W/"…"`',
    commits: "yes",
    seenIn: "proxies that compress, such as nginx with gzip, weaken tags",
    operations: TAGGED,
  },
  "empty-etag": {
    does: 'done, `ETag: ""`',
    commits: "yes",
    seenIn: "Ceph RGW 16, for CompleteMultipartUpload",
    operations: TAGGED,
  },
  "clock-skew": {
    does: "403 RequestTimeTooSkewed, and a Date that is off by `offsetMs`; with `refuse: false` done, and only the Date is off",
    commits: "as said",
    seenIn: "AWS S3 and Ceph RGW from 15 minutes on; virtual machines after a pause",
  },
  "expired-token": {
    does: "400 (or 403) ExpiredToken, which repeats the session token",
    commits: "no",
    seenIn: "AWS S3 with STS credentials",
  },
  "access-denied": {
    does: "403 AccessDenied",
    commits: "no",
    seenIn: "AWS S3, also for a missing key where s3:ListBucket is not allowed",
  },
  "no-such-upload": {
    does: "404 NoSuchUpload",
    commits: "as said",
    seenIn: "MinIO #13318: a repeated CompleteMultipartUpload; lifecycle rules that end uploads",
    operations: IN_UPLOAD,
  },
  "duplicate-delivery": {
    does: "done twice, the second answer comes",
    commits: "twice",
    seenIn: "proxies that repeat requests: nginx `proxy_next_upstream … non_idempotent`, Envoy retry policies",
  },
  "bit-flip": {
    does: "one bit of the body of a good answer is changed",
    commits: "yes",
    seenIn: "memory without ECC, network cards that offload checksums",
    operations: ["GetObject"],
  },
  delay: {
    does: "done `delayMs` later, whether the client still waits or not",
    commits: "yes",
    seenIn: "any network, any server that collects garbage",
  },
  refuse: {
    does: "the connection is reset as soon as it is made; requests on open connections too",
    commits: "no",
    seenIn: "restarts and total outages behind a TCP load balancer",
  },
  "close-idle": {
    does: "done and answered, then the connection is closed without having said so",
    commits: "yes",
    seenIn: "idle timeouts of load balancers: AWS ALB after 60 s",
  },
};

export const FAULT_KINDS = Object.keys(FAULTS) as readonly FaultKind[];

/** Can a fault of this kind show in such a request? */
export function canStrike(kind: FaultKind, operation: S3Operation): boolean {
  return FAULTS[kind].operations?.includes(operation) ?? true;
}
