import { expect, test } from "vitest";

import { createBucketInput } from "../../src/object-store/s3-bucket.ts";

test.each([
  ["us-east-1", undefined, undefined],
  ["eu-central-1", undefined, "eu-central-1"],
  ["eu-central-1", "https://s3.eu-central-1.amazonaws.com", "eu-central-1"],
  ["cn-north-1", "https://s3.cn-north-1.amazonaws.com.cn", "cn-north-1"],
  ["us-east-1", "https://s3.us-east-1.amazonaws.com", undefined],
  // Ceph answers InvalidLocationConstraint to a region that it does not have.
  ["eu-central-1", "http://127.0.0.1:7480", undefined],
  ["auto", "https://account.r2.cloudflarestorage.com", undefined],
])("in %s at %s the bucket is asked for in %s", (region, endpoint, location) => {
  const input = createBucketInput({ bucket: "b", region, ...(endpoint === undefined ? {} : { endpoint }) });
  expect([input.Bucket, input.CreateBucketConfiguration?.LocationConstraint]).toEqual(["b", location]);
});
