import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  ListMultipartUploadsCommand,
  ListPartsCommand,
  PutObjectCommand,
  UploadPartCommand,
  UploadPartCopyCommand,
  type CompletedPart,
  type CompleteMultipartUploadCommandInput,
} from "@aws-sdk/client-s3";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { filled } from "../support/filled.ts";
import { BUCKET, EndpointClient, verdict } from "./endpoint-client.ts";

const PART = 5 * 1024 * 1024;
const KEY = "object";

let on: EndpointClient;

beforeEach(async () => {
  on = await EndpointClient.start();
});

afterEach(() => on.close());

async function create(Key = KEY, more: object = {}): Promise<string> {
  const created = await on.s3.send(new CreateMultipartUploadCommand({ Bucket: BUCKET, Key, ...more }));
  return created.UploadId ?? "";
}

async function putPart(UploadId: string, PartNumber: number, Body: Uint8Array): Promise<CompletedPart> {
  const { ETag = "" } = await on.s3.send(
    new UploadPartCommand({ Bucket: BUCKET, Key: KEY, UploadId, PartNumber, Body }),
  );
  return { PartNumber, ETag };
}

const complete = (UploadId: string, Parts: CompletedPart[], more: Partial<CompleteMultipartUploadCommandInput> = {}) =>
  on.s3.send(
    new CompleteMultipartUploadCommand({ Bucket: BUCKET, Key: KEY, UploadId, MultipartUpload: { Parts }, ...more }),
  );
const abort = (UploadId: string) => on.s3.send(new AbortMultipartUploadCommand({ Bucket: BUCKET, Key: KEY, UploadId }));
const get = async (): Promise<Uint8Array | undefined> =>
  (await on.s3.send(new GetObjectCommand({ Bucket: BUCKET, Key: KEY }))).Body?.transformToByteArray();

describe("completion", () => {
  test("a subset of the parts, in order: MD5 of MD5s, metadata of the start; repeated, the same answer", async () => {
    const upload = await create(KEY, { Metadata: { "put-id": "7" }, ContentType: "text/plain" });
    const first = await putPart(upload, 1, filled(PART, 1));
    await putPart(upload, 2, filled(PART, 2));
    const last = await putPart(upload, 3, filled(10, 3));
    const done = await complete(upload, [first, last]);
    expect(done).toMatchObject({ Bucket: BUCKET, Key: KEY, ETag: expect.stringMatching(/^"[0-9a-f]{32}-2"$/) });
    const object = await on.s3.send(new GetObjectCommand({ Bucket: BUCKET, Key: KEY }));
    expect(object).toMatchObject({ ETag: done.ETag, Metadata: { "put-id": "7" }, ContentType: "text/plain" });
    const expected = Buffer.concat([filled(PART, 1), filled(10, 3)]);
    expect(Buffer.compare((await object.Body?.transformToByteArray()) ?? new Uint8Array(0), expected)).toBe(0);
    expect([on.endpoint.openUploads, on.endpoint.storedBytes]).toEqual([0, PART + 10 + 512]);

    await on.s3.send(new PutObjectCommand({ Bucket: BUCKET, Key: KEY, Body: "newer" }));
    expect((await complete(upload, [first, last])).ETag).toBe(done.ETag);
    expect(Buffer.from((await get()) ?? []).toString()).toBe("newer");
    expect(await verdict(abort(upload))).toEqual([404, "NoSuchUpload"]);
  });

  test("what is refused, and leaves the upload as it was", async () => {
    const upload = await create();
    const small = await putPart(upload, 1, filled(10, 1));
    const last = await putPart(upload, 2, filled(10, 2));
    const refused = async (parts: CompletedPart[], code: string): Promise<void> => {
      expect(await verdict(complete(upload, parts))).toEqual([400, code]);
    };
    await refused([], "MalformedXML");
    await refused([{ PartNumber: 1 }], "MalformedXML");
    await refused([small, last], "EntityTooSmall");
    await refused([last, small], "InvalidPartOrder");
    await refused([small, small], "InvalidPartOrder");
    await refused([{ ...small, ETag: '"0123"' }], "InvalidPart");
    await refused([small, { ...last, PartNumber: 3 }], "InvalidPart");
    expect(await verdict(complete("never", [small]))).toEqual([404, "NoSuchUpload"]);
    expect(await verdict(complete(upload, [small], { Key: "other" }))).toEqual([404, "NoSuchUpload"]);
    expect(on.endpoint.openUploads).toBe(1);
    expect(await verdict(complete(upload, [{ PartNumber: 2, ETag: last.ETag?.slice(1, -1) }]))).toBe(200);
  });

  test("conditions: a failed one leaves the upload open", async () => {
    const { ETag = "" } = await on.s3.send(new PutObjectCommand({ Bucket: BUCKET, Key: KEY, Body: "there" }));
    const upload = await create();
    const part = await putPart(upload, 1, filled(10, 1));
    expect(await verdict(complete(upload, [part], { IfNoneMatch: "*" }))).toEqual([412, "PreconditionFailed"]);
    expect(await verdict(complete(upload, [part], { IfMatch: '"stale"' }))).toEqual([412, "PreconditionFailed"]);
    expect(Buffer.from((await get()) ?? []).toString()).toBe("there");
    expect(await verdict(complete(upload, [part], { IfMatch: ETag }))).toBe(200);
  });

  test("16 completions of 16 uploads race with If-None-Match: one wins", async () => {
    const uploads = await Promise.all(Array.from({ length: 16 }, () => create()));
    const parts = await Promise.all(uploads.map((upload, i) => putPart(upload, 1, filled(10, i))));
    const verdicts = await Promise.all(
      uploads.map((upload, i) => verdict(complete(upload, [parts[i] ?? {}], { IfNoneMatch: "*" }))),
    );
    expect(verdicts.filter((one) => one === 200)).toHaveLength(1);
    expect(on.endpoint.openUploads).toBe(15);
  });
});

test("an aborted upload gives its bytes back and is unknown", async () => {
  const upload = await create();
  const part = await putPart(upload, 1, filled(1000, 1));
  expect(on.endpoint.storedBytes).toBe(512 + 1512);
  await putPart(upload, 1, filled(2000, 1));
  expect(on.endpoint.storedBytes).toBe(512 + 2512);
  expect(await verdict(abort(upload))).toBe(204);
  expect(on.endpoint.storedBytes).toBe(0);
  const gone = [404, "NoSuchUpload"];
  expect(await verdict(abort(upload))).toEqual(gone);
  expect(await verdict(complete(upload, [part]))).toEqual(gone);
  const list = new ListPartsCommand({ Bucket: BUCKET, Key: KEY, UploadId: upload });
  expect(await verdict(on.s3.send(list))).toEqual(gone);
  await expect(putPart(upload, 1, filled(1, 1))).rejects.toMatchObject({ name: "NoSuchUpload" });
});

test("part numbers are 1 … 10,000", async () => {
  const upload = await create();
  await expect(putPart(upload, 0, filled(1, 1))).rejects.toMatchObject({ name: "InvalidArgument" });
  await expect(putPart(upload, 10_001, filled(1, 1))).rejects.toMatchObject({ name: "InvalidArgument" });
});

test("parts are listed in pages, by number", async () => {
  const upload = await create();
  for (const number of [9, 2, 5]) await putPart(upload, number, filled(number, number));
  const page = (PartNumberMarker?: string) =>
    on.s3.send(new ListPartsCommand({ Bucket: BUCKET, Key: KEY, UploadId: upload, MaxParts: 2, PartNumberMarker }));
  const first = await page();
  expect([first.IsTruncated, first.Parts?.map(({ PartNumber, Size }) => [PartNumber, Size])]).toEqual([
    true,
    [
      [2, 2],
      [5, 5],
    ],
  ]);
  const second = await page(first.NextPartNumberMarker);
  expect([second.IsTruncated, second.Parts?.map(({ PartNumber }) => PartNumber)]).toEqual([false, [9]]);
});

test("uploads are listed in pages, by key and age, below a prefix", async () => {
  const names = ["a/1", "a/2", "a/2", "b"];
  const started: [string, string][] = [];
  for (const name of names.toReversed()) started.push([name, await create(name)]);
  const expected = started.toSorted((a, b) => (a < b ? -1 : 1));
  const found: [string | undefined, string | undefined][] = [];
  let markers: { KeyMarker?: string; UploadIdMarker?: string } = {};
  let pages = 0;
  for (let more = true; more;) {
    const page = await on.s3.send(new ListMultipartUploadsCommand({ Bucket: BUCKET, MaxUploads: 1, ...markers }));
    found.push(...(page.Uploads ?? []).map(({ Key, UploadId }): [typeof Key, typeof UploadId] => [Key, UploadId]));
    pages += 1;
    more = page.IsTruncated === true;
    markers = { KeyMarker: page.NextKeyMarker ?? "", UploadIdMarker: page.NextUploadIdMarker ?? "" };
  }
  expect([pages, found]).toEqual([4, expected]);
  const below = await on.s3.send(new ListMultipartUploadsCommand({ Bucket: BUCKET, Prefix: "a/" }));
  expect(below.Uploads?.map(({ Key }) => Key)).toEqual(["a/1", "a/2", "a/2"]);
  const behind = await on.s3.send(new ListMultipartUploadsCommand({ Bucket: BUCKET, KeyMarker: "a/2" }));
  expect(behind.Uploads?.map(({ Key }) => Key)).toEqual(["b"]);
});

test("a part can be a range of an object", async () => {
  await on.s3.send(new PutObjectCommand({ Bucket: BUCKET, Key: "source", Body: "0123456789" }));
  const upload = await create();
  const copy = (CopySourceRange: string) =>
    on.s3.send(
      new UploadPartCopyCommand({
        Bucket: BUCKET,
        Key: KEY,
        UploadId: upload,
        PartNumber: 1,
        CopySource: `${BUCKET}/source`,
        CopySourceRange,
      }),
    );
  const { CopyPartResult } = await copy("bytes=2-5");
  expect(await verdict(copy("2-5"))).toEqual([400, "InvalidArgument"]);
  await complete(upload, [{ PartNumber: 1, ETag: CopyPartResult?.ETag }]);
  expect(Buffer.from((await get()) ?? []).toString()).toBe("2345");
});
