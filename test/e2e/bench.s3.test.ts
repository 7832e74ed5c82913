import { afterEach, beforeEach, expect, inject, test } from "vitest";

import { createS3Store } from "../../src/object-store/s3-store.ts";
import { systemRuntime } from "../../src/runtime/runtime.ts";
import { describeS3, freshPrefix, s3Settings } from "../support/s3.ts";
import { jsonLines, Workplace } from "./tierlog.ts";

let place: Workplace;
let prefix: string;
let env: Record<string, string>;
beforeEach(async () => {
  place = await Workplace.make();
  prefix = freshPrefix();
  const server = inject("s3");
  env = {
    TIERLOG_SYSTEM_STORAGE_KIND: "object",
    TIERLOG_SYSTEM_STORAGE_OBJECT_BUCKET: server?.bucket ?? "",
    TIERLOG_SYSTEM_STORAGE_OBJECT_PREFIX: prefix,
    AWS_ENDPOINT_URL_S3: server?.endpoint ?? "",
    AWS_REGION: server?.region ?? "",
    AWS_ACCESS_KEY_ID: server?.accessKeyId ?? "",
    AWS_SECRET_ACCESS_KEY: server?.secretAccessKey ?? "",
  };
});
afterEach(() => place.remove());

async function keys(): Promise<string[]> {
  const store = createS3Store(s3Settings(prefix), systemRuntime);
  const found: string[] = [];
  for await (const { key } of store.list("")) found.push(key);
  await store.close();
  return found;
}

describeS3("bench flush on an object store", () => {
  test("small flushes, and such that need uploads in parts: nothing left", async () => {
    const small = await place.run(["bench", "flush", "--seconds", "2", "--producers", "8", "--json"], "", env);
    expect([small.exitCode, small.stderr]).toEqual([0, ""]);
    const load = ["--seconds", "2", "--producers", "200", "--record-size", "64 KiB"];
    const parts = ["--set", "system.storage.object.multipart_part_size=5 MiB"];
    const { exitCode, stdout, stderr } = await place.run(["bench", "flush", ...load, ...parts, "--json"], "", env);
    expect([exitCode, stderr]).toEqual([0, ""]);
    const [report = {}] = jsonLines(stdout);
    expect(report).toMatchObject({ removed: true, failedRequests: 0 });
    expect((report["requests"] as { createMultipart: number }).createMultipart).toBeGreaterThan(0);
    expect(await keys()).toEqual([]);
  });

  test("SIGINT: nothing left, exit code 130", async () => {
    const running = place.start(["bench", "flush", "--set", "system.flush.linger=10ms"], env);
    while (!(await keys()).some((key) => key.endsWith(".idx"))) await new Promise((resolve) => setTimeout(resolve, 50));
    running.child.kill("SIGINT");
    const { exitCode, stdout } = await running.finished;
    expect([exitCode, stdout.toString()]).toEqual([130, ""]);
    expect(await keys()).toEqual([]);
  });
});
