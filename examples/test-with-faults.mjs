// A test of S3 code under a fault: the first PUT is done, but its answer never arrives.
//   node --test examples/test-with-faults.mjs
import assert from "node:assert/strict";
import { test } from "node:test";

import { GetObjectCommand, PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { FaultScript, S3Endpoint } from "tierlog/testing";

test("a note whose answer was lost counts as saved, another's does not", async () => {
  const script = new FaultScript();
  script.add({ match: { operation: "PutObject", nth: 1 }, fault: { kind: "lost-answer" } });
  const endpoint = await S3Endpoint.start({ buckets: ["logs"], faults: script });
  const { url, credentials } = endpoint;
  const s3 = new S3Client({ endpoint: url, credentials, region: "us-east-1", forcePathStyle: true });
  try {
    assert.equal(await save(s3, "note", "ours"), "saved");
    assert.equal(await save(s3, "note", "theirs"), "taken");
    assert.equal(script.firedCount, 1, script.describe());
  } finally {
    s3.destroy();
    await endpoint.close();
  }
});

// The code under test. Without the look at what is there it says "taken" of its own note: the SDK sends the PUT again.
async function save(s3, Key, text) {
  try {
    await s3.send(new PutObjectCommand({ Bucket: "logs", Key, Body: text, IfNoneMatch: "*" }));
    return "saved";
  } catch (error) {
    if (error.name !== "PreconditionFailed") throw error;
    const { Body } = await s3.send(new GetObjectCommand({ Bucket: "logs", Key }));
    return (await Body.transformToString()) === text ? "saved" : "taken";
  }
}
