import type { Config } from "../../src/config/config.ts";
import type { ConfigOverrides } from "../../src/config/override-settings.ts";
import { defaultConfig } from "../../src/config/resolve-config.ts";
import { createS3Store } from "../../src/object-store/s3-store.ts";
import { systemRuntime } from "../../src/runtime/runtime.ts";
import { S3Endpoint, type S3EndpointOptions } from "../../src/testing/s3-endpoint.ts";

export const ENDPOINT_BUCKET = "bucket";

/** An S3 server of the process, with one bucket, and what a test needs to reach it. */
export class EndpointPlace {
  readonly endpoint: S3Endpoint;

  private constructor(endpoint: S3Endpoint) {
    this.endpoint = endpoint;
  }

  static async start(options: S3EndpointOptions = {}): Promise<EndpointPlace> {
    return new EndpointPlace(await S3Endpoint.start({ buckets: [ENDPOINT_BUCKET], ...options }));
  }

  config(overrides: NonNullable<NonNullable<ConfigOverrides["storage"]>["object"]> = {}): Config {
    const { accessKeyId, secretAccessKey } = this.endpoint.credentials;
    return defaultConfig({
      storage: {
        kind: "object",
        object: {
          endpoint: this.endpoint.url,
          bucket: ENDPOINT_BUCKET,
          credentials: { accessKeyId, secretAccessKey },
          ...overrides,
        },
      },
      flush: { lingerMs: 2 },
    });
  }

  /** The same for another process. */
  env(): Record<string, string> {
    const { url, credentials, region } = this.endpoint;
    return {
      TIERLOG_SYSTEM_STORAGE_KIND: "object",
      TIERLOG_SYSTEM_STORAGE_OBJECT_BUCKET: ENDPOINT_BUCKET,
      AWS_ENDPOINT_URL_S3: url,
      AWS_REGION: region,
      AWS_ACCESS_KEY_ID: credentials.accessKeyId,
      AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
    };
  }

  async keys(): Promise<string[]> {
    const { accessKeyId, secretAccessKey } = this.endpoint.credentials;
    const store = createS3Store(
      {
        endpoint: this.endpoint.url,
        bucket: ENDPOINT_BUCKET,
        region: this.endpoint.region,
        prefix: "",
        credentials: { accessKeyId, secretAccessKey },
        forcePathStyle: true,
        requestTimeoutMs: 5_000,
        maxSockets: 4,
        ifMatchEtag: "quoted",
      },
      systemRuntime,
    );
    const keys: string[] = [];
    for await (const { key } of store.list("")) keys.push(key);
    await store.close();
    return keys;
  }

  close(): Promise<void> {
    return this.endpoint.close();
  }
}
