import { execFile } from "node:child_process";
import { promisify } from "node:util";

import { expect, test } from "vitest";

/** As somebody else's test file has it: the built package, by its public names, in no test framework. */
const PROGRAM = `
import { S3Endpoint, multipartConformance, objectStoreConformance } from "tierlog/testing";
import { createMemoryStore } from "tierlog";

const makeStore = async () => {
  const store = createMemoryStore();
  return { store, other: store, keyBytesMax: 1024 };
};
const failed = [];
const cases = [...objectStoreConformance(makeStore), ...multipartConformance(makeStore)];
for (const { name, run } of cases) await run().catch(() => failed.push(name));

const endpoint = await S3Endpoint.start({ character: "ceph", buckets: ["logs"] });
const { status } = await fetch(endpoint.url + "/logs");
await endpoint.close();
console.log(JSON.stringify({ cases: cases.length, failed, status }));
`;

test("the built package exports the endpoint and the conformance suite as tierlog/testing", async () => {
  const run = promisify(execFile)(process.execPath, ["--input-type=module", "-e", PROGRAM]);
  const { cases, failed, status } = JSON.parse((await run).stdout) as Record<string, unknown>;
  expect(cases).toBe(68);
  // One handle for both: what a second process does after the first has closed its own cannot be seen. The suite must say so.
  expect(failed).toEqual([
    "signals and close: close may be repeated, and no call works afterwards",
    "uploads in parts: keys are checked, signals and close are heard",
  ]);
  expect(status).toBe(403);
});
