import type { HttpAnswer } from "./http-exchange.ts";
import type { S3Call } from "./s3-call.ts";

export interface S3ErrorDetails {
  readonly status: number;
  readonly code: string;
  readonly message: string;
  /** Further elements, in this order: some codes have their own. */
  readonly elements?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
}

/** An error as Amazon S3 writes it ("Error responses" of its API reference); an answer to HEAD carries only the status. */
export function s3ErrorAnswer(call: S3Call, method: string, requestId: string, details: S3ErrorDetails): HttpAnswer {
  const elements = {
    Code: details.code,
    Message: details.message,
    ...details.elements,
    Resource: `/${call.bucket}${call.key === "" ? "" : `/${call.key}`}`,
    RequestId: requestId,
  };
  const inner = Object.entries(elements).map(([name, text]) => `<${name}>${escaped(text)}</${name}>`);
  const body = Buffer.from(`<?xml version="1.0" encoding="UTF-8"?>\n<Error>${inner.join("")}</Error>`);
  return {
    status: details.status,
    headers: { "content-type": "application/xml", "x-amz-request-id": requestId, ...details.headers },
    body: method === "HEAD" ? Buffer.alloc(0) : body,
  };
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
