import { S3Client, type S3ClientConfig } from "@aws-sdk/client-s3";

import { S3Endpoint } from "../../src/testing/s3-endpoint.ts";
import type { S3BackendOptions } from "../../src/testing/s3/backend.ts";

export const BUCKET = "logs";

/** An endpoint and the AWS SDK's client on it, without retries. */
export class EndpointClient {
  readonly endpoint: S3Endpoint;
  readonly s3: S3Client;

  private constructor(endpoint: S3Endpoint, s3: S3Client) {
    this.endpoint = endpoint;
    this.s3 = s3;
  }

  static async start(options: S3BackendOptions = {}, client: S3ClientConfig = {}): Promise<EndpointClient> {
    const endpoint = await S3Endpoint.start({ buckets: [BUCKET], ...options });
    return new EndpointClient(endpoint, clientOf(endpoint, client));
  }

  async close(): Promise<void> {
    this.s3.destroy();
    await this.endpoint.close();
  }
}

export function clientOf(endpoint: S3Endpoint, config: S3ClientConfig = {}): S3Client {
  return new S3Client({
    endpoint: endpoint.url,
    region: endpoint.region,
    credentials: endpoint.credentials,
    forcePathStyle: true,
    maxAttempts: 1,
    expectContinueHeader: false,
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
    ...config,
  });
}

/** What a request is answered: `200`, or status and code of the error. */
export async function verdict(request: Promise<{ $metadata: { httpStatusCode?: number } }>): Promise<unknown> {
  try {
    return (await request).$metadata.httpStatusCode;
  } catch (error) {
    const { name, $metadata } = error as { name: string; $metadata?: { httpStatusCode?: number } };
    return $metadata === undefined ? error : [$metadata.httpStatusCode, name];
  }
}

/** Puts headers on every request of a client, before (so that they are signed) or after the signature. */
export function withHeaders(client: S3Client, headers: Record<string, string>, signed = true): S3Client {
  const add =
    <Args extends { request: unknown }, Result>(next: (args: Args) => Result) =>
    (args: Args): Result => {
      Object.assign((args.request as { headers: Record<string, string> }).headers, headers);
      return next(args);
    };
  if (signed) client.middlewareStack.add(add, { step: "build", name: "withHeaders" });
  else client.middlewareStack.add(add, { step: "deserialize", name: "withHeaders" });
  return client;
}
