import { InvalidArgumentError } from "../../errors.ts";
import { systemClock, type Clock } from "../../runtime/clock.ts";
import { withoutBody, type HttpAnswer, type HttpBackend, type HttpRequest } from "../http-exchange.ts";
import { pathOf, readS3Call, type S3Operation } from "../s3-call.ts";
import { refusalAnswer } from "./answer.ts";
import { createBucket, deleteBucket, headBucket, listBuckets } from "./bucket-calls.ts";
import { s3Traits, type S3Character } from "./character.ts";
import { checkCredentials, type S3Credential } from "./credentials.ts";
import { listObjects, listUploads } from "./list-calls.ts";
import { copyObject, deleteObject, deleteObjects, getObject, putObject } from "./object-calls.ts";
import { readPayload } from "./payload.ts";
import { S3Refusal } from "./refusal.ts";
import { verifySignature } from "./signature.ts";
import { abortUpload, completeUpload, createUpload, listParts, uploadPart, uploadPartCopy } from "./upload-calls.ts";
import { S3World, type S3Exchange } from "./world.ts";

const MIB = 1024 * 1024;

export interface S3BackendOptions {
  /** How the server differs from Amazon S3. Default: "aws", not at all. */
  readonly character?: S3Character;
  /** Buckets that exist from the start. Default: none. */
  readonly buckets?: readonly string[];
  /** Default: one, which may do everything and does not expire. */
  readonly credentials?: readonly S3Credential[];
  /** Default: "us-east-1". */
  readonly region?: string;
  /** Default: the system's. */
  readonly clock?: Clock;
  /** The server's wall clock less that of `clock`, in milliseconds. Default: 0. */
  readonly clockOffsetMs?: number;
  /** Largest body of one request; a larger one is EntityTooLarge. Default: 128 MiB. */
  readonly maxBodyBytes?: number;
  /** All objects and parts together, each counted with 512 bytes more; above it writes are QuotaExceeded. Default: 1 GiB. */
  readonly maxStoredBytes?: number;
  /** How long reads lag behind under "stale-reads", in milliseconds. Default: 1,000. */
  readonly staleForMs?: number;
  /** Time between condition and write under "races-conditions" and "fails-race-losers", in milliseconds. Default: 10. */
  readonly raceWindowMs?: number;
  /** Names of the KMS keys that exist. Default: every name does. */
  readonly kmsKeys?: readonly string[];
}

/** A server that speaks S3, without its sockets. Nothing outlives it. */
export interface S3Backend {
  readonly answer: HttpBackend;
  readonly region: string;
  /** What clients may sign with, at this moment. */
  readonly credentials: readonly S3Credential[];
  /** From now on only these count: how a test rotates, expires or restricts them. */
  setCredentials(credentials: readonly S3Credential[]): void;
  /** Bytes of all objects and parts, each with 512 more. */
  readonly storedBytes: number;
  /** Uploads neither completed nor aborted, over all buckets. */
  readonly openUploads: number;
}

const DEFAULT_CREDENTIAL: S3Credential = {
  accessKeyId: "TIERLOGTESTINGKEY",
  secretAccessKey: "tierlog-testing-secret",
};

type Handler = (world: S3World, exchange: S3Exchange) => HttpAnswer | Promise<HttpAnswer>;

const HANDLERS: Readonly<Record<Exclude<S3Operation, "Unknown">, Handler>> = {
  ListBuckets: listBuckets,
  CreateBucket: createBucket,
  HeadBucket: headBucket,
  DeleteBucket: deleteBucket,
  PutObject: putObject,
  CopyObject: copyObject,
  GetObject: getObject,
  HeadObject: getObject,
  DeleteObject: deleteObject,
  DeleteObjects: deleteObjects,
  ListObjectsV2: listObjects,
  CreateMultipartUpload: createUpload,
  UploadPart: uploadPart,
  UploadPartCopy: uploadPartCopy,
  ListParts: listParts,
  ListMultipartUploads: listUploads,
  CompleteMultipartUpload: completeUpload,
  AbortMultipartUpload: abortUpload,
};

/**
 * The S3 protocol on memory, path style, as the API reference of Amazon S3 describes it: requests with their conditions, ranges,
 * checksums, encryption headers and errors; Signature Version 4 in the Authorization header, verified. Not there: versions,
 * presigned URLs, ACLs, tags, and every other sub-resource (501 NotImplemented).
 *
 * Throws `InvalidArgumentError` for options that cannot be used.
 */
export function createS3Backend(options: S3BackendOptions = {}): S3Backend {
  const { maxBodyBytes = 128 * MIB, region = "us-east-1" } = options;
  let credentials = checked(options.credentials ?? [DEFAULT_CREDENTIAL]);
  const world = makeWorld(options, region);
  checkCount("maxBodyBytes", maxBodyBytes);
  let requests = 0;

  async function answer(request: HttpRequest): Promise<HttpAnswer> {
    requests += 1;
    const requestId = requests.toString(16).toUpperCase().padStart(16, "0");
    const answered = await answerOrRefusal(request, requestId);
    const headers = {
      server: "tierlog-testing",
      date: new Date(world.nowMs()).toUTCString(),
      "x-amz-request-id": requestId,
      "x-amz-id-2": Buffer.from(requestId).toString("base64"),
      ...answered.headers,
    };
    const whole = { ...answered, headers };
    return request.method === "HEAD" ? withoutBody(whole) : whole;
  }

  async function answerOrRefusal(request: HttpRequest, requestId: string): Promise<HttpAnswer> {
    try {
      return await handle(request);
    } catch (error) {
      if (!(error instanceof S3Refusal)) throw error;
      return refusalAnswer(error, pathOf(request.url), requestId);
    }
  }

  async function handle(request: HttpRequest): Promise<HttpAnswer> {
    if (request.body.length > maxBodyBytes) {
      throw new S3Refusal("EntityTooLarge", {
        elements: { ProposedSize: String(request.body.length), MaxSizeAllowed: String(maxBodyBytes) },
      });
    }
    const { traits } = world;
    const signer = verifySignature(request, {
      credentials,
      region: traits.has("any-region") ? undefined : region,
      nowMs: world.nowMs(),
      google: traits.has("wants-generation-match"),
    });
    const call = readS3Call(request);
    if (call.operation === "Unknown") {
      throw new S3Refusal("NotImplemented", { message: "This endpoint does not know this kind of request" });
    }
    const payload = readPayload(request, call.operation, signer, traits);
    return HANDLERS[call.operation](world, { call, headers: request.headers, payload, credential: signer.credential });
  }

  return {
    answer,
    region,
    get credentials() {
      return credentials;
    },
    setCredentials(next) {
      credentials = checked(next);
    },
    get storedBytes() {
      return world.stored.used;
    },
    get openUploads() {
      return world.buckets().reduce((sum, { uploads }) => sum + uploads.size, 0);
    },
  };
}

function makeWorld(options: S3BackendOptions, region: string): S3World {
  const { maxStoredBytes = 1024 * MIB, staleForMs = 1000, raceWindowMs = 10, clockOffsetMs = 0 } = options;
  checkCount("maxStoredBytes", maxStoredBytes);
  checkCount("staleForMs", staleForMs);
  checkCount("raceWindowMs", raceWindowMs);
  if (!Number.isFinite(clockOffsetMs)) {
    throw new InvalidArgumentError("clockOffsetMs", clockOffsetMs, "must be a number of milliseconds");
  }
  const world = new S3World({
    traits: s3Traits(options.character ?? "aws"),
    region,
    clock: options.clock ?? systemClock,
    clockOffsetMs,
    maxStoredBytes,
    staleForMs,
    raceWindowMs,
    kmsKeys: options.kmsKeys,
  });
  for (const name of options.buckets ?? []) {
    try {
      world.createBucket(name);
    } catch (error) {
      throw new InvalidArgumentError("buckets", name, `"${name}" is no name for a bucket`, { cause: error });
    }
  }
  return world;
}

function checked(credentials: readonly S3Credential[]): readonly S3Credential[] {
  checkCredentials(credentials);
  return [...credentials];
}

function checkCount(name: string, value: number): void {
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new InvalidArgumentError(name, value, "must be an integer ≥ 0");
  }
}
