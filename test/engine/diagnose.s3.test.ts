import { describe, expect, test } from "vitest";

import { defaultConfig } from "../../src/config/resolve-config.ts";
import { diagnoseStore, type StoreDiagnosis } from "../../src/engine/diagnose-store.ts";
import { createS3Store } from "../../src/object-store/s3-store.ts";
import { systemRuntime } from "../../src/runtime/runtime.ts";
import { S3_PROVIDERS, type S3Provider, type S3Trait } from "../../src/testing/s3/character.ts";
import { EndpointPlace } from "../support/endpoint-place.ts";
import { collect } from "../support/engine.ts";
import { describeS3, freshPrefix, s3Settings } from "../support/s3.ts";

/** How often a racing store must be caught in a row. */
const RUNS = Number(process.env["TIERLOG_TEST_DOCTOR_RUNS"] ?? 50);

function detailOf(diagnosis: StoreDiagnosis, name: string): string | undefined {
  return diagnosis.checks.find((check) => check.name === name)?.detail;
}

describeS3("the doctor on the server under test", () => {
  test("fenced, and nothing is left of it", async () => {
    const prefix = freshPrefix();
    const settings = s3Settings(prefix);
    const { endpoint, bucket, region, credentials } = settings;
    const config = defaultConfig({
      storage: { kind: "object", object: { endpoint, bucket, region, prefix, credentials } },
    });
    const diagnosis = await diagnoseStore(config);
    expect(diagnosis).toMatchObject({ verdict: "fenced", because: [] });
    expect(diagnosis.checks.filter(({ ok, severity }) => ok !== true && severity !== "info")).toEqual([]);
    expect(diagnosis.latencyMs?.p50).toBeGreaterThan(0);
    const spelling = settings.ifMatchEtag === "bare" ? "without quotes" : "quotes";
    expect(detailOf(diagnosis, "If-Match")).toContain(spelling);
    expect(detailOf(diagnosis, "wrong x-amz-checksum-crc32c")).toMatch(/^(accepted|refused)/);
    const store = createS3Store(settings, systemRuntime);
    expect(await collect(store.list(""))).toEqual([]);
    await store.close();
  });
});

/** Those that are not "fenced", with a check that must say so. */
const BAD: Partial<Record<S3Provider | S3Trait, readonly [StoreDiagnosis["verdict"], because: string]>> = {
  "ignores-conditions": ["single-writer only", "create-if-absent, key exists"],
  "races-conditions": ["single-writer only", "create-if-absent, racing"],
  "refuses-conditions": ["single-writer only", "create-if-absent, key exists"],
  "wants-generation-match": ["single-writer only", "create-if-absent, key exists"],
  "wants-forbid-overwrite": ["single-writer only", "create-if-absent, key exists"],
  gcs: ["single-writer only", "create-if-absent, racing"],
  oss: ["single-writer only", "create-if-absent, racing"],
  oci: ["single-writer only", "create-if-absent, racing"],
  b2: ["single-writer only", "create-if-absent, racing"],
  wasabi: ["single-writer only", "create-if-absent, key exists"],
  garage: ["single-writer only", "create-if-absent, key exists"],
  swift: ["single-writer only", "create-if-absent, racing"],
  seaweedfs: ["single-writer only", "create-if-absent, racing"],
  rustfs: ["single-writer only", "create-if-absent, racing"],
  "no-etags": ["unusable", "multipart upload"],
  "unordered-listing": ["unusable", "list beyond 1,000 keys"],
  "stale-reads": ["unusable", "read after write"],
};

/** What must be told of those that can be used. */
const TOLD: Partial<Record<S3Provider | S3Trait, readonly [name: string, detail: string]>> = {
  aws: ["If-Match", "in quotes"],
  ceph: ["If-Match", "without quotes only"],
  "misses-with-412": ["If-Match", "on a missing key HTTP 412"],
  "ignores-complete-conditions": ["condition on completing", "ignored"],
  "bare-etags": ["ETag", "without quotes"],
  "matches-bare-etags": ["If-Match", "without quotes only"],
  "weak-etags": ["ETag", "weak"],
  "equal-parts": ["parts of different sizes", "HTTP 400 InvalidPart"],
  "forgets-uploads": ["complete an upload twice", "NoSuchUpload"],
  "needs-all-parts": ["some of the uploaded parts", "HTTP 400 InvalidPart"],
  "empty-complete-etag": ["complete an upload twice", "no ETag"],
  "unchecked-bodies": ["wrong x-amz-content-sha256", "accepted"],
  "unchecked-checksums": ["wrong x-amz-checksum-crc32c", "accepted"],
  "refuses-checksum-headers": ["wrong x-amz-checksum-crc32c", "does not take the header"],
  "wants-content-md5": ["delete many at once", "HTTP 400"],
};

describe("the doctor on the characters of the endpoint", () => {
  // Those of encryption and the like are nothing to it.
  const names = [...new Set([...Object.keys(S3_PROVIDERS), ...Object.keys(BAD), ...Object.keys(TOLD)])] as (
    | S3Provider
    | S3Trait
  )[];

  test.each(names)("%s", async (character) => {
    const s3 = await EndpointPlace.start({ character });
    const diagnosis = await diagnoseStore(s3.config());
    const [verdict, because] = BAD[character] ?? ["fenced"];
    expect([character, diagnosis.verdict, diagnosis.because.includes(because ?? "nothing")]).toEqual([
      character,
      verdict,
      because !== undefined,
    ]);
    const [name, told] = TOLD[character] ?? ["clean-up", ""];
    expect(detailOf(diagnosis, name)).toContain(told);
    await expect.poll(() => s3.keys().catch(() => []), { timeout: 5_000 }).toEqual([]);
    expect(s3.endpoint.openUploads).toBe(0);
    await s3.close();
  });
});

test("the doctor names the header that it tried", async () => {
  const s3 = await EndpointPlace.start();
  const diagnosis = await diagnoseStore(s3.config({ createIfAbsent: "x-oss-forbid-overwrite" }));
  expect(diagnosis.verdict).toBe("single-writer only");
  expect(detailOf(diagnosis, "create-if-absent, key exists")).toContain("x-oss-forbid-overwrite is ignored");
  await s3.close();
});

test("the doctor on a bucket that wants checksums: with them all is well", async () => {
  const s3 = await EndpointPlace.start({ character: "wants-checksums" });
  const { verdict, checks } = await diagnoseStore(s3.config({ payloadSigning: "unsigned" }));
  expect(verdict).toBe("fenced");
  expect(checks.filter(({ ok, severity }) => ok === false && severity !== "info")).toEqual([]);
  await s3.close();
});

test(
  `a racing store is caught in ${RUNS} of ${RUNS} runs, however short its window`,
  { timeout: 900_000 },
  async () => {
    let caught = 0;
    for (let round = 0; round < RUNS; round++) {
      const s3 = await EndpointPlace.start({ character: "races-conditions", raceWindowMs: round % 4 });
      const { verdict, because } = await diagnoseStore(s3.config());
      if (verdict === "single-writer only" && because.includes("create-if-absent, racing")) caught += 1;
      await s3.close();
    }
    expect(caught).toBe(RUNS);
  },
);
