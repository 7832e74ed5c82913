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

/** As the SDK throws it: with `Code` where the answer holds one, else under a name that the SDK makes up. */
const answer = (httpStatusCode: number, code: string | undefined, more: object = {}): Error =>
  Object.assign(new Error("text of the answer"), {
    ...(code === undefined ? { name: httpStatusCode === 404 ? "NotFound" : "Unknown" } : { name: code, Code: code }),
    $metadata: { httpStatusCode, requestId: "tx0001" },
    StringToSign: "CANARY-SECRET",
    $response: { headers: { "x-amz-security-token": "CANARY-SECRET" } },
    ...more,
  });

const network = (code: string, syscall?: string): Error =>
  Object.assign(new Error(`${syscall ?? "read"} ${code}`), { code, ...(syscall === undefined ? {} : { syscall }) });

describe("answers that are no errors", () => {
  test.each([
    ["AWS, Ceph: somebody was first", 412, "PreconditionFailed", request("put", "if-absent"), "condition-failed"],
    ["without a body", 412, undefined, request("put", "if-absent"), "condition-failed"],
    ["AWS, Ceph: it has changed", 412, "PreconditionFailed", request("put", "if-match"), "condition-failed"],
    ["Ceph: it is gone", 412, "PreconditionFailed", request("put", "if-match"), "condition-failed"],
    ["AWS: it is gone", 404, "NoSuchKey", request("put", "if-match"), "condition-failed"],
    ["all", 404, "NoSuchKey", request("get"), "absent"],
    ["some, AWS answers 204", 404, "NoSuchKey", request("delete"), "absent"],
    ["all: a HEAD has no body", 404, undefined, request("head"), "unexplained"],
    ["AWS: forbidden, skewed clock, expired token", 403, undefined, request("head"), "unexplained"],
    ["AWS: expired token, wrong region", 400, undefined, request("head"), "unexplained"],
    ["AWS: other region", 301, undefined, request("head"), "unexplained"],
    ["all", 416, "InvalidRange", request("get"), "range-not-satisfiable"],
    ["all", 404, "NoSuchUpload", request("uploadPart"), "no-such-upload"],
    ["MinIO: completed before", 404, "NoSuchUpload", request("completeMultipart"), "no-such-upload"],
    ["all", 404, "NoSuchUpload", request("abortMultipart"), "no-such-upload"],
    ["Ceph: aborted before", 404, "NoSuchKey", request("listParts"), "no-such-upload"],
  ])("%s: %i %s", (_, status, code, what, kind) => {
    expect(s3Outcome(answer(status, code), what)).toEqual({ kind });
  });
});

describe("errors", () => {
  // who, status, code, retryable, effect on a put, what the message must say
  test.each([
    ["AWS, CoreWeave: two at once", 409, "ConditionalRequestConflict", true, "unknown", "under way"],
    ["AWS", 409, "OperationAborted", true, "unknown", "under way"],
    ["a gateway's limit", 429, "TooManyRequests", true, "unknown", "busy"],
    ["nginx: no body that could be read", 429, undefined, true, "unknown", "busy"],
    ["AWS, Ceph", 503, "SlowDown", true, "unknown", "fewer requests"],
    ["MinIO", 503, "SlowDownWrite", true, "unknown", "busy"],
    ["AWS", 503, "ServiceUnavailable", true, "unknown", "busy"],
    ["a proxy's page, envoy's line, nothing", 503, undefined, true, "unknown", "busy"],
    ["a proxy that lost its server", 502, undefined, true, "unknown", "failed"],
    ["a proxy that gave up", 504, undefined, true, "unknown", "failed"],
    ["AWS, all", 500, "InternalError", true, "unknown", "failed"],
    ["Ceph: loser of an If-Match race", 500, "UnknownError", true, "unknown", "failed"],
    ["200 with <Error>: the SDK makes it 503", 503, "InternalError", true, "unknown", "busy"],
    ["full disk", 507, "XMinioStorageFull", true, "unknown", "failed"],
    ["AWS", 400, "RequestTimeout", true, "unknown", "in time"],
    ["nginx", 408, undefined, true, "unknown", "gave up"],
    ["a 200 that is no XML", 200, undefined, true, "unknown", "could not be read"],
    ["AWS, Ceph", 403, "RequestTimeTooSkewed", true, "none", "clock"],
    ["others", 400, "RequestTimeTooSkewed", true, "none", "clock"],
    ["AWS: wrong checksum; Ceph: wrong Content-MD5", 400, "BadDigest", true, "none", "changed on its way"],
    ["AWS, Ceph: wrong SHA-256", 400, "XAmzContentSHA256Mismatch", true, "none", "changed on its way"],
    ["MinIO: wrong checksum", 400, "XAmzContentChecksumMismatch", true, "none", "changed on its way"],
    ["AWS", 400, "IncompleteBody", true, "none", "whole"],
    ["AWS, all", 403, "AccessDenied", false, "none", "do not allow"],
    ["AWS", 403, "SignatureDoesNotMatch", false, "none", "secret key"],
    ["AWS, Ceph", 403, "InvalidAccessKeyId", false, "none", "access key"],
    ["AWS", 400, "ExpiredToken", false, "none", "expired"],
    ["others", 403, "ExpiredToken", false, "none", "expired"],
    ["AWS", 400, "TokenRefreshRequired", false, "none", "expired"],
    ["AWS", 400, "InvalidToken", false, "none", "not valid"],
    ["Ceph", 403, "QuotaExceeded", false, "none", "quota"],
    ["AWS: archived by a rule", 403, "InvalidObjectState", false, "none", "archive"],
    ["AWS", 400, "AuthorizationHeaderMalformed", false, "none", "region"],
    ["AWS, all", 400, "InvalidArgument", false, "none", "malformed"],
    ["AWS, Swift", 400, "InvalidRequest", false, "none", "malformed"],
    ["AWS", 400, "EntityTooLarge", false, "none", "larger"],
    ["AWS", 301, "PermanentRedirect", false, "none", "another region"],
    ["AWS: a new bucket", 307, "TemporaryRedirect", false, "none", "another region"],
    ["all", 404, "NoSuchBucket", false, "none", "some-bucket"],
    ["B2, Swift", 501, "NotImplemented", false, "none", "conditional writes"],
    ["AWS", 405, "MethodNotAllowed", false, "none", "not allow this kind"],
    ["a put without a condition", 412, "PreconditionFailed", false, "none", "policy", "none"],
    // Without a code it may come from anybody on the way, before or after the store did its work.
    ["a web server, a path that leads elsewhere", 404, undefined, false, "unknown", "S3 endpoint"],
    ["a firewall's page", 403, undefined, false, "unknown", "do not allow"],
    ["a proxy that wants a login", 401, undefined, false, "unknown", "credentials"],
    ["a TLS port that was asked in plain HTTP", 400, undefined, false, "unknown", "malformed"],
    ["a portal", 302, undefined, false, "unknown", "proxy"],
  ])("%s: %i %s on a put", (_, status, code, retryable, effect, says, condition = "if-absent") => {
    const outcome = s3Outcome(answer(status, code), request("put", condition as PutCondition["kind"]));
    expect(outcome).toMatchObject({ kind: "error", error: { status, retryable, effect, key: "some/key" } });
    const message = outcome.kind === "error" ? outcome.error.message : "";
    expect(message).toContain(says);
    expect(message).toContain(`HTTP ${status} ${code ?? "no S3 error code"}`);
    expect(message).toContain("tx0001");
  });

  test.each([
    ["AWS, by header", answer(301, undefined, { $response: { headers: { "x-amz-bucket-region": "eu-west-1" } } })],
    [
      "AWS, with a code",
      answer(301, "PermanentRedirect", { $response: { headers: { "x-amz-bucket-region": "eu-west-1" } } }),
    ],
    ["AWS, in the text", answer(400, "AuthorizationHeaderMalformed", { Region: "eu-west-1" })],
  ])("the region of the bucket is named: %s", (_, thrown) => {
    const outcome = s3Outcome(thrown, request("get"));
    expect(outcome).toMatchObject({ error: { retryable: false } });
    expect(outcome.kind === "error" && outcome.error.message).toContain(
      'region "eu-west-1": set system.storage.object.region',
    );
  });

  test("AWS names the region in a 403 too, where it is not the reason", () => {
    const thrown = answer(403, "AccessDenied", { $response: { headers: { "x-amz-bucket-region": "eu-west-1" } } });
    const outcome = s3Outcome(thrown, request("put"));
    expect(outcome.kind === "error" && outcome.error.message).not.toContain("eu-west-1");
  });

  test.each([
    ["B2", 400, "InvalidArgument", "Unsupported header 'x-amz-checksum-crc32c' received for this API call."],
    ["R2", 501, "NotImplemented", "Header 'x-amz-checksum-crc32c' with value 'AAAAAA==' not implemented"],
    ["one that insists on signed payloads", 400, "InvalidRequest", "UNSIGNED-PAYLOAD is not allowed"],
  ])("F25 %s refuses the checksum header: the message names the setting", (_, status, code, message) => {
    for (const operation of ["put", "createMultipart", "uploadPart"] as const) {
      const outcome = s3Outcome(answer(status, code, { message }), request(operation));
      expect(outcome).toMatchObject({ error: { retryable: false, effect: "none" } });
      const shown = outcome.kind === "error" ? outcome.error.message : "";
      expect(shown).toContain('system.storage.object.payload_signing to "signed"');
      expect(shown).not.toContain("AAAAAA==");
    }
  });

  test.each([
    ["get", "AccessDenied"],
    ["head", "AccessDenied"],
    ["get", undefined],
  ] as const)("F22 403 on %s (%s) is never 'absent', and hints at the missing permission", (operation, code) => {
    const outcome = s3Outcome(answer(403, code), request(operation));
    expect(outcome).toMatchObject({ kind: "error", error: { retryable: false, effect: "none" } });
    expect(outcome.kind === "error" && outcome.error.message).toContain("s3:ListBucket missing");
  });

  test.each(["list", "delete", "abortMultipart"] as const)("403 on %s is an error", (operation) => {
    expect(s3Outcome(answer(403, "AccessDenied"), request(operation))).toMatchObject({ error: { retryable: false } });
  });

  test("a missing bucket, or a 404 that is not S3's, is never 'absent', nor an upload that is gone", () => {
    for (const code of ["NoSuchBucket", undefined]) {
      for (const operation of ["get", "list", "delete", "completeMultipart", "listParts"] as const) {
        const outcome = s3Outcome(answer(404, code), request(operation));
        expect(outcome).toMatchObject({ kind: "error", error: { retryable: false } });
      }
    }
  });

  test.each([
    [412, ["get", "list", "delete", "completeMultipart"]],
    [416, ["head", "list", "delete", "completeMultipart"]],
    [304, ["get", "list", "delete", "completeMultipart"]],
  ] as const)("%i to a request that cannot earn it is an error", (status, operations) => {
    for (const operation of operations) {
      expect(s3Outcome(answer(status, "Odd"), request(operation))).toMatchObject({ kind: "error" });
    }
  });

  test("only what makes an object can be in doubt", () => {
    expect(s3Outcome(answer(500, "InternalError"), request("completeMultipart"))).toMatchObject({
      error: { effect: "unknown" },
    });
    for (const operation of ["get", "createMultipart", "uploadPart", "abortMultipart", "listParts"] as const) {
      expect(s3Outcome(answer(500, "InternalError"), request(operation))).toMatchObject({ error: { effect: "none" } });
    }
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
    ["a body shorter than announced", network("BROKEN_BODY"), "unknown"],
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

  test.each([
    ["a private authority", network("UNABLE_TO_VERIFY_LEAF_SIGNATURE"), "system.storage.object.tls_ca_file"],
    ["a private authority, chain sent", network("SELF_SIGNED_CERT_IN_CHAIN"), "system.storage.object.tls_ca_file"],
    ["a self-signed certificate", network("DEPTH_ZERO_SELF_SIGNED_CERT"), "system.storage.object.tls_ca_file"],
    ["another name", network("ERR_TLS_CERT_ALTNAME_INVALID"), "system.storage.object.endpoint"],
    ["a bucket with dots", network("ERR_TLS_CERT_ALTNAME_INVALID"), "force_path_style"],
    ["expired", network("CERT_HAS_EXPIRED"), "clock"],
    [
      "https to an http port",
      Object.assign(new Error("write EPROTO 80:error:0A00010B:SSL routines:ssl3_get_record:wrong version number"), {
        code: "EPROTO",
        syscall: "write",
      }),
      "http://",
    ],
  ])("TLS, %s: nothing was sent, and nothing changes by itself", (_, thrown, says) => {
    const outcome = s3Outcome(thrown, request("put", "if-absent"));
    expect(outcome).toMatchObject({ error: { retryable: false, effect: "none", status: undefined } });
    expect(outcome.kind === "error" && outcome.error.message).toContain(says);
  });

  test("TLS that breaks in use is in doubt", () => {
    expect(s3Outcome(network("EPROTO", "write"), request("put"))).toMatchObject({
      error: { retryable: true, effect: "unknown" },
    });
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
  expect(deleteError(request("delete"), "InternalError", ["a", "b", "c"])).toMatchObject({
    retryable: true,
    effect: "none",
  });
  expect(deleteError(request("delete"), "AccessDenied", ["a"])).toMatchObject({
    retryable: false,
    failedKeys: ["a"],
  });
  expect(deleteError(request("delete"), "SlowDown", ["a", "b"]).message).toContain("and 1 more");
});
