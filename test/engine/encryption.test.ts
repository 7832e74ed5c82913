import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, describe, expect, test } from "vitest";

import type { Config } from "../../src/config/config.ts";
import { Engine, type OpenOptions } from "../../src/engine/engine.ts";
import type { S3BackendOptions } from "../../src/testing/s3/backend.ts";
import { EndpointPlace } from "../support/endpoint-place.ts";
import { readAll, values } from "../support/engine.ts";

type Place = (encryption: object) => Config;

const key = (fill: number): string => Buffer.alloc(32, fill).toString("base64");
const OURS = { mode: "sse-c", customerKey: key(1) } as const;
const KMS = { mode: "sse-kms", kmsKeyId: "key/one" } as const;

const ended: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const end of ended.splice(0).toReversed()) await end();
});

async function place(options: S3BackendOptions = {}): Promise<{ s3: EndpointPlace; config: Place }> {
  const s3 = await EndpointPlace.start({ character: "plain-by-default", ...options });
  ended.push(() => s3.close());
  return { s3, config: (encryption) => s3.config({ encryption }) };
}

async function open(config: Config, options: OpenOptions = {}): Promise<Engine> {
  const engine = await Engine.open(config, options);
  ended.push(() => engine.close());
  return engine;
}

/** One flush inline, one beyond a part. */
async function fill(engine: Engine, small = false): Promise<void> {
  await engine.createTopic("t", { partitions: 1 });
  const partition = (await engine.topic("t")).partition(0);
  await partition.append(values("small"));
  if (small) return;
  const large = "x".repeat(900 * 1024);
  await Promise.all(Array.from({ length: 10 }, () => partition.append(values(large))));
}

describe.each([["sse-s3", { mode: "sse-s3" }] as const, ["sse-kms", KMS] as const, ["sse-c", OURS] as const])(
  "%s",
  (_, encryption) => {
    test("everything is written with it and read again, index files and data objects", async () => {
      const { s3, config } = await place({ kmsKeys: ["key/one"] });
      const engine = await open(config(encryption));
      await fill(engine);
      await engine.close();
      expect((await s3.keys()).some((name) => name.startsWith("data/"))).toBe(true);
      const reader = await open(config(encryption), { readOnly: true });
      expect(await readAll((await reader.topic("t")).partition(0))).toHaveLength(11);
    });

    test.each(["ignores-encryption", "refuses-encryption"] as const)(
      "%s: refused before anything is stored",
      async (character) => {
        const { s3, config } = await place({ character });
        await expect(Engine.open(config(encryption))).rejects.toMatchObject({
          code: "TIERLOG_CONFIG",
          message: expect.stringContaining(`"${encryption.mode}" is not what bucket`) as string,
        });
        expect(await s3.keys()).toEqual([]);
      },
    );
  },
);

test("a bucket that blocks customer keys says how to allow them", async () => {
  const { s3, config } = await place({ character: "blocks-customer-keys" });
  await expect(Engine.open(config(OURS))).rejects.toThrow(/AWS blocks SSE-C/);
  expect(await s3.keys()).toEqual([]);
});

describe("an existing store, opened with", () => {
  test.each([
    ["another key", OURS, { mode: "sse-c", customerKey: key(2) }],
    ["no key", OURS, { mode: "none" }],
    ["a key it was made without", { mode: "none" }, OURS],
  ])("%s: refused, read-only too, never taken for empty", async (_, made, opened) => {
    const { s3, config } = await place();
    await fill(await open(config(made)), true);
    const before = await s3.keys();
    for (const readOnly of [true, false]) {
      const error: unknown = await Engine.open(config(opened), { readOnly }).catch((reason: unknown) => reason);
      expect(error).toMatchObject({ code: "TIERLOG_OBJECT_STORE", retryable: false });
      expect((error as Error).message).toContain("system.storage.object.encryption");
      for (const secret of [key(1), key(2)]) expect(JSON.stringify(error) + String(error)).not.toContain(secret);
    }
    expect(await s3.keys()).toEqual(before);
  });
});

test("the key comes from a file when the store is opened", async () => {
  const directory = await mkdtemp(join(tmpdir(), "tierlog-key-"));
  ended.push(() => rm(directory, { recursive: true, force: true }));
  const { config } = await place();
  const file = join(directory, "key");
  const byFile = config({ mode: "sse-c", customerKeyFile: file });
  await expect(Engine.open(byFile)).rejects.toMatchObject({ code: "TIERLOG_CONFIG", exitCode: 78 });
  await writeFile(file, `${key(1)}\n`);
  await (await open(byFile)).close();
  await open(config(OURS), { readOnly: true });
  await writeFile(file, Buffer.alloc(32, 2));
  await expect(Engine.open(byFile, { readOnly: true })).rejects.toMatchObject({ status: 403 });
});
