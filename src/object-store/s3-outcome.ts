import { ObjectStoreError, type Effect } from "../errors.ts";
import type { PutCondition } from "./object-store.ts";
import { readAnswer, type S3Answer } from "./s3-answer.ts";
import type { S3Encryption } from "./s3-encryption.ts";

export type S3Operation =
  | "get"
  | "head"
  | "put"
  | "list"
  | "delete"
  | UploadOperation
  | "createMultipart"
  | BucketOperation;

/** Requests about the bucket itself. */
type BucketOperation = "createBucket";

/** Requests that name an upload. */
type UploadOperation = "uploadPart" | "listParts" | "completeMultipart" | "abortMultipart";

const UPLOAD_OPERATIONS: ReadonlySet<S3Operation> = new Set<UploadOperation>([
  "uploadPart",
  "listParts",
  "completeMultipart",
  "abortMultipart",
]);

export interface S3Request {
  readonly operation: S3Operation;
  readonly key: string;
  readonly bucket: string;
  readonly condition?: PutCondition["kind"];
  /** What was asked for with it, if anything. */
  readonly encryption?: S3Encryption["kind"] | undefined;
}

/**
 * What a failed request means. "absent" is what the answer says about the key, nothing about the bucket. "unexplained": a HEAD was
 * refused, and having no body it cannot say why (a missing key, a missing bucket, a wrong clock …); a GET can.
 */
export type S3Outcome =
  | { readonly kind: "absent" }
  | { readonly kind: "unexplained" }
  | { readonly kind: "no-such-upload" }
  | { readonly kind: "condition-failed" }
  | { readonly kind: "range-not-satisfiable" }
  | { readonly kind: "error"; readonly error: ObjectStoreError };

interface Verdict {
  readonly retryable: boolean;
  /** Of a write. */
  readonly effect: Effect;
  readonly advice: string;
}

/** The store looked at the request and did not do it; it will not the next time either. */
const REFUSED = { retryable: false, effect: "none" } as const;
/** It did not do it, and may the next time. */
const TRY_AGAIN = { retryable: true, effect: "none" } as const;
/** Nobody knows whether it did it. */
const IN_DOUBT = { retryable: true, effect: "unknown" } as const;
/** Nobody knows, and the next time will not be different. */
const DEAD_END = { retryable: false, effect: "unknown" } as const;

const BROKE_OFF: Verdict = { ...IN_DOUBT, advice: "the connection broke before the whole answer came" };

/** Of Alibaba: the object that was to be created exists. */
export const OSS_EXISTS = "FileAlreadyExists";

const SETTING = "system.storage.object";
const ACCESS = "the credentials do not allow this";

/**
 * Of a store that does not know the credentials, or not any more; of the last three some say it of a temporary key whose time is over,
 * or whose owner wrote another one into the file that it came from.
 */
const CREDENTIALS_REFUSED: ReadonlySet<string> = new Set([
  "ExpiredToken",
  "ExpiredTokenException",
  "TokenRefreshRequired",
  "InvalidToken",
  "InvalidTokenId",
  "InvalidAccessKeyId",
]);

/** What becomes of credentials that were refused. */
export interface CredentialsRenewal {
  readonly source: string;
  /** false: they cannot be renewed, or were a moment ago. */
  readonly comes: boolean;
}

/** By S3's error code, before the status is looked at. */
const BY_CODE: Readonly<Record<string, Verdict>> = {
  NoSuchBucket: { ...REFUSED, advice: "the bucket does not exist: create it, or correct bucket, endpoint or region" },
  BucketAlreadyExists: { ...REFUSED, advice: "somebody else has a bucket of this name: take another" },
  NoSuchKey: { ...REFUSED, advice: "there is no such object" },
  NoSuchUpload: { ...REFUSED, advice: "there is no such upload" },
  InvalidAccessKeyId: { ...REFUSED, advice: "the store does not know this access key: check the credentials" },
  SignatureDoesNotMatch: { ...REFUSED, advice: "check the secret key, the region, and proxies that change requests" },
  ExpiredToken: { ...REFUSED, advice: "the session token has expired: get new credentials" },
  ExpiredTokenException: { ...REFUSED, advice: "the session token has expired: get new credentials" },
  TokenRefreshRequired: { ...REFUSED, advice: "the session token has expired: get new credentials" },
  InvalidToken: { ...REFUSED, advice: "the session token is not valid: get new credentials" },
  InvalidTokenId: { ...REFUSED, advice: "the session token is not valid: get new credentials" },
  QuotaExceeded: { ...REFUSED, advice: "the quota of the bucket or its user is used up" },
  InvalidObjectState: {
    ...REFUSED,
    advice: "the object lies in an archive: restore it, and take the lifecycle rule away",
  },
  MethodNotAllowed: { ...REFUSED, advice: "this store does not allow this kind of request" },
  EntityTooLarge: { ...REFUSED, advice: "the object is larger than the store takes in one request" },
  EntityTooSmall: { ...REFUSED, advice: "a part that is not the last has less than 5 MiB" },
  InvalidPart: { ...REFUSED, advice: "the store does not hold the parts that were named" },
  InvalidPartOrder: { ...REFUSED, advice: "the parts were not named in ascending order" },
  // The client's clock is set by the answer, so the next attempt is signed with the right time.
  RequestTimeTooSkewed: { ...TRY_AGAIN, advice: "the clock of this machine is wrong by minutes: set it" },
  RequestTimeout: { ...IN_DOUBT, advice: "the body did not arrive in time" },
  IncompleteBody: { ...TRY_AGAIN, advice: "the body did not arrive whole" },
  BadDigest: { ...TRY_AGAIN, advice: "the body was changed on its way" },
  XAmzContentSHA256Mismatch: { ...TRY_AGAIN, advice: "the body was changed on its way" },
  XAmzContentChecksumMismatch: { ...TRY_AGAIN, advice: "the body was changed on its way" },
  SlowDown: { ...IN_DOUBT, advice: "the store asks for fewer requests" },
};

/**
 * The one table that turns whatever the SDK throws into our words; nobody else looks at S3 codes, statuses or Node's network
 * errors. What is not in it is in doubt: never success, never "absent". Messages hold status, code, request id, key and region,
 * never the text of the answer: that may repeat signatures and tokens. `cut`: our own deadline ended the request; an answer that
 * came in spite of it counts all the same. `renewal`: where `refusesCredentials`.
 */
export function s3Outcome(
  thrown: unknown,
  request: S3Request,
  cut?: { readonly timeoutMs: number },
  renewal?: CredentialsRenewal,
): S3Outcome {
  const answer = readAnswer(thrown);
  const { status, code } = answer;

  if (status === undefined) {
    return failed(request, answer, cut === undefined ? networkVerdict(thrown, answer) : timeoutVerdict(cut.timeoutMs));
  }
  // Ceph says NoSuchKey for an upload that was aborted. A 404 without either code is no S3 server's.
  if (UPLOAD_OPERATIONS.has(request.operation) && (code === "NoSuchUpload" || code === "NoSuchKey")) {
    return { kind: "no-such-upload" };
  }
  if (isConditional(request)) {
    // Alibaba answers its own header with 409, which elsewhere leaves the race open.
    if (status === 412 || code === OSS_EXISTS) return { kind: "condition-failed" };
    // AWS answers 404 where others say 412: the object that the ETag belongs to is gone.
    if (code === "NoSuchKey" && request.condition === "if-match") return { kind: "condition-failed" };
  }
  if (code === "NoSuchKey" && request.operation !== "put") return { kind: "absent" };
  if (code === undefined && request.operation === "head" && status >= 300 && status < 500 && status !== 429) {
    return { kind: "unexplained" };
  }
  if (status === 416 && request.operation === "get") return { kind: "range-not-satisfiable" };
  // What it was for stood in the rest. Taken for a proxy's page it would be the last word on an object that is only missing.
  if (answer.brokeOff && code === undefined) return failed(request, answer, BROKE_OFF);
  const verdict = code === undefined ? undefined : BY_CODE[code];
  const known = verdict ?? statusVerdict(status, request, answer);
  // A code that we know says enough, but that Ceph calls an unknown KMS key InvalidAccessKeyId.
  const more = verdict === undefined || request.encryption === "sse-kms" ? encryptionAdvice(status, request) : [];
  const advice = [known.advice, ...more].join("; or ");
  return failed(request, answer, renewed({ ...known, advice }, renewal));
}

/** Does the store refuse the credentials themselves, in a way that others may mend? */
export function refusesCredentials(thrown: unknown): boolean {
  const { code } = readAnswer(thrown);
  return code !== undefined && CREDENTIALS_REFUSED.has(code);
}

function renewed(verdict: Verdict, renewal: CredentialsRenewal | undefined): Verdict {
  if (renewal === undefined) return verdict;
  const { source, comes } = renewal;
  return comes
    ? { ...TRY_AGAIN, advice: `${verdict.advice}, which come from ${source}` }
    : { ...verdict, advice: `${verdict.advice}; these came from ${source}` };
}

/** Does the request make an object visible? Of all others nothing is in doubt: they may be repeated, or have no effect on a key. */
export function makesObject(operation: S3Operation): boolean {
  return operation === "put" || operation === "completeMultipart";
}

/** The verdict on one key of a multi-delete, which is answered inside a 200. */
export function deleteError(request: S3Request, code: string, failedKeys: readonly string[]): ObjectStoreError {
  const status = /Internal|Unavailable|Timeout|Busy/.test(code) ? 503 : code === "AccessDenied" ? 403 : 400;
  const answer = { code, region: undefined, aboutChecksum: false, wantsChecksum: false };
  const verdict = BY_CODE[code] ?? statusVerdict(status, request, answer);
  const others = failedKeys.length > 1 ? ` and ${failedKeys.length - 1} more keys` : "";
  return new ObjectStoreError(`delete ${request.key}${others}: ${code}: ${verdict.advice}`, {
    operation: "delete",
    key: request.key,
    retryable: verdict.retryable,
    failedKeys,
  });
}

function isConditional({ operation, condition }: S3Request): boolean {
  return operation === "put" && condition !== undefined && condition !== "none";
}

function statusVerdict(
  status: number,
  request: S3Request,
  { code, region, aboutChecksum, wantsChecksum }: Pick<S3Answer, "code" | "region" | "aboutChecksum" | "wantsChecksum">,
): Verdict {
  if (status === 400 && wantsChecksum && (request.operation === "put" || request.operation === "uploadPart")) {
    return {
      ...REFUSED,
      advice: `this bucket wants a checksum with every object, as Object Lock with a default retention does: set ${SETTING}.payload_signing to "unsigned"`,
    };
  }
  if ((status === 400 || status === 501) && aboutChecksum && request.operation !== "delete") {
    return { ...REFUSED, advice: `this store takes no checksum headers: set ${SETTING}.payload_signing to "signed"` };
  }
  // Of KMS, behind the store.
  if (code !== undefined && /Throttl/.test(code)) return { ...IN_DOUBT, advice: "the store is busy" };
  if (status === 429 || status === 503) return { ...IN_DOUBT, advice: "the store is busy" };
  if (status === 501) {
    return { ...REFUSED, advice: "this store does not know this kind of request (conditional writes are needed)" };
  }
  if (status >= 500) return { ...IN_DOUBT, advice: "the store failed" };
  // Two conditional requests were in flight at once; neither is decided. Not a lost race.
  if (status === 409) return { ...IN_DOUBT, advice: "another request for the same object was under way" };
  // A completion sets no condition: something on the way repeated the request with one, and the first won.
  if (status === 412 && request.operation === "completeMultipart") {
    return { ...IN_DOUBT, advice: "a condition did not hold, though none was set" };
  }
  // Whoever asks for this is a proxy, and passed nothing on.
  if (status === 407) return PROXY_LOGIN;
  if (status === 408) return { ...IN_DOUBT, advice: "the store gave up waiting" };
  // A 200 whose body is no answer we know: something happened, nobody knows what.
  if (status < 300) return { ...IN_DOUBT, advice: "the answer could not be read" };

  // AWS names the region in other answers as well.
  if (region !== undefined && (status < 400 || code === "AuthorizationHeaderMalformed")) {
    return {
      ...REFUSED,
      advice: `the bucket lives in region "${region}": set ${SETTING}.region, and endpoint if it names one`,
    };
  }
  // Without a code of S3 it may come from anybody on the way, before or after the store did what was asked.
  const refused = code === undefined ? DEAD_END : REFUSED;
  if (status < 400) {
    return {
      ...refused,
      advice: `the bucket lives in another region, or a proxy answered: check ${SETTING}.region and endpoint`,
    };
  }
  switch (status) {
    case 401:
      return { ...refused, advice: "check the credentials" };
    case 403:
      return { ...refused, advice: accessAdvice(request) };
    case 404:
      return { ...refused, advice: "is this an S3 endpoint? check endpoint, bucket and path style" };
    case 412:
      return { ...refused, advice: "a condition failed that was not asked for: look at the policy of the bucket" };
    default:
      return { ...refused, advice: "the store takes the request for malformed; check region and endpoint" };
  }
}

/** S3 hides from those who may not list a bucket which keys it holds. So a 403 says nothing about the object, least of all "absent". */
function accessAdvice({ operation }: S3Request): string {
  if (operation !== "get" && operation !== "head") return ACCESS;
  return `${ACCESS}; or the object is absent, and s3:ListBucket missing: without that permission on the bucket S3 does not say which`;
}

const ENCRYPTION = `${SETTING}.encryption`;

/** What else it may be. Stores have no code of their own for keys that are missing, wrong or forbidden: AWS, Ceph and others differ. */
function encryptionAdvice(status: number, { operation, encryption }: S3Request): readonly string[] {
  const reads = operation === "get" || operation === "head";
  const makes = operation === "put" || operation === "createMultipart";
  if (encryption === undefined) {
    return status === 400 && reads ? [`the object needs a customer's key: see ${ENCRYPTION}.mode`] : [];
  }
  if (makes && status === 501) return [`it cannot encrypt as ${ENCRYPTION}.mode asks`];
  if (status !== 400 && status !== 403) return [];
  if (encryption === "sse-kms" && (reads || makes)) {
    return [
      `${ENCRYPTION}.kms_key_id names a key that does not exist in this region, is disabled, or that these credentials may not use (kms:GenerateDataKey, kms:Decrypt)`,
    ];
  }
  if (encryption !== "sse-c") return [];
  if (reads)
    return [`the object was not stored with the key that ${ENCRYPTION} names: a store keeps the key it began with`];
  if (!makes) return [];
  return [
    "the bucket takes no customer's key: AWS blocks SSE-C on buckets made since April 2026 until it is allowed there",
  ];
}

function timeoutVerdict(timeoutMs: number): Verdict {
  return { ...IN_DOUBT, advice: `no answer within ${timeoutMs} ms` };
}

/** Ends of a TLS handshake, by OpenSSL's and Node's codes: nothing was sent, and nothing changes by itself. */
const UNTRUSTED = {
  ...REFUSED,
  advice: `the certificate is signed by nobody that is trusted: name the file of the authority in ${SETTING}.tls_ca_file`,
};
const WRONG_TIME = {
  ...REFUSED,
  advice: "the certificate is not valid now: renew it, or set the clock of this machine",
};
const BY_TLS_CODE: Readonly<Record<string, Verdict>> = {
  DEPTH_ZERO_SELF_SIGNED_CERT: UNTRUSTED,
  SELF_SIGNED_CERT_IN_CHAIN: UNTRUSTED,
  UNABLE_TO_GET_ISSUER_CERT: UNTRUSTED,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: UNTRUSTED,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: UNTRUSTED,
  CERT_UNTRUSTED: UNTRUSTED,
  CERT_HAS_EXPIRED: WRONG_TIME,
  CERT_NOT_YET_VALID: WRONG_TIME,
  CERT_REVOKED: { ...REFUSED, advice: "the certificate was revoked" },
  ERR_TLS_CERT_ALTNAME_INVALID: {
    ...REFUSED,
    advice: `the certificate is for another name: write that name in ${SETTING}.endpoint; a bucket with dots in its name needs ${SETTING}.force_path_style = true`,
  },
};

/** Alerts and errors that there are only before a handshake is over, by OpenSSL's words: in codes of Node, or in the text of an EPROTO. */
const HANDSHAKE: readonly (readonly [pattern: RegExp, advice: string])[] = [
  [/wrong version number/, `the server does not speak TLS on this port: is ${SETTING}.endpoint an http:// one?`],
  [/protocol version|unsupported protocol/, "the server speaks no TLS of version 1.2 or newer: it has to"],
  [
    /handshake failure/,
    `the server does not want to speak TLS with this client: does it ask for a certificate (${SETTING}.tls_cert_file)?`,
  ],
  [
    /alert (certificate required|bad certificate|unknown ca|certificate unknown|certificate expired|certificate revoked|access denied)/,
    `the server wants a certificate of the client, or another one: set ${SETTING}.tls_cert_file and tls_key_file`,
  ],
];

function handshakeVerdict(network: string, thrown: unknown): Verdict | undefined {
  if (network !== "EPROTO" && !network.startsWith("ERR_SSL_")) return undefined;
  const text = network === "EPROTO" ? String(thrown) : network.replaceAll("_", " ").toLowerCase();
  const advice = HANDSHAKE.find(([pattern]) => pattern.test(text))?.[1];
  return advice === undefined ? undefined : { ...REFUSED, advice };
}

const PROXY_LOGIN: Verdict = {
  ...REFUSED,
  advice: "the proxy wants other credentials: they belong into its address in HTTPS_PROXY or HTTP_PROXY",
};

const PROXY_CERTIFICATE: Verdict = {
  ...REFUSED,
  advice: "the certificate of the proxy is not one to trust: name the file of its authority in NODE_EXTRA_CA_CERTS",
};

/** By the status with which a proxy refused a tunnel: nothing was sent. */
function tunnelVerdict(status: number): Verdict {
  if (status === 407) return PROXY_LOGIN;
  if (status === 408 || status === 429 || status >= 500) {
    return { ...TRY_AGAIN, advice: "the proxy cannot reach the store" };
  }
  return { ...REFUSED, advice: "the proxy does not let anybody reach the store: ask its owner, or set NO_PROXY" };
}

function networkVerdict(thrown: unknown, { network }: S3Answer): Verdict {
  if (network === "CredentialsProviderError") {
    return { ...REFUSED, advice: "no credentials were found: set them in the config or the environment" };
  }
  const tls = BY_TLS_CODE[network];
  // A handshake with the store comes after connecting; one with a proxy is a part of that.
  if (tls !== undefined) return neverConnected(thrown) ? PROXY_CERTIFICATE : tls;
  const proxy = /^PROXY_HTTP_(\d+)$/.exec(network);
  if (proxy !== null) return tunnelVerdict(Number(proxy[1]));
  const handshake = handshakeVerdict(network, thrown);
  if (handshake !== undefined) return handshake;
  if (neverConnected(thrown)) {
    return { ...TRY_AGAIN, advice: "cannot connect: is the store up, and are endpoint and region right?" };
  }
  return BROKE_OFF;
}

/** Nothing was sent. Only where that is sure: "none" lets the caller send other bytes. */
function neverConnected(thrown: unknown): boolean {
  if (thrown instanceof AggregateError) return thrown.errors.length > 0 && thrown.errors.every(neverConnected);
  if (!(thrown instanceof Error)) return false;
  // By system call, not by code: ECONNRESET, EHOSTUNREACH and ETIMEDOUT can hit a connection in use as well.
  const { syscall } = thrown as NodeJS.ErrnoException;
  if (syscall === "connect" || syscall === "getaddrinfo") return true;
  // The SDK's connection timeout has a name and a text, no code. Should the text change, "unknown" is the safe answer.
  return thrown.name === "TimeoutError" && thrown.message.includes("did not establish a connection");
}

function failed(request: S3Request, answer: S3Answer, verdict: Verdict): S3Outcome {
  const { status, code = "no S3 error code" } = answer;
  const what = status === undefined ? answer.network : `HTTP ${status} ${code}`;
  const id = answer.requestId === undefined ? "" : ` (request id ${answer.requestId})`;
  const where = code === "NoSuchBucket" ? ` (bucket ${request.bucket})` : "";
  // A listing of everything has an empty key.
  const subject = `${request.operation} ${request.key}`.trimEnd();
  const error = new ObjectStoreError(
    `${subject}: ${what}${where}${id}: ${verdict.advice}`,
    { operation: request.operation, key: request.key, status, retryable: verdict.retryable },
    { cause: answer.cause, effect: makesObject(request.operation) ? verdict.effect : "none" },
  );
  return { kind: "error", error };
}
