import { KEY_BYTES_MAX } from "../../src/object-store/object-key.ts";
import { createS3Store } from "../../src/object-store/s3-store.ts";
import { systemRuntime } from "../../src/runtime/runtime.ts";
import type { StoreUnderTest } from "../../src/testing/conformance/conformance-case.ts";
import { describeS3, freshPrefix, s3Settings } from "../support/s3.ts";
import { describeConformance } from "./describe-conformance.ts";
import { describeMultipartWriter } from "./multipart-writer.ts";

async function makeStore(): Promise<StoreUnderTest> {
  const settings = s3Settings(freshPrefix());
  return {
    store: createS3Store(settings, systemRuntime),
    other: createS3Store(settings, systemRuntime),
    keyBytesMax: KEY_BYTES_MAX - settings.prefix.length - 1,
  };
}

describeS3("S3", () => {
  describeConformance("s3", makeStore);
  describeMultipartWriter("s3", makeStore);
});
