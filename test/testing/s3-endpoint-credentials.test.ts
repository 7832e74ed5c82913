import {
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListBucketsCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  type S3ClientConfig,
} from "@aws-sdk/client-s3";
import { afterEach, beforeEach, expect, test } from "vitest";

import { systemClock } from "../../src/runtime/clock.ts";
import type { S3BackendOptions } from "../../src/testing/s3/backend.ts";
import type { S3Action, S3Credential } from "../../src/testing/s3/credentials.ts";
import { BUCKET, clientOf, EndpointClient, verdict, withHeaders } from "./endpoint-client.ts";

const KEYS: S3Credential = { accessKeyId: "MAINKEY", secretAccessKey: "main-secret" };
const MINUTE_MS = 60_000;

let on: EndpointClient;

beforeEach(() => start({}));
afterEach(() => on.close());

async function start(options: S3BackendOptions): Promise<void> {
  on = await EndpointClient.start({ credentials: [KEYS], ...options });
  await on.s3.send(new PutObjectCommand({ Bucket: BUCKET, Key: "there", Body: "x" })).catch(() => undefined);
}

async function restart(options: S3BackendOptions): Promise<void> {
  await on.close();
  await start(options);
}

async function listAs(config: S3ClientConfig): Promise<unknown> {
  const client = clientOf(on.endpoint, config);
  try {
    return await verdict(client.send(new ListBucketsCommand({})));
  } finally {
    client.destroy();
  }
}

test("key, secret and region are checked", async () => {
  expect(await listAs({})).toBe(200);
  expect(await listAs({ credentials: { ...KEYS, accessKeyId: "OTHER" } })).toEqual([403, "InvalidAccessKeyId"]);
  expect(await listAs({ credentials: { ...KEYS, secretAccessKey: "no" } })).toEqual([403, "SignatureDoesNotMatch"]);
  expect(await listAs({ region: "eu-west-1" })).toEqual([400, "AuthorizationHeaderMalformed"]);
});

test("whoever signs nothing, or in another way, is refused", async () => {
  const ask = async (headers: Record<string, string>, path = "/"): Promise<string> => {
    const answer = await fetch(on.endpoint.url + path, { headers });
    return `${answer.status} ${/<Code>(.*)<\/Code>/.exec(await answer.text())?.[1]}`;
  };
  expect(await ask({})).toBe("403 AccessDenied");
  expect(await ask({ authorization: "AWS MAINKEY:abc" })).toBe("400 InvalidRequest");
  expect(await ask({ authorization: "AWS4-HMAC-SHA256 Credential=x" })).toBe("400 AuthorizationHeaderMalformed");
  expect(await ask({}, "/?X-Amz-Signature=0")).toBe("501 NotImplemented");
});

test("a header put in on the way, or changed, is noticed", async () => {
  const put = async (headers: Record<string, string>): Promise<unknown> => {
    const client = withHeaders(clientOf(on.endpoint), headers, false);
    const answer = verdict(client.send(new PutObjectCommand({ Bucket: BUCKET, Key: "k", Body: "x" })));
    return answer.finally(() => client.destroy());
  };
  expect(await put({ "x-amz-meta-owner": "me" })).toEqual([403, "AccessDenied"]);
  expect(await put({ "content-type": "changed/type" })).toEqual([403, "SignatureDoesNotMatch"]);
  expect(await put({ "x-amz-date": "20200101T000000Z" })).toEqual([403, "RequestTimeTooSkewed"]);
  expect(await put({})).toBe(200);
});

test("a session token must come, be right and not have expired; then other credentials count", async () => {
  const expiresAtMs = Date.now() + MINUTE_MS;
  const session = { accessKeyId: "SESSION", secretAccessKey: "s", sessionToken: "token-1", expiresAtMs };
  on.endpoint.setCredentials([session]);
  expect(await listAs({ credentials: session })).toBe(200);
  const { accessKeyId, secretAccessKey } = session;
  expect(await listAs({ credentials: { accessKeyId, secretAccessKey } })).toEqual([403, "InvalidAccessKeyId"]);
  expect(await listAs({ credentials: { ...session, sessionToken: "token-2" } })).toEqual([400, "InvalidToken"]);
  expect(await listAs({ credentials: { ...KEYS, sessionToken: "t" } })).toEqual([403, "InvalidAccessKeyId"]);

  on.endpoint.setCredentials([{ ...session, expiresAtMs: Date.now() - 1 }]);
  expect(await listAs({ credentials: session })).toEqual([400, "ExpiredToken"]);
  on.endpoint.setCredentials([{ ...session, sessionToken: "token-2" }]);
  expect(await listAs({ credentials: on.endpoint.credentials })).toBe(200);
});

test("a clock 15 minutes off is refused, and the Date of the answer says what it should be", async () => {
  await restart({ clockOffsetMs: 20 * MINUTE_MS });
  expect(await listAs({})).toEqual([403, "RequestTimeTooSkewed"]);
  // The SDK sets its clock by the answer; this is a second request of the same client.
  const client = clientOf(on.endpoint, { maxAttempts: 2 });
  expect(await verdict(client.send(new ListBucketsCommand({})))).toBe(200);
  client.destroy();
  await restart({ clockOffsetMs: -14 * MINUTE_MS });
  expect(await listAs({})).toBe(200);
});

test("the wall clock is the injected one", async () => {
  await restart({ clock: { ...systemClock, now: () => 0 } });
  expect(await listAs({})).toEqual([403, "RequestTimeTooSkewed"]);
});

const get = (Key: string) => on.s3.send(new GetObjectCommand({ Bucket: BUCKET, Key }));
const deny = (...deniedActions: S3Action[]): void => on.endpoint.setCredentials([{ ...KEYS, deniedActions }]);

test("without s3:ListBucket a missing key is 403, for HEAD too, and a present one is there", async () => {
  expect(await verdict(get("missing"))).toEqual([404, "NoSuchKey"]);
  deny("s3:ListBucket");
  expect(await verdict(get("there"))).toBe(200);
  expect(await verdict(get("missing"))).toEqual([403, "AccessDenied"]);
  const head = new HeadObjectCommand({ Bucket: BUCKET, Key: "missing" });
  expect(await verdict(on.s3.send(head))).toEqual([403, expect.any(String)]);
  expect(await verdict(on.s3.send(new ListObjectsV2Command({ Bucket: BUCKET })))).toEqual([403, "AccessDenied"]);
});

test("If-Match on a write needs s3:GetObject too", async () => {
  deny("s3:GetObject");
  const put = (condition: object) =>
    verdict(on.s3.send(new PutObjectCommand({ Bucket: BUCKET, Key: "k", Body: "x", ...condition })));
  expect(await put({ IfMatch: '"any"' })).toEqual([403, "AccessDenied"]);
  expect(await put({ IfNoneMatch: "*" })).toBe(200);
});

test("a denied delete among many is said of each key", async () => {
  deny("s3:DeleteObject");
  const answer = await on.s3.send(
    new DeleteObjectsCommand({ Bucket: BUCKET, Delete: { Objects: [{ Key: "there" }] } }),
  );
  expect(answer.Errors).toMatchObject([{ Key: "there", Code: "AccessDenied" }]);
  expect(await verdict(get("there"))).toBe(200);
});

test("credentials that could not be used are refused, and the old ones stay", async () => {
  for (const wrong of [[], [{ ...KEYS, secretAccessKey: "" }], [KEYS, KEYS]]) {
    expect(() => on.endpoint.setCredentials(wrong)).toThrow("credentials");
  }
  expect(await listAs({})).toBe(200);
});
