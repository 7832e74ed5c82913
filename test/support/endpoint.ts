import type { S3Credentials } from "../../src/object-store/s3-credentials.ts";
import type { S3StoreSettings } from "../../src/object-store/s3-store.ts";
import { S3Endpoint, type S3EndpointOptions } from "../../src/testing/s3-endpoint.ts";

/** An S3 server in this process with one bucket, and how the store reaches it. */
export async function startEndpoint(options: S3EndpointOptions = {}): Promise<{
  readonly server: S3Endpoint;
  readonly settings: S3StoreSettings & { readonly credentials: S3Credentials };
}> {
  const server = await S3Endpoint.start({ buckets: ["logs"], ...options });
  const { accessKeyId, secretAccessKey } = server.credentials;
  return {
    server,
    settings: {
      endpoint: server.url,
      bucket: "logs",
      region: server.region,
      prefix: "store",
      credentials: { accessKeyId, secretAccessKey },
      forcePathStyle: true,
      requestTimeoutMs: 20_000,
      maxSockets: 50,
      ifMatchEtag: "quoted",
    },
  };
}
