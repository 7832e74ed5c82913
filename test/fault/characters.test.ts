import { afterEach, describe, expect, test } from "vitest";

import type { Config } from "../../src/config/config.ts";
import type { ObjectKey } from "../../src/domain.ts";
import { Engine, type OpenOptions } from "../../src/engine/engine.ts";
import { openStore } from "../../src/engine/open-store.ts";
import type { ObjectStore } from "../../src/object-store/object-store.ts";
import { systemRuntime } from "../../src/runtime/runtime.ts";
import type { S3BackendOptions } from "../../src/testing/s3/backend.ts";
import { EndpointPlace } from "../support/endpoint-place.ts";
import { readAll, values } from "../support/engine.ts";

/** Named cases that are whole servers of another character. F23 and F24: test/engine/first-use.test.ts. */

const MIB = 1024 * 1024;

const ended: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const end of ended.splice(0).toReversed()) await end();
});

async function place(options: S3BackendOptions): Promise<EndpointPlace> {
  const started = await EndpointPlace.start(options);
  ended.push(() => started.close());
  return started;
}

async function open(config: Config, options: OpenOptions = {}): Promise<Engine> {
  const engine = await Engine.open(config, options);
  ended.push(() => engine.close());
  return engine;
}

async function storeOf(config: Config): Promise<ObjectStore> {
  const store = await openStore(config, systemRuntime, false);
  ended.push(() => store.close());
  return store;
}

/** 14 records of 900 KiB, which fill no part of 5 MiB evenly. */
const BIG = Array.from({ length: 14 }, (_, i) => `${i} `.repeat(900 * 1024).slice(0, 900 * 1024));

/** One flush above one part, read back by another engine: as appended, once, in order (I1, I2, I3). */
async function appendBig(config: Config): Promise<void> {
  const writer = await open(config);
  await writer.createTopic("t", { partitions: 1 });
  await (await writer.topic("t")).partition(0).append(values(...BIG));
  const reader = await open(config, { readOnly: true });
  const stored = await readAll((await reader.topic("t")).partition(0));
  expect(stored.map((text, i) => text === BIG[i])).toEqual(BIG.map(() => true));
}

describe("F25 checksum-header-refused", () => {
  test("by default nothing asks for it: appends and uploads in parts pass (I1, I2)", async () => {
    const s3 = await place({ character: "refuses-checksum-headers" });
    await appendBig(s3.config({ multipartPartSizeBytes: 5 * MIB }));
    expect(s3.endpoint.requests.count("CompleteMultipartUpload", 200)).toBe(1);
  });

  test('payload_signing = "unsigned": refused at once, by the name of the setting, and nothing is written', async () => {
    const s3 = await place({ character: "refuses-checksum-headers" });
    const error: unknown = await Engine.open(s3.config({ payloadSigning: "unsigned" })).catch((reason) => reason);
    expect(error).toMatchObject({
      code: "TIERLOG_OBJECT_STORE",
      effect: "none",
      retryable: false,
      message: expect.stringContaining('set system.storage.object.payload_signing to "signed"') as string,
    });
    expect(await s3.keys()).toEqual([]);
  });
});

test("F26 unequal-parts-provider: parts are of one size but the last, so a big flush passes (I1, I2, I3)", async () => {
  const s3 = await place({ character: "r2" });
  await appendBig(s3.config({ multipartPartSizeBytes: 5 * MIB }));
  expect(s3.endpoint.requests.count("UploadPart", 200)).toBe(3);
  expect(s3.endpoint.requests.count("CompleteMultipartUpload", 200)).toBe(1);
});

describe("F52 versioned-or-locked-bucket", () => {
  test("a delete that is denied key by key, inside a 200, is told, and what is kept stays readable", async () => {
    const s3 = await place({});
    s3.endpoint.setCredentials([{ ...s3.endpoint.credentials, deniedActions: ["s3:DeleteObject"] }]);
    const store = await storeOf(s3.config());
    const keys = ["data/a", "data/b", "data/c"] as ObjectKey[];
    for (const key of keys) await store.put(key, Buffer.from(key), { condition: { kind: "if-absent" } });
    await expect(store.delete(keys)).rejects.toMatchObject({
      code: "TIERLOG_OBJECT_STORE",
      operation: "delete",
      key: "data/a",
      retryable: false,
      message: "delete data/a and 2 more keys: AccessDenied: the credentials do not allow this",
    });
    // Denied once is denied: asked again it would be for ever.
    expect(s3.endpoint.requests.count("DeleteObjects")).toBe(1);
    for (const key of keys) expect(Buffer.from((await store.get(key))?.body ?? []).toString()).toBe(key);
  });

  test("an engine whose old checkpoints cannot be deleted goes on, and says so (I1)", async () => {
    const s3 = await place({});
    s3.endpoint.setCredentials([{ ...s3.endpoint.credentials, deniedActions: ["s3:DeleteObject"] }]);
    const warnings: string[] = [];
    const logger = { info: () => undefined, warn: (message: string) => warnings.push(message) };
    const config = { ...s3.config(), index: { checkpointEvery: 16 } };
    const engine = await open(config, { runtime: { logger } });
    await engine.createTopic("t", { partitions: 1 });
    const partition = (await engine.topic("t")).partition(0);
    const texts = Array.from({ length: 80 }, (_, i) => `r${i}`);
    for (const text of texts) await partition.append(values(text));
    await engine.close();
    expect(warnings.filter((message) => message.includes("checkpoint")).length).toBeGreaterThan(0);
    const reader = await open(config, { readOnly: true });
    expect(await readAll((await reader.topic("t")).partition(0))).toEqual(texts);
  });
});
