import { createHash } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import type { ObjectKey } from "../../src/domain.ts";
import { BufferedMultipartWriter } from "../../src/object-store/buffered-multipart-writer.ts";
import type { ObjectStore } from "../../src/object-store/object-store.ts";
import { PartBufferPool } from "../../src/object-store/part-buffer-pool.ts";
import { payloadPolicy, type PayloadSettings } from "../../src/object-store/s3-payload.ts";
import { createS3Store } from "../../src/object-store/s3-store.ts";
import { settling } from "../../src/object-store/settling.ts";
import { crc32c } from "../../src/record/crc32c.ts";
import { systemClock } from "../../src/runtime/clock.ts";
import { seededRandom } from "../../src/runtime/random.ts";
import { systemRuntime } from "../../src/runtime/runtime.ts";
import { filled } from "../support/filled.ts";
import { PlayedServer } from "../support/played-server.ts";

const KEY = "data/ab/k" as ObjectKey;
const IF_ABSENT = { condition: { kind: "if-absent" } } as const;
const SMALL = filled(1000, 1);
/** Hashed, or summed, in several steps. */
const LARGE = filled(5 * 1024 * 1024 + 7, 2);

interface Received {
  readonly method: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

let server: PlayedServer;
let stores: ObjectStore[];
let received: Received[];

beforeEach(async () => {
  stores = [];
  received = [];
  server = new PlayedServer();
  server.answer = (request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const { method = "", url = "", headers } = request;
      received.push({ method, headers, body: Buffer.concat(chunks) });
      const posted = url.includes("uploads")
        ? "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
        : "<CompleteMultipartUploadResult><ETag>&quot;e&quot;</ETag></CompleteMultipartUploadResult>";
      response.writeHead(200, { etag: '"e"' });
      response.end(method === "POST" ? posted : "");
    });
  };
  await server.start();
});

afterEach(async () => {
  for (const store of stores) await store.close();
  await server.stop();
});

function open(payload: PayloadSettings, endpoint = server.endpoint): ObjectStore {
  const store = createS3Store(
    {
      bucket: "bucket",
      region: "us-east-1",
      endpoint,
      prefix: "",
      credentials: { accessKeyId: "key", secretAccessKey: "secret" },
      forcePathStyle: true,
      requestTimeoutMs: 20_000,
      maxSockets: 4,
      ifMatchEtag: "quoted",
      ...payload,
    },
    systemRuntime,
  );
  stores.push(store);
  return store;
}

const sha256 = (body: Uint8Array): string => createHash("sha256").update(body).digest("hex");

function crcHeader(body: Uint8Array): string {
  const crc = crc32c(body);
  return Buffer.from([crc >>> 24, crc >>> 16, crc >>> 8, crc]).toString("base64");
}

const guards = ({ headers }: Received): unknown[] => [
  headers["x-amz-content-sha256"],
  headers["x-amz-checksum-crc32c"],
  Object.keys(headers).filter((name) => name.includes("checksum") && name !== "x-amz-checksum-crc32c"),
];
const signed = (body: Uint8Array): unknown[] => [sha256(body), undefined, []];
const unsigned = (body: Uint8Array): unknown[] => ["UNSIGNED-PAYLOAD", crcHeader(body), []];

/** Reached over loopback, but by a name that nobody may take for it. */
const elsewhere = (): string => server.endpoint.replace("127.0.0.1", "0.0.0.0");

describe("what guards a put on the wire", () => {
  // undefined: nobody has tried.
  test.each([
    [undefined, undefined, "signed"],
    ["auto", undefined, "signed"],
    ["auto", false, "signed"],
    ["auto", true, "unsigned"],
    ["signed", true, "signed"],
    ["unsigned", false, "unsigned"],
  ] as const)("%s, wrong checksum refused: %s → %s", async (payloadSigning, refused, how) => {
    const payload = { wrongChecksumRefused: (): boolean | undefined => refused };
    const store = open(payloadSigning === undefined ? payload : { ...payload, payloadSigning });
    for (const body of [SMALL, LARGE, new Uint8Array(0)]) {
      await store.put(KEY, body, IF_ABSENT);
      const put = received.pop();
      expect(Buffer.compare(put?.body ?? Buffer.of(1), body)).toBe(0);
      expect(put === undefined ? undefined : guards(put)).toEqual(how === "signed" ? signed(body) : unsigned(body));
    }
  });

  test("auto over plain HTTP to elsewhere: signed, though the store would refuse a wrong checksum", async () => {
    const store = open({ wrongChecksumRefused: () => true }, elsewhere());
    await store.put(KEY, LARGE, IF_ABSENT);
    expect(received.map(guards)).toEqual([signed(LARGE)]);
  });

  test("unsigned over plain HTTP to elsewhere is refused before anything is sent", () => {
    expect(() => open({ payloadSigning: "unsigned" }, elsewhere())).toThrow("payloadSigning");
  });

  test("what is found out while the store is open counts from the next object on", async () => {
    let refused: boolean | undefined;
    const store = open({ wrongChecksumRefused: () => refused });
    await store.put(KEY, SMALL, IF_ABSENT);
    refused = true;
    await store.put(KEY, SMALL, IF_ABSENT);
    expect(received.map(guards)).toEqual([signed(SMALL), unsigned(SMALL)]);
  });

  test.each([
    [undefined, true],
    ["https://s3.example.com", true],
    ["http://s3.example.com", false],
    ["http://localhost:9000", true],
    ["http://127.0.0.1:9000", true],
    ["http://127.9.9.9", true],
    ["http://[::1]:9000", true],
    ["http://localhost.example.com", false],
    ["http://127.0.0.1.example.com", false],
    ["http://10.0.0.1", false],
    ["http://[fe80::1]", false],
  ])("auto to %s may go unsigned: %s", (endpoint, may) => {
    const known = { wrongChecksumRefused: () => true };
    expect(payloadPolicy(endpoint === undefined ? known : { ...known, endpoint })()).toBe(may);
  });
});

describe("what guards an upload on the wire", () => {
  async function upload(store: ObjectStore, between: () => void = () => undefined): Promise<void> {
    const started = await store.createMultipart(KEY);
    between();
    const parts = [await started.putPart(1, LARGE), await started.putPart(2, SMALL)];
    await started.complete(parts);
  }

  test("unsigned: the store hears of the checksums at the start, with each part, and at the end", async () => {
    await upload(open({ wrongChecksumRefused: () => true }));
    const [create, first, second, complete] = received;
    expect(create?.headers["x-amz-checksum-algorithm"]).toBe("CRC32C");
    expect([first, second].map((part) => part && guards(part))).toEqual([unsigned(LARGE), unsigned(SMALL)]);
    const named = [...String(complete?.body).matchAll(/<ChecksumCRC32C>([^<]+)<\/ChecksumCRC32C>/g)];
    expect(named.map(([, checksum]) => checksum)).toEqual([crcHeader(LARGE), crcHeader(SMALL)]);
    // Small requests of XML stay signed: what they say is not ours to check later.
    expect(complete?.headers["x-amz-content-sha256"]).toBe(sha256(complete?.body ?? SMALL));
  });

  test("signed: no checksum anywhere", async () => {
    await upload(open({}));
    const [create, first, second, complete] = received;
    expect(create?.headers["x-amz-checksum-algorithm"]).toBeUndefined();
    expect([first, second].map((part) => part && guards(part))).toEqual([signed(LARGE), signed(SMALL)]);
    expect(String(complete?.body)).not.toContain("Checksum");
  });

  test("an upload stays what it was when it began", async () => {
    let refused = false;
    await upload(open({ wrongChecksumRefused: () => refused }), () => (refused = true));
    expect(received.slice(1, 3).map(guards)).toEqual([signed(LARGE), signed(SMALL)]);
  });
});

describe("what the writer found while it copied is what guards its bytes", () => {
  const PART_BYTES = 5 * 1024 * 1024;

  async function write(chunks: readonly Uint8Array[], crcOf: (chunk: Uint8Array, i: number) => number | undefined) {
    const store = settling(open({ wrongChecksumRefused: () => true }), {
      clock: systemClock,
      random: seededRandom(1),
      deadlineMs: 30_000,
    });
    const pool = new PartBufferPool({ partSizeBytes: PART_BYTES, buffersMax: 5 });
    await using writer = new BufferedMultipartWriter({ store, key: KEY, pool, partsInFlight: 4 });
    for (const [i, chunk] of chunks.entries()) await writer.write(chunk, crcOf(chunk, i));
    await writer.finish();
  }

  const bodies = (): Received[] => received.filter(({ method }) => method === "PUT");
  const chunked = (totalBytes: number, ...sizes: number[]): Uint8Array[] => {
    const chunks: Uint8Array[] = [];
    for (let at = 0, i = 0; at < totalBytes; i++) {
      const size = Math.min(sizes[i % sizes.length] ?? 1, totalBytes - at);
      chunks.push(filled(size, i));
      at += size;
    }
    return chunks;
  };

  test.each([
    ["one put", 3_000_000, [400_000, 10, 20_000]],
    ["chunks that fill parts", 12 * 1024 * 1024, [1024 * 1024]],
    ["chunks that parts share", 17_000_000, [700_001, 3, 20_000, 1_100_000]],
    ["chunks larger than a part", 18_000_000, [6_000_000]],
  ])("%s", async (_, totalBytes, sizes) => {
    const chunks = chunked(totalBytes, ...sizes);
    for (const crcOf of [
      () => undefined,
      (chunk: Uint8Array) => crc32c(chunk),
      (chunk: Uint8Array, i: number) => (i % 2 === 0 ? crc32c(chunk) : undefined),
    ]) {
      received = [];
      await write(chunks, crcOf);
      expect(bodies().map(({ headers }) => headers["x-amz-checksum-crc32c"])).toEqual(
        bodies().map(({ body }) => crcHeader(body)),
      );
      expect(bodies().reduce((sum, { body }) => sum + body.length, 0)).toBe(totalBytes);
    }
  });

  test("a chunk that changed since its CRC was made does not pass for whole", async () => {
    const chunks = chunked(2_000_000, 1_000_000);
    const crcs = chunks.map((chunk) => crc32c(chunk));
    chunks[1]![500_000]! ^= 1;
    await write(chunks, (_, i) => crcs[i]);
    const [put] = bodies();
    expect(put?.headers["x-amz-checksum-crc32c"]).not.toBe(crcHeader(put?.body ?? SMALL));
  });
});
