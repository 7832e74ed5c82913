/**
 * A null S3 server, a process of its own: bodies of objects and parts are counted and dropped, so what is measured against it is the
 * client. What the engine keeps beside its logs (catalog, format, probes) goes to the S3 server of `tierlog/testing`, which checks
 * signatures and checksums; for the rest nothing is checked. No TLS.
 *
 * Prints its port and the credentials as one line of JSON, and ends when its standard input does.
 *   GET /_bench/stats            requests, bytes and CPU of this process so far
 *   POST /_bench/delay?ms=50     every answer from now on comes that much later
 */
import { createServer } from "node:net";

import { createS3Backend } from "../../dist/testing/index.js";

const NULL_NAME = /^\/(?:[^/]+\/(?:.*\/)?(?:index|data)\/|null-)/;
const CONTINUE = Buffer.from("HTTP/1.1 100 Continue\r\n\r\n");
const HEAD_END = Buffer.from("\r\n\r\n");
/** Enough for the engine to see whose index file it found after a lost answer. */
const KEPT_BYTES = 4096;
const KEPT_OBJECTS = 10_000;
const HEAD_BYTES_MAX = 64 * 1024;

const backend = createS3Backend({ buckets: ["bench"] });
const objects = new Map();
const counts = { requests: 0, bytes: 0, puts: 0, parts: 0, gets: 0 };
let delayMs = 0;
let generation = 0;

function nullAnswer(method, path, query, headers, body) {
  if (method === "PUT" && query.has("uploadId")) {
    counts.parts++;
    return answer(200, { etag: nextETag() });
  }
  if (method === "PUT") {
    counts.puts++;
    if (headers["if-none-match"] === "*" && objects.has(path)) return refusal(412, "PreconditionFailed");
    const etag = nextETag();
    if (path.includes("/index/")) objects.set(path, { etag, size: body.size, kept: Buffer.from(body.kept) });
    const old = objects.size - KEPT_OBJECTS;
    if (old > 0 && old % 1000 === 0) for (const stored of [...objects.values()].slice(0, old)) stored.kept = undefined;
    return answer(200, { etag });
  }
  if (method === "POST" && query.has("uploads")) {
    return xml(
      `<InitiateMultipartUploadResult><UploadId>upload-${++generation}</UploadId></InitiateMultipartUploadResult>`,
    );
  }
  if (method === "POST")
    return xml(`<CompleteMultipartUploadResult><ETag>${nextETag()}</ETag></CompleteMultipartUploadResult>`);
  if (method === "DELETE") return answer(204, {});
  counts.gets++;
  const stored = objects.get(path);
  if (stored === undefined) return refusal(404, "NoSuchKey");
  const bytes = Buffer.alloc(stored.size);
  bytes.set(stored.kept ?? Buffer.alloc(0));
  return ranged(bytes, headers.range, stored.etag, method);
}

function ranged(bytes, range, etag, method) {
  const found = /^bytes=(\d+)-(\d*)$/.exec(range ?? "");
  if (found === null) return answer(200, { etag }, method === "HEAD" ? undefined : bytes, bytes.length);
  const start = Number(found[1]);
  const end = found[2] === "" ? bytes.length : Math.min(bytes.length, Number(found[2]) + 1);
  if (start >= bytes.length) return refusal(416, "InvalidRange");
  return answer(
    206,
    { etag, "content-range": `bytes ${start}-${end - 1}/${bytes.length}` },
    bytes.subarray(start, end),
  );
}

const nextETag = () => `"${(++generation).toString(16).padStart(32, "0")}"`;
const xml = (text) => answer(200, { "content-type": "application/xml" }, Buffer.from(`<?xml version="1.0"?>${text}`));
const refusal = (status, code) =>
  answer(status, { "content-type": "application/xml" }, Buffer.from(`<Error><Code>${code}</Code></Error>`));

function answer(status, headers, body = Buffer.alloc(0), length = body.length) {
  const lines = Object.entries({ "x-amz-request-id": "0", ...headers }).map(([name, value]) => `${name}: ${value}\r\n`);
  const size = status === 204 ? "" : `content-length: ${length}\r\n`;
  const head = Buffer.from(`HTTP/1.1 ${status} X\r\n${lines.join("")}${size}\r\n`, "latin1");
  return body.length === 0 ? head : Buffer.concat([head, body]);
}

async function answerTo({ method, url, headers, rawHeaders }, body) {
  counts.requests++;
  counts.bytes += body.size;
  const [path, search = ""] = url.split("?", 2);
  const query = new URLSearchParams(search);
  if (path === "/_bench/stats") {
    const { user, system } = process.cpuUsage();
    return answer(200, {}, Buffer.from(JSON.stringify({ ...counts, cpuSeconds: (user + system) / 1e6 })));
  }
  if (path === "/_bench/delay") {
    delayMs = Number(query.get("ms"));
    return answer(204, {});
  }
  if (delayMs > 0) await new Promise((resolve) => setTimeout(resolve, delayMs));
  if (NULL_NAME.test(path)) return nullAnswer(method, path, query, headers, body);
  const answered = await backend.answer({ method, url, headers, rawHeaders, body: body.whole() });
  const { "content-length": length, ...others } = answered.headers;
  return answer(answered.status, others, Buffer.from(answered.body), length === undefined ? undefined : Number(length));
}

/** Counts a body; keeps all of it, or its first bytes. */
class Body {
  size = 0;
  #chunks = [];
  #keptBytes = 0;
  #keepMax;

  constructor(keepMax) {
    this.#keepMax = keepMax;
  }

  get kept() {
    return Buffer.concat(this.#chunks);
  }

  whole() {
    return Buffer.concat(this.#chunks);
  }

  take(chunk) {
    this.size += chunk.length;
    const wanted = Math.min(chunk.length, this.#keepMax - this.#keptBytes);
    if (wanted <= 0) return;
    // A copy: a view would hold the whole chunk.
    this.#chunks.push(Buffer.from(chunk.subarray(0, wanted)));
    this.#keptBytes += wanted;
  }
}

function parseHead(text) {
  const [first, ...lines] = text.split("\r\n");
  const [method, url] = first.split(" ");
  const headers = {};
  const rawHeaders = [];
  for (const line of lines) {
    const colon = line.indexOf(":");
    const name = line.slice(0, colon);
    const value = line.slice(colon + 1).trim();
    headers[name.toLowerCase()] = value;
    rawHeaders.push(name, value);
  }
  return { method, url, headers, rawHeaders };
}

const server = createServer({ noDelay: true }, (socket) => {
  let head = Buffer.alloc(0);
  let request;
  let body;
  let left = 0;

  const finish = () => {
    const [asked, taken] = [request, body];
    request = undefined;
    void answerTo(asked, taken).then(
      (bytes) => socket.write(bytes),
      (error) => {
        process.stderr.write(`null S3 sink: ${asked.method} ${asked.url}: ${error.stack}\n`);
        socket.destroy();
      },
    );
  };
  socket.on("error", () => socket.destroy());
  socket.on("data", (chunk) => {
    let rest = chunk;
    while (rest.length > 0) {
      if (request === undefined) {
        head = head.length === 0 ? rest : Buffer.concat([head, rest]);
        const end = head.indexOf(HEAD_END);
        if (end < 0) {
          if (head.length > HEAD_BYTES_MAX) socket.destroy();
          return;
        }
        request = parseHead(head.toString("latin1", 0, end));
        rest = head.subarray(end + HEAD_END.length);
        head = Buffer.alloc(0);
        left = Number(request.headers["content-length"] ?? 0);
        body = new Body(NULL_NAME.test(request.url) ? (request.url.includes("/index/") ? KEPT_BYTES : 0) : Infinity);
        if (request.headers.expect !== undefined) socket.write(CONTINUE);
        if (left === 0) finish();
      } else {
        const part = rest.subarray(0, left);
        body.take(part);
        left -= part.length;
        rest = rest.subarray(part.length);
        if (left === 0) finish();
      }
    }
  });
});

server.listen(0, "127.0.0.1", () => {
  const { accessKeyId, secretAccessKey } = backend.credentials[0];
  console.log(JSON.stringify({ port: server.address().port, region: backend.region, accessKeyId, secretAccessKey }));
});
process.stdin.on("end", () => process.exit(0)).resume();
