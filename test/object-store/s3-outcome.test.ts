import { inspect } from "node:util";

import { describe, expect, test } from "vitest";

import type { PutCondition } from "../../src/object-store/object-store.ts";
import { deleteError, s3Outcome, type S3Operation, type S3Request } from "../../src/object-store/s3-outcome.ts";

const request = (operation: S3Operation, condition?: PutCondition["kind"]): S3Request => ({
  operation,
  key: "some/key",
  bucket: "some-bucket",
  ...(condition === undefined ? {} : { condition }),
});

/** As the SDK throws it. */
const answer = (httpStatusCode: number, name: string): Error =>
  Object.assign(new Error("text of the answer"), {
    name,
    $metadata: { httpStatusCode, requestId: "tx0001" },
    StringToSign: "CANARY-SECRET",
    $response: { headers: { "x-amz-security-token": "CANARY-SECRET" } },
  });

const network = (code: string, syscall?: string): Error =>
  Object.assign(new Error(`${syscall ?? "read"} ${code}`), { code, ...(syscall === undefined ? {} : { syscall }) });

describe("answers that are no errors", () => {
  test.each([
    [412, "PreconditionFailed", request("put", "if-absent"), "condition-failed"],
    [412, "PreconditionFailed", request("put", "if-match"), "condition-failed"],
    [404, "NoSuchKey", request("put", "if-match"), "condition-failed"],
    [404, "NoSuchKey", request("get"), "absent"],
    [404, "NoSuchKey", request("delete"), "absent"],
    [404, "NotFound", request("head"), "absent"],
    [416, "InvalidRange", request("get"), "range-not-satisfiable"],
    [404, "NoSuchUpload", request("uploadPart"), "no-such-upload"],
    [404, "NoSuchUpload", request("completeMultipart"), "no-such-upload"],
    [404, "NoSuchUpload", request("abortMultipart"), "no-such-upload"],
    [404, "NoSuchKey", request("listParts"), "no-such-upload"],
  ])("%i %s", (status, name, what, kind) => {
    expect(s3Outcome(answer(status, name), what)).toEqual({ kind });
  });
});

describe("errors", () => {
  // status, code, retryable, effect on a put, what the message must say
  test.each([
    [409, "ConditionalRequestConflict", true, "unknown", "under way"],
    [429, "TooManyRequests", true, "unknown", "busy"],
    [500, "InternalError", true, "unknown", "failed"],
    [500, "UnknownError", true, "unknown", "failed"],
    [502, "BadGateway", true, "unknown", "failed"],
    [503, "SlowDown", true, "unknown", "fewer requests"],
    [503, "ServiceUnavailable", true, "unknown", "busy"],
    [504, "GatewayTimeout", true, "unknown", "failed"],
    [408, "RequestTimeout", true, "unknown", "in time"],
    [400, "RequestTimeout", true, "unknown", "in time"],
    [200, "SyntaxError", true, "unknown", "could not be read"],
    [403, "RequestTimeTooSkewed", true, "none", "clock"],
    [400, "BadDigest", true, "none", "changed on its way"],
    [400, "IncompleteBody", true, "none", "whole"],
    [403, "AccessDenied", false, "none", "s3:ListBucket"],
    [403, "Forbidden", false, "none", "s3:ListBucket"],
    [403, "SignatureDoesNotMatch", false, "none", "secret key"],
    [403, "InvalidAccessKeyId", false, "none", "access key"],
    [400, "ExpiredToken", false, "none", "expired"],
    [401, "Unauthorized", false, "none", "credentials"],
    [400, "AuthorizationHeaderMalformed", false, "none", "region"],
    [400, "InvalidArgument", false, "none", "malformed"],
    [301, "PermanentRedirect", false, "none", "another region"],
    [307, "TemporaryRedirect", false, "none", "another region"],
    [404, "NoSuchBucket", false, "none", "some-bucket"],
    [404, "NotFound", false, "none", "S3 endpoint"],
    [501, "NotImplemented", false, "none", "conditional writes"],
  ])("%i %s on a put", (status, name, retryable, effect, says) => {
    const outcome = s3Outcome(answer(status, name), request("put", "if-absent"));
    expect(outcome).toMatchObject({ kind: "error", error: { status, retryable, effect, key: "some/key" } });
    const message = outcome.kind === "error" ? outcome.error.message : "";
    expect(message).toContain(says);
    expect(message).toContain(`HTTP ${status} ${name}`);
    expect(message).toContain("tx0001");
  });

  test.each(["get", "head", "list", "delete"] as const)("403 on %s is never 'absent'", (operation) => {
    const outcome = s3Outcome(answer(403, "AccessDenied"), request(operation));
    expect(outcome).toMatchObject({ kind: "error", error: { retryable: false, effect: "none" } });
  });

  test("a missing bucket, or a 404 that is not S3's, is never 'absent' to a get", () => {
    for (const name of ["NoSuchBucket", "NotFound", "UnknownError"]) {
      expect(s3Outcome(answer(404, name), request("get"))).toMatchObject({
        kind: "error",
        error: { retryable: false },
      });
    }
  });

  test("only what makes an object can be in doubt", () => {
    expect(s3Outcome(answer(500, "InternalError"), request("completeMultipart"))).toMatchObject({
      error: { effect: "unknown" },
    });
    for (const operation of ["createMultipart", "uploadPart", "abortMultipart", "listParts"] as const) {
      expect(s3Outcome(answer(500, "InternalError"), request(operation))).toMatchObject({ error: { effect: "none" } });
    }
    expect(s3Outcome(answer(500, "InternalError"), request("get"))).toMatchObject({ error: { effect: "none" } });
  });
});

describe("the network", () => {
  test.each([
    ["connection refused", network("ECONNREFUSED", "connect"), "none"],
    ["connect timed out in the kernel", network("ETIMEDOUT", "connect"), "none"],
    ["no route", network("EHOSTUNREACH", "connect"), "none"],
    ["unknown host", network("ENOTFOUND", "getaddrinfo"), "none"],
    ["DNS is down", network("EAI_AGAIN", "getaddrinfo"), "none"],
    [
      "both addresses of a host refuse",
      new AggregateError([network("ECONNREFUSED", "connect"), network("ECONNREFUSED", "connect")]),
      "none",
    ],
    [
      "the SDK's connection timeout",
      Object.assign(new Error("... did not establish a connection with ..."), { name: "TimeoutError" }),
      "none",
    ],
    ["reset", network("ECONNRESET", "read"), "unknown"],
    ["reset, unnamed call", network("ECONNRESET"), "unknown"],
    ["broken pipe", network("EPIPE", "write"), "unknown"],
    ["timed out in use", network("ETIMEDOUT", "read"), "unknown"],
    ["no route in use", network("EHOSTUNREACH", "read"), "unknown"],
    [
      "one address refused, one broke",
      new AggregateError([network("ECONNREFUSED", "connect"), network("EPIPE")]),
      "unknown",
    ],
    ["an empty aggregate", new AggregateError([]), "unknown"],
    ["request timeout", Object.assign(new Error("slow"), { name: "TimeoutError", code: "ETIMEDOUT" }), "unknown"],
    ["something else", new TypeError("x is not a function"), "unknown"],
    ["not an error", "boom", "unknown"],
  ])("%s", (_, thrown, effect) => {
    const outcome = s3Outcome(thrown, request("put", "if-absent"));
    expect(outcome).toMatchObject({ kind: "error", error: { retryable: true, effect, status: undefined } });
  });

  test("missing credentials are not retried", () => {
    const thrown = Object.assign(new Error("Could not load"), { name: "CredentialsProviderError" });
    expect(s3Outcome(thrown, request("put"))).toMatchObject({ error: { retryable: false, effect: "none" } });
  });

  test("our own deadline says how long it was", () => {
    const thrown = Object.assign(new Error("aborted"), { name: "AbortError" });
    const outcome = s3Outcome(thrown, request("put"), { timeoutMs: 1234 });
    expect(outcome).toMatchObject({ error: { retryable: true, effect: "unknown" } });
    expect(outcome.kind === "error" && outcome.error.message).toContain("1234 ms");
  });
});

test("nothing of the answer but status, code and request id gets out", () => {
  const thrown = answer(403, "SignatureDoesNotMatch");
  thrown.message = "CANARY-SECRET";
  const odd = answer(400, "CANARY SECRET <xml>");
  for (const one of [thrown, odd]) {
    const outcome = s3Outcome(one, request("get"));
    const shown = inspect(outcome, { depth: null, showHidden: true }) + JSON.stringify(outcome);
    expect(shown).not.toMatch(/CANARY/);
  }
});

test("keys of a multi-delete fail with what their code means", () => {
  expect(deleteError(request("delete"), "InternalError", 3)).toMatchObject({ retryable: true, effect: "none" });
  expect(deleteError(request("delete"), "AccessDenied", 1)).toMatchObject({ retryable: false });
  expect(deleteError(request("delete"), "SlowDown", 2).message).toContain("and 1 more");
});
