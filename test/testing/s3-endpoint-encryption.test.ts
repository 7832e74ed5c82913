import { createHash } from "node:crypto";

import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  UploadPartCommand,
  type PutObjectCommandInput,
} from "@aws-sdk/client-s3";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

import type { S3BackendOptions } from "../../src/testing/s3/backend.ts";
import { BUCKET, EndpointClient, verdict } from "./endpoint-client.ts";

const KEY_ID = "arn:aws:kms:us-east-1:111122223333:key/one";
const KMS = { ServerSideEncryption: "aws:kms", SSEKMSKeyId: KEY_ID, BucketKeyEnabled: true } as const;
const OURS = customerKey(1);
const THEIRS = customerKey(2);
const OBJECT = { Bucket: BUCKET, Key: "k" };

function customerKey(fill: number): { SSECustomerAlgorithm: string; SSECustomerKey: string } {
  return { SSECustomerAlgorithm: "AES256", SSECustomerKey: Buffer.alloc(32, fill).toString("base64") };
}

let on: EndpointClient;

beforeEach(async () => {
  on = await EndpointClient.start();
});

afterEach(() => on.close());

async function restart(options: S3BackendOptions): Promise<void> {
  await on.close();
  on = await EndpointClient.start(options);
}

const put = (more: Partial<PutObjectCommandInput> = {}) =>
  on.s3.send(new PutObjectCommand({ ...OBJECT, Body: "body", ...more }));
const get = (more: object = {}) => on.s3.send(new GetObjectCommand({ ...OBJECT, ...more }));
const head = (more: object = {}) => on.s3.send(new HeadObjectCommand({ ...OBJECT, ...more }));

test("AES256 is what a write gets that asks for nothing, and what one gets that asks for it", async () => {
  for (const more of [{}, { ServerSideEncryption: "AES256" } as const]) {
    const written = await put(more);
    expect(written.ServerSideEncryption).toBe("AES256");
    expect((await head()).ServerSideEncryption).toBe("AES256");
    // An MD5 still.
    expect(written.ETag).toBe(`"${createHash("md5").update("body").digest("hex")}"`);
  }
  expect(await verdict(put({ ServerSideEncryption: "ROT13" as never }))).toEqual([400, "InvalidArgument"]);
});

test("KMS: echoed by writes, GET and HEAD; the ETag is no MD5; only keys that exist", async () => {
  await restart({ kmsKeys: [KEY_ID] });
  const written = await put(KMS);
  for (const answer of [written, await get(), await head()]) expect(answer).toMatchObject(KMS);
  expect(written.ETag).not.toContain(createHash("md5").update("body").digest("hex"));
  expect((await put(KMS)).ETag).not.toBe(written.ETag);
  expect(await verdict(put({ ...KMS, SSEKMSKeyId: "other" }))).toEqual([400, "KMS.NotFoundException"]);
  expect(await verdict(put({ SSEKMSKeyId: KEY_ID }))).toEqual([400, "InvalidArgument"]);
  const unnamed = await put({ ServerSideEncryption: "aws:kms" });
  expect([unnamed.SSEKMSKeyId, unnamed.BucketKeyEnabled]).toEqual([
    "arn:aws:kms:us-east-1:000000000000:alias/aws/s3",
    undefined,
  ]);
});

test("KMS needs its actions beside S3's", async () => {
  const denied = [403, "AccessDenied"];
  const { credentials } = on.endpoint;
  await put(KMS);
  on.endpoint.setCredentials([{ ...credentials, deniedActions: ["kms:Decrypt"] }]);
  expect([await verdict(put(KMS)), await verdict(get()), await verdict(head())]).toEqual([200, denied, 200]);
  expect(await verdict(on.s3.send(new CreateMultipartUploadCommand({ ...OBJECT, ...KMS })))).toEqual(denied);
  on.endpoint.setCredentials([{ ...credentials, deniedActions: ["kms:GenerateDataKey"] }]);
  expect([await verdict(put(KMS)), await verdict(put()), await verdict(get())]).toEqual([denied, 200, 200]);
});

describe("a customer's key", () => {
  test("must come with GET and HEAD, and be the same", async () => {
    const written = await put(OURS);
    const keyMd5 = createHash("md5").update(Buffer.alloc(32, 1)).digest("base64");
    for (const answer of [written, await get(OURS), await head(OURS)]) {
      expect(answer).toMatchObject({ SSECustomerAlgorithm: "AES256", SSECustomerKeyMD5: keyMd5 });
      expect(answer.ServerSideEncryption).toBeUndefined();
    }
    expect(await verdict(get())).toEqual([400, "InvalidRequest"]);
    expect(await verdict(get(THEIRS))).toEqual([403, "AccessDenied"]);
    expect(await verdict(head())).toEqual([400, expect.any(String)]);
    expect(await verdict(head(THEIRS))).toEqual([403, expect.any(String)]);
    await put();
    expect(await verdict(get(OURS))).toEqual([400, "InvalidRequest"]);
  });

  test("must be one", async () => {
    expect(await verdict(put({ ...OURS, SSECustomerAlgorithm: "ROT13" }))).toEqual([400, "InvalidArgument"]);
    expect(await verdict(put({ ...OURS, SSECustomerKey: "c2hvcnQ=" }))).toEqual([400, "InvalidArgument"]);
    expect(await verdict(put({ ...OURS, ServerSideEncryption: "AES256" }))).toEqual([400, "InvalidArgument"]);
  });

  test("must come with every part, and with the source of a copy", async () => {
    const { UploadId } = await on.s3.send(new CreateMultipartUploadCommand({ ...OBJECT, ...OURS }));
    const part = (more: object) =>
      on.s3.send(new UploadPartCommand({ ...OBJECT, UploadId, PartNumber: 1, Body: "body", ...more }));
    expect(await verdict(part({}))).toEqual([400, "InvalidRequest"]);
    expect(await verdict(part(THEIRS))).toEqual([400, "InvalidRequest"]);
    const { ETag } = await part(OURS);
    const MultipartUpload = { Parts: [{ PartNumber: 1, ETag }] };
    await on.s3.send(new CompleteMultipartUploadCommand({ ...OBJECT, UploadId, MultipartUpload }));
    expect(await (await get(OURS)).Body?.transformToString()).toBe("body");

    const copy = (more: object) =>
      verdict(on.s3.send(new CopyObjectCommand({ Bucket: BUCKET, Key: "to", CopySource: `${BUCKET}/k`, ...more })));
    expect(await copy({})).toEqual([400, "InvalidRequest"]);
    const { SSECustomerAlgorithm, SSECustomerKey } = OURS;
    const source = { CopySourceSSECustomerAlgorithm: SSECustomerAlgorithm, CopySourceSSECustomerKey: SSECustomerKey };
    expect(await copy({ ...source, ...THEIRS })).toBe(200);
    expect(await verdict(head({ Key: "to", ...THEIRS }))).toBe(200);
  });

  test("an upload without one takes none", async () => {
    const { UploadId } = await on.s3.send(new CreateMultipartUploadCommand(OBJECT));
    const part = new UploadPartCommand({ ...OBJECT, UploadId, PartNumber: 1, Body: "body", ...OURS });
    expect(await verdict(on.s3.send(part))).toEqual([400, "InvalidRequest"]);
  });
});

describe("characters", () => {
  test("plain-by-default", async () => {
    await restart({ character: "plain-by-default" });
    expect((await put()).ServerSideEncryption).toBeUndefined();
    expect((await put({ ServerSideEncryption: "AES256" })).ServerSideEncryption).toBe("AES256");
  });

  test("ignores-encryption: taken, and nothing done", async () => {
    await restart({ character: "ignores-encryption" });
    expect((await put(KMS)).ServerSideEncryption).toBeUndefined();
    expect((await head()).ServerSideEncryption).toBeUndefined();
    expect((await put(OURS)).SSECustomerKeyMD5).toBeUndefined();
    expect(await verdict(get())).toBe(200);
  });

  test("refuses-encryption", async () => {
    await restart({ character: "refuses-encryption" });
    expect(await verdict(put(KMS))).toEqual([501, "NotImplemented"]);
    expect(await verdict(put(OURS))).toEqual([501, "NotImplemented"]);
    expect(await verdict(put())).toBe(200);
  });

  test("blocks-customer-keys", async () => {
    await restart({ character: "blocks-customer-keys" });
    expect(await verdict(put(OURS))).toEqual([403, "AccessDenied"]);
    expect(await verdict(put(KMS))).toBe(200);
  });
});
