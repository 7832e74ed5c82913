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

async function keysLeft(): Promise<string[]> {
  const store = createS3Store(s3Settings(prefix), systemRuntime);
  const keys: string[] = [];
  for await (const { key } of store.list("")) keys.push(key);
  await store.close();
  return keys;
}

describeS3("on an object store", () => {
  test("the demo reads back what it wrote, below its own prefix, and removes it", async () => {
    await place.run(["topics", "create", "mine", "--partitions", "1"], "", env);
    const before = await keysLeft();
    const { exitCode, stdout, stderr } = await place.run(["demo", "--json", "--records", "20000"], "", env);
    expect([exitCode, stderr]).toEqual([0, ""]);
    expect(jsonLines(stdout)).toMatchObject([{ kind: "object", records: 20_000, partitions: 16, verified: true }]);
    expect(before.length).toBeGreaterThan(0);
    expect(await keysLeft()).toEqual(before);
  });

  test("a topic, a producer and a consumer, each in a process of its own", async () => {
    expect(await place.run(["topics", "create", "t", "--partitions", "2"], "", env)).toMatchObject({ exitCode: 0 });
    const argv = ["produce", "t", "--partition", "1"];
    expect(await place.run(argv, "a\r\nb\n", env)).toMatchObject({ exitCode: 0, stderr: "" });
    const { stdout, stderr } = await place.run(["consume", "t"], "", env);
    expect([stdout.toString(), stderr]).toEqual(["a\r\nb\n", ""]);
  });

  test("a bucket that does not exist: told as such, not as a bug", async () => {
    const wrong = { ...env, TIERLOG_SYSTEM_STORAGE_OBJECT_BUCKET: "there-is-no-such-bucket" };
    const { exitCode, stderr } = await place.run(["topics", "list", "--json"], "", wrong);
    expect(exitCode).toBe(75);
    expect(jsonLines(stderr).at(-1)).toMatchObject({ error: { code: "TIERLOG_OBJECT_STORE" } });
  });
});
