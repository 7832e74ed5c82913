import { KEY_BYTES_MAX } from "../../src/object-store/object-key.ts";
import { createS3Store, type S3StoreSettings } from "../../src/object-store/s3-store.ts";
import { systemRuntime } from "../../src/runtime/runtime.ts";
import type { StoreUnderTest } from "../../src/testing/conformance/conformance-case.ts";
import { S3Endpoint } from "../../src/testing/s3-endpoint.ts";
import { describeConformance } from "./describe-conformance.ts";

async function makeStore(): Promise<StoreUnderTest> {
  const endpoint = await S3Endpoint.start({ buckets: ["logs"] });
  const settings: S3StoreSettings = {
    endpoint: endpoint.url,
    bucket: "logs",
    region: endpoint.region,
    prefix: "pre/fix",
    credentials: endpoint.credentials,
    forcePathStyle: true,
    requestTimeoutMs: 20_000,
    maxSockets: 50,
    ifMatchEtag: "quoted",
  };
  return {
    store: createS3Store(settings, systemRuntime),
    other: createS3Store(settings, systemRuntime),
    keyBytesMax: KEY_BYTES_MAX - settings.prefix.length - 1,
    cleanUp: () => endpoint.close(),
  };
}
describeConformance("endpoint", makeStore);
