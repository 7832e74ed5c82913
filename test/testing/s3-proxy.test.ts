import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { InvalidArgumentError } from "../../src/errors.ts";
import { FaultScript } from "../../src/testing/fault-script.ts";
import { HttpServer } from "../../src/testing/http-server.ts";
import { S3Proxy } from "../../src/testing/s3-proxy.ts";
import { filled } from "../support/filled.ts";
import { MapBackend } from "../support/map-backend.ts";
import { rawRequest } from "../support/raw-http.ts";

const BODY = Buffer.from(filled(3_000_000, 5));

describe("HttpServer", () => {
  const served = new MapBackend();
  let server: HttpServer;
  let url: string;

  beforeEach(async () => {
    server = new HttpServer(served.backend, { maxBodyBytes: BODY.length });
    url = await server.start();
  });

  afterEach(() => server.close());

  test("counts requests and what they were answered", async () => {
    await rawRequest(url, { method: "PUT", path: "/logs/a", body: BODY });
    await rawRequest(url, { method: "PUT", path: "/logs/a", body: BODY, headers: { "if-none-match": "*" } });
    await rawRequest(url, { method: "GET", path: "/logs/b" });
    expect(server.requests.total).toBe(3);
    expect(server.requests.count("PutObject")).toBe(2);
    expect(server.requests.count("PutObject", 412)).toBe(1);
    expect(server.requests.count("HeadObject")).toBe(0);
    expect(JSON.parse(JSON.stringify(server.requests))).toEqual({
      PutObject: { count: 2, statuses: { 200: 1, 412: 1 } },
      GetObject: { count: 1, statuses: { 404: 1 } },
    });
  });

  test("takes a body of the limit, and refuses a larger one without the backend", async () => {
    const put = (body: Buffer): Promise<unknown> => rawRequest(url, { method: "PUT", path: "/logs/a", body });
    await expect(put(BODY)).resolves.toMatchObject({ status: 200 });
    const before = served.committed.length;
    const refused = await put(Buffer.concat([BODY, Buffer.from("x")]));
    expect(refused).toMatchObject({ status: 400 });
    expect(String((refused as { body: Buffer }).body)).toContain("<Code>EntityTooLarge</Code>");
    expect(served.committed).toHaveLength(before);
    expect(server.failures).toEqual([]);
  });

  test("goes down and comes up again on the same port", async () => {
    const get = (): Promise<{ status: number | undefined }> => rawRequest(url, { method: "GET", path: "/logs/a" });
    await server.goDown();
    await expect(get()).rejects.toThrow("ECONNREFUSED");
    await server.comeUp();
    await expect(get()).resolves.toMatchObject({ status: 200 });
  });

  test("a failure of the backend is a reset, and is kept", async () => {
    const failing = new HttpServer(() => Promise.reject(new Error("out of order")));
    const answer = await rawRequest(await failing.start(), { method: "GET", path: "/logs/a" });
    expect(answer).toMatchObject({ ending: "reset", status: undefined });
    expect(failing.failures).toMatchObject([{ message: "out of order" }]);
    await failing.close();
  });

  test("closing waits for what the backend has begun", async () => {
    let finish = (): void => undefined;
    let done = false;
    const slow = new HttpServer(async () => {
      await new Promise<void>((resolve) => {
        finish = resolve;
      });
      done = true;
      return { status: 200, headers: {}, body: Buffer.alloc(0) };
    });
    const answered = rawRequest(await slow.start(), { method: "GET", path: "/logs/a" });
    while (slow.requests.total === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    const closed = slow.close().then(() => done);
    await expect(answered).resolves.toMatchObject({ ending: "reset" });
    finish();
    await expect(closed).resolves.toBe(true);
    await slow.close();
  });
});

describe("S3Proxy", () => {
  let seen: { request: IncomingMessage; body: Buffer }[];
  let target: Server;
  let targetUrl: string;
  let script: FaultScript;
  let proxy: S3Proxy;

  beforeEach(async () => {
    seen = [];
    target = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        seen.push({ request, body: Buffer.concat(chunks) });
        response.writeHead(request.url === "/logs/gone" ? 404 : 200, [
          ["ETag", '"x"'],
          ["x-amz-Odd-Case", "1"],
        ]);
        // No Content-Length: sent in chunks.
        response.write(BODY.subarray(0, 10));
        response.end(BODY.subarray(10));
      });
    });
    await new Promise<void>((resolve) => target.listen(0, "127.0.0.1", resolve));
    targetUrl = `http://127.0.0.1:${(target.address() as AddressInfo).port}`;
    script = new FaultScript();
    proxy = await S3Proxy.start({ target: targetUrl, faults: script });
  });

  afterEach(async () => {
    await proxy.close();
    if (proxy.openSockets > 0) throw new Error(`${proxy.openSockets} sockets are left after close`);
    target.closeAllConnections();
    await new Promise((resolve) => target.close(resolve));
  });

  test("passes requests and answers on as they are, with the client's own Host", async () => {
    const path = "/logs/a%2Fb?x-id=PutObject&odd=%7e+~";
    const headers = {
      Host: "bucket.example",
      "X-Amz-Meta-A": "Mixed Case ",
      authorization: "AWS4 x",
      expect: "100-continue",
    };
    const answer = await rawRequest(proxy.url, { method: "PUT", path, headers, body: BODY });

    expect(seen).toHaveLength(1);
    const { request, body } = seen[0] as (typeof seen)[number];
    expect([request.method, request.url]).toEqual(["PUT", path]);
    const raw = request.rawHeaders.join("\n");
    for (const line of ["Host\nbucket.example", "X-Amz-Meta-A\nMixed Case", "authorization\nAWS4 x"])
      expect(raw).toContain(line);
    expect(Buffer.compare(body, BODY)).toBe(0);

    expect(answer.headers).toMatchObject({ etag: '"x"', "x-amz-odd-case": "1", "content-length": String(BODY.length) });
    expect(Buffer.compare(answer.body, BODY)).toBe(0);
    await expect(rawRequest(proxy.url, { method: "GET", path: "/logs/gone" })).resolves.toMatchObject({ status: 404 });
  });

  test("plays the script in front of the target", async () => {
    script.add({ fault: { kind: "duplicate-delivery" }, match: { operation: "PutObject", times: 1 } });
    script.add({ fault: { kind: "lost-request" }, match: { operation: "GetObject" } });
    await rawRequest(proxy.url, { method: "PUT", path: "/logs/a", body: BODY });
    await expect(rawRequest(proxy.url, { method: "GET", path: "/logs/a" })).resolves.toMatchObject({ ending: "reset" });
    expect(seen.map(({ request }) => request.method)).toEqual(["PUT", "PUT"]);
  });

  test("a target that is gone is a reset, and a failure", async () => {
    const orphan = await S3Proxy.start({ target: "http://127.0.0.1:1" });
    await expect(rawRequest(orphan.url, { method: "GET", path: "/logs/a" })).resolves.toMatchObject({
      ending: "reset",
    });
    expect(orphan.failures).toMatchObject([{ code: "ECONNREFUSED" }]);
    await orphan.close();
  });

  test.each(["https://127.0.0.1", "127.0.0.1:7480", "http://127.0.0.1/path"])("%s is no target", async (wrong) => {
    await expect(S3Proxy.start({ target: wrong })).rejects.toThrow(InvalidArgumentError);
  });
});
