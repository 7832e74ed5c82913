import { createHash } from "node:crypto";

import { afterEach, describe, expect, test } from "vitest";

import { Secret } from "../../src/config/secret.ts";
import type { ObjectKey } from "../../src/domain.ts";
import type { ObjectStore } from "../../src/object-store/object-store.ts";
import type { S3Encryption } from "../../src/object-store/s3-encryption.ts";
import { createS3Store } from "../../src/object-store/s3-store.ts";
import { settling } from "../../src/object-store/settling.ts";
import { systemRuntime } from "../../src/runtime/runtime.ts";
import { etagOf } from "../../src/testing/conformance/store-driver.ts";
import { FaultScript } from "../../src/testing/fault-script.ts";
import type { S3EndpointOptions } from "../../src/testing/s3-endpoint.ts";
import { startEndpoint } from "../support/endpoint.ts";

const KEY = "data/ab/one" as ObjectKey;
const OTHER = "index/two" as ObjectKey;
const MIB = 1024 * 1024;
const BODY = Buffer.from("kept at rest");

const customer = (fill: number): S3Encryption => ({
  kind: "sse-c",
  key: new Secret(Buffer.alloc(32, fill).toString("base64")),
});
const OURS = customer(1);
const KMS: S3Encryption = { kind: "sse-kms", keyId: "key/one", bucketKey: true };

const ended: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const end of ended.splice(0).toReversed()) await end();
});

/** Opens stores on one bucket, each with an encryption of its own. */
async function bucket(
  options: S3EndpointOptions = {},
): Promise<(encryption?: S3Encryption, unsigned?: boolean) => ObjectStore> {
  const { server, settings } = await startEndpoint(options);
  ended.push(() => server.close());
  return (encryption, unsigned = false) => {
    const store = createS3Store(
      {
        ...settings,
        ...(encryption === undefined ? {} : { encryption }),
        payloadSigning: unsigned ? "unsigned" : "signed",
      },
      systemRuntime,
    );
    ended.push(() => store.close());
    const { clock, random } = systemRuntime;
    return settling(store, { clock, random, deadlineMs: 10_000 });
  };
}

async function upload(store: ObjectStore, key: ObjectKey): Promise<Buffer> {
  const bytes = [Buffer.alloc(5 * MIB, 1), Buffer.alloc(1000, 2)];
  const started = await store.createMultipart(key);
  const parts = [];
  for (const [i, body] of bytes.entries()) parts.push(await started.putPart(i + 1, body));
  expect(await started.listParts()).toHaveLength(2);
  await started.complete(parts);
  return Buffer.concat(bytes);
}

describe.each([
  ["sse-s3", { kind: "sse-s3" }],
  ["sse-kms", KMS],
  ["sse-c", OURS],
] as const satisfies readonly (readonly [string, S3Encryption])[])("%s", (_, encryption) => {
  test.each([false, true])("every call goes through; unsigned payloads: %s", async (unsigned) => {
    const store = (await bucket({ kmsKeys: ["key/one"] }))(encryption, unsigned);
    const etag = await etagOf(store.put(KEY, BODY, { condition: { kind: "if-absent" } }));
    expect(await store.put(KEY, Buffer.from("no"), { condition: { kind: "if-absent" } })).toEqual({
      kind: "condition-failed",
    });
    expect((await store.put(KEY, BODY, { condition: { kind: "if-match", etag } })).kind).toBe("written");
    expect(Buffer.from((await store.get(KEY))?.body ?? [])).toEqual(BODY);
    expect(Buffer.from((await store.get(KEY, { range: { start: 5, end: 7 } }))?.body ?? []).toString()).toBe("at");
    expect((await store.get(KEY, { range: { start: 100 } }))?.sizeBytes).toBe(BODY.length);
    expect(await store.head(KEY)).toMatchObject({ sizeBytes: BODY.length });
    expect([await store.get(OTHER), await store.head(OTHER)]).toEqual([undefined, undefined]);

    const bytes = await upload(store, OTHER);
    const stored = await store.get(OTHER);
    expect(Buffer.compare(stored?.body ?? new Uint8Array(0), bytes)).toBe(0);
    await store.delete([KEY, OTHER]);
    expect(await store.get(KEY)).toBeUndefined();
  });

  test.each(["PutObject", "CompleteMultipartUpload"] as const)("a lost answer of %s is settled", async (operation) => {
    const script = new FaultScript({ rules: [{ match: { operation, times: 1 }, fault: { kind: "lost-answer" } }] });
    const store = (await bucket({ faults: script }))(encryption);
    if (operation === "PutObject") await etagOf(store.put(KEY, BODY, { condition: { kind: "if-absent" } }));
    else await upload(store, KEY);
    expect(script.firedCount).toBe(1);
    expect(await store.head(KEY)).toBeDefined();
  });
});

test.each([KMS, OURS])("the ETag under $kind is no MD5: nothing may rely on it", async (encryption) => {
  const store = (await bucket())(encryption);
  const etag = await etagOf(store.put(KEY, BODY, { condition: { kind: "none" } }));
  expect(etag).not.toBe(createHash("md5").update(BODY).digest("hex"));
});

describe("an object that needs another key", () => {
  const TOLD = /system\.storage\.object\.encryption/;
  test.each([
    ["another key", OURS, customer(2), 403],
    ["none", OURS, undefined, 400],
    ["one although there is none", undefined, OURS, 400],
  ] as const)("%s: an error that says so, never absent", async (_name, written, read, status) => {
    const open = await bucket();
    await open(written).put(KEY, BODY, { condition: { kind: "none" } });
    const reader = open(read);
    for (const call of [
      () => reader.get(KEY),
      () => reader.head(KEY),
      () => reader.get(KEY, { range: { start: 1, end: 3 } }),
    ]) {
      const error: unknown = await call().catch((reason: unknown) => reason);
      expect(error).toMatchObject({ code: "TIERLOG_OBJECT_STORE", status, retryable: false });
      expect((error as Error).message).toMatch(TOLD);
    }
    expect(await reader.get(OTHER)).toBeUndefined();
  });

  test("a put whose answer was lost stays unknown, and is not taken for absent", async () => {
    const open = await bucket();
    await open(OURS).put(KEY, BODY, { condition: { kind: "if-absent" } });
    // 412, but whose object it is cannot be seen.
    await expect(open(customer(2)).put(KEY, BODY, { condition: { kind: "if-absent" } })).rejects.toMatchObject({
      status: 403,
      effect: "unknown",
    });
  });
});

describe("what a store refuses", () => {
  test.each([
    ["blocks-customer-keys", OURS, 403, /AWS blocks SSE-C/],
    ["refuses-encryption", KMS, 501, /encryption\.mode/],
    ["refuses-encryption", { kind: "sse-s3" }, 501, /encryption\.mode/],
  ] as const)("%s", async (character, encryption, status, told) => {
    const store = (await bucket({ character }))(encryption);
    const error: unknown = await store
      .put(KEY, BODY, { condition: { kind: "none" } })
      .catch((reason: unknown) => reason);
    expect(error).toMatchObject({ status, retryable: false, effect: "none" });
    expect((error as Error).message).toMatch(told);
  });

  test("a KMS key that does not exist, and one that may not be used", async () => {
    const { server, settings } = await startEndpoint({ kmsKeys: ["other"] });
    ended.push(() => server.close());
    const store = createS3Store({ ...settings, encryption: KMS }, systemRuntime);
    ended.push(() => store.close());
    const put = (): Promise<unknown> => store.put(KEY, BODY, { condition: { kind: "none" } });
    await expect(put()).rejects.toThrow(/KMS\.NotFoundException.*kms_key_id/);
    server.setCredentials([{ ...server.credentials, deniedActions: ["kms:GenerateDataKey"] }]);
    const denied = createS3Store({ ...settings, encryption: { ...KMS, keyId: "other" } }, systemRuntime);
    ended.push(() => denied.close());
    await expect(denied.put(KEY, BODY, { condition: { kind: "none" } })).rejects.toThrow(/403.*kms:GenerateDataKey/);
  });
});

describe("settings that are refused", () => {
  const settings = {
    bucket: "b",
    region: "us-east-1",
    prefix: "",
    forcePathStyle: true,
    requestTimeoutMs: 1000,
    maxSockets: 1,
    credentials: { accessKeyId: "key", secretAccessKey: "secret" },
    ifMatchEtag: "quoted",
  } as const;

  test("a customer's key over plain HTTP to another machine", () => {
    const endpoint = "http://store.example.com";
    expect(() => createS3Store({ ...settings, endpoint, encryption: OURS }, systemRuntime)).toThrow(/needs https/);
    const store = createS3Store({ ...settings, endpoint, encryption: KMS }, systemRuntime);
    ended.push(() => store.close());
  });

  test("any with Google's signature, which takes the headers out", () => {
    const google = { ...settings, createIfAbsent: "x-goog-if-generation-match" } as const;
    expect(() => createS3Store({ ...google, encryption: KMS }, systemRuntime)).toThrow(/Google/);
  });
});
