import { randomUUID } from "node:crypto";

import { describe, inject } from "vitest";

import type { S3Credentials } from "../../src/object-store/s3-credentials.ts";
import type { S3StoreSettings } from "../../src/object-store/s3-store.ts";
import type { S3Connection } from "./s3-connection.ts";

/** A `describe` that is skipped where there is no S3 server; the global set-up has said so, loudly. */
export const describeS3 = connection() === null ? describe.skip : describe;

/** For tests that pause and kill the server: they need Ceph's packages, and take a gateway of their own. */
export const describeCeph = connection()?.ownGateway === true ? describe : describe.skip;

/** Settings for the server under test. Each test takes a prefix of its own: `freshPrefix()`. */
export function s3Settings(prefix: string): S3StoreSettings & { readonly credentials: S3Credentials } {
  const server = connection();
  if (server === null) throw new Error("no S3 server: put this test into describeS3");
  return {
    endpoint: server.endpoint,
    bucket: server.bucket,
    region: server.region,
    prefix,
    credentials: { accessKeyId: server.accessKeyId, secretAccessKey: server.secretAccessKey },
    forcePathStyle: true,
    requestTimeoutMs: 20_000,
    maxSockets: 50,
    ifMatchEtag: server.ifMatchEtag,
  };
}

export function freshPrefix(): string {
  return `test/${randomUUID()}`;
}

function connection(): S3Connection | null {
  return inject("s3");
}
