import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  ListPartsCommand,
  PutObjectCommand,
  UploadPartCommand,
  type CompletedPart,
  type S3Client,
} from "@aws-sdk/client-s3";
import { afterEach, describe, expect, test } from "vitest";

import { signForGoogle, type SignedRequest } from "../../src/object-store/google-signature.ts";
import { createS3Store } from "../../src/object-store/s3-store.ts";
import { systemRuntime } from "../../src/runtime/runtime.ts";
import type { StoreUnderTest } from "../../src/testing/conformance/conformance-case.ts";
import { multipartConformance } from "../../src/testing/conformance/multipart.ts";
import { objectStoreConformance } from "../../src/testing/conformance/object-store.ts";
import { S3Endpoint } from "../../src/testing/s3-endpoint.ts";
import { S3_PROVIDERS, S3_TRAITS, type S3Character } from "../../src/testing/s3/character.ts";
import { filled } from "../support/filled.ts";
import { VirtualClock } from "../support/virtual-clock.ts";
import { BUCKET, clientOf, EndpointClient, verdict, withHeaders } from "./endpoint-client.ts";

const OBJECT = { Bucket: BUCKET, Key: "k" };
const PART = 5 * 1024 * 1024;
const FAILED = [412, "PreconditionFailed"];

const opened: EndpointClient[] = [];
const clients: S3Client[] = [];

afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy();
  for (const one of opened.splice(0)) await one.close();
});

async function start(character: S3Character): Promise<EndpointClient> {
  const on = await EndpointClient.start({ character });
  opened.push(on);
  return on;
}

function withHeader(on: EndpointClient, name: string, value: string): S3Client {
  const client = withHeaders(clientOf(on.endpoint), { [name]: value });
  clients.push(client);
  return client;
}

/** With a condition of Google's, and signed its way. */
function withGeneration(on: EndpointClient, generation: string): S3Client {
  const client = withHeader(on, "x-goog-if-generation-match", generation);
  client.middlewareStack.add(
    (next) => (args) => {
      signForGoogle(args.request as SignedRequest, on.endpoint.credentials);
      return next(args);
    },
    { step: "deserialize", name: "signForGoogle" },
  );
  return client;
}

const put = (s3: S3Client, Body: string, more: object = {}) =>
  s3.send(new PutObjectCommand({ ...OBJECT, Body, ...more }));
const get = (s3: S3Client, more: object = {}) => s3.send(new GetObjectCommand({ ...OBJECT, ...more }));
const text = async (s3: S3Client) => (await get(s3)).Body?.transformToString();
const create = async (s3: S3Client, Key = "k") =>
  (await s3.send(new CreateMultipartUploadCommand({ Bucket: BUCKET, Key }))).UploadId ?? "";

async function putPart(s3: S3Client, UploadId: string, PartNumber: number, Body: Uint8Array): Promise<CompletedPart> {
  const { ETag } = await s3.send(new UploadPartCommand({ ...OBJECT, UploadId, PartNumber, Body }));
  return { PartNumber, ETag };
}

const complete = (s3: S3Client, UploadId: string, Parts: CompletedPart[], more: object = {}) =>
  s3.send(new CompleteMultipartUploadCommand({ ...OBJECT, UploadId, MultipartUpload: { Parts }, ...more }));

/** An upload of the key with one small part. */
async function smallUpload(s3: S3Client): Promise<[uploadId: string, parts: CompletedPart[]]> {
  const upload = await create(s3);
  return [upload, [await putPart(s3, upload, 1, filled(10, 1))]];
}

async function completesOver(s3: S3Client, more: object): Promise<unknown> {
  return verdict(complete(s3, ...(await smallUpload(s3)), more));
}

describe("conditions", () => {
  test("ignores-conditions: everybody wins", async () => {
    const { s3 } = await start("ignores-conditions");
    expect(await verdict(put(s3, "1", { IfNoneMatch: "*" }))).toBe(200);
    expect(await verdict(put(s3, "2", { IfNoneMatch: "*" }))).toBe(200);
    expect(await verdict(put(s3, "3", { IfMatch: '"stale"' }))).toBe(200);
    expect(await completesOver(s3, { IfNoneMatch: "*" })).toBe(200);
    expect(await verdict(get(s3, { IfMatch: '"stale"' }))).toEqual(FAILED);
  });

  test("refuses-conditions: 501, and nothing is written", async () => {
    const { s3 } = await start("refuses-conditions");
    const refused = [501, "NotImplemented"];
    expect(await verdict(put(s3, "1", { IfNoneMatch: "*" }))).toEqual(refused);
    expect(await verdict(put(s3, "1", { IfMatch: "*" }))).toEqual(refused);
    expect(await verdict(get(s3))).toEqual([404, "NoSuchKey"]);
    expect(await completesOver(s3, { IfNoneMatch: "*" })).toEqual(refused);
    expect(await verdict(put(s3, "1"))).toBe(200);
  });

  test("ignores-complete-conditions", async () => {
    const { s3 } = await start("ignores-complete-conditions");
    await put(s3, "1");
    expect(await verdict(put(s3, "2", { IfNoneMatch: "*" }))).toEqual(FAILED);
    expect(await completesOver(s3, { IfNoneMatch: "*" })).toBe(200);
    const copy = { ...OBJECT, CopySource: `${BUCKET}/k`, IfNoneMatch: "*", CopySourceIfMatch: '"stale"' };
    expect(await verdict(s3.send(new CopyObjectCommand(copy)))).toBe(200);
    expect(await verdict(s3.send(new DeleteObjectCommand({ ...OBJECT, IfMatch: '"stale"' })))).toBe(204);
  });

  test("misses-with-412", async () => {
    const missing = async (character: S3Character) =>
      verdict(put((await start(character)).s3, "1", { IfMatch: '"e"' }));
    expect([await missing("aws"), await missing("misses-with-412")]).toEqual([[404, "NoSuchKey"], FAILED]);
  });

  test("wants-generation-match: If-None-Match is nothing, its own header is the condition", async () => {
    const on = await start("wants-generation-match");
    const { s3 } = on;
    expect(await verdict(put(s3, "1", { IfNoneMatch: "*" }))).toBe(200);
    expect(await verdict(put(s3, "2", { IfNoneMatch: "*" }))).toBe(200);
    const mixed = withHeader(on, "x-goog-if-generation-match", "0");
    expect(await verdict(put(mixed, "3"))).toEqual([400, "ExcessHeaderValues"]);
    const absent = withGeneration(on, "0");
    expect(await verdict(put(absent, "3"))).toEqual(FAILED);
    expect(await completesOver(absent, {})).toEqual([501, "NotImplemented"]);
    await s3.send(new DeleteObjectCommand(OBJECT));
    expect(await verdict(put(absent, "4"))).toBe(200);
    const generation = await generationOf(on);
    const current = withGeneration(on, generation);
    expect(await verdict(put(current, "5"))).toBe(200);
    expect(await verdict(put(current, "6"))).toEqual(FAILED);
    expect(await text(s3)).toBe("5");
  });

  test("wants-forbid-overwrite: the same with another header, on multipart too", async () => {
    const on = await start("wants-forbid-overwrite");
    const { s3 } = on;
    const forbidding = withHeader(on, "x-oss-forbid-overwrite", "true");
    const exists = [409, "FileAlreadyExists"];
    expect(await verdict(put(forbidding, "1"))).toBe(200);
    expect(await verdict(put(forbidding, "2"))).toEqual(exists);
    expect(await completesOver(forbidding, {})).toEqual(exists);
    expect(await verdict(put(s3, "3", { IfNoneMatch: "*" }))).toBe(200);
  });

  /** The generation that the server names in its header. */
  async function generationOf({ s3 }: EndpointClient): Promise<string> {
    const command = new HeadObjectCommand(OBJECT);
    let generation = "";
    command.middlewareStack.add(
      (next) => async (args) => {
        const result = await next(args);
        generation = (result.response as { headers: Record<string, string> }).headers["x-goog-generation"] ?? "";
        return result;
      },
      { step: "deserialize", name: "generation" },
    );
    await s3.send(command);
    return generation;
  }
});

describe("races", () => {
  const WRITERS = 16;
  const ROUNDS = 20;
  const RUNS = 50;

  /** How many of the writers of one key are told that they made it. */
  async function winners(s3: S3Client, Key: string): Promise<number> {
    const verdicts = await Promise.all(
      Array.from({ length: WRITERS }, (_, i) => verdict(put(s3, `writer ${i}`, { Key, IfNoneMatch: "*" }))),
    );
    return verdicts.filter((one) => one === 200).length;
  }

  /** As a probe looks: until two have won, for at most 20 rounds. */
  async function isCaught(s3: S3Client, run: number): Promise<boolean> {
    for (let round = 0; round < ROUNDS; round++) if ((await winners(s3, `${run}/${round}`)) > 1) return true;
    return false;
  }

  test("races-conditions: one after the other all is well, 16 at once are caught in 50 of 50 runs", async () => {
    const { s3 } = await start("races-conditions");
    let caught = 0;
    for (let run = 0; run < RUNS; run++) {
      const alone = { Key: `${run}/alone`, IfNoneMatch: "*" };
      expect(await verdict(put(s3, "1", alone))).toBe(200);
      expect(await verdict(put(s3, "2", alone))).toEqual(FAILED);
      if (await isCaught(s3, run)) caught += 1;
    }
    expect(caught).toBe(RUNS);
  });

  test("completions race too", async () => {
    const { s3 } = await start("races-conditions");
    expect(await completesOver(s3, { IfNoneMatch: "*" })).toBe(200);
    expect(await completesOver(s3, { IfNoneMatch: "*" })).toEqual(FAILED);
    await s3.send(new DeleteObjectCommand(OBJECT));
    const uploads = await Promise.all(Array.from({ length: 8 }, () => smallUpload(s3)));
    const verdicts = await Promise.all(uploads.map((upload) => verdict(complete(s3, ...upload, { IfNoneMatch: "*" }))));
    expect(verdicts.filter((one) => one === 200).length).toBeGreaterThan(1);
  });

  test("fails-race-losers: one winner, every second loser 500; alone, a loser gets 412", async () => {
    const { s3 } = await start("fails-race-losers");
    const { ETag = "" } = await put(s3, "0");
    const verdicts = await Promise.all(
      Array.from({ length: WRITERS }, (_, i) => verdict(put(s3, `writer ${i}`, { IfMatch: ETag }))),
    );
    expect(verdicts.filter((one) => one === 200)).toHaveLength(1);
    const failed = verdicts.filter((one) => JSON.stringify(one) === '[500,"UnknownError"]');
    expect(failed.length).toBeGreaterThan(0);
    expect(
      verdicts.filter((one) => one !== 200 && !failed.includes(one)).every((one) => String(one) === String(FAILED)),
    ).toBe(true);
    expect(await text(s3)).toBe(`writer ${verdicts.indexOf(200)}`);
    expect(await verdict(put(s3, "late", { IfMatch: ETag }))).toEqual(FAILED);
  });
});

describe("entity tags", () => {
  const MD5 = "c4ca4238a0b923820dcc509a6f75849b";

  test.each([
    ["aws", `"${MD5}"`, `"${MD5}"`, MD5],
    ["bare-etags", MD5, MD5, `"${MD5}"`],
    ["matches-bare-etags", `"${MD5}"`, MD5, `"${MD5}"`],
    ["weak-etags", `W/"${MD5}"`, `"${MD5}"`, MD5],
  ] as const)("%s: answers %s, on a write %s matches and %s does not", async (character, written, matches, differs) => {
    const { s3 } = await start(character);
    expect((await put(s3, "1")).ETag).toBe(written);
    expect((await get(s3)).ETag).toBe(written);
    const { Contents } = await s3.send(new ListObjectsV2Command({ Bucket: BUCKET }));
    expect(Contents?.[0]?.ETag).toBe(written);
    expect(await verdict(get(s3, { IfMatch: `"${MD5}"` }))).toBe(200);
    expect(await verdict(put(s3, "1", { IfMatch: differs }))).toEqual(FAILED);
    expect(await verdict(put(s3, "1", { IfMatch: matches }))).toBe(200);
  });

  test("no-etags: none anywhere", async () => {
    const { s3 } = await start("no-etags");
    expect((await put(s3, "1")).ETag).toBeUndefined();
    expect((await get(s3)).ETag).toBeUndefined();
    const { Contents } = await s3.send(new ListObjectsV2Command({ Bucket: BUCKET }));
    expect([Contents?.[0]?.Key, Contents?.[0]?.ETag]).toEqual(["k", undefined]);
    expect(await verdict(put(s3, "2", { IfMatch: `"${MD5}"` }))).toEqual(FAILED);
    const [upload, parts] = await smallUpload(s3);
    expect(parts[0]?.ETag).toBeUndefined();
    expect((await complete(s3, upload, [{ PartNumber: 1, ETag: "anything" }])).ETag).toBeUndefined();
  });
});

describe("uploads in parts", () => {
  test("equal-parts: as R2, the last may be shorter but not longer", async () => {
    const { s3 } = await start("r2");
    const upload = await create(s3);
    const first = await putPart(s3, upload, 1, filled(PART, 1));
    const longer = await putPart(s3, upload, 2, filled(PART + 1, 2));
    const short = await putPart(s3, upload, 3, filled(7, 3));
    const refused = [400, "InvalidPart"];
    expect(await verdict(complete(s3, upload, [first, longer]))).toEqual(refused);
    expect(
      await verdict(
        complete(
          s3,
          upload,
          [longer, first, short].map((p, i) => ({ ...p, PartNumber: i + 1 })),
        ),
      ),
    ).toEqual(refused);
    expect(await verdict(complete(s3, upload, [first, longer, short]))).toEqual(refused);
    const same = await putPart(s3, upload, 2, filled(PART, 2));
    expect(await verdict(complete(s3, upload, [first, same, short]))).toBe(200);
  });

  test("forgets-uploads: the second Complete is 404", async () => {
    const { s3 } = await start("minio");
    const upload = await smallUpload(s3);
    expect(await verdict(complete(s3, ...upload))).toBe(200);
    expect(await verdict(complete(s3, ...upload))).toEqual([404, "NoSuchUpload"]);
    expect((await get(s3)).ContentLength).toBe(10);
  });

  test("needs-all-parts, sorts-parts, empty-complete-etag", async () => {
    const { s3 } = await start(["needs-all-parts", "sorts-parts", "empty-complete-etag"]);
    const upload = await create(s3);
    const first = await putPart(s3, upload, 1, filled(PART, 1));
    const last = await putPart(s3, upload, 2, filled(9, 2));
    expect(await verdict(complete(s3, upload, [first]))).toEqual([400, "InvalidPart"]);
    const done = await complete(s3, upload, [last, first]);
    expect([done.Key, done.ETag]).toEqual(["k", ""]);
    const body = await (await get(s3)).Body?.transformToByteArray();
    expect(Buffer.compare(body ?? new Uint8Array(0), Buffer.concat([filled(PART, 1), filled(9, 2)]))).toBe(0);
  });

  test("fails-complete-of-aborted", async () => {
    const { s3 } = await start("ceph");
    const [upload, parts] = await smallUpload(s3);
    await s3.send(new AbortMultipartUploadCommand({ ...OBJECT, UploadId: upload }));
    expect(await verdict(complete(s3, upload, parts))).toEqual([500, "InternalError"]);
    expect(await verdict(s3.send(new ListPartsCommand({ ...OBJECT, UploadId: upload })))).toEqual([404, "NoSuchKey"]);
    expect(await verdict(complete(s3, "never", parts))).toEqual([404, "NoSuchUpload"]);
  });

  test("lists-uploads-by-exact-key", async () => {
    const { s3 } = await start("lists-uploads-by-exact-key");
    for (const key of ["a/1", "a/2"]) await create(s3, key);
    const found = async (Prefix?: string) => {
      const page = await s3.send(new ListMultipartUploadsCommand({ Bucket: BUCKET, Prefix }));
      return page.Uploads?.map(({ Key }) => Key) ?? [];
    };
    expect([await found("a/"), await found("a/1"), await found()]).toEqual([[], ["a/1"], ["a/1", "a/2"]]);
  });
});

describe("reading and listing", () => {
  test("unordered-listing: every key once, over pages, not in order", async () => {
    const { s3 } = await start("unordered-listing");
    const names = Array.from({ length: 30 }, (_, i) => `k${i + 10}`);
    for (const Key of names) await put(s3, "x", { Key });
    const found: string[] = [];
    let ContinuationToken: string | undefined;
    do {
      const page = await s3.send(new ListObjectsV2Command({ Bucket: BUCKET, MaxKeys: 7, ContinuationToken }));
      found.push(...(page.Contents ?? []).map(({ Key }) => Key ?? ""));
      ContinuationToken = page.NextContinuationToken;
    } while (ContinuationToken !== undefined);
    expect(found).not.toEqual(names);
    expect(found.toSorted()).toEqual(names);
  });

  test("stale-reads: GET, HEAD and listings lag, conditions do not", async () => {
    const clock = new VirtualClock();
    const on = await EndpointClient.start({
      character: "stale-reads",
      staleForMs: 1000,
      // Frozen but for the test, on a wall clock that the signatures agree with.
      clock: { now: () => Date.now(), monotonic: () => clock.now(), schedule: clock.schedule.bind(clock) },
    });
    opened.push(on);
    const { s3 } = on;
    const wait = (ms: number): void => {
      clock.schedule(ms, () => undefined);
      clock.runNext();
    };
    const listed = async () => (await s3.send(new ListObjectsV2Command({ Bucket: BUCKET }))).KeyCount;
    expect(await verdict(put(s3, "1", { IfNoneMatch: "*" }))).toBe(200);
    expect(await verdict(put(s3, "2", { IfNoneMatch: "*" }))).toEqual(FAILED);
    expect([await verdict(get(s3)), await listed()]).toEqual([[404, "NoSuchKey"], 0]);
    wait(1000);
    expect([await text(s3), await listed()]).toEqual(["1", 1]);
    await put(s3, "2");
    expect(await text(s3)).toBe("1");
    wait(999);
    expect(await text(s3)).toBe("1");
    wait(1);
    expect(await text(s3)).toBe("2");
    await s3.send(new DeleteObjectCommand(OBJECT));
    expect([await text(s3), await listed()]).toEqual(["2", 1]);
    expect(await verdict(put(s3, "3", { IfNoneMatch: "*" }))).toBe(200);
    await s3.send(new DeleteObjectCommand(OBJECT));
    wait(1000);
    expect([await verdict(get(s3)), await listed()]).toEqual([[404, "NoSuchKey"], 0]);
    expect(on.endpoint.storedBytes).toBe(0);
  });

  test("any-region", async () => {
    for (const [character, expected] of [
      ["aws", [400, "AuthorizationHeaderMalformed"]],
      ["any-region", 200],
    ] as const) {
      const elsewhere = clientOf((await start(character)).endpoint, { region: "elsewhere" });
      clients.push(elsewhere);
      expect(await verdict(put(elsewhere, "x"))).toEqual(expected);
    }
  });
});

test("every provider can be played, every trait says what it does", async () => {
  for (const provider of Object.keys(S3_PROVIDERS) as (keyof typeof S3_PROVIDERS)[]) {
    const { s3 } = await start([provider, "stale-reads"]);
    expect([provider, await verdict(put(s3, "1"))]).toEqual([provider, 200]);
  }
  for (const [trait, what] of Object.entries(S3_TRAITS)) expect([trait, what.length > 20]).toEqual([trait, true]);
});

/** Which rules of the contract a store on such a server breaks: the suite must see the difference, or it says nothing. */
describe("the conformance suite", () => {
  /** Where servers differ, and the suite is quick. */
  const SELECTED = /^conditions: if|^list: (a prefix|what was)|parts: (abort|complete twice|two uploads)/;
  const RACE = /20 racing creators/;

  async function broken(
    character: S3Character,
    ifMatchEtag: "quoted" | "bare" = "quoted",
    rules = SELECTED,
  ): Promise<string[]> {
    const makeStore = async (): Promise<StoreUnderTest> => {
      const endpoint = await S3Endpoint.start({ buckets: [BUCKET], character });
      const open = () =>
        createS3Store(
          {
            endpoint: endpoint.url,
            bucket: BUCKET,
            region: endpoint.region,
            prefix: "",
            credentials: endpoint.credentials,
            forcePathStyle: true,
            requestTimeoutMs: 20_000,
            maxSockets: 50,
            ifMatchEtag,
          },
          systemRuntime,
        );
      return { store: open(), other: open(), keyBytesMax: 1024, cleanUp: () => endpoint.close() };
    };
    const failures: string[] = [];
    const cases = [...objectStoreConformance(makeStore), ...multipartConformance(makeStore)];
    for (const { name, run } of cases.filter(({ name }) => rules.test(name))) {
      await run().catch(() => failures.push(name));
    }
    return failures;
  }

  test("finds nothing against MinIO, and Ceph with bare tags", async () => {
    expect(await broken("minio")).toEqual([]);
    expect(await broken("ceph", "bare")).toEqual([]);
    expect(await broken("ceph", "bare", RACE)).toEqual([]);
  });

  test("finds quoted tags on Ceph, ignored conditions, races and disorder", async () => {
    expect(await broken("ceph")).toEqual(["conditions: if-match replaces with the current ETag only"]);
    expect(await broken("rustfs")).toEqual([]);
    expect(await broken("rustfs", "quoted", RACE)).toEqual([expect.stringMatching(RACE)]);
    expect(await broken("oci")).toContain("conditions: if-absent creates once; the loser changes nothing");
    expect(await broken("unordered-listing")).toContain("list: a prefix need not end at a slash");
    expect(await broken("stale-reads")).toContain("list: what was written is listed at once, what was deleted is not");
  });
});
