import {
  CopyObjectCommand,
  CreateBucketCommand,
  DeleteBucketCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  GetObjectTaggingCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListBucketsCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  PutObjectTaggingCommand,
  type GetObjectCommandInput,
  type ListObjectsV2CommandInput,
  type PutObjectCommandInput,
} from "@aws-sdk/client-s3";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { BUCKET, clientOf, EndpointClient, verdict } from "./endpoint-client.ts";

let on: EndpointClient;

beforeEach(async () => {
  on = await EndpointClient.start();
});

afterEach(() => on.close());

const put = (Key: string, Body: string, more: Partial<PutObjectCommandInput> = {}) =>
  on.s3.send(new PutObjectCommand({ Bucket: BUCKET, Key, Body: Buffer.from(Body), ...more }));
const get = (Key: string, more: Partial<GetObjectCommandInput> = {}) =>
  on.s3.send(new GetObjectCommand({ Bucket: BUCKET, Key, ...more }));
const text = async (Key: string, more: Partial<GetObjectCommandInput> = {}) =>
  (await get(Key, more)).Body?.transformToString();

describe("buckets", () => {
  test("are created, listed, asked for and deleted when empty", async () => {
    expect(await verdict(on.s3.send(new CreateBucketCommand({ Bucket: "second" })))).toBe(200);
    expect(await verdict(on.s3.send(new CreateBucketCommand({ Bucket: "Not A Bucket" })))).toEqual([
      400,
      "InvalidBucketName",
    ]);
    const { Buckets } = await on.s3.send(new ListBucketsCommand({}));
    expect(Buckets?.map(({ Name }) => Name)).toEqual([BUCKET, "second"]);
    expect(Buckets?.[0]?.CreationDate).toBeInstanceOf(Date);
    await on.s3.send(new PutObjectCommand({ Bucket: "second", Key: "k", Body: "x" }));
    const remove = () => verdict(on.s3.send(new DeleteBucketCommand({ Bucket: "second" })));
    expect(await remove()).toEqual([409, "BucketNotEmpty"]);
    await on.s3.send(new DeleteObjectCommand({ Bucket: "second", Key: "k" }));
    expect(await remove()).toBe(204);
    expect(await verdict(on.s3.send(new HeadBucketCommand({ Bucket: "second" })))).toEqual([404, "NotFound"]);
    expect(await verdict(on.s3.send(new PutObjectCommand({ Bucket: "second", Key: "k", Body: "x" })))).toEqual([
      404,
      "NoSuchBucket",
    ]);
    expect((await on.s3.send(new HeadBucketCommand({ Bucket: BUCKET }))).BucketRegion).toBe("us-east-1");
  });
});

describe("objects", () => {
  test("come back with their metadata, their MD5 as ETag, type and time", async () => {
    const Metadata = { "put-id": "0123456789abcdef", "other-one": "with space" };
    const written = await put("a/b", "hello", { Metadata, ContentType: "text/plain", CacheControl: "no-store" });
    expect(written.ETag).toBe('"5d41402abc4b2a76b9719d911017c592"');
    for (const answer of [await get("a/b"), await on.s3.send(new HeadObjectCommand({ Bucket: BUCKET, Key: "a/b" }))]) {
      expect(answer).toMatchObject({
        ETag: written.ETag,
        Metadata,
        ContentType: "text/plain",
        CacheControl: "no-store",
        ContentLength: 5,
        AcceptRanges: "bytes",
      });
      expect(Math.abs(Number(answer.LastModified) - Date.now())).toBeLessThan(60_000);
      expect(answer.$metadata.requestId).toMatch(/^[0-9A-F]{16}$/);
    }
    expect(await verdict(put("big", "", { Metadata: { a: "x".repeat(2048) } }))).toEqual([400, "MetadataTooLarge"]);
    expect(await verdict(put("x".repeat(1025), ""))).toEqual([400, "KeyTooLongError"]);
    expect(await verdict(get("missing"))).toEqual([404, "NoSuchKey"]);
  });

  test.each([
    ["bytes=2-4", 206, "234", "bytes 2-4/10"],
    ["bytes=7-", 206, "789", "bytes 7-9/10"],
    ["bytes=-3", 206, "789", "bytes 7-9/10"],
    ["bytes=-30", 206, "0123456789", "bytes 0-9/10"],
    ["bytes=8-200", 206, "89", "bytes 8-9/10"],
    ["bytes=7-4", 200, "0123456789", undefined],
    ["bytes=0-1,4-5", 200, "0123456789", undefined],
    ["lines=0-1", 200, "0123456789", undefined],
  ])("Range %s", async (Range, status, expected, contentRange) => {
    await put("ten", "0123456789");
    const answer = await get("ten", { Range });
    const { httpStatusCode } = answer.$metadata;
    expect([httpStatusCode, answer.ContentRange]).toEqual([status, contentRange]);
    expect(await answer.Body?.transformToString()).toBe(expected);
  });

  test("a range that holds nothing is 416", async () => {
    await put("ten", "0123456789");
    await put("none", "");
    for (const Range of ["bytes=10-", "bytes=-0"]) {
      expect(await verdict(get("ten", { Range }))).toEqual([416, "InvalidRange"]);
    }
    expect(await verdict(get("none", { Range: "bytes=0-0" }))).toEqual([416, "InvalidRange"]);
  });

  test("conditions of reads", async () => {
    const { ETag = "" } = await put("k", "1");
    expect(await text("k", { IfMatch: ETag })).toBe("1");
    expect(await verdict(get("k", { IfMatch: '"stale"' }))).toEqual([412, "PreconditionFailed"]);
    expect(await verdict(get("k", { IfNoneMatch: ETag }))).toEqual([304, expect.any(String)]);
    expect(await text("k", { IfNoneMatch: '"stale"' })).toBe("1");
  });

  test("conditions of writes", async () => {
    expect(await verdict(put("k", "1", { IfNoneMatch: "*" }))).toBe(200);
    expect(await verdict(put("k", "2", { IfNoneMatch: "*" }))).toEqual([412, "PreconditionFailed"]);
    expect(await verdict(put("k", "2", { IfNoneMatch: '"tag"' }))).toEqual([501, "NotImplemented"]);
    const { ETag = "" } = await get("k");
    expect(await verdict(put("k", "2", { IfMatch: '"stale"' }))).toEqual([412, "PreconditionFailed"]);
    expect(await verdict(put("k", "2", { IfMatch: ETag.slice(1, -1) }))).toEqual([412, "PreconditionFailed"]);
    expect(await text("k")).toBe("1");
    expect(await verdict(put("k", "2", { IfMatch: ETag }))).toBe(200);
    expect(await verdict(put("missing", "x", { IfMatch: ETag }))).toEqual([404, "NoSuchKey"]);
    expect(await text("k")).toBe("2");
    const remove = (IfMatch: string) =>
      verdict(on.s3.send(new DeleteObjectCommand({ Bucket: BUCKET, Key: "k", IfMatch })));
    expect(await remove(ETag)).toEqual([412, "PreconditionFailed"]);
    expect(await remove((await get("k")).ETag ?? "")).toBe(204);
    expect(await verdict(get("k"))).toEqual([404, "NoSuchKey"]);
  });

  test("are copied, with their metadata or with other", async () => {
    const { ETag = "" } = await put("from ü/+", "body", { Metadata: { a: "1" }, ContentType: "text/plain" });
    const copy = (more: object) =>
      on.s3.send(
        new CopyObjectCommand({
          Bucket: BUCKET,
          Key: "to",
          CopySource: encodeURI(`${BUCKET}/from ü/+`).replace("+", "%2B"),
          ...more,
        }),
      );
    expect((await copy({})).CopyObjectResult?.ETag).toBe(ETag);
    expect(await get("to")).toMatchObject({ Metadata: { a: "1" }, ContentType: "text/plain" });
    await copy({ MetadataDirective: "REPLACE", Metadata: { b: "2" } });
    expect(await get("to")).toMatchObject({ Metadata: { b: "2" } });
    expect(await verdict(copy({ CopySourceIfMatch: '"stale"' }))).toEqual([412, "PreconditionFailed"]);
    expect(await verdict(copy({ IfNoneMatch: "*" }))).toEqual([412, "PreconditionFailed"]);
    expect(await verdict(copy({ CopySource: `${BUCKET}/missing` }))).toEqual([404, "NoSuchKey"]);
  });

  test("are deleted in one request, which needs a checksum; quietly or not", async () => {
    await put("a&<1>", "x");
    await put("b", "x");
    const Objects = [{ Key: "a&<1>" }, { Key: "never" }];
    const answer = await on.s3.send(new DeleteObjectsCommand({ Bucket: BUCKET, Delete: { Objects } }));
    expect(answer.Deleted).toEqual(Objects);
    const quiet = await on.s3.send(
      new DeleteObjectsCommand({ Bucket: BUCKET, Delete: { Quiet: true, Objects: [{ Key: "b" }] } }),
    );
    expect([quiet.Deleted, quiet.Errors]).toEqual([undefined, undefined]);
    expect(await verdict(get("b"))).toEqual([404, "NoSuchKey"]);
  });

  test("what this endpoint does not know is 501, and changes nothing", async () => {
    await put("k", "body");
    const tags = new PutObjectTaggingCommand({ Bucket: BUCKET, Key: "k", Tagging: { TagSet: [] } });
    expect(await verdict(on.s3.send(tags))).toEqual([501, "NotImplemented"]);
    expect(await verdict(on.s3.send(new GetObjectTaggingCommand({ Bucket: BUCKET, Key: "k" })))).toEqual([
      501,
      "NotImplemented",
    ]);
    expect(await verdict(get("k", { PartNumber: 1 }))).toEqual([501, "NotImplemented"]);
    expect(await text("k")).toBe("body");
  });
});

describe("listings", () => {
  const KEYS = ["a", "a/1", "a/2", "a0", "b/x/1", "b/y", "c d&e", "ä", "\uf8ff", "😀"];

  async function listed(more: Partial<ListObjectsV2CommandInput>): Promise<string[]> {
    const names: string[] = [];
    let ContinuationToken: string | undefined;
    do {
      const page = await on.s3.send(new ListObjectsV2Command({ Bucket: BUCKET, ...more, ContinuationToken }));
      const keys = page.Contents?.map(({ Key }) => Key ?? "") ?? [];
      const prefixes = page.CommonPrefixes?.map(({ Prefix }) => `${Prefix}*`) ?? [];
      expect(page.KeyCount).toBe(keys.length + prefixes.length);
      names.push(...keys, ...prefixes);
      ContinuationToken = page.NextContinuationToken;
      expect(page.IsTruncated).toBe(ContinuationToken !== undefined);
    } while (ContinuationToken !== undefined);
    return names;
  }

  beforeEach(async () => {
    for (const key of KEYS.toReversed()) await put(key, key);
  });

  test("in the order of the bytes of UTF-8, whatever the size of the pages", async () => {
    for (const MaxKeys of [1, 3, 10, 11, 5000]) expect([MaxKeys, await listed({ MaxKeys })]).toEqual([MaxKeys, KEYS]);
    expect(await listed({ MaxKeys: 0 })).toEqual([]);
    expect(await listed({ Prefix: "a" })).toEqual(["a", "a/1", "a/2", "a0"]);
    expect(await listed({ StartAfter: "a/15", MaxKeys: 2 })).toEqual(KEYS.slice(2));
  });

  test("a delimiter joins what lies below it, over pages too", async () => {
    const top = ["a", "a/*", "a0", "b/*", "c d&e", "ä", "\uf8ff", "😀"];
    for (const MaxKeys of [1, 2, 1000]) {
      expect((await listed({ Delimiter: "/", MaxKeys })).sort()).toEqual([...top].sort());
    }
    expect(await listed({ Delimiter: "/", Prefix: "b/" })).toEqual(["b/y", "b/x/*"]);
    expect(await listed({ Delimiter: "/", StartAfter: "a/1", Prefix: "a" })).toEqual(["a0", "a/*"]);
  });

  test("encoding-type=url", async () => {
    const page = await on.s3.send(new ListObjectsV2Command({ Bucket: BUCKET, Prefix: "c ", EncodingType: "url" }));
    expect([page.EncodingType, page.Prefix, page.Contents?.[0]?.Key]).toEqual(["url", "c+", "c+d%26e"]);
  });

  test("a token that no listing gave out", async () => {
    expect(await verdict(on.s3.send(new ListObjectsV2Command({ Bucket: BUCKET, ContinuationToken: "a" })))).toEqual([
      400,
      "InvalidArgument",
    ]);
  });
});

describe("limits", () => {
  test("of a body and of everything stored: refused, and nothing is kept of it", async () => {
    const narrow = await EndpointClient.start({ maxBodyBytes: 1000, maxStoredBytes: 4000 });
    try {
      const send = (Key: string, size: number) =>
        verdict(narrow.s3.send(new PutObjectCommand({ Bucket: BUCKET, Key, Body: "x".repeat(size) })));
      expect(await send("a", 1001)).toEqual([400, "EntityTooLarge"]);
      expect(narrow.endpoint.storedBytes).toBe(0);
      expect([await send("a", 1000), await send("b", 1000)]).toEqual([200, 200]);
      expect(await send("c", 1000)).toEqual([403, "QuotaExceeded"]);
      expect(narrow.endpoint.storedBytes).toBe(2 * 1512);
      expect(await send("a", 400)).toBe(200);
      await narrow.s3.send(new DeleteObjectCommand({ Bucket: BUCKET, Key: "b" }));
      expect(narrow.endpoint.storedBytes).toBe(912);
      expect(await send("c", 1000)).toBe(200);
    } finally {
      await narrow.close();
    }
  });

  test("options that cannot be used are refused by name", async () => {
    const refused = { code: "TIERLOG_INVALID_ARGUMENT" };
    await expect(EndpointClient.start({ buckets: ["NO"] })).rejects.toMatchObject({ ...refused, argument: "buckets" });
    await expect(EndpointClient.start({ maxBodyBytes: -1 })).rejects.toMatchObject(refused);
    await expect(EndpointClient.start({ credentials: [] })).rejects.toMatchObject(refused);
    await expect(EndpointClient.start({ character: "awz" as never })).rejects.toThrow("awz");
    const both = ["minio", "ignores-conditions", "refuses-conditions"] as const;
    await expect(EndpointClient.start({ character: both })).rejects.toThrow("exclude each other");
  });
});

test("two endpoints share nothing, and a closed one answers nobody", async () => {
  const other = await EndpointClient.start();
  await put("k", "x");
  const { KeyCount } = await other.s3.send(new ListObjectsV2Command({ Bucket: BUCKET }));
  expect(KeyCount).toBe(0);
  await other.close();
  await other.endpoint.close();
  const again = clientOf(other.endpoint);
  await expect(again.send(new ListBucketsCommand({}))).rejects.toMatchObject({ code: "ECONNREFUSED" });
  again.destroy();
});
