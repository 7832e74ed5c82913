import { ObjectStoreError, type Effect } from "../errors.ts";
import type { PutCondition } from "./object-store.ts";

export type S3Operation = "get" | "head" | "put" | "list" | "delete" | UploadOperation | "createMultipart";

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
}

/** What a failed request means. "absent" is what the answer says about the key, nothing about the bucket. */
export type S3Outcome =
  | { readonly kind: "absent" }
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

const REFUSED = { retryable: false, effect: "none" } as const;
const TRY_AGAIN = { retryable: true, effect: "none" } as const;
const IN_DOUBT = { retryable: true, effect: "unknown" } as const;

/** By S3's error code, before the status is looked at. */
const BY_CODE: Readonly<Record<string, Verdict>> = {
  NoSuchBucket: { ...REFUSED, advice: "the bucket does not exist: create it, or correct bucket, endpoint or region" },
  AccessDenied: {
    ...REFUSED,
    advice:
      "the credentials do not allow this; without s3:ListBucket on the bucket a missing object looks like this too, so it is needed",
  },
  InvalidAccessKeyId: { ...REFUSED, advice: "the store does not know this access key: check the credentials" },
  SignatureDoesNotMatch: { ...REFUSED, advice: "check the secret key, the region, and proxies that change requests" },
  ExpiredToken: { ...REFUSED, advice: "the session token has expired: get new credentials" },
  InvalidToken: { ...REFUSED, advice: "the session token is not valid: get new credentials" },
  AuthorizationHeaderMalformed: { ...REFUSED, advice: "check the region: it is part of the signature" },
  PermanentRedirect: { ...REFUSED, advice: "the bucket lives in another region: correct region and endpoint" },
  NotImplemented: {
    ...REFUSED,
    advice: "this store does not know this kind of request (conditional writes are needed)",
  },
  MethodNotAllowed: { ...REFUSED, advice: "this store does not allow this kind of request" },
  EntityTooLarge: { ...REFUSED, advice: "the object is larger than the store takes in one request" },
  EntityTooSmall: { ...REFUSED, advice: "a part that is not the last has less than 5 MiB" },
  InvalidPart: { ...REFUSED, advice: "the store does not hold the parts that were named" },
  InvalidPartOrder: { ...REFUSED, advice: "the parts were not named in ascending order" },
  // The SDK sets its clock by the answer, so the next attempt is signed with the right time.
  RequestTimeTooSkewed: { ...TRY_AGAIN, advice: "the clock of this machine is wrong by minutes: set it" },
  RequestTimeout: { ...IN_DOUBT, advice: "the body did not arrive in time" },
  IncompleteBody: { ...TRY_AGAIN, advice: "the body did not arrive whole" },
  BadDigest: { ...TRY_AGAIN, advice: "the body was changed on its way" },
  SlowDown: { ...IN_DOUBT, advice: "the store asks for fewer requests" },
};

/**
 * The one table that turns whatever the SDK throws into our words; nobody else looks at S3 codes, statuses or Node's network
 * errors. Messages hold status, code, request id and key, never the text of the answer: that may repeat signatures and tokens.
 * `cut`: our own deadline ended the request; an answer that came in spite of it counts all the same.
 */
export function s3Outcome(thrown: unknown, request: S3Request, cut?: { readonly timeoutMs: number }): S3Outcome {
  const answer = readAnswer(thrown);

  if (answer.status === undefined) {
    const verdict = cut === undefined ? networkVerdict(thrown) : timeoutVerdict(cut.timeoutMs);
    return failed(request, answer, verdict, networkCode(thrown));
  }
  // Ceph says NoSuchKey for an upload that was aborted. A 404 without either code is no S3 server's.
  if (UPLOAD_OPERATIONS.has(request.operation) && (answer.code === "NoSuchUpload" || answer.code === "NoSuchKey")) {
    return { kind: "no-such-upload" };
  }
  const write = request.operation === "put";
  if (answer.status === 412 && write) return { kind: "condition-failed" };
  // AWS answers 404 where others say 412: the object that the ETag belongs to is gone.
  if (answer.code === "NoSuchKey" && request.condition === "if-match") return { kind: "condition-failed" };
  if (answer.code === "NoSuchKey" && !write) return { kind: "absent" };
  // A HEAD has no body, so no code: the store asks again by GET whether key or bucket is missing.
  if (answer.status === 404 && request.operation === "head") return { kind: "absent" };
  if (answer.status === 416) return { kind: "range-not-satisfiable" };
  return failed(request, answer, BY_CODE[answer.code] ?? statusVerdict(answer.status), answer.code);
}

/** Does the request make an object visible? Of all others nothing is in doubt: they may be repeated, or have no effect on a key. */
export function makesObject(operation: S3Operation): boolean {
  return operation === "put" || operation === "completeMultipart";
}

/** The verdict on one key of a multi-delete, which is answered inside a 200. */
export function deleteError(request: S3Request, code: string, failedKeys: number): ObjectStoreError {
  const verdict = BY_CODE[code] ?? statusVerdict(/Internal|Unavailable|Timeout|Busy/.test(code) ? 503 : 400);
  const others = failedKeys > 1 ? ` and ${failedKeys - 1} more keys` : "";
  return new ObjectStoreError(`delete ${request.key}${others}: ${code}: ${verdict.advice}`, {
    operation: "delete",
    key: request.key,
    retryable: verdict.retryable,
  });
}

function statusVerdict(status: number): Verdict {
  if (status === 429 || status === 503) return { ...IN_DOUBT, advice: "the store is busy" };
  if (status === 501) return BY_CODE["NotImplemented"] as Verdict;
  if (status >= 500) return { ...IN_DOUBT, advice: "the store failed" };
  // Two conditional requests were in flight at once; neither is decided. Not a lost race.
  if (status === 409) return { ...IN_DOUBT, advice: "another request for the same object was under way" };
  if (status === 408) return { ...IN_DOUBT, advice: "the store gave up waiting" };
  if (status === 403) return BY_CODE["AccessDenied"] as Verdict;
  if (status === 401) return { ...REFUSED, advice: "check the credentials" };
  if (status === 404) return { ...REFUSED, advice: "is this an S3 endpoint? check endpoint, bucket and path style" };
  if (status >= 300 && status < 400) return BY_CODE["PermanentRedirect"] as Verdict;
  if (status >= 400)
    return { ...REFUSED, advice: "the store takes the request for malformed; check region and endpoint" };
  // A 200 whose body is no answer we know: something happened, nobody knows what.
  return { ...IN_DOUBT, advice: "the answer could not be read" };
}

function timeoutVerdict(timeoutMs: number): Verdict {
  return { ...IN_DOUBT, advice: `no answer within ${timeoutMs} ms` };
}

function networkVerdict(thrown: unknown): Verdict {
  if (nameOf(thrown) === "CredentialsProviderError") {
    return { ...REFUSED, advice: "no credentials were found: set them in the config or the environment" };
  }
  if (neverConnected(thrown)) {
    return { ...TRY_AGAIN, advice: "cannot connect: is the store up, and are endpoint and region right?" };
  }
  return { ...IN_DOUBT, advice: "the connection broke before the whole answer came" };
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

function failed(request: S3Request, answer: Answer, verdict: Verdict, code: string): S3Outcome {
  const status = answer.status === undefined ? "" : `HTTP ${answer.status} `;
  const id = answer.requestId === undefined ? "" : ` (request id ${answer.requestId})`;
  const where = code === "NoSuchBucket" ? ` (bucket ${request.bucket})` : "";
  const error = new ObjectStoreError(
    `${request.operation} ${request.key}: ${status}${code}${where}${id}: ${verdict.advice}`,
    { operation: request.operation, key: request.key, status: answer.status, retryable: verdict.retryable },
    { cause: answer.cause, effect: makesObject(request.operation) ? verdict.effect : "none" },
  );
  return { kind: "error", error };
}

interface Answer {
  /** undefined: no answer came. */
  readonly status: number | undefined;
  readonly code: string;
  readonly requestId: string | undefined;
  readonly cause: Error;
}

function readAnswer(thrown: unknown): Answer {
  const metadata = field(thrown, "$metadata");
  const status = field(metadata, "httpStatusCode");
  const requestId = field(metadata, "requestId");
  const code = nameOf(thrown);
  return {
    status: typeof status === "number" ? status : undefined,
    code,
    requestId: typeof requestId === "string" && requestId !== "" ? requestId : undefined,
    cause: withoutSecrets(thrown, code),
  };
}

/** A stand-in: the SDK's own error carries the answer, and "SignatureDoesNotMatch" repeats headers with the session token. */
function withoutSecrets(thrown: unknown, code: string): Error {
  const network = networkCode(thrown);
  const cause = new Error(network === code ? code : `${code}: ${network}`);
  cause.name = "S3Error";
  return cause;
}

function networkCode(thrown: unknown): string {
  const code = field(thrown, "code");
  return typeof code === "string" && /^[A-Z0-9_]+$/.test(code) ? code : nameOf(thrown);
}

/** S3's code for what went wrong, as in "NoSuchBucket", or the name of the SDK's error. */
export function nameOf(thrown: unknown): string {
  const name = field(thrown, "name");
  // Taken from the answer's body: only what looks like a code, however odd the server.
  return typeof name === "string" && /^[A-Za-z0-9._-]{1,64}$/.test(name) ? name : "UnknownError";
}

function field(of: unknown, name: string): unknown {
  return typeof of === "object" && of !== null ? (of as Record<string, unknown>)[name] : undefined;
}
