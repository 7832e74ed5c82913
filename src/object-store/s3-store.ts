import {
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  type GetObjectCommandOutput,
  type S3Client,
} from "@aws-sdk/client-s3";

import type { ETag, ObjectKey } from "../domain.ts";
import { AbortedError, ClosedError, InvalidArgumentError, ObjectStoreError, isTierlogError } from "../errors.ts";
import type { Clock } from "../runtime/clock.ts";
import { Semaphore } from "../runtime/mutex.ts";
import { startAttempt, untilAborted } from "./attempt.ts";
import { checkRange, resolveRange } from "./byte-range.ts";
import { bareETag, checkCondition, quotedETag } from "./etag.ts";
import { KEY_BYTES_MAX, checkKey, compareKeys } from "./object-key.ts";
import { isDataName } from "./object-names.ts";
import type {
  ByteRange,
  GetOptions,
  ListOptions,
  ObjectInfo,
  ObjectStore,
  PutCondition,
  StoredObject,
} from "./object-store.ts";
import { collectBody } from "./s3-body.ts";
import { createS3Client, type S3ClientSettings } from "./s3-client.ts";
import { fixedCredentials, isProvider, type S3Credentials } from "./s3-credentials.ts";
import { createS3Multipart, type RequestOutcome } from "./s3-multipart.ts";
import { deleteError, makesObject, refusesCredentials, s3Outcome, type S3Request } from "./s3-outcome.ts";
import { crc32cHeader, payloadPolicy, type PayloadSettings } from "./s3-payload.ts";
import { PutRehearsal } from "./s3-put-shape.ts";
import { S3Puts } from "./s3-puts.ts";

export interface S3StoreSettings extends S3ClientSettings, PayloadSettings {
  readonly bucket: string;
  /** Put before every key, with a slash between; may be empty. Keys that the store gives out do not have it. */
  readonly prefix: string;
  /** Ceph RGW and its relatives compare If-Match with the quotes on and so never match; for those "bare". */
  readonly ifMatchEtag: "quoted" | "bare";
}

/**
 * Sockets of all that is no data object, on top of `maxSockets`. Index files are what appends wait for: behind 64 parts of 8 MiB on a
 * slow line, one would wait for a socket past its deadline.
 */
const CHAIN_SOCKETS = 32;

/** S3's limit for one multi-delete. */
const DELETE_KEYS_MAX = 1000;

/**
 * An S3 bucket as an object store: ONE attempt per call, no retries in the SDK. A repeated conditional write loses against
 * itself and answers 412; only the settling wrapper, which reads back, may repeat.
 *
 * A 2xx without the marks of S3's answer (an ETag, the fields of a listing) is a proxy's page, or nobody knows what: a retryable
 * error, of effect "unknown" for a put. To SDK and HTTP it looks like a put that was written, a listing without keys.
 *
 * A get whose body breaks off is an error, never short data, and is repeated whole by the settling wrapper; it does not go on behind
 * what came. All of it then is one answer, of one version of the object, and nothing of what was cut is used. That costs less than
 * it saves: the engine asks for at most one part, some MiB, at a time.
 *
 * What one call may cost beyond one request: a head that is refused, 404 included, a GET of one byte (HEAD says what, not why), and
 * a second of the whole object where that byte is not there; a ranged get past the end a head, for the size.
 */
export function createS3Store(settings: S3StoreSettings, runtime: { readonly clock: Clock }): ObjectStore {
  const { bucket, requestTimeoutMs } = settings;
  const keyPrefix = settings.prefix === "" ? "" : `${settings.prefix}/`;
  const keyBytesMax = KEY_BYTES_MAX - Buffer.byteLength(keyPrefix, "utf8");
  if (keyBytesMax < 1) throw new InvalidArgumentError("prefix", settings.prefix, "leaves no room for a key");
  const goesUnsigned = payloadPolicy(settings);
  const credentials = isProvider(settings.credentials) ? settings.credentials : fixedCredentials(settings.credentials);
  const bulk = createS3Client({ ...settings, credentials });
  const chain = createS3Client({ ...settings, credentials, maxSockets: CHAIN_SOCKETS });
  let rehearsal: PutRehearsal | undefined;
  const rehearse = (): PutRehearsal => (rehearsal ??= new PutRehearsal(settings));
  const bulkPuts = new S3Puts(bulk, rehearse);
  const chainPuts = new S3Puts(chain, rehearse);
  const putsFor = (name: string): S3Puts => (isDataName(name) ? bulkPuts : chainPuts);
  const clientFor = (name: string): S3Client => (isDataName(name) ? bulk : chain);
  // Not in the queue of the SDK's agent: there the time to connect runs, and a slow store looks like one that is down.
  const bulkSockets = new Semaphore(settings.maxSockets);
  const chainSockets = new Semaphore(CHAIN_SOCKETS);
  let closed = false;

  /** Sends one request under one deadline; `read` still runs under it. Resolves to the outcome where that is not an error. */
  async function request<T>(
    what: S3Request,
    callerSignal: AbortSignal | undefined,
    send: (signal: AbortSignal, signedWith: S3Credentials) => Promise<T>,
  ): Promise<RequestOutcome<T>> {
    if (closed) throw new ClosedError("object store");
    if (isAborted(callerSignal)) throw new AbortedError(what.operation, { cause: callerSignal?.reason });
    const asked: S3Request = { ...what, encryption: settings.encryption?.kind };
    const attempt = startAttempt(runtime.clock, requestTimeoutMs, callerSignal);
    const { signal } = attempt;
    let signedWith: S3Credentials | undefined;
    try {
      // Not left to the SDK: what fails or ends here was not sent, whatever the request.
      const got = await untilAborted(credentials.get(), signal);
      signedWith = got;
      const sockets = isDataName(what.key) ? bulkSockets : chainSockets;
      const waits = sockets.isFull;
      const sent = sockets.run(async () => {
        signal.throwIfAborted();
        // Again: they may have been renewed while this waited for its socket.
        const current = waits ? await untilAborted(credentials.get(), signal) : got;
        signedWith = current;
        return untilAborted(send(signal, current), signal);
      });
      const value = await (waits ? untilAborted(sent, signal) : sent);
      credentials.accepted(signedWith);
      return { kind: "ok", value };
    } catch (error) {
      // Whatever went wrong: a body that was not read to its end would keep its socket.
      const timedOut = attempt.timedOut();
      attempt.cancel();
      if (isTierlogError(error)) throw error;
      if (signedWith === undefined) throw withoutCredentials(what, credentials.source, timedOut, callerSignal);
      const renewal = refusesCredentials(error)
        ? { source: credentials.source, comes: credentials.refused(signedWith) }
        : undefined;
      const outcome = s3Outcome(error, asked, timedOut ? { timeoutMs: requestTimeoutMs } : undefined, renewal);
      if (outcome.kind !== "error") return outcome;
      // An answer that came all the same says more than "aborted".
      if (isAborted(callerSignal) && outcome.error.status === undefined) {
        const effect = makesObject(what.operation) ? "unknown" : "none";
        throw new AbortedError(`${what.operation} ${what.key}`, { cause: callerSignal?.reason, effect });
      }
      throw outcome.error;
    } finally {
      attempt.end();
    }
  }

  /** One GET. */
  function fetch(
    what: S3Request,
    key: ObjectKey,
    { range, signal, into }: GetOptions,
  ): Promise<RequestOutcome<StoredObject>> {
    return request(what, signal, async (attemptSignal) => {
      const input = { Bucket: bucket, Key: keyPrefix + key };
      const command = new GetObjectCommand(range === undefined ? input : { ...input, Range: rangeHeader(range) });
      const answer = await clientFor(key).send(command, { abortSignal: attemptSignal });
      return readObject(what, range, answer, attemptSignal, into);
    });
  }

  async function get(key: ObjectKey, options: GetOptions): Promise<StoredObject | undefined> {
    const { range, signal } = options;
    const what: S3Request = { operation: "get", key, bucket };
    // HTTP has no way to ask for nothing.
    if (range !== undefined && isEmpty(range)) return nothingOf(await head(key, signal));
    const outcome = await fetch(what, key, options);
    if (outcome.kind === "ok") return outcome.value;
    if (outcome.kind === "absent") return undefined;
    if (outcome.kind === "range-not-satisfiable" && range !== undefined) {
      return pastTheEnd(what, range, await head(key, signal));
    }
    throw unreadable(what, `the store answered a get with "${outcome.kind}"`);
  }

  async function head(key: ObjectKey, signal: AbortSignal | undefined): Promise<ObjectInfo | undefined> {
    const what: S3Request = { operation: "head", key, bucket };
    const outcome = await request(what, signal, (attemptSignal) =>
      clientFor(key).send(new HeadObjectCommand({ Bucket: bucket, Key: keyPrefix + key }), {
        abortSignal: attemptSignal,
      }),
    );
    if (outcome.kind === "ok") {
      const { ETag, LastModified, ContentLength } = outcome.value;
      checkMarks(what, ETag ?? LastModified);
      return { key, sizeBytes: sizeOf(what, ContentLength), etag: bareETag(ETag) };
    }
    const asked: S3Request = { operation: "get", key, bucket };
    const abortable = signal === undefined ? {} : { signal };
    let got = await fetch(asked, key, { range: { start: 0, end: 1 }, ...abortable });
    // Empty, though HEAD said that it is not there. Some servers cannot make up their minds; not with `get`, which asks us.
    if (got.kind === "range-not-satisfiable") got = await fetch(asked, key, abortable);
    if (got.kind === "ok") return { key, sizeBytes: got.value.sizeBytes, etag: got.value.etag };
    if (got.kind === "absent") return undefined;
    throw unreadable(asked, `the store answered a get with "${got.kind}"`);
  }

  async function* list(prefix: string, options?: ListOptions): AsyncGenerator<ObjectInfo> {
    const what: S3Request = { operation: "list", key: prefix, bucket };
    let token: string | undefined;
    let last: string | undefined = options?.startAfter;
    do {
      const input = {
        Bucket: bucket,
        Prefix: keyPrefix + prefix,
        ...(options?.startAfter === undefined ? {} : { StartAfter: keyPrefix + options.startAfter }),
        ...(token === undefined ? {} : { ContinuationToken: token }),
      };
      const outcome = await request(what, options?.signal, (attemptSignal) => {
        options?.onRequest?.();
        return clientFor(prefix).send(new ListObjectsV2Command(input), { abortSignal: attemptSignal });
      });
      if (outcome.kind !== "ok") throw unreadable(what, `the store answered a listing with "${outcome.kind}"`);
      const page = outcome.value;
      const { Name, Prefix, MaxKeys, KeyCount, IsTruncated } = page;
      checkMarks(what, page.Contents ?? Name ?? Prefix ?? MaxKeys ?? KeyCount ?? IsTruncated);
      for (const { Key, Size, ETag, LastModified } of page.Contents ?? []) {
        const key = Key?.startsWith(keyPrefix + prefix) === true ? Key.slice(keyPrefix.length) : undefined;
        if (key === undefined) throw unreadable(what, "the store listed a key outside the prefix");
        // S3 Express and some copies list in no order. "Newest" and "startAfter" mean nothing there.
        if (last !== undefined && compareKeys(key, last) <= 0) {
          throw unreadable(what, "the store does not list keys in the order of their bytes; it cannot be used");
        }
        last = key;
        const modified = LastModified === undefined ? {} : { modifiedAtMs: LastModified.getTime() };
        yield { key: key as ObjectKey, sizeBytes: sizeOf(what, Size), etag: bareETag(ETag), ...modified };
      }
      const next = page.IsTruncated === true ? page.NextContinuationToken : undefined;
      if (page.IsTruncated === true && (next === undefined || next === token)) {
        throw unreadable(what, "the store says that a listing goes on, but not where");
      }
      token = next;
    } while (token !== undefined);
  }

  async function deleteSome(keys: readonly ObjectKey[], signal: AbortSignal | undefined): Promise<void> {
    const first = keys[0] ?? "";
    const what: S3Request = { operation: "delete", key: first, bucket };
    const client = keys.every(isDataName) ? bulk : chain;
    const outcome = await request(what, signal, async (attemptSignal) => {
      if (keys.length === 1) {
        await client.send(new DeleteObjectCommand({ Bucket: bucket, Key: keyPrefix + first }), {
          abortSignal: attemptSignal,
        });
        return { failures: [], named: 1 };
      }
      const command = new DeleteObjectsCommand({
        Bucket: bucket,
        // S3 demands a checksum here. CRC32C is the one that the strictest servers name in their documents.
        ChecksumAlgorithm: "CRC32C",
        // Not quiet: an empty answer would mean success, and be what anybody else answers too.
        Delete: { Objects: keys.map((key) => ({ Key: keyPrefix + key })) },
      });
      const { Deleted = [], Errors = [] } = await client.send(command, { abortSignal: attemptSignal });
      return { failures: Errors, named: Deleted.length + Errors.length };
    });
    if (outcome.kind === "absent") return;
    if (outcome.kind !== "ok") throw unreadable(what, `the store answered a delete with "${outcome.kind}"`);
    const failures = outcome.value.failures.filter(({ Code }) => Code !== "NoSuchKey");
    const failure = failures[0];
    if (failure === undefined) {
      const silent = new Set(keys).size - outcome.value.named;
      if (silent > 0) throw unreadable(what, `the store does not say what became of ${silent} keys`, true);
      return;
    }
    const failed = failures.map(({ Key }) => (Key ?? "").slice(keyPrefix.length));
    throw deleteError({ ...what, key: failed[0] ?? "" }, failure.Code ?? "UnknownError", failed);
  }

  return {
    async get(key, options) {
      checkKey(key, keyBytesMax);
      checkRange(options?.range);
      return get(key, options ?? {});
    },

    async head(key, options) {
      checkKey(key, keyBytesMax);
      return head(key, options?.signal);
    },

    async put(key, body, options) {
      checkKey(key, keyBytesMax);
      checkCondition(options.condition);
      const what: S3Request = { operation: "put", key, bucket, condition: options.condition.kind };
      const unsigned = goesUnsigned();
      const outcome = await request(what, options.signal, async (attemptSignal, signedWith) => {
        const crc32c = unsigned ? await crc32cHeader(body, options.crc32c) : undefined;
        const condition = conditionHeader(options.condition, settings.ifMatchEtag);
        const put = { bucket, key: keyPrefix + key, body, condition, crc32c };
        return { etag: await putsFor(key).put(put, signedWith, attemptSignal) };
      });
      if (outcome.kind === "ok") {
        checkMarks(what, outcome.value.etag);
        return { kind: "written", etag: bareETag(outcome.value.etag) };
      }
      if (outcome.kind === "condition-failed") return { kind: "condition-failed" };
      throw unreadable(what, `the store answered a put with "${outcome.kind}"`);
    },

    async createMultipart(key, options) {
      checkKey(key, keyBytesMax);
      const unsigned = goesUnsigned();
      return createS3Multipart(
        { client: clientFor(key), puts: putsFor(key), bucket, keyPrefix, request, unsigned },
        key,
        options,
      );
    },

    list,

    async delete(keys, options) {
      for (const key of keys) checkKey(key, keyBytesMax);
      if (closed) throw new ClosedError("object store");
      for (let i = 0; i < keys.length; i += DELETE_KEYS_MAX) {
        options?.onRequest?.();
        await deleteSome(keys.slice(i, i + DELETE_KEYS_MAX), options?.signal);
      }
    },

    async close() {
      closed = true;
      bulk.destroy();
      chain.destroy();
      rehearsal?.destroy();
    },
  };
}

/** An attempt that ended while it waited for credentials. */
function withoutCredentials(
  { operation, key }: S3Request,
  source: string,
  timedOut: boolean,
  callerSignal: AbortSignal | undefined,
): ObjectStoreError | AbortedError {
  if (!timedOut) return new AbortedError(`${operation} ${key}`, { cause: callerSignal?.reason });
  const problem = `not sent: no credentials came in time from ${source}`;
  return new ObjectStoreError(`${operation} ${key}: ${problem}`, { operation, key, retryable: true });
}

async function readObject(
  what: S3Request,
  range: ByteRange | undefined,
  answer: GetObjectCommandOutput,
  signal: AbortSignal,
  into: GetOptions["into"],
): Promise<StoredObject> {
  checkMarks(what, answer.ETag ?? answer.LastModified);
  const etag = bareETag(answer.ETag);
  const part = answer.ContentRange === undefined ? undefined : parseContentRange(what, answer.ContentRange);
  if (range === undefined && part !== undefined)
    throw unreadable(what, "the store answered a part of the object to a get of all");
  if (range !== undefined && part !== undefined) {
    const wanted = resolveRange(range, part.sizeBytes);
    // A server that answers other bytes than it was asked for (seen with suffix ranges) must not be believed.
    if (part.start !== wanted.start || part.end !== wanted.end) {
      throw unreadable(what, `the store answered bytes ${part.start}-${part.end - 1} to ${rangeHeader(range)}`);
    }
    const body = await collectBody(answer.Body, part.end - part.start, signal, into);
    return { body, sizeBytes: part.sizeBytes, etag };
  }
  // All of an object to a get of a range: memory for that much was not meant.
  const body = await collectBody(answer.Body, answer.ContentLength, signal, range === undefined ? into : undefined);
  const { start, end } = resolveRange(range, body.length);
  // A server may ignore Range and send everything; copied, so that the rest is not kept alive by the part.
  return { body: range === undefined ? body : body.slice(start, end), sizeBytes: body.length, etag };
}

function parseContentRange(what: S3Request, header: string): { start: number; end: number; sizeBytes: number } {
  const match = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(header);
  if (match === null) throw unreadable(what, "the store sent a Content-Range that names no size");
  return { start: Number(match[1]), end: Number(match[2]) + 1, sizeBytes: Number(match[3]) };
}

/** 416: nothing of the object lies in the range. */
function pastTheEnd(
  what: S3Request,
  range: ByteRange | undefined,
  info: ObjectInfo | undefined,
): StoredObject | undefined {
  if (info === undefined) return undefined;
  const { start, end } = resolveRange(range, info.sizeBytes);
  if (start === end) return nothingOf(info);
  throw new ObjectStoreError(`get ${what.key}: the object changed between two requests`, {
    operation: "get",
    key: what.key,
    retryable: true,
  });
}

function nothingOf(info: ObjectInfo | undefined): StoredObject | undefined {
  return info && { body: new Uint8Array(0), sizeBytes: info.sizeBytes, etag: info.etag };
}

function isEmpty(range: ByteRange): boolean {
  return "suffix" in range ? range.suffix === 0 : range.start === range.end;
}

function rangeHeader(range: ByteRange): string {
  if ("suffix" in range) return `bytes=-${range.suffix}`;
  return `bytes=${range.start}-${range.end === undefined ? "" : range.end - 1}`;
}

function conditionHeader(
  condition: PutCondition,
  spelling: S3StoreSettings["ifMatchEtag"],
): { IfNoneMatch?: string; IfMatch?: string } {
  if (condition.kind === "none") return {};
  if (condition.kind === "if-absent") return { IfNoneMatch: "*" };
  return { IfMatch: spelling === "bare" ? (condition.etag satisfies ETag) : quotedETag(condition.etag) };
}

function sizeOf(what: S3Request, size: number | undefined): number {
  if (size === undefined) throw unreadable(what, "the store named no size");
  return size;
}

function isAborted(signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true;
}

/** Throws unless the answer has what only an answer of S3 has. */
function checkMarks(what: S3Request, mark: unknown): void {
  if (mark === undefined) throw unreadable(what, "this is no answer of an S3 server; did a proxy answer?", true);
}

/** The store answers in a way that no S3 server should; without `retryable`, asking again will not help. */
function unreadable(what: S3Request, problem: string, retryable = false): ObjectStoreError {
  return new ObjectStoreError(
    `${what.operation} ${what.key}: ${problem}`,
    { operation: what.operation, key: what.key, retryable },
    { effect: makesObject(what.operation) ? "unknown" : "none" },
  );
}
