import type { Readable } from "node:stream";

import { PutObjectCommand, UploadPartCommand, type S3Client } from "@aws-sdk/client-s3";

import { systemClock } from "../runtime/clock.ts";
import { signForGoogle } from "./google-signature.ts";
import { serverTime } from "./s3-answer.ts";
import type { S3Credentials } from "./s3-credentials.ts";
import { payloadHash } from "./s3-payload.ts";
import type { PutRehearsal, PutShape } from "./s3-put-shape.ts";
import { canonicalQuery, escapedKey, signingTime } from "./s3-signature.ts";

export interface PutRequest {
  readonly bucket: string;
  /** With the prefix of the store. */
  readonly key: string;
  readonly body: Uint8Array;
  /** `If-None-Match: *`, `If-Match: <this>`, or neither. */
  readonly condition: { readonly IfNoneMatch?: string; readonly IfMatch?: string };
  /** CRC-32C of the body as a header has it. Given: the payload goes unsigned. */
  readonly crc32c: string | undefined;
  /** Only this part of the object. REQUIRES: no condition. */
  readonly part?: { readonly PartNumber: number; readonly UploadId: string };
}

/** As the HTTP handler of the SDK gives it; names of headers in lower case. */
interface HttpAnswer {
  readonly statusCode: number;
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly body: Readable;
}

/** The SDK's: an answer that took longer says nothing about clocks. */
const STALE_AFTER_MS = 15 * 60 * 1000;

/** Of Cloud Storage: a request that has it is signed Google's way. See `spellCreateIfAbsent`. */
const GOOGLE_CONDITION = "x-goog-if-generation-match";

/**
 * PUTs of objects, which is what appends wait for, and of their parts, without the middleware of the SDK: 0.5 ms of CPU each. The SDK
 * shows once for each kind how it would make the request, and reads every answer that is no plain success. Sockets, time limits, the correction of the clock
 * and, where the SDK's requests cannot be copied, the PUT itself stay with `client`.
 */
export class S3Puts {
  readonly #client: S3Client;
  readonly #rehearsal: () => PutRehearsal;
  readonly #shapes = new Map<string, Promise<PutShape | undefined>>();
  #keepsClock: Promise<boolean> | undefined;

  /** `rehearsal` has the settings of `client`. */
  constructor(client: S3Client, rehearsal: () => PutRehearsal) {
    this.#client = client;
    this.#rehearsal = rehearsal;
  }

  /** Sends one PUT. Resolves to its ETag as the answer has it; rejects as `client.send` does. */
  async put(request: PutRequest, credentials: S3Credentials, signal: AbortSignal): Promise<string | undefined> {
    const { bucket, key, body, condition, crc32c, part } = request;
    const shape = await this.#shape(request);
    if (shape !== undefined) return this.#send(shape, request, credentials, signal);
    const checksum = crc32c === undefined ? {} : { ChecksumCRC32C: crc32c };
    const input = { Bucket: bucket, Key: key, Body: body, ContentLength: body.length, ...checksum, ...condition };
    const options = { abortSignal: signal };
    if (part === undefined) return (await this.#client.send(new PutObjectCommand(input), options)).ETag;
    return (await this.#client.send(new UploadPartCommand({ ...input, ...part }), options)).ETag;
  }

  #shape({ condition, crc32c, part }: PutRequest): Promise<PutShape | undefined> {
    const kind = part === undefined ? "object" : "part";
    const name = `${kind} ${Object.keys(condition).join()} ${crc32c === undefined ? "signed" : "unsigned"}`;
    let shape = this.#shapes.get(name);
    if (shape === undefined) {
      const headers = { ...condition, ...(crc32c === undefined ? {} : { ChecksumCRC32C: crc32c }) };
      shape = this.#rehearsal().shape(kind, headers);
      this.#shapes.set(name, shape);
    }
    return shape;
  }

  async #send(
    shape: PutShape,
    put: PutRequest,
    credentials: S3Credentials,
    signal: AbortSignal,
  ): Promise<string | undefined> {
    const { config } = this.#client;
    const { body, condition, crc32c, part } = put;
    const hash = crc32c === undefined ? await payloadHash(body) : "UNSIGNED-PAYLOAD";
    const keepsClock = await (this.#keepsClock ??= config.disableClockSkewCorrection());
    const sentAtMs = systemClock.now();
    const headers: Record<string, string> = {
      ...shape.request.headers,
      "content-length": String(body.length),
      "x-amz-date": signingTime(keepsClock ? sentAtMs : sentAtMs + config.systemClockOffset),
      "x-amz-content-sha256": hash,
    };
    if (condition.IfMatch !== undefined) headers["if-match"] = condition.IfMatch;
    if (crc32c !== undefined) headers["x-amz-checksum-crc32c"] = crc32c;
    const { sessionToken } = credentials;
    const hasToken = sessionToken !== undefined && sessionToken !== "";
    if (hasToken) headers["x-amz-security-token"] = sessionToken;
    const path = shape.request.path + escapedKey(put.key);
    const query =
      part === undefined
        ? shape.request.query
        : { ...shape.request.query, partNumber: String(part.PartNumber), uploadId: part.UploadId };
    const request = { ...shape.request, path, query, headers, body };
    if (headers[GOOGLE_CONDITION] === undefined) {
      const signedNames = hasToken ? shape.signedNames : shape.signedNamesWithoutToken;
      const signable = { ...request, canonicalQuery: canonicalQuery(query), signedNames };
      headers["authorization"] = shape.signer.authorization(signable, credentials);
    } else {
      signForGoogle(request, credentials);
    }

    const { response }: { response: HttpAnswer } = await config.requestHandler.handle(request as never, {
      abortSignal: signal,
    });
    if (isPlainSuccess(response)) {
      await readToEnd(response.body);
      if (!keepsClock) this.#setClock(response.headers["date"], response.headers["age"], sentAtMs);
      return response.headers["etag"];
    }
    let said: string | undefined = response.headers["date"];
    try {
      return (await this.#rehearsal().read(part === undefined ? "object" : "part", response)).ETag;
    } catch (error) {
      said = serverTime(error) ?? said;
      throw error;
    } finally {
      if (!keepsClock) this.#setClock(said, response.headers["age"], sentAtMs);
    }
  }

  /** As the SDK does after each request of its own, for all requests of the client. An answer with an age comes from a cache. */
  #setClock(said: string | undefined, age: string | undefined, sentAtMs: number): void {
    if (said === undefined || age !== undefined) return;
    const serverMs = Date.parse(said);
    const nowMs = systemClock.now();
    if (Number.isNaN(serverMs) || nowMs - sentAtMs > STALE_AFTER_MS) return;
    this.#client.config.systemClockOffset = serverMs - nowMs;
  }
}

/** An answer that the SDK would find nothing in but its headers, and `refusePages` nothing to refuse. */
function isPlainSuccess({ statusCode, headers }: HttpAnswer): boolean {
  const { etag, "content-length": length, "content-type": type = "" } = headers;
  return statusCode === 200 && etag !== undefined && length === "0" && !/html/i.test(type);
}

/** Of a body without bytes: its socket is free afterwards. */
function readToEnd(body: Readable): Promise<void> {
  return new Promise((resolve, reject) => {
    body.once("end", resolve);
    body.once("error", reject);
    body.resume();
  });
}
