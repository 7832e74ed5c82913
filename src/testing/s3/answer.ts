import type { HttpAnswer } from "../http-exchange.ts";
import type { S3Refusal } from "./refusal.ts";
import { tag, xmlDocument } from "./xml.ts";

const NOTHING = new Uint8Array(0);

export function emptyAnswer(status: number, headers: Readonly<Record<string, string>> = {}): HttpAnswer {
  return { status, headers, body: NOTHING };
}

export function xmlAnswer(
  root: string,
  children: readonly string[],
  headers: Readonly<Record<string, string>> = {},
): HttpAnswer {
  return { status: 200, headers: { "content-type": "application/xml", ...headers }, body: xmlDocument(root, children) };
}

/** An error as Amazon S3 writes it ("Error responses" of its API reference). `resource`: path of what was asked for. */
export function refusalAnswer(refusal: S3Refusal, resource: string, requestId: string): HttpAnswer {
  const elements = {
    Code: refusal.code,
    Message: refusal.message,
    ...refusal.elements,
    Resource: resource,
    RequestId: requestId,
  };
  const body = xmlDocument(
    "Error",
    Object.entries(elements).map(([name, text]) => tag(name, text)),
    false,
  );
  const headers = { "content-type": "application/xml", "x-amz-request-id": requestId, ...refusal.headers };
  return { status: refusal.status, headers, body };
}
