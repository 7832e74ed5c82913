import { CreateBucketCommand, S3Client } from "@aws-sdk/client-s3";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";

import { freshPrefix } from "../support/s3.ts";
import { missingForSwift, startSwift, type Swift } from "../support/swift.ts";
import { jsonLines, Workplace } from "./tierlog.ts";

const describeSwift = missingForSwift().length === 0 ? describe : describe.skip;

/** Somebody else's server that answers 501 to every conditional PUT. */
describeSwift("on OpenStack Swift", () => {
  let swift: Swift;
  let place: Workplace;
  let env: Record<string, string>;

  beforeAll(async () => {
    swift = startSwift();
    place = await Workplace.make();
    const client = new S3Client({
      endpoint: swift.endpoint,
      region: "us-east-1",
      forcePathStyle: true,
      credentials: { accessKeyId: swift.accessKeyId, secretAccessKey: swift.secretAccessKey },
    });
    await client.send(new CreateBucketCommand({ Bucket: "tierlog-test" }));
    client.destroy();
  });
  afterAll(async () => {
    swift.stop();
    await place.remove();
  });
  beforeEach(() => {
    env = {
      TIERLOG_SYSTEM_STORAGE_KIND: "object",
      TIERLOG_SYSTEM_STORAGE_OBJECT_BUCKET: "tierlog-test",
      TIERLOG_SYSTEM_STORAGE_OBJECT_PREFIX: freshPrefix(),
      AWS_ENDPOINT_URL_S3: swift.endpoint,
      AWS_REGION: "us-east-1",
      AWS_ACCESS_KEY_ID: swift.accessKeyId,
      AWS_SECRET_ACCESS_KEY: swift.secretAccessKey,
    };
  });

  test("the doctor says single-writer only, for the 501 alone", async () => {
    const { exitCode, stdout, stderr } = await place.run(["doctor", "--json"], "", env);
    expect([exitCode, stderr]).toEqual([69, ""]);
    const [report] = jsonLines(stdout) as [
      { verdict: string; checks: { name: string; ok: boolean | null; severity: string; detail: string }[] },
    ];
    expect(report.verdict).toBe("single-writer only");
    const failed = report.checks.filter(
      ({ ok, severity }) => ok !== true && severity !== "advice" && severity !== "info",
    );
    expect(failed.map(({ name }) => name)).toEqual(["create-if-absent, key exists", "create-if-absent, racing"]);
    for (const { detail } of failed) expect(detail).toContain("HTTP 501");
    expect(report.checks.find(({ name }) => name === "clean-up")).toMatchObject({ ok: true });
  });

  test('it is refused at first use, and used with fencing = "external"', async () => {
    const create = ["topics", "create", "t", "--partitions", "1"];
    const refused = await place.run([...create, "--json"], "", env);
    expect(refused.exitCode).toBe(69);
    expect(jsonLines(refused.stderr).at(-1)).toMatchObject({
      error: { code: "TIERLOG_UNSUPPORTED_PROVIDER", failed: ["it refuses PUT with If-None-Match"] },
    });

    const external = { ...env, TIERLOG_SYSTEM_STORAGE_OBJECT_FENCING: "external" };
    const created = await place.run(create, "", external);
    expect(created.exitCode).toBe(0);
    expect(created.stderr).toMatch(/^warning: fencing = "external": /);
    expect((await place.run(["produce", "t"], "a\nb\n", external)).exitCode).toBe(0);
    expect((await place.run(["produce", "t"], "c\n", external)).exitCode).toBe(0);
    const { exitCode, stdout } = await place.run(["consume", "t"], "", external);
    expect([exitCode, stdout.toString()]).toEqual([0, "a\nb\nc\n"]);
  });
});
