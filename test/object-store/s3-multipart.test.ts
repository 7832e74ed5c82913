import { afterEach, beforeEach, describe, expect, test } from "vitest";

import type { ETag, ObjectKey } from "../../src/domain.ts";
import type { MultipartUpload, ObjectStore, UploadedPart } from "../../src/object-store/object-store.ts";
import { createS3Store } from "../../src/object-store/s3-store.ts";
import { systemRuntime } from "../../src/runtime/runtime.ts";
import { PlayedServer, errorXml, sends } from "../support/played-server.ts";

const KEY = "a/b" as ObjectKey;
const PARTS: readonly UploadedPart[] = [
  { partNumber: 1, etag: "one" as ETag, sizeBytes: 10 },
  { partNumber: 2, etag: "two" as ETag, sizeBytes: 5 },
];
const STARTED = `<?xml version="1.0"?><InitiateMultipartUploadResult><UploadId>the id</UploadId></InitiateMultipartUploadResult>`;
const RESULT = "<CompleteMultipartUploadResult><ETag>&quot;whole-2&quot;</ETag></CompleteMultipartUploadResult>";

let server: PlayedServer;
let store: ObjectStore;
let upload: MultipartUpload;

beforeEach(async () => {
  server = new PlayedServer();
  await server.start();
  store = createS3Store(
    {
      bucket: "bucket",
      region: "us-east-1",
      endpoint: server.endpoint,
      prefix: "pre/fix",
      credentials: { accessKeyId: "key", secretAccessKey: "secret" },
      forcePathStyle: true,
      requestTimeoutMs: 2_000,
      maxSockets: 4,
      ifMatchEtag: "quoted",
    },
    systemRuntime,
  );
  server.answer = sends(200, STARTED);
  upload = await store.createMultipart(KEY);
  server.requests.length = 0;
});

afterEach(async () => {
  await store.close();
  await server.stop();
});

/** The body of the next request, which is answered as given. */
function received(status: number, answer: string): Promise<string> {
  return new Promise((resolve) => {
    server.answer = (request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        resolve(Buffer.concat(chunks).toString());
        response.writeHead(status, { "content-length": Buffer.byteLength(answer) });
        response.end(answer);
      });
    };
  });
}

test("an upload is asked for and named with prefix, key and id", async () => {
  expect([upload.key, upload.uploadId]).toEqual([KEY, "the id"]);
  server.answer = sends(200, "", { etag: '"e"' });
  await upload.putPart(7, Buffer.from("body"));
  const { method, url, headers } = server.requests[0] ?? {};
  expect(method).toBe("PUT");
  expect(url).toMatch(/^\/bucket\/pre\/fix\/a\/b\?/);
  expect(new URL(`http://x${url}`).searchParams.get("uploadId")).toBe("the id");
  expect(new URL(`http://x${url}`).searchParams.get("partNumber")).toBe("7");
  expect(headers?.["content-length"]).toBe("4");
});

test.each(["", "<InitiateMultipartUploadResult></InitiateMultipartUploadResult>"])(
  "an upload without a name is an error: %j",
  async (body) => {
    server.answer = sends(200, body);
    await expect(store.createMultipart(KEY)).rejects.toMatchObject({ retryable: true, effect: "none" });
  },
);

describe("F17 the ETag of a part", () => {
  test.each([
    ["quoted", '"abc"'],
    ["bare", "abc"],
    ["weak", 'W/"abc"'],
  ])("%s is stripped, and goes back quoted", async (_, header) => {
    server.answer = sends(200, "", { etag: header });
    const part = await upload.putPart(1, Buffer.from("x"));
    expect(part).toEqual({ partNumber: 1, etag: "abc", sizeBytes: 1 });
    const body = received(200, RESULT);
    await upload.complete([part]);
    expect(await body).toMatch(/<ETag>(&quot;|")abc(&quot;|")<\/ETag>/);
  });

  test.each([
    ["missing", {}],
    ["empty", { etag: "" }],
    ["empty in quotes", { etag: '""' }],
  ])("%s: the part is sent again, never completed with a guess", async (_, headers) => {
    server.answer = sends(200, "", headers);
    await expect(upload.putPart(1, Buffer.from("x"))).rejects.toMatchObject({ retryable: true, effect: "none" });
  });
});

describe("the answer to a completion", () => {
  test("parts go out by number", async () => {
    const body = received(200, RESULT);
    expect(await upload.complete(PARTS)).toEqual({ kind: "completed" });
    expect([...(await body).matchAll(/<PartNumber>(\d+)<\/PartNumber>/g)].map((match) => match[1])).toEqual(["1", "2"]);
  });

  test.each([
    ["without an ETag", "<CompleteMultipartUploadResult><Key>k</Key></CompleteMultipartUploadResult>"],
    ["with an empty ETag", "<CompleteMultipartUploadResult><Key>k</Key><ETag></ETag></CompleteMultipartUploadResult>"],
    ["with spaces sent to keep the connection", `<?xml version="1.0" encoding="UTF-8"?>\n   \n  ${RESULT}`],
    ["with spaces before everything", `\n \n<?xml version="1.0" encoding="UTF-8"?>\n${RESULT}`],
  ])("%s is a success", async (_, body) => {
    server.answer = sends(200, body);
    expect(await upload.complete(PARTS)).toEqual({ kind: "completed" });
  });

  test.each([
    ["F07 200 with InternalError inside", 200, errorXml("InternalError")],
    ["F07 200 with SlowDown inside", 200, errorXml("SlowDown")],
    [
      "200 with spaces and an error behind them",
      200,
      `<?xml version="1.0"?>\n   <Error><Code>InternalError</Code></Error>`,
    ],
    ["200 with nothing", 200, ""],
    ["200 with half an answer", 200, "<CompleteMultipartUploadRes"],
    ["200 with a page of some proxy", 200, "<html><body>welcome</body></html>"],
    // No condition was set: a proxy repeated the request, and lost against itself.
    ["412", 412, errorXml("PreconditionFailed")],
    ["F06 409", 409, errorXml("ConditionalRequestConflict")],
    ["500", 500, errorXml("InternalError")],
  ])("%s leaves it in doubt, and is sent once", async (_, status, body) => {
    server.answer = sends(status, body);
    await expect(upload.complete(PARTS)).rejects.toMatchObject({
      code: "TIERLOG_OBJECT_STORE",
      retryable: true,
      effect: "unknown",
    });
    expect(server.requests).toHaveLength(1);
  });

  test.each([
    ["NoSuchUpload", 404],
    ["NoSuchKey", 404],
    ["NoSuchUpload", 200],
  ])("%s (%i) is an answer", async (code, status) => {
    server.answer = sends(status, errorXml(code));
    expect(await upload.complete(PARTS)).toEqual({ kind: "gone" });
  });

  test("a 404 that is not S3's is never 'gone', nor a 403", async () => {
    server.answer = sends(404, "<html><body>Not here</body></html>");
    await expect(upload.complete(PARTS)).rejects.toMatchObject({ retryable: false });
    await expect(upload.listParts()).rejects.toMatchObject({ retryable: false });
    await expect(upload.abort()).rejects.toMatchObject({ retryable: false });
    server.answer = sends(403, errorXml("AccessDenied"));
    await expect(upload.complete(PARTS)).rejects.toMatchObject({ status: 403, retryable: false, effect: "none" });
  });

  test("EntityTooSmall and InvalidPart say what is wrong", async () => {
    server.answer = sends(400, errorXml("EntityTooSmall"));
    await expect(upload.complete(PARTS)).rejects.toThrow("5 MiB");
    server.answer = sends(400, errorXml("InvalidPart"));
    await expect(upload.complete(PARTS)).rejects.toMatchObject({ retryable: false, effect: "none" });
  });

  test("a reset, a silence and the caller's signal leave it in doubt", async () => {
    server.answer = (request) => request.socket.resetAndDestroy();
    await expect(upload.complete(PARTS)).rejects.toMatchObject({ retryable: true, effect: "unknown" });
    const controller = new AbortController();
    server.answer = () => controller.abort(new Error("stop"));
    const aborted = upload.complete(PARTS, { signal: controller.signal });
    await expect(aborted).rejects.toMatchObject({ code: "TIERLOG_ABORTED", effect: "unknown" });
    expect(await server.openSockets()).toBe(0);
  });
});

describe("abort and the parts held", () => {
  test.each(["NoSuchUpload", "NoSuchKey"])("404 %s", async (code) => {
    server.answer = sends(404, errorXml(code));
    await upload.abort();
    expect(await upload.listParts()).toBeUndefined();
    await expect(upload.putPart(1, Buffer.from("x"))).rejects.toMatchObject({ status: 404, retryable: false });
  });

  const page = (numbers: number[], next?: number): string =>
    `<?xml version="1.0"?><ListPartsResult>${numbers
      .map((n) => `<Part><PartNumber>${n}</PartNumber><ETag>&quot;e${n}&quot;</ETag><Size>${n}</Size></Part>`)
      .join("")}${
      next === undefined ? "" : `<IsTruncated>true</IsTruncated><NextPartNumberMarker>${next}</NextPartNumberMarker>`
    }</ListPartsResult>`;

  test("pages are read to the end", async () => {
    server.answer = (request, response) => {
      const second = request.url?.includes("part-number-marker=2") === true;
      sends(200, second ? page([3]) : page([1, 2], 2))(request, response);
    };
    let requests = 0;
    expect(await upload.listParts({ onRequest: () => (requests += 1) })).toEqual(
      [1, 2, 3].map((n) => ({ partNumber: n, etag: `e${n}`, sizeBytes: n })),
    );
    expect(requests).toBe(2);
  });

  test("200 with nothing is not an upload without parts", async () => {
    server.answer = sends(200, "");
    await expect(upload.listParts()).rejects.toMatchObject({ retryable: true });
  });

  test("pages that lead nowhere, or go back, are errors", async () => {
    server.answer = sends(200, page([2, 1]));
    await expect(upload.listParts()).rejects.toThrow("order");
    server.answer = sends(200, page([1], 1));
    await expect(upload.listParts()).rejects.toMatchObject({ retryable: false });
  });
});
