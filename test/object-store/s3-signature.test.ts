import { expect, test } from "vitest";

import { RequestSigner, canonicalQuery, escapedKey, signingTime } from "../../src/object-store/s3-signature.ts";

/** "Examples: Signature Calculations" of the S3 API reference, with its credentials; all of 2013-05-24T00:00:00Z. */
const credentials = {
  accessKeyId: "AKIAIOSFODNN7EXAMPLE",
  secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
};
const EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const common = { host: "examplebucket.s3.amazonaws.com", "x-amz-date": signingTime(Date.UTC(2013, 4, 24)) };

interface Example {
  readonly method: string;
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers: Readonly<Record<string, string>>;
}

function signatureOf({ method, path, query = {}, headers: own }: Example): string | undefined {
  const headers = { ...common, ...own };
  const signedNames = Object.keys(headers).toSorted();
  const request = { method, path, canonicalQuery: canonicalQuery(query), headers, signedNames };
  const signer = new RequestSigner({ region: "us-east-1", service: "s3" });
  const authorization = signer.authorization(request, credentials);
  expect(authorization).toContain(
    `AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, SignedHeaders=${signedNames.join(";")}, `,
  );
  return /Signature=([0-9a-f]{64})$/.exec(authorization)?.[1];
}

test.each<Example & { readonly name: string; readonly signature: string }>([
  {
    name: "GET Object",
    method: "GET",
    path: "/test.txt",
    headers: { range: "bytes=0-9", "x-amz-content-sha256": EMPTY },
    signature: "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
  },
  {
    name: "PUT Object",
    method: "PUT",
    path: `/${escapedKey("test$file.text")}`,
    headers: {
      date: "Fri, 24 May 2013 00:00:00 GMT",
      "x-amz-content-sha256": "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
      "x-amz-storage-class": "REDUCED_REDUNDANCY",
    },
    signature: "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
  },
  {
    name: "GET Bucket Lifecycle",
    method: "GET",
    path: "/",
    query: { lifecycle: "" },
    headers: { "x-amz-content-sha256": EMPTY },
    signature: "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
  },
  {
    name: "Get Bucket (List Objects)",
    method: "GET",
    path: "/",
    query: { prefix: "J", "max-keys": "2" },
    headers: { "x-amz-content-sha256": EMPTY },
    signature: "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
  },
])("$name of the manual is signed as the manual says", ({ signature, ...example }) => {
  expect(signatureOf(example)).toBe(signature);
});

test("the key of a day is kept for that day and that secret only", () => {
  const signer = new RequestSigner({ region: "us-east-1", service: "s3" });
  const authorization = (at: number, secretAccessKey: string, by = signer): string =>
    by.authorization(
      { method: "PUT", path: "/k", canonicalQuery: "", headers: { "x-amz-date": signingTime(at) }, signedNames: [] },
      { accessKeyId: "id", secretAccessKey },
    );
  const day = 24 * 60 * 60 * 1000;
  for (const [at, secret] of [
    [0, "a"],
    [0, "b"],
    [day, "b"],
    [day, "a"],
    [0, "a"],
  ] as const) {
    const fresh = new RequestSigner({ region: "us-east-1", service: "s3" });
    expect(authorization(at, secret)).toBe(authorization(at, secret, fresh));
  }
});
