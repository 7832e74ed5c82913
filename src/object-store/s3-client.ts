import { Agent as HttpAgent } from "node:http";
import { Agent as HttpsAgent } from "node:https";

import { S3Client } from "@aws-sdk/client-s3";
import { NodeHttpHandler } from "@smithy/node-http-handler";

import { hashPayloadsInSteps } from "./s3-payload-hash.ts";

/** How a server is reached, whatever is asked of it. */
export interface S3ClientSettings {
  readonly region: string;
  /** Default: AWS. Given: any S3-compatible server, as in "http://127.0.0.1:7480". */
  readonly endpoint?: string;
  /** Default: the SDK's own search (environment, profile, web identity, instance). */
  readonly credentials?: {
    readonly accessKeyId: string;
    readonly secretAccessKey: string;
    readonly sessionToken?: string;
  };
  readonly forcePathStyle: boolean;
  /** Total time of one request: waiting for a socket, sending, waiting, reading the body. */
  readonly requestTimeoutMs: number;
  /** Requests beyond it wait for a socket. */
  readonly maxSockets: number;
}

/** A TCP connection that takes longer is not coming; a whole `requestTimeoutMs` would be spent on a dead address. */
const CONNECT_TIMEOUT_MS = 3_000;

/** An SDK client that makes one attempt per call, over sockets of its own. The caller destroys it. */
export function createS3Client(settings: S3ClientSettings): S3Client {
  const agent = { keepAlive: true, maxSockets: settings.maxSockets };
  // Old servers and many copies refuse the SDK's new checksum headers; our own CRCs are what is trusted anyway.
  const checksums = settings.endpoint === undefined ? "WHEN_SUPPORTED" : "WHEN_REQUIRED";
  const client = new S3Client({
    region: settings.region,
    ...(settings.endpoint === undefined ? {} : { endpoint: settings.endpoint }),
    ...(settings.credentials === undefined ? {} : { credentials: settings.credentials }),
    forcePathStyle: settings.forcePathStyle,
    maxAttempts: 1,
    cacheMiddleware: true,
    // Else every body from 2 MiB on opens a connection of its own and ignores maxSockets.
    expectContinueHeader: false,
    requestChecksumCalculation: checksums,
    responseChecksumValidation: checksums,
    requestHandler: new NodeHttpHandler({
      httpAgent: new HttpAgent(agent),
      httpsAgent: new HttpsAgent(agent),
      connectionTimeout: Math.min(CONNECT_TIMEOUT_MS, settings.requestTimeoutMs),
      // Our own deadline comes first; these end what it cannot see.
      requestTimeout: settings.requestTimeoutMs,
      throwOnRequestTimeout: true,
      socketTimeout: settings.requestTimeoutMs,
    }),
  });
  hashPayloadsInSteps(client);
  return client;
}
