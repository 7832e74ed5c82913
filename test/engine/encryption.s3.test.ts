import { afterEach, describe, expect, test } from "vitest";

import type { Config } from "../../src/config/config.ts";
import { defaultConfig } from "../../src/config/resolve-config.ts";
import { diagnoseStore } from "../../src/engine/diagnose-store.ts";
import { Engine, type OpenOptions } from "../../src/engine/engine.ts";
import { EndpointPlace } from "../support/endpoint-place.ts";
import { readAll, values } from "../support/engine.ts";
import { describeCeph, freshPrefix, s3Settings } from "../support/s3.ts";

const key = (fill: number): string => Buffer.alloc(32, fill).toString("base64");
const OURS = { mode: "sse-c", customerKey: key(1) } as const;
/** The one that test/support/ceph-rgw.sh gives to the gateway. */
const KMS = { mode: "sse-kms", kmsKeyId: "tierlog-key" } as const;

const ended: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const end of ended.splice(0).toReversed()) await end();
});

async function open(config: Config, options: OpenOptions = {}): Promise<Engine> {
  const engine = await Engine.open(config, options);
  ended.push(() => engine.close());
  return engine;
}

describeCeph("encryption at rest on Ceph's gateway", () => {
  function config(prefix: string, encryption: object, more: object = {}): Config {
    const { endpoint, bucket, region, credentials } = s3Settings(prefix);
    return defaultConfig({
      storage: { kind: "object", object: { endpoint, bucket, region, prefix, credentials, encryption, ...more } },
      flush: { lingerMs: 5 },
    });
  }

  describe.each([
    ["sse-kms", KMS, {}],
    ["sse-c", OURS, {}],
    ["sse-c, unsigned payloads", OURS, { payloadSigning: "unsigned" }],
  ] as const)("%s", (_, encryption, more) => {
    test("index files, data objects and checkpoints, written and read again", async () => {
      const prefix = freshPrefix();
      const settings = config(prefix, encryption, more);
      const writer = await open({ ...settings, index: { checkpointEvery: 16 } });
      await writer.createTopic("t", { partitions: 1 });
      const partition = (await writer.topic("t")).partition(0);
      for (let i = 0; i < 20; i++) await partition.append(values(`${i}`));
      const large = "x".repeat(900 * 1024);
      await Promise.all(Array.from({ length: 12 }, () => partition.append(values(large))));
      expect(writer.metrics()).toMatchObject({ checkpointsWritten: 1, store: { completeMultipart: { requests: 1 } } });
      await writer.close();
      const reader = await open(settings, { readOnly: true });
      expect(await readAll((await reader.topic("t")).partition(0))).toHaveLength(32);
    });
  });

  test.each([KMS, OURS])("the doctor finds $mode done", async (encryption) => {
    const { verdict, checks } = await diagnoseStore(config(freshPrefix(), encryption));
    expect(verdict).toBe("fenced");
    expect(checks.find(({ name }) => name === "encryption")).toMatchObject({ ok: true });
  });

  test.each([
    ["another key", { mode: "sse-c", customerKey: key(2) }],
    ["no key", { mode: "none" }],
  ])("a store with a customer's key, opened with %s: refused", async (_, other) => {
    const prefix = freshPrefix();
    await (await open(config(prefix, OURS))).close();
    for (const readOnly of [true, false]) {
      await expect(Engine.open(config(prefix, other), { readOnly })).rejects.toMatchObject({
        code: "TIERLOG_OBJECT_STORE",
        status: 400,
        message: expect.stringContaining("system.storage.object.encryption") as string,
      });
    }
  });

  test("sse-s3, which version 16 takes and ignores, is refused", async () => {
    await expect(Engine.open(config(freshPrefix(), { mode: "sse-s3" }))).rejects.toMatchObject({
      code: "TIERLOG_CONFIG",
      message: expect.stringContaining("it ignores it") as string,
    });
  });

  test("a KMS key that does not exist is told as such", async () => {
    await expect(Engine.open(config(freshPrefix(), { ...KMS, kmsKeyId: "nope" }))).rejects.toThrow(/kms_key_id/);
  });
});

test("the doctor on the endpoint: a customer's key is used, or ignored", async () => {
  const of = async (character: "plain-by-default" | "ignores-encryption"): Promise<unknown[]> => {
    const s3 = await EndpointPlace.start({ character });
    const { verdict, because } = await diagnoseStore(s3.config({ encryption: OURS }));
    const keys = await s3.keys();
    await s3.close();
    return [verdict, because, keys];
  };
  expect(await of("plain-by-default")).toEqual(["fenced", [], []]);
  expect(await of("ignores-encryption")).toEqual(["unusable", ["encryption"], []]);
});
