import type { HttpAnswer, HttpBackend, HttpRequest } from "../../src/testing/http-exchange.ts";
import { readS3Call } from "../../src/testing/s3-call.ts";

/** Bodies by path, and every request that took effect: just enough of a server to see what a fault does to it. */
export class MapBackend {
  readonly objects = new Map<string, Uint8Array>();
  readonly committed: HttpRequest[] = [];

  readonly backend: HttpBackend = async (request) => {
    this.committed.push(request);
    const { operation, key } = readS3Call(request);
    const body = this.objects.get(key);
    if (operation === "PutObject") {
      if (request.headers["if-none-match"] === "*" && body !== undefined) return answer(412, {}, "<Error/>");
      this.objects.set(key, request.body);
      return answer(200, { ETag: '"tag"' }, "");
    }
    if (operation === "GetObject" || operation === "HeadObject") {
      if (body === undefined) return answer(404, {}, "<Error><Code>NoSuchKey</Code></Error>");
      if (operation === "GetObject") return { status: 200, headers: { ETag: '"tag"' }, body };
      return answer(200, { ETag: '"tag"', "Content-Length": String(body.length) }, "");
    }
    return answer(200, {}, `<${operation}Result/>`);
  };
}

function answer(status: number, headers: Record<string, string>, body: string): HttpAnswer {
  return { status, headers, body: Buffer.from(body) };
}
