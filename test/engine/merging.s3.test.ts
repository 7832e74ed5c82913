import { createS3Store } from "../../src/object-store/s3-store.ts";
import { systemRuntime } from "../../src/runtime/runtime.ts";
import { describeS3, freshPrefix, s3Settings } from "../support/s3.ts";
import { mergingCases } from "./merging-cases.ts";

describeS3("merging on a real S3 server", () => {
  mergingCases(() => {
    const store = createS3Store(s3Settings(freshPrefix()), systemRuntime);
    return Promise.resolve({ store, close: () => store.close() });
  });
});
