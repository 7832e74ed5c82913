import type { S3Client } from "@aws-sdk/client-s3";

import type { CreateIfAbsentHeader } from "../config/provider-presets.ts";
import { signForGoogle, type SignedRequest } from "./google-signature.ts";

/** As people write it. */
export function createHeaderName(header: CreateIfAbsentHeader): string {
  return header === "if-none-match" ? "If-None-Match" : header;
}

/** Says "only if absent" as a PUT must say it to this provider, wherever the SDK says `If-None-Match: *`. */
export function spellCreateIfAbsent(client: S3Client, header: CreateIfAbsentHeader): void {
  if (header === "if-none-match") return;
  client.middlewareStack.add(
    (next) => (args) => {
      const { request } = args;
      if (isPut(request) && request.headers["if-none-match"] === "*") {
        // Left beside the other header it would be ignored at best.
        delete request.headers["if-none-match"];
        request.headers[header] = header === "x-oss-forbid-overwrite" ? "true" : "0";
      }
      return next(args);
    },
    // Before the signature, which covers it.
    { step: "build", name: "spellCreateIfAbsent" },
  );
  if (header !== "x-goog-if-generation-match") return;
  client.middlewareStack.add(
    (next) => async (args) => {
      const { request } = args;
      if (isPut(request) && request.headers[header] !== undefined) {
        const { accessKeyId, secretAccessKey } = await client.config.credentials();
        signForGoogle(request, { accessKeyId, secretAccessKey });
      }
      return next(args);
    },
    // Behind the signature of the SDK, which it replaces.
    { step: "deserialize", name: "signForGoogle" },
  );
}

function isPut(request: unknown): request is SignedRequest {
  return (
    typeof request === "object" &&
    request !== null &&
    "headers" in request &&
    "method" in request &&
    request.method === "PUT"
  );
}
