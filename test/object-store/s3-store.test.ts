import { Readable } from "node:stream";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import type { ObjectKey } from "../../src/domain.ts";
import type { ObjectStore } from "../../src/object-store/object-store.ts";
import { collectBody } from "../../src/object-store/s3-body.ts";
import { createS3Store, type S3StoreSettings } from "../../src/object-store/s3-store.ts";
import { systemRuntime } from "../../src/runtime/runtime.ts";
import { PlayedServer, errorXml, sends } from "../support/played-server.ts";

const KEY = "a/b" as ObjectKey;
const BODY = Buffer.from("0123456789");
const TIMEOUT_MS = 300;
const IF_ABSENT = { condition: { kind: "if-absent" } } as const;

let server: PlayedServer;
let store: ObjectStore;

beforeEach(async () => {
  server = new PlayedServer();
  await server.start();
  store = open();
});

afterEach(async () => {
  await store.close();
  await server.stop();
});

function open(changes: Partial<S3StoreSettings> = {}): ObjectStore {
  const settings: S3StoreSettings = {
    bucket: "bucket",
    region: "us-east-1",
    endpoint: server.endpoint,
    prefix: "pre/fix",
    credentials: { accessKeyId: "CANARYKEY", secretAccessKey: "CANARYSECRET" },
    forcePathStyle: true,
    requestTimeoutMs: TIMEOUT_MS,
    maxSockets: 4,
    ifMatchEtag: "quoted",
  };
  return createS3Store({ ...settings, ...changes }, systemRuntime);
}

describe("time and broken connections", () => {
  test("a silent server: one request, error at the deadline, no socket left", async () => {
    const startedAt = performance.now();
    const failure = store.put(KEY, BODY, IF_ABSENT);
    await expect(failure).rejects.toMatchObject({ code: "TIERLOG_OBJECT_STORE", retryable: true, effect: "unknown" });
    expect(performance.now() - startedAt).toBeLessThan(TIMEOUT_MS * 4);
    expect(server.requests).toHaveLength(1);
    expect(await server.openSockets()).toBe(0);
  });

  test("a body of one byte now and then does not outlive the deadline", async () => {
    let drip: NodeJS.Timeout | undefined;
    server.answer = (_, response) => {
      response.writeHead(200, { "content-length": 1000, etag: '"e"' });
      drip = setInterval(() => response.write("x"), 20);
      response.on("close", () => clearInterval(drip));
    };
    const startedAt = performance.now();
    await expect(store.get(KEY)).rejects.toMatchObject({ retryable: true, effect: "none" });
    expect(performance.now() - startedAt).toBeLessThan(TIMEOUT_MS * 4);
    expect(await server.openSockets()).toBe(0);
  });

  test("a truncated body is an error, never short data", async () => {
    server.answer = (_, response) => {
      response.writeHead(200, { "content-length": 1000, etag: '"e"' });
      response.write("x".repeat(500), () => response.destroy());
    };
    await expect(store.get(KEY)).rejects.toMatchObject({ code: "TIERLOG_OBJECT_STORE", retryable: true });
    expect(server.requests).toHaveLength(1);
  });

  test("a reset before the answer: retryable, effect unknown, sent once", async () => {
    server.answer = (request) => request.socket.resetAndDestroy();
    await expect(store.put(KEY, BODY, IF_ABSENT)).rejects.toMatchObject({ retryable: true, effect: "unknown" });
    expect(server.requests).toHaveLength(1);
  });

  test("nobody listens: retryable, effect none", async () => {
    await server.stop();
    await expect(store.put(KEY, BODY, IF_ABSENT)).rejects.toMatchObject({ retryable: true, effect: "none" });
    await server.start();
  });

  test("waiting for a free socket ends at the deadline too, and then nothing was sent", async () => {
    const narrow = open({ maxSockets: 1, requestTimeoutMs: 400 });
    const results = await Promise.allSettled([narrow.put(KEY, BODY, IF_ABSENT), narrow.put(KEY, BODY, IF_ABSENT)]);
    expect(results.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
    expect(server.requests.length).toBeLessThanOrEqual(2);
    await narrow.close();
    expect(await server.openSockets()).toBe(0);
  });

  test("the caller's signal destroys the request", async () => {
    const controller = new AbortController();
    server.answer = () => controller.abort(new Error("stop"));
    const aborted = store.put(KEY, BODY, { ...IF_ABSENT, signal: controller.signal });
    await expect(aborted).rejects.toMatchObject({ code: "TIERLOG_ABORTED", effect: "unknown" });
    expect(await server.openSockets()).toBe(0);
  });

  test("the caller's signal cuts a body in the middle", async () => {
    const controller = new AbortController();
    server.answer = (_, response) => {
      response.writeHead(200, { "content-length": 1000, etag: '"e"' });
      response.write("x".repeat(500), () => setTimeout(() => controller.abort(new Error("stop")), 30));
    };
    const aborted = store.get(KEY, { signal: controller.signal });
    await expect(aborted).rejects.toMatchObject({ code: "TIERLOG_ABORTED", effect: "none" });
    expect(await server.openSockets()).toBe(0);
  });
});

describe("one attempt", () => {
  test.each([500, 503, 409, 429])("HTTP %i is not repeated", async (status) => {
    server.answer = sends(status, errorXml("Whatever"));
    await expect(store.put(KEY, BODY, IF_ABSENT)).rejects.toMatchObject({ status, retryable: true, effect: "unknown" });
    expect(server.requests).toHaveLength(1);
  });

  test("412 is an answer", async () => {
    server.answer = sends(412, errorXml("PreconditionFailed"));
    expect(await store.put(KEY, BODY, IF_ABSENT)).toEqual({ kind: "condition-failed" });
    expect(server.requests[0]?.headers["if-none-match"]).toBe("*");
  });

  test("a large body goes whole, over a kept connection, without Expect", async () => {
    server.answer = sends(200, "", { etag: 'W/"weak"' });
    const large = Buffer.alloc(3 * 1024 * 1024, 1);
    const patient = open({ requestTimeoutMs: 10_000 });
    for (let i = 0; i < 3; i++)
      expect(await patient.put(KEY, large, IF_ABSENT)).toEqual({ kind: "written", etag: "weak" });
    expect(new Set(server.requests.map((request) => request.socket.remotePort)).size).toBe(1);
    expect(server.requests.every((request) => request.headers["expect"] === undefined)).toBe(true);
    expect(server.requests[0]?.headers["content-length"]).toBe(String(large.length));
    await patient.close();
  });

  test.each([
    ["quoted", '"tag"'],
    ["bare", "tag"],
  ] as const)("If-Match %s", async (ifMatchEtag, header) => {
    server.answer = sends(200, "", { etag: '"next"' });
    const other = open({ ifMatchEtag });
    await other.put(KEY, BODY, { condition: { kind: "if-match", etag: "tag" as never } });
    expect(server.requests[0]?.headers["if-match"]).toBe(header);
    await other.close();
  });
});

describe("answers that must not be believed", () => {
  test("404 of a HEAD is asked again by GET: a missing bucket is not a missing object", async () => {
    server.answer = (request, response) =>
      sends(404, errorXml(request.method === "HEAD" ? "" : "NoSuchBucket"))(request, response);
    await expect(store.head(KEY)).rejects.toMatchObject({ retryable: false, status: 404 });
    server.answer = (request, response) =>
      sends(404, errorXml(request.method === "HEAD" ? "" : "NoSuchKey"))(request, response);
    expect(await store.head(KEY)).toBeUndefined();
  });

  test("a 404 page that is not S3's is not 'absent'", async () => {
    server.answer = sends(404, "<html><body>Not here</body></html>", { "content-type": "text/html" });
    await expect(store.get(KEY)).rejects.toMatchObject({ retryable: false });
  });

  test("other bytes than the range asked for", async () => {
    server.answer = sends(206, "0123", { "content-range": "bytes 0-3/10", etag: '"e"' });
    await expect(store.get(KEY, { range: { suffix: 4 } })).rejects.toMatchObject({ retryable: false });
  });

  test("fewer bytes than the Content-Range promises, with a status that says all is well", async () => {
    server.answer = sends(206, "0123", { "content-range": "bytes 0-9/10", etag: '"e"' });
    await expect(store.get(KEY, { range: { start: 0 } })).rejects.toMatchObject({ retryable: true });
  });

  test("a body that nobody reads any more does not keep its socket", async () => {
    server.answer = (_, response) => {
      response.writeHead(206, { "content-length": 9_000_000, "content-range": "bytes 1-9000000/9000001", etag: '"e"' });
      response.write("x".repeat(1_000_000));
    };
    const patient = open({ requestTimeoutMs: 10_000 });
    await expect(patient.get(KEY, { range: { start: 0 } })).rejects.toMatchObject({ retryable: false });
    expect(await server.openSockets()).toBe(0);
    await patient.close();
  });

  test("a server that ignores Range: the part is cut out here", async () => {
    server.answer = sends(200, "0123456789", { etag: '"e"' });
    const object = await store.get(KEY, { range: { start: 2, end: 4 } });
    expect([Buffer.from(object?.body ?? []).toString(), object?.sizeBytes, object?.etag]).toEqual(["23", 10, "e"]);
    expect(object?.body.buffer.byteLength).toBe(2);
  });

  const listing = (keys: string[], more = ""): string =>
    `<?xml version="1.0"?><ListBucketResult>${more}${keys
      .map((key) => `<Contents><Key>${key}</Key><Size>1</Size><ETag>&quot;e&quot;</ETag></Contents>`)
      .join("")}</ListBucketResult>`;
  const listed = async (): Promise<string[]> => {
    const keys: string[] = [];
    for await (const { key } of store.list("")) keys.push(key);
    return keys;
  };

  test("a listing out of order, beside the prefix, or without its next page", async () => {
    server.answer = sends(200, listing(["pre/fix/b", "pre/fix/a"]));
    await expect(listed()).rejects.toThrow("order");
    server.answer = sends(200, listing(["elsewhere/a"]));
    await expect(listed()).rejects.toThrow("outside the prefix");
    server.answer = sends(200, listing(["pre/fix/a"], "<IsTruncated>true</IsTruncated>"));
    await expect(listed()).rejects.toThrow("not where");
    server.answer = sends(200, listing(["pre/fix/a", "pre/fix/b"]));
    expect(await listed()).toEqual(["a", "b"]);
  });

  test("keys of a multi-delete that failed", async () => {
    const failed = "<Error><Key>pre/fix/x</Key><Code>InternalError</Code><Message>m</Message></Error>";
    server.answer = sends(200, `<?xml version="1.0"?><DeleteResult>${failed}</DeleteResult>`);
    const two = store.delete(["x", "y"] as ObjectKey[]);
    await expect(two).rejects.toMatchObject({ retryable: true, key: "x" });
    server.answer = (request, response) => {
      let asked = "";
      request.on("data", (chunk: Buffer) => (asked += chunk.toString()));
      request.on("end", () => {
        const deleted = asked.match(/<Key>[^<]*<\/Key>/g)?.map((key) => `<Deleted>${key}</Deleted>`) ?? [];
        response.end(`<?xml version="1.0"?><DeleteResult>${deleted.join("")}</DeleteResult>`);
      });
    };
    let requests = 0;
    const keys = Array.from({ length: 2001 }, (_, i) => `k${i}` as ObjectKey);
    const patient = open({ requestTimeoutMs: 10_000 });
    await patient.delete(keys, { onRequest: () => (requests += 1) });
    expect(requests).toBe(3);
    await patient.close();
  });
});

test("a body stuck behind a stream that hears nothing of the socket's end is cut by the signal", async () => {
  const controller = new AbortController();
  const stuck = new Readable({ read: () => undefined });
  const body = collectBody(stuck, 10, controller.signal);
  controller.abort();
  await expect(body).rejects.toThrow("cut");
  expect(stuck.destroyed).toBe(true);
});

test("a prefix that leaves no room for keys is refused", () => {
  expect(() => open({ prefix: "x".repeat(1024) })).toThrow("prefix");
});

test("no error shows a credential", async () => {
  server.answer = sends(403, errorXml("SignatureDoesNotMatch"));
  const error: unknown = await store.get(KEY).catch((thrown: unknown) => thrown);
  const { inspect } = await import("node:util");
  expect(inspect(error, { depth: null, showHidden: true })).not.toMatch(/CANARY/);
});
