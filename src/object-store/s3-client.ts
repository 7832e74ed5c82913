import { S3Client } from "@aws-sdk/client-s3";

import type { CreateIfAbsentHeader } from "../config/provider-presets.ts";
import { createHttpHandler, type Link } from "./http-handler.ts";
import { spellCreateIfAbsent } from "./s3-create-header.ts";
import { fixedCredentials, isProvider, type CredentialsProvider, type S3Credentials } from "./s3-credentials.ts";
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
  /** Total time of one request: waiting for a socket, sending, waiting, reading the body. */
  readonly requestTimeoutMs: number;
  /** Requests beyond it wait for a socket. */
  readonly maxSockets: number;
}

/** An SDK client that makes one attempt per call, over sockets of its own. The caller destroys it. */
export function createS3Client(settings: S3ClientSettings): S3Client {
  const { credentials } = settings;
  const provider = isProvider(credentials) ? credentials : fixedCredentials(credentials);
  const client = new S3Client({
    region: settings.region,
    ...(settings.endpoint === undefined ? {} : { endpoint: settings.endpoint }),
    credentials: unkept(provider),
    forcePathStyle: settings.forcePathStyle,
    maxAttempts: 1,
    cacheMiddleware: true,
    // Else every body from 2 MiB on opens a connection of its own and ignores maxSockets.
    expectContinueHeader: false,
    // The SDK's own CRC-32 would guard what the signature already covers, and many servers refuse the header. On reads it would
    // run CRC-32C in JavaScript over whole objects, whose batches carry a CRC of ours anyway.
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
    requestHandler: createHttpHandler(settings, settings),
  });
  spellCreateIfAbsent(client, settings.createIfAbsent ?? "if-none-match");
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
 * object, a listing without keys, or a success. Objects of ours are never stored as HTML.
 */
function refusePages(client: S3Client): void {
  client.middlewareStack.add(
    (next) => async (args) => {
      const result = await next(args);
      const { statusCode, headers } = result.response as { statusCode: number; headers: Record<string, string> };
      if (statusCode < 300 && /^text\/html\b/i.test(headers["content-type"] ?? "")) {
        throw Object.assign(new Error("an HTML page"), { $metadata: { httpStatusCode: statusCode } });
      }
      return result;
    },
    { step: "deserialize", priority: "low", name: "refusePages" },
  );
}
