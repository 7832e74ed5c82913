import { Readable } from "node:stream";

import { PutObjectCommand, UploadPartCommand, type S3Client } from "@aws-sdk/client-s3";
import * as fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

import { Secret } from "../../src/config/secret.ts";
import { createS3Client, type S3ClientSettings } from "../../src/object-store/s3-client.ts";
import type { S3Credentials } from "../../src/object-store/s3-credentials.ts";
import type { S3Encryption } from "../../src/object-store/s3-encryption.ts";
import { s3Outcome } from "../../src/object-store/s3-outcome.ts";
import { crc32cHeader } from "../../src/object-store/s3-payload.ts";
import { PutRehearsal } from "../../src/object-store/s3-put-shape.ts";
import { S3Puts, type PutRequest } from "../../src/object-store/s3-puts.ts";

interface Sent {
  readonly method: string;
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** The connection breaks after the body. */
  readonly breaks?: boolean;
}

const WRITTEN: Answer = { status: 200, headers: { etag: '"e"', "content-length": "0" } };

/** Stands where the sockets are: keeps what is sent, gives the same answer to everything. */
class Wire {
  readonly sent: Sent[] = [];
  readonly #answer: Answer;

  constructor(answer: Answer = WRITTEN) {
    this.#answer = answer;
  }

  handle(request: Sent): Promise<{ response: object }> {
    const { status, headers = {}, body = "", breaks } = this.#answer;
    this.sent.push(request);
    const stream = new Readable({
      read() {
        if (body !== "") this.push(body);
        if (breaks === true) this.destroy(Object.assign(new Error("gone"), { code: "ECONNRESET" }));
        else this.push(null);
      },
    });
    return Promise.resolve({ response: { statusCode: status, headers: { ...headers }, body: stream } });
  }
}

const settings: S3ClientSettings & { readonly bucket: string } = {
  bucket: "logs",
  region: "eu-central-1",
  credentials: { accessKeyId: "AKIDEXAMPLE", secretAccessKey: "secret/of+AKID" },
  forcePathStyle: false,
  requestTimeoutMs: 5_000,
  maxSockets: 4,
};

type Settings = typeof settings;

const open: { destroy(): void }[] = [];
function kept<T extends { destroy(): void }>(one: T): T {
  open.push(one);
  return one;
}

function puts(of: Settings, wire: Wire): { readonly puts: S3Puts; readonly client: S3Client } {
  const client = kept(createS3Client(of, wire));
  let rehearsal: PutRehearsal | undefined;
  return { puts: new S3Puts(client, () => (rehearsal ??= kept(new PutRehearsal(of)))), client };
}

/** The SDK alone, but for two headers about retries, which it may not make. */
function sdk(of: Settings, wire: Wire): S3Client {
  const client = kept(createS3Client(of, wire));
  const withoutRetries =
    <Args extends object, Result>(next: (args: Args) => Result) =>
    (args: Args): Result => {
      const { headers } = (args as unknown as { readonly request: { readonly headers: Record<string, string> } })
        .request;
      delete headers["amz-sdk-invocation-id"];
      delete headers["amz-sdk-request"];
      return next(args);
    };
  client.middlewareStack.addRelativeTo(withoutRetries, {
    relation: "before",
    toMiddleware: "httpSigningMiddleware",
    name: "withoutRetries",
  });
  return client;
}

function commandOf({ bucket, key, body, condition, crc32c, part }: PutRequest): PutObjectCommand {
  const checksum = crc32c === undefined ? {} : { ChecksumCRC32C: crc32c };
  const input = { Bucket: bucket, Key: key, Body: body, ContentLength: body.length, ...checksum, ...condition };
  if (part === undefined) return new PutObjectCommand(input);
  return new UploadPartCommand({ ...input, ...part }) as unknown as PutObjectCommand;
}

const signal = new AbortController().signal;
const create: PutRequest = {
  bucket: "logs",
  key: "index/0000/00000000000000000007.idx",
  body: Buffer.from("123456789"),
  condition: { IfNoneMatch: "*" },
  crc32c: undefined,
};

function comparable({ method, path, query, headers, body, ...rest }: Sent): unknown {
  const { protocol, hostname, port } = rest as { protocol?: string; hostname?: string; port?: number };
  return { protocol, hostname, port, method, path, query, headers, body: Buffer.from(body).toString("hex") };
}

async function bothSend(of: Settings, put: PutRequest): Promise<readonly [ours: unknown, sdks: unknown]> {
  const [ourWire, sdkWire] = [new Wire(), new Wire()];
  const ours = puts(of, ourWire);
  expect(await ours.puts.put(put, of.credentials as S3Credentials, signal)).toBe('"e"');
  await sdk(of, sdkWire).send(commandOf(put));
  expect([ourWire.sent.length, sdkWire.sent.length]).toEqual([1, 1]);
  return [ourWire.sent.map(comparable), sdkWire.sent.map(comparable)];
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date"], now: Date.UTC(2026, 1, 3, 4, 5, 6, 789) });
});
afterEach(() => {
  vi.useRealTimers();
  for (const one of open.splice(0)) one.destroy();
});

/** Of what a key may hold: see object-key.ts. */
const character = fc.oneof(
  fc.constantFrom(...Array.from("azAZ09/-._~!'()*+ %&?#$@:;,=\"\\|^`<>[]{}")),
  fc.constantFrom("ü", "é", "\u{1F600}", "漢", "//", "/../", "%2F", "  "),
);
const keys = fc.array(character, { minLength: 1, maxLength: 60 }).map((parts) => parts.join(""));

/** Servers name uploads as they like. */
const parts = fc.option(fc.record({ PartNumber: fc.integer({ min: 1, max: 10_000 }), UploadId: keys }), {
  nil: undefined,
});

const encryptions: fc.Arbitrary<S3Encryption | undefined> = fc.constantFrom(
  undefined,
  { kind: "sse-s3" },
  { kind: "sse-kms", keyId: "arn:aws:kms:eu-central-1:1:key/2", bucketKey: true },
  { kind: "sse-c", key: new Secret(Buffer.alloc(32, 7).toString("base64")) },
);

const places = fc.constantFrom(
  { forcePathStyle: false },
  { forcePathStyle: true },
  { forcePathStyle: false, endpoint: "https://s3.example.com" },
  { forcePathStyle: true, endpoint: "https://s3.example.com:9000/below" },
  { forcePathStyle: true, endpoint: "http://127.0.0.1:7480" },
  { forcePathStyle: false, bucket: "logs.with.dots" },
);

describe("what is sent is what the SDK would send, with its signature", () => {
  test("whatever the key, the condition, the body, the place, the credentials and the encryption", async () => {
    await fc.assert(
      fc.asyncProperty(
        keys,
        fc.uint8Array({ maxLength: 300 }),
        fc.constantFrom({}, { IfNoneMatch: "*" }, { IfMatch: '"abc"' }, { IfMatch: "bare" }),
        fc.boolean(),
        places,
        fc.constantFrom(undefined, "token/+== of a session"),
        encryptions,
        fc.constantFrom("if-none-match", "x-oss-forbid-overwrite") satisfies fc.Arbitrary<
          NonNullable<S3ClientSettings["createIfAbsent"]>
        >,
        parts,
        async (key, body, condition, unsigned, place, sessionToken, encryption, createIfAbsent, part) => {
          const of: Settings = {
            ...settings,
            ...place,
            createIfAbsent,
            credentials: {
              ...(settings.credentials as S3Credentials),
              ...(sessionToken === undefined ? {} : { sessionToken }),
            },
            ...(encryption === undefined ? {} : { encryption }),
          };
          const crc32c = unsigned ? await crc32cHeader(body) : undefined;
          const what = part === undefined ? { condition } : { condition: {}, part };
          const [ours, sdks] = await bothSend(of, { bucket: of.bucket, key, body, crc32c, ...what });
          expect(ours).toEqual(sdks);
        },
      ),
      { numRuns: 200 },
    );
  });

  test.each([{}, { IfNoneMatch: "*" }, { IfMatch: '"abc"' }])("signed Google's way: %o", async (condition) => {
    const of: Settings = {
      ...settings,
      endpoint: "https://storage.googleapis.com",
      region: "auto",
      createIfAbsent: "x-goog-if-generation-match",
    };
    for (const crc32c of [undefined, await crc32cHeader(create.body)]) {
      const [ours, sdks] = await bothSend(of, { ...create, condition, crc32c });
      expect(ours).toEqual(sdks);
    }
  });

  test("a body that is hashed in steps", async () => {
    const body = Buffer.alloc(300 * 1024, 5);
    const [ours, sdks] = await bothSend(settings, { ...create, body });
    expect(ours).toEqual(sdks);
  });

  test("the environment is the SDK's affair: dual stack and FIPS", async () => {
    vi.stubEnv("AWS_USE_DUALSTACK_ENDPOINT", "true");
    vi.stubEnv("AWS_USE_FIPS_ENDPOINT", "true");
    try {
      const [ours, sdks] = await bothSend(settings, create);
      expect(ours).toEqual(sdks);
      expect(ours).toMatchObject([{ hostname: "logs.s3-fips.dualstack.eu-central-1.amazonaws.com" }]);
    } finally {
      vi.unstubAllEnvs();
    }
  });

  test("requests of one kind differ in all that differs, and in nothing else", async () => {
    const wire = new Wire();
    const ours = puts(settings, wire);
    const first = { accessKeyId: "first", secretAccessKey: "s1", sessionToken: "t1" };
    const second = { accessKeyId: "second", secretAccessKey: "s2" };
    await ours.puts.put(create, first, signal);
    vi.setSystemTime(Date.UTC(2026, 1, 4));
    await ours.puts.put({ ...create, key: "other", body: Buffer.alloc(3) }, second, signal);
    vi.setSystemTime(Date.UTC(2026, 1, 3, 4, 5, 6, 789));
    await ours.puts.put(create, first, signal);
    const [one, two, three] = wire.sent;
    expect(three?.headers).toEqual(one?.headers);
    expect([one?.headers["x-amz-security-token"], two?.headers["x-amz-security-token"]]).toEqual(["t1", undefined]);
    const sdkWire = new Wire();
    vi.setSystemTime(Date.UTC(2026, 1, 4));
    await sdk({ ...settings, credentials: second }, sdkWire).send(
      commandOf({ ...create, key: "other", body: Buffer.alloc(3) }),
    );
    expect(two?.headers).toEqual(sdkWire.sent[0]?.headers);
  });
});

describe("what is left to the SDK", () => {
  test("a bucket with sessions of its own, S3 Express: the SDK asks for one, which nothing here does", async () => {
    const wire = new Wire();
    const of = { ...settings, bucket: "logs--use1-az4--x-s3", region: "us-east-1" };
    const { puts: express } = puts(of, wire);
    await expect(
      express.put({ ...create, bucket: of.bucket }, of.credentials as S3Credentials, signal),
    ).rejects.toBeDefined();
    expect(wire.sent.map(({ query }) => query)).toEqual([expect.objectContaining({ session: "" })]);
  });
});

const xml = (code: string, more = ""): string =>
  `<?xml version="1.0" encoding="UTF-8"?><Error><Code>${code}</Code><Message>no checksum is required</Message>${more}<RequestId>4442587FB7D0A2F9</RequestId></Error>`;
const typed = { "content-type": "application/xml", date: "Tue, 03 Feb 2026 05:00:00 GMT", "x-amz-request-id": "R1" };

const ANSWERS: readonly Answer[] = [
  WRITTEN,
  { ...WRITTEN, headers: { ...WRITTEN.headers, ...typed } },
  { ...WRITTEN, headers: { ...WRITTEN.headers, ...typed, age: "5" } },
  { ...WRITTEN, headers: { ...WRITTEN.headers, date: "not a time" } },
  { status: 200, headers: { etag: '"chunked"' } },
  { status: 200, headers: { "content-length": "0" } },
  { status: 200, headers: { etag: '"e"' }, body: xml("InternalError") },
  { status: 200, headers: { etag: '"e"' }, body: "what is this" },
  { status: 200, headers: { "content-type": "text/html", etag: '"e"', "content-length": "4" }, body: "page" },
  { status: 200, headers: { "content-type": "text/html; charset=UTF-8", etag: '"e"', "content-length": "0" } },
  { status: 200, headers: { ...typed, "content-type": "text/html", etag: '"e"', "content-length": "0" } },
  { status: 200, headers: { etag: '"e"', "content-length": "10" }, body: "half", breaks: true },
  { status: 201, headers: { etag: '"e"', "content-length": "0" } },
  { status: 204, headers: { etag: '"e"' } },
  {
    status: 301,
    headers: { ...typed, "x-amz-bucket-region": "us-west-2" },
    body: xml("PermanentRedirect", "<Endpoint>logs.s3-us-west-2.amazonaws.com</Endpoint>"),
  },
  { status: 307, headers: { location: "http://127.0.0.1:1/" } },
  { status: 400, headers: typed, body: xml("AuthorizationHeaderMalformed", "<Region>us-west-2</Region>") },
  { status: 400, headers: typed, body: xml("ExpiredToken") },
  { status: 400, headers: {}, body: "" },
  { status: 403, headers: typed, body: xml("SignatureDoesNotMatch", "<StringToSign>secret</StringToSign>") },
  {
    status: 403,
    headers: typed,
    body: xml("RequestTimeTooSkewed", "<ServerTime>2026-02-03T09:05:06Z</ServerTime>"),
  },
  { status: 403, headers: { ...typed, "content-type": "text/html" }, body: "<html><body>no</body></html>" },
  { status: 404, headers: typed, body: xml("NoSuchBucket") },
  { status: 404, headers: typed, body: xml("NoSuchKey") },
  { status: 404, headers: typed, body: "<not><closed>" },
  { status: 405, headers: typed, body: xml("MethodNotAllowed") },
  { status: 409, headers: typed, body: xml("ConditionalRequestConflict") },
  { status: 409, headers: typed, body: xml("FileAlreadyExists") },
  { status: 412, headers: typed, body: xml("PreconditionFailed") },
  { status: 412, headers: { "content-length": "0" } },
  { status: 429, headers: typed, body: "slow" },
  { status: 500, headers: typed, body: xml("InternalError") },
  { status: 500, headers: { ...typed, "content-length": "500" }, body: xml("Intern").slice(0, 40), breaks: true },
  { status: 501, headers: typed, body: xml("NotImplemented") },
  { status: 502, headers: { "content-type": "text/html" }, body: "<html>bad gateway</html>" },
  { status: 503, headers: typed, body: xml("SlowDown") },
];

describe("what an answer means is what the SDK says", () => {
  const said = (error: unknown): unknown => {
    const outcome = s3Outcome(error, { operation: "put", key: "k", bucket: "logs", condition: "if-absent" });
    if (outcome.kind !== "error") return outcome;
    const { message, status, retryable, effect, cause } = outcome.error;
    return { message, status, retryable, effect, cause: String(cause) };
  };

  const part: PutRequest = { ...create, condition: {}, part: { PartNumber: 3, UploadId: "up+load/1==" } };
  const cases = [create, part].flatMap((put) => ANSWERS.map((answer) => ({ put, ...answer })));
  test.each(cases)("$put.part $status $headers $body", async ({ put, ...answer }) => {
    const ours = puts(settings, new Wire(answer));
    const theirs = sdk(settings, new Wire(answer));
    const [our, their] = await Promise.allSettled([
      ours.puts.put(put, settings.credentials as S3Credentials, signal),
      theirs.send(commandOf(put)),
    ]);
    const outcomes = [our, their].map((settled) =>
      settled.status === "rejected" ? said(settled.reason) : { kind: "ok" },
    );
    expect(outcomes[0]).toEqual(outcomes[1]);
    const etags = [
      our.status === "fulfilled" ? our.value : "none",
      their.status === "fulfilled" ? their.value.ETag : "none",
    ];
    expect(etags[0]).toBe(etags[1]);
    expect(ours.client.config.systemClockOffset).toBe(theirs.config.systemClockOffset);
  });

  test("the next request is signed by the clock of the store", async () => {
    const wire = new Wire({ status: 403, headers: typed, body: xml("RequestTimeTooSkewed") });
    const { puts: ours, client } = puts(settings, wire);
    const put = (): Promise<unknown> => ours.put(create, settings.credentials as S3Credentials, signal);
    await expect(put()).rejects.toBeDefined();
    await expect(put()).rejects.toBeDefined();
    expect(wire.sent.map(({ headers }) => headers["x-amz-date"])).toEqual(["20260203T040506Z", "20260203T050000Z"]);
    expect(client.config.systemClockOffset).toBe(Date.UTC(2026, 1, 3, 5) - Date.now());
  });
});
