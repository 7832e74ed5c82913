import { S3Client, type S3ClientConfig } from "@aws-sdk/client-s3";

import type { CreateIfAbsentHeader } from "../config/provider-presets.ts";
import { createHttpHandler, type Link } from "./http-handler.ts";
import { spellCreateIfAbsent } from "./s3-create-header.ts";
import { fixedCredentials, isProvider, type CredentialsProvider, type S3Credentials } from "./s3-credentials.ts";
import { encryptAtRest, type S3Encryption } from "./s3-encryption.ts";
import { guardPayloads } from "./s3-payload.ts";

/** How a server is reached, whatever is asked of it. */
export interface S3ClientSettings extends Link {
  readonly region: string;
  /** Default: AWS. Given: any S3-compatible server, as in "http://127.0.0.1:7480". */
  readonly endpoint?: string;
  readonly credentials: S3Credentials | CredentialsProvider;
  readonly forcePathStyle: boolean;
  /** Default: "if-none-match". */
  readonly createIfAbsent?: CreateIfAbsentHeader;
  /** Default: none is asked for. */
  readonly encryption?: S3Encryption;
  /** Total time of one request: waiting for a socket, sending, waiting, reading the body. */
  readonly requestTimeoutMs: number;
  /** Default: 3 s, at most `requestTimeoutMs`. Runs also while a request waits for a socket: send no more than `maxSockets` at a time. */
  readonly connectTimeoutMs?: number;
  readonly maxSockets: number;
}

/** An SDK client that makes one attempt per call, over sockets of its own, or by another way of sending. The caller destroys it. */
export function createS3Client(
  settings: S3ClientSettings,
  requestHandler: NonNullable<S3ClientConfig["requestHandler"]> = createHttpHandler(settings, settings),
): S3Client {
  const { credentials } = settings;
  const provider = isProvider(credentials) ? credentials : fixedCredentials(credentials);
  const client = new S3Client({
    region: settings.region,
    ...(settings.endpoint === undefined ? {} : { endpoint: settings.endpoint }),
    credentials: unkept(provider),
    // One in a profile or the environment would get what was decided for AWS: unsigned payloads, the probe's result.
    ignoreConfiguredEndpointUrls: true,
    forcePathStyle: settings.forcePathStyle,
    maxAttempts: 1,
    cacheMiddleware: true,
    // Else every body from 2 MiB on opens a connection of its own and ignores maxSockets.
    expectContinueHeader: false,
    // The SDK's own CRC-32 would guard what the signature already covers, and many servers refuse the header. On reads it would
    // run CRC-32C in JavaScript over whole objects, whose batches carry a CRC of ours anyway.
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
    requestHandler,
  });
  spellCreateIfAbsent(client, settings.createIfAbsent ?? "if-none-match");
  encryptAtRest(client, settings);
  guardPayloads(client);
  refusePages(client);
  return client;
}

/**
 * Asked for every request. The mark tells the SDK that somebody else keeps the credentials: its own memory never forgets what has no
 * expiry, and does not hear that the store refused what has one.
 */
function unkept(provider: CredentialsProvider): () => Promise<S3Credentials> {
  // A copy: the SDK writes into what it gets.
  return Object.assign(async () => ({ ...(await provider.get()) }), { memoized: true });
}

/**
 * A 2xx with a page for a browser is the answer of a proxy, or of a portal that wants somebody to log in. The SDK would find in it an
 * object, a listing without keys, or a success. Objects of ours are never stored as HTML. OpenStack Swift calls its empty answers
 * HTML too; those are no pages, and have the request id of an S3 server.
 */
function refusePages(client: S3Client): void {
  client.middlewareStack.add(
    (next) => async (args) => {
      const result = await next(args);
      const { statusCode, headers } = result.response as { statusCode: number; headers: Record<string, string> };
      const isHtml = /^text\/html\b/i.test(headers["content-type"] ?? "");
      const isEmpty = statusCode === 204 || headers["content-length"] === "0";
      if (statusCode < 300 && isHtml && !(isEmpty && headers["x-amz-request-id"] !== undefined)) {
        throw Object.assign(new Error("an HTML page"), { $metadata: { httpStatusCode: statusCode } });
      }
      return result;
    },
    { step: "deserialize", priority: "low", name: "refusePages" },
  );
}
