import type { HttpAnswer, HttpBackend, HttpRequest } from "../../src/testing/http-exchange.ts";
import { readS3Call } from "../../src/testing/s3-call.ts";

/** Bodies by path, and every request that took effect: just enough of a server to see what a fault does to it. */
export class MapBackend {
  readonly objects = new Map<string, Uint8Array>();
  readonly committed: HttpRequest[] = [];

  readonly backend: HttpBackend = async (request) => {
    this.committed.push(request);
    const { operation, key } = readS3Call(request);
    switch (operation) {
      case "PutObject":
        if (request.headers["if-none-match"] === "*" && this.objects.has(key)) return answer(412, {}, "<Error/>");
        this.objects.set(key, request.body);
        return answer(200, { ETag: '"tag"' }, "");
      case "UploadPart":
        return answer(200, { ETag: '"part"' }, "");
      case "HeadObject":
      case "GetObject": {
        const body = this.objects.get(key);
        if (body === undefined) return answer(404, {}, "<Error><Code>NoSuchKey</Code></Error>");
        if (operation === "GetObject") return { status: 200, headers: { ETag: '"tag"' }, body };
        return answer(200, { ETag: '"tag"', "Content-Length": String(body.length) }, "");
      }
      case "DeleteObject":
        this.objects.delete(key);
        return answer(204, {}, "");
      case "CompleteMultipartUpload":
        return answer(200, {}, "<CompleteMultipartUploadResult/>");
      default:
        return answer(200, {}, `<${operation}Result/>`);
    }
  };
}

function answer(status: number, headers: Record<string, string>, body: string): HttpAnswer {
  return { status, headers, body: Buffer.from(body) };
}
