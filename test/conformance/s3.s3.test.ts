import { KEY_BYTES_MAX } from "../../src/object-store/object-key.ts";
import { createS3Store } from "../../src/object-store/s3-store.ts";
import { systemRuntime } from "../../src/runtime/runtime.ts";
import { describeS3, freshPrefix, s3Settings } from "../support/s3.ts";
import { describeMultipartWriter } from "./multipart-writer.ts";
import { describeMultipart } from "./multipart.ts";
import { describeObjectStore, type StoreUnderTest } from "./object-store.ts";

async function makeStore(): Promise<StoreUnderTest> {
  const settings = s3Settings(freshPrefix());
  return {
    store: createS3Store(settings, systemRuntime),
    other: createS3Store(settings, systemRuntime),
    keyBytesMax: KEY_BYTES_MAX - settings.prefix.length - 1,
  };
}

describeS3("S3", () => {
  describeObjectStore("s3", makeStore);
  describeMultipart("s3", makeStore);
  describeMultipartWriter("s3", makeStore);
});
