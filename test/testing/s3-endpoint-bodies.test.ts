import { createHash } from "node:crypto";
import { Readable } from "node:stream";

import {
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  PutObjectCommand,
  UploadPartCommand,
  type PutObjectCommandInput,
  type S3Client,
} from "@aws-sdk/client-s3";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { crc32c } from "../../src/record/crc32c.ts";
import type { S3Trait } from "../../src/testing/s3/character.ts";
import { filled } from "../support/filled.ts";
import { BUCKET, clientOf, EndpointClient, verdict, withHeaders } from "./endpoint-client.ts";

const BODY = Buffer.from("a body");
const CRC32C = "x-amz-checksum-crc32c";

let on: EndpointClient;
const clients: S3Client[] = [];

beforeEach(() => start());

afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy();
  await on.close();
});

async function start(...character: S3Trait[]): Promise<void> {
  on = await EndpointClient.start({ character });
}

async function restart(...character: S3Trait[]): Promise<void> {
  await on.close();
  await start(...character);
}

function client(config: Parameters<typeof clientOf>[1]): S3Client {
  const made = clientOf(on.endpoint, config);
  clients.push(made);
  return made;
}

const put = (more: Partial<PutObjectCommandInput>, s3 = on.s3) =>
  s3.send(new PutObjectCommand({ Bucket: BUCKET, Key: "k", Body: BODY, ...more }));
const get = (s3 = on.s3, more: object = {}) => s3.send(new GetObjectCommand({ Bucket: BUCKET, Key: "k", ...more }));

function base64(value: number): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes.toString("base64");
}

/** Sends `body`, framed already, under headers that are signed. */
function framed(body: string, decodedLength: number): Promise<unknown> {
  const s3 = withHeaders(client({}), {
    "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    "x-amz-decoded-content-length": String(decodedLength),
    "x-amz-trailer": CRC32C,
    "content-encoding": "aws-chunked",
  });
  return verdict(put({ Body: Buffer.from(body) }, s3));
}

describe("checksums", () => {
  test.each(["CRC32", "CRC32C", "SHA1", "SHA256"] as const)("%s is verified, kept and echoed", async (algorithm) => {
    const written = await put({ ChecksumAlgorithm: algorithm });
    const value = written[`Checksum${algorithm}`];
    expect(value).toMatch(/=$/);
    const checking = client({ responseChecksumValidation: "WHEN_SUPPORTED" });
    const read = await get(checking);
    expect([read[`Checksum${algorithm}`], await read.Body?.transformToString()]).toEqual([value, "a body"]);
    const wrong = put({
      [`Checksum${algorithm}`]: Buffer.alloc(algorithm.startsWith("CRC") ? 4 : 20).toString("base64"),
    });
    expect(await verdict(wrong)).toEqual([400, "BadDigest"]);
    expect((await get())[`Checksum${algorithm}`]).toBeUndefined();
  });

  test("two at once, and one that cannot be checked here", async () => {
    const one = base64(crc32c(BODY));
    expect(await verdict(put({ ChecksumCRC32C: one, ChecksumSHA256: one }))).toEqual([400, "InvalidRequest"]);
    expect(await verdict(put({ ChecksumCRC64NVME: "AAAAAAAAAAA=" }))).toEqual([501, "NotImplemented"]);
  });

  test("Content-MD5", async () => {
    const md5 = createHash("md5").update(BODY).digest("base64");
    expect(await verdict(put({ ContentMD5: md5 }))).toBe(200);
    expect(await verdict(put({ ContentMD5: createHash("md5").digest("base64") }))).toEqual([400, "BadDigest"]);
    expect(await verdict(put({ ContentMD5: "short" }))).toEqual([400, "InvalidDigest"]);
  });

  test("the hash that the signature covers", async () => {
    const s3 = client({});
    s3.middlewareStack.add(
      (next) => async (args) => {
        Object.assign(args.request as object, { body: Buffer.from("A BODY") });
        return next(args);
      },
      { step: "deserialize", name: "changedOnTheWay" },
    );
    expect(await verdict(put({}, s3))).toEqual([400, "XAmzContentSHA256Mismatch"]);
    const unsigned = withHeaders(client({}), { "x-amz-content-sha256": "UNSIGNED-PAYLOAD" });
    expect(await verdict(put({}, unsigned))).toBe(200);
    const odd = withHeaders(client({}), { "x-amz-content-sha256": "none" });
    expect(await verdict(put({}, odd))).toEqual([400, "InvalidArgument"]);
  });

  test("of parts, named again at the completion, and of the whole object", async () => {
    const upload = { Bucket: BUCKET, Key: "k" };
    const created = await on.s3.send(new CreateMultipartUploadCommand({ ...upload, ChecksumAlgorithm: "CRC32C" }));
    const { UploadId } = created;
    const sent = await on.s3.send(
      new UploadPartCommand({ ...upload, UploadId, PartNumber: 1, Body: BODY, ChecksumAlgorithm: "CRC32C" }),
    );
    expect(sent.ChecksumCRC32C).toBe(base64(crc32c(BODY)));
    const complete = (named: string | undefined, whole: string) =>
      verdict(
        on.s3.send(
          new CompleteMultipartUploadCommand({
            ...upload,
            UploadId,
            ChecksumCRC32C: whole,
            ChecksumType: "FULL_OBJECT",
            MultipartUpload: { Parts: [{ PartNumber: 1, ETag: sent.ETag, ChecksumCRC32C: named }] },
          }),
        ),
      );
    const right = base64(crc32c(BODY));
    expect(await complete(base64(1), right)).toEqual([400, "InvalidPart"]);
    expect(await complete(right, base64(1))).toEqual([400, "BadDigest"]);
    expect(await complete(right, right)).toBe(200);
  });
});

describe("aws-chunked", () => {
  test("what the SDK sends of a stream by default is stored without its framing", async () => {
    const whole = filled(300_000, 3);
    const Body = Readable.from([whole.subarray(0, 100_000), whole.subarray(100_000)]);
    const s3 = client({ requestChecksumCalculation: "WHEN_SUPPORTED" });
    await put({ Body, ContentLength: whole.length, ContentEncoding: "identity" }, s3);
    const read = await get();
    expect([read.ContentLength, read.ContentEncoding]).toEqual([whole.length, "identity"]);
    expect(Buffer.compare((await read.Body?.transformToByteArray()) ?? new Uint8Array(0), whole)).toBe(0);
  });

  test("framing, length and trailer must be right", async () => {
    const trailer = `${CRC32C}:${base64(crc32c(BODY))}\r\n\r\n`;
    expect(await framed(`2\r\na \r\n4\r\nbody\r\n0\r\n${trailer}`, 6)).toBe(200);
    expect(await (await get()).Body?.transformToString()).toBe("a body");
    expect(await framed(`6\r\nA BODY\r\n0\r\n${trailer}`, 6)).toEqual([400, "BadDigest"]);
    expect(await framed(`6\r\na body\r\n0\r\n${trailer}`, 7)).toEqual([400, "IncompleteBody"]);
    expect(await framed(`7\r\na body\r\n0\r\n${trailer}`, 6)).toEqual([400, "IncompleteBody"]);
    expect(await framed("6\r\na body\r\n", 6)).toEqual([400, "IncompleteBody"]);
    expect(await framed("not framed", 10)).toEqual([400, "IncompleteBody"]);
  });
});

describe("bodies of XML", () => {
  test.each([
    "",
    "no xml",
    "<Delete><Object></Delete>",
    "<Delete/>",
    "<Delete>&nosuch;</Delete>",
    "<!DOCTYPE a><Delete/>",
  ])("%j is refused", async (xml) => {
    const s3 = client({});
    s3.middlewareStack.add(
      (next) => async (args) => {
        const { request } = args as { request: { body: unknown; headers: Record<string, string> } };
        request.body = Buffer.from(xml);
        request.headers["content-length"] = String(Buffer.byteLength(xml));
        request.headers["content-md5"] = createHash("md5").update(xml).digest("base64");
        delete request.headers["x-amz-checksum-crc32"];
        return next(args);
      },
      { step: "build", priority: "low", name: "otherBody" },
    );
    const remove = new DeleteObjectsCommand({ Bucket: BUCKET, Delete: { Objects: [{ Key: "k" }] } });
    expect(await verdict(s3.send(remove))).toEqual([400, "MalformedXML"]);
  });
});

describe("characters", () => {
  const WRONG = { ChecksumCRC32C: "AAAAAA==" };
  const WRONG_MD5 = { ContentMD5: createHash("md5").digest("base64") };
  const stream = (): Promise<unknown> => {
    const s3 = client({ requestChecksumCalculation: "WHEN_SUPPORTED" });
    return verdict(put({ Body: Readable.from([BODY]), ContentLength: BODY.length }, s3));
  };

  test("unchecked-bodies", async () => {
    await restart("unchecked-bodies");
    expect([await verdict(put(WRONG)), await verdict(put(WRONG_MD5))]).toEqual([200, 200]);
  });

  test("unchecked-checksums", async () => {
    await restart("unchecked-checksums");
    expect([await verdict(put(WRONG)), await verdict(put(WRONG_MD5))]).toEqual([200, [400, "BadDigest"]]);
  });

  test("refuses-checksum-headers", async () => {
    await restart("refuses-checksum-headers");
    const refused = [501, "NotImplemented"];
    expect(await verdict(put({ ChecksumAlgorithm: "CRC32C" }))).toEqual(refused);
    expect(await verdict(put({}, client({ requestChecksumCalculation: "WHEN_SUPPORTED" })))).toEqual(refused);
    expect(await stream()).toEqual(refused);
    expect(await verdict(put({}))).toBe(200);
  });

  test("refuses-chunked-bodies", async () => {
    expect(await stream()).toBe(200);
    await restart("refuses-chunked-bodies");
    expect(await stream()).toEqual([411, "MissingContentLength"]);
    expect(await verdict(put({ ChecksumAlgorithm: "CRC32" }))).toBe(200);
  });

  test("wants-checksums", async () => {
    await restart("wants-checksums");
    const MD5 = createHash("md5").update(BODY).digest("base64");
    expect(await verdict(put({}))).toEqual([400, "InvalidRequest"]);
    expect(await verdict(put({ ContentMD5: MD5 }))).toBe(200);
    expect(await verdict(put({ ChecksumAlgorithm: "CRC32" }))).toBe(200);
    const { UploadId } = await on.s3.send(new CreateMultipartUploadCommand({ Bucket: BUCKET, Key: "u" }));
    const part = (more: object) =>
      verdict(
        on.s3.send(new UploadPartCommand({ Bucket: BUCKET, Key: "u", UploadId, PartNumber: 1, Body: BODY, ...more })),
      );
    expect(await part({})).toEqual([400, "InvalidRequest"]);
    expect(await part({ ContentMD5: MD5 })).toBe(200);
  });

  test("wants-content-md5", async () => {
    const remove = (s3: S3Client) =>
      verdict(s3.send(new DeleteObjectsCommand({ Bucket: BUCKET, Delete: { Objects: [{ Key: "k" }] } })));
    expect(await remove(on.s3)).toBe(200);
    await restart("wants-content-md5");
    expect(await remove(on.s3)).toEqual([400, "InvalidRequest"]);
  });
});
