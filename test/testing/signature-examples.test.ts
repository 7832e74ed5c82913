import { describe, expect, test } from "vitest";

import type { HttpRequest } from "../../src/testing/http-exchange.ts";
import { createS3Backend } from "../../src/testing/s3/backend.ts";
import { verifySignature } from "../../src/testing/s3/signature.ts";
import { VirtualClock } from "../support/virtual-clock.ts";

/*
 * The worked examples of "Authenticating Requests: Using the Authorization Header" in the documentation of Amazon S3: signatures
 * that neither this code nor the SDK made.
 */
const CREDENTIAL = {
  accessKeyId: "AKIAIOSFODNN7EXAMPLE",
  secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
};
const NOW_MS = Date.parse("2013-05-24T00:00:00Z");
const EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

function signed(
  method: string,
  url: string,
  headers: Record<string, string>,
  signature: string,
  body: Uint8Array = new Uint8Array(0),
): HttpRequest {
  const all = { "x-amz-date": "20130524T000000Z", "x-amz-content-sha256": EMPTY, ...headers };
  const names = Object.keys(all).sort().join(";");
  const credential = `${CREDENTIAL.accessKeyId}/20130524/us-east-1/s3/aws4_request`;
  const authorization = `AWS4-HMAC-SHA256 Credential=${credential},SignedHeaders=${names},Signature=${signature}`;
  return { method, url, headers: { ...all, authorization }, body };
}

const HOST = { host: "examplebucket.s3.amazonaws.com" };
const EXAMPLES: readonly (readonly [string, HttpRequest])[] = [
  [
    "GET object",
    signed(
      "GET",
      "/test.txt",
      { ...HOST, range: "bytes=0-9" },
      "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    ),
  ],
  [
    "PUT object",
    signed(
      "PUT",
      "/test%24file.text",
      {
        ...HOST,
        date: "Fri, 24 May 2013 00:00:00 GMT",
        "x-amz-storage-class": "REDUCED_REDUNDANCY",
        "x-amz-content-sha256": "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
      },
      "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    ),
  ],
  [
    "GET bucket lifecycle",
    signed("GET", "/?lifecycle", HOST, "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
  ],
  [
    "GET bucket (list objects)",
    signed("GET", "/?max-keys=2&prefix=J", HOST, "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
  ],
];

describe("the examples of Amazon's documentation", () => {
  const verify = (request: HttpRequest): string =>
    verifySignature(request, { credentials: [CREDENTIAL], region: "us-east-1", nowMs: NOW_MS }).credential.accessKeyId;

  test.each(EXAMPLES)("%s", (_, request) => {
    expect(verify(request)).toBe(CREDENTIAL.accessKeyId);
    expect(() => verify({ ...request, method: "DELETE" })).toThrow("does not match the signature");
    expect(() => verify({ ...request, url: `${request.url}x` })).toThrow("does not match the signature");
    const headers = { ...request.headers, host: "elsewhere.s3.amazonaws.com" };
    expect(() => verify({ ...request, headers })).toThrow("does not match the signature");
  });

  const SEED = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
  const CHUNKS = [
    [65_536, "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"],
    [1024, "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"],
    [0, "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"],
  ] as const;

  function chunkedPut(body: string): HttpRequest {
    return signed(
      "PUT",
      "/examplebucket/chunkObject.txt",
      {
        host: "s3.amazonaws.com",
        "x-amz-storage-class": "REDUCED_REDUNDANCY",
        "x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        "content-encoding": "aws-chunked",
        "x-amz-decoded-content-length": "66560",
        "content-length": "66824",
      },
      SEED,
      Buffer.from(body),
    );
  }

  const frames = CHUNKS.map(
    ([size, signature]) => `${size.toString(16)};chunk-signature=${signature}\r\n${"a".repeat(size)}\r\n`,
  );

  test("an upload in signed chunks is taken, its framing off; a changed byte is not", async () => {
    const clock = new VirtualClock();
    const buckets = ["examplebucket"];
    const backend = createS3Backend({ credentials: [CREDENTIAL], buckets, clock, clockOffsetMs: NOW_MS });
    expect((await backend.answer(chunkedPut(frames.join("")))).status).toBe(200);
    expect(backend.storedBytes).toBe(66_560 + 512);

    const changed = await backend.answer(chunkedPut(frames.join("").replace("aaaa", "aaab")));
    expect([changed.status, Buffer.from(changed.body).toString()]).toEqual([
      403,
      expect.stringContaining("SignatureDoesNotMatch"),
    ]);
    const cut = await backend.answer(chunkedPut(frames.slice(0, 1).join("")));
    expect([cut.status, Buffer.from(cut.body).toString()]).toEqual([400, expect.stringContaining("IncompleteBody")]);
    expect(backend.storedBytes).toBe(66_560 + 512);
  });
});
