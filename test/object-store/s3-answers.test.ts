import type { IncomingMessage, ServerResponse } from "node:http";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import type { ObjectKey } from "../../src/domain.ts";
import type { ObjectStore } from "../../src/object-store/object-store.ts";
import { createS3Store } from "../../src/object-store/s3-store.ts";
import { settling } from "../../src/object-store/settling.ts";
import { systemClock } from "../../src/runtime/clock.ts";
import { seededRandom } from "../../src/runtime/random.ts";
import { systemRuntime } from "../../src/runtime/runtime.ts";
import { PlayedServer, errorXml, sends } from "../support/played-server.ts";

const KEY = "index/0001/00000000000000000001.idx" as ObjectKey;
const BODY = Buffer.from("0123456789");
const IF_ABSENT = { condition: { kind: "if-absent" } } as const;

const PAGE = "<html><head><title>Log in</title></head><body><h1>Welcome</h1></body></html>";
const BROKEN_PAGE = "<!DOCTYPE html><html><body><p>Sorry<br><hr></body></html>";
const HTML = { "content-type": "text/html; charset=utf-8" };

let server: PlayedServer;
let store: ObjectStore;

beforeEach(async () => {
  server = new PlayedServer();
  await server.start();
  store = createS3Store(
    {
      bucket: "bucket",
      region: "us-east-1",
      endpoint: server.endpoint,
      prefix: "",
      credentials: { accessKeyId: "key", secretAccessKey: "secret" },
      forcePathStyle: true,
      requestTimeoutMs: 20_000,
      maxSockets: 4,
      ifMatchEtag: "quoted",
    },
    systemRuntime,
  );
});

afterEach(async () => {
  await store.close();
  await server.stop();
});

async function listed(): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of store.list("")) keys.push(key);
  return keys;
}

/** Everything that is asked of a store, but for what needs an upload. */
const calls: Readonly<Record<string, () => Promise<unknown>>> = {
  put: () => store.put(KEY, BODY, IF_ABSENT),
  get: () => store.get(KEY),
  head: () => store.head(KEY),
  list: listed,
  delete: () => store.delete([KEY, "other" as ObjectKey]),
  createMultipart: () => store.createMultipart(KEY),
};

describe("a 2xx that no S3 server sent is never success", () => {
  test.each(Object.keys(calls))("a page for a browser to %s", async (name) => {
    for (const page of [PAGE, BROKEN_PAGE]) {
      server.answer = sends(200, page, HTML);
      const effect = name === "put" ? "unknown" : "none";
      await expect(calls[name]?.()).rejects.toMatchObject({ code: "TIERLOG_OBJECT_STORE", retryable: true, effect });
    }
    expect(await server.openSockets()).toBeLessThanOrEqual(1);
  });

  test("but OpenStack Swift calls its empty answers HTML, and means them", async () => {
    const swift = { ...HTML, etag: '"0a"', "x-amz-request-id": "tx1" };
    server.answer = sends(200, "", swift);
    await expect(store.put(KEY, BODY, IF_ABSENT)).resolves.toEqual({ kind: "written", etag: "0a" });
    server.answer = sends(204, "", swift);
    await expect(store.delete([KEY])).resolves.toBeUndefined();
  });

  test.each(["put", "get", "head", "list", "delete"])("an empty 200, or 204, to %s", async (name) => {
    for (const status of [200, 204]) {
      server.answer = sends(status, "");
      await expect(calls[name]?.()).rejects.toMatchObject({ code: "TIERLOG_OBJECT_STORE", retryable: true });
    }
  });

  test.each(["put", "list", "delete", "createMultipart"])("200 with an error of S3 inside to %s", async (name) => {
    server.answer = sends(200, errorXml("SlowDown"));
    await expect(calls[name]?.()).rejects.toMatchObject({ retryable: true, status: 503 });
    expect(server.requests).toHaveLength(1);
  });

  test("200 with an error of S3 inside to a get is not the object", async () => {
    server.answer = sends(200, errorXml("SlowDown"));
    await expect(store.get(KEY)).rejects.toMatchObject({ retryable: true });
  });

  test("a part of the object to a get of all", async () => {
    server.answer = sends(206, "0123", { "content-range": "bytes 0-3/10", etag: '"e"' });
    await expect(store.get(KEY)).rejects.toMatchObject({ retryable: false });
  });

  test("a multi-delete that does not say what became of every key", async () => {
    const one = "<Deleted><Key>other</Key></Deleted>";
    server.answer = sends(200, `<?xml version="1.0"?><DeleteResult>${one}</DeleteResult>`);
    await expect(calls["delete"]?.()).rejects.toMatchObject({ retryable: true });
  });

  test("behind the settling wrapper a put that a portal took is read back, found absent, and sent again", async () => {
    const settled = settling(store, { clock: systemClock, random: seededRandom(1), deadlineMs: 20_000 });
    const answers = [sends(200, PAGE, HTML), sends(404, errorXml("NoSuchKey")), sends(200, "", { etag: '"e"' })];
    server.answer = (request: IncomingMessage, response: ServerResponse) => answers.shift()?.(request, response);
    expect(await settled.put(KEY, BODY, IF_ABSENT)).toEqual({ kind: "written", etag: "e" });
    expect(server.requests.map(({ method }) => method)).toEqual(["PUT", "GET", "PUT"]);
  });
});

describe("errors of whom we did not ask", () => {
  test.each([
    [503, PAGE, true],
    [503, BROKEN_PAGE, true],
    [503, "upstream connect error", true],
    [503, "", true],
    [502, PAGE, true],
    [429, "", true],
    [403, PAGE, false],
    [404, BROKEN_PAGE, false],
  ])("%i %s", async (status, body, retryable) => {
    server.answer = sends(status, body, body.startsWith("<") ? HTML : {});
    for (const call of Object.values(calls)) await expect(call()).rejects.toMatchObject({ status, retryable });
    await expect(store.put(KEY, BODY, IF_ABSENT)).rejects.toMatchObject({ effect: "unknown" });
  });
});

describe("a HEAD cannot say why", () => {
  const headIs =
    (status: number, get: (request: IncomingMessage, response: ServerResponse) => void) =>
    (request: IncomingMessage, response: ServerResponse): void => {
      if (request.method === "HEAD") sends(status, "")(request, response);
      else get(request, response);
    };

  test.each([
    ["clock", 403, errorXml("RequestTimeTooSkewed"), 403, true],
    ["token", 400, errorXml("ExpiredToken"), 400, false],
    ["permission", 403, errorXml("AccessDenied"), 403, false],
    ["bucket", 404, errorXml("NoSuchBucket"), 404, false],
  ])("%s: the GET that follows does", async (_, headStatus, xml, status, retryable) => {
    server.answer = headIs(headStatus, sends(status, xml));
    await expect(store.head(KEY)).rejects.toMatchObject({ status, retryable, effect: "none" });
    expect(server.requests.map(({ method }) => method)).toEqual(["HEAD", "GET"]);
  });

  test("404 for an object that is there: the GET finds it", async () => {
    server.answer = headIs(404, sends(206, "0", { "content-range": "bytes 0-0/10", etag: '"e"' }));
    expect(await store.head(KEY)).toEqual({ key: KEY, sizeBytes: 10, etag: "e" });
  });

  /** Answers as for an empty object: no byte is in any range. */
  const emptyObject = (request: IncomingMessage, response: ServerResponse): void => {
    if (request.headers.range === undefined) sends(200, "", { etag: '"e"' })(request, response);
    else sends(416, errorXml("InvalidRange"), { "content-range": "bytes */0" })(request, response);
  };

  test("404 for an empty object: found, by three requests", async () => {
    server.answer = headIs(404, emptyObject);
    expect(await store.head(KEY)).toEqual({ key: KEY, sizeBytes: 0, etag: "e" });
    expect(server.requests.map(({ method }) => method)).toEqual(["HEAD", "GET", "GET"]);
    expect(await store.get(KEY, { range: { start: 0, end: 5 } })).toMatchObject({ sizeBytes: 0, etag: "e" });
    expect(await store.get(KEY, { range: { start: 0, end: 0 } })).toMatchObject({ sizeBytes: 0, etag: "e" });
  });

  test("404 to HEAD and 416 to every GET ends in an error", async () => {
    server.answer = headIs(404, sends(416, errorXml("InvalidRange")));
    await expect(store.head(KEY)).rejects.toMatchObject({ code: "TIERLOG_OBJECT_STORE" });
    await expect(store.get(KEY, { range: { start: 0, end: 5 } })).rejects.toMatchObject({
      code: "TIERLOG_OBJECT_STORE",
    });
    expect(server.requests.length).toBeLessThanOrEqual(7);
  });
});

describe("F21 a clock that is wrong by 20 minutes", () => {
  const SKEW_MS = 20 * 60_000;

  /** As S3 does: refuses what is signed more than 15 minutes beside its own clock, and says what time it is. */
  const strict = (request: IncomingMessage, response: ServerResponse): void => {
    const nowMs = Date.now() + SKEW_MS;
    const date = new Date(nowMs).toUTCString();
    const signed = String(request.headers["x-amz-date"]).replace(
      /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/,
      "$1-$2-$3T$4:$5:$6Z",
    );
    const off = Math.abs(Date.parse(signed) - nowMs) > 15 * 60_000;
    if (off) sends(403, errorXml("RequestTimeTooSkewed"), { date })(request, response);
    else sends(200, "", { etag: '"e"', date })(request, response);
  };

  test("one attempt corrects it, the next is signed right; so with several at a time", async () => {
    // The first four wait for one another: none is signed after the first answer came.
    const early: (() => void)[] = [];
    server.answer = (request, response) => {
      if (server.requests.length > 4) strict(request, response);
      else if (early.push(() => strict(request, response)) === 4) for (const answer of early) answer();
    };
    const settled = settling(store, { clock: systemClock, random: seededRandom(1), deadlineMs: 20_000 });
    const keys = [1, 2, 3, 4].map((n) => `index/0001/0000000000000000000${n}.idx` as ObjectKey);
    const outcomes = await Promise.all(keys.map((key) => settled.put(key, BODY, IF_ABSENT)));
    expect(outcomes.map(({ kind }) => kind)).toEqual(Array(4).fill("written"));
    // No read-back: a refusal leaves nothing in doubt.
    expect(server.requests.map(({ method }) => method)).toEqual(Array(8).fill("PUT"));
    await settled.put("later" as ObjectKey, BODY, IF_ABSENT);
    expect(server.requests).toHaveLength(9);
  });
});
