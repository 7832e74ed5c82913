import { PutObjectCommand, S3Client, S3ServiceException } from "@aws-sdk/client-s3";
import { afterAll, beforeAll, expect, test } from "vitest";

import type { ObjectKey, ShardId } from "../../src/domain.ts";
import { FencedError } from "../../src/errors.ts";
import { IndexChain } from "../../src/index-chain/index-chain.ts";
import { BufferedMultipartWriter } from "../../src/object-store/buffered-multipart-writer.ts";
import type { ObjectStore } from "../../src/object-store/object-store.ts";
import { PartBufferPool } from "../../src/object-store/part-buffer-pool.ts";
import { createS3Store } from "../../src/object-store/s3-store.ts";
import { settling } from "../../src/object-store/settling.ts";
import { seededRandom } from "../../src/runtime/random.ts";
import { systemRuntime } from "../../src/runtime/runtime.ts";
import { describeS3, freshPrefix, s3Settings } from "../support/s3.ts";

const MIB = 1024 * 1024;

describeS3("the 5 wire scenarios", () => {
  const prefix = freshPrefix();
  const times: string[] = [];
  let store: ObjectStore;
  let client: S3Client;

  beforeAll(() => {
    const settings = s3Settings(prefix);
    store = settling(createS3Store(settings, systemRuntime), {
      ...systemRuntime,
      deadlineMs: 60_000,
      requestTimeoutMs: 20_000,
    });
    const { endpoint, region, credentials, forcePathStyle } = settings;
    client = new S3Client({
      region,
      forcePathStyle,
      maxAttempts: 1,
      ...(endpoint === undefined ? {} : { endpoint }),
      ...(credentials === undefined ? {} : { credentials }),
    });
  });

  afterAll(async () => {
    await store.close();
    client.destroy();
    console.log(`the 5 wire scenarios:\n${times.map((line) => `  ${line}`).join("\n")}`);
  });

  async function timed<T>(name: string, act: () => Promise<T>): Promise<T> {
    const startedMs = performance.now();
    const result = await act();
    times.push(`${name}: ${(performance.now() - startedMs).toFixed(1)} ms`);
    return result;
  }

  const small = Buffer.from(seededRandom(1).bytes(1024));
  const large = Buffer.from(seededRandom(2).bytes(12 * MIB));

  test("1. PUT of 1 KiB", async () => {
    const put = timed("PUT 1 KiB", () => store.put("small" as ObjectKey, small, { condition: { kind: "if-absent" } }));
    await expect(put).resolves.toMatchObject({ kind: "written" });
  });

  test("2. ranged GET", async () => {
    const found = await timed("ranged GET of 100 bytes", () =>
      store.get("small" as ObjectKey, { range: { start: 200, end: 300 } }),
    );
    expect(found?.sizeBytes).toBe(1024);
    expect(Buffer.from(found?.body ?? []).equals(small.subarray(200, 300))).toBe(true);
  });

  test("3. 12 MiB as a multipart upload in parts", async () => {
    const pool = new PartBufferPool({ partSizeBytes: 5 * MIB, buffersMax: 4 });
    const written = await timed("12 MiB in parts of 5 MiB", async () => {
      await using writer = new BufferedMultipartWriter({ store, key: "large" as ObjectKey, pool, partsInFlight: 3 });
      for (let at = 0; at < large.length; at += 700_000) await writer.write(large.subarray(at, at + 700_000));
      return await writer.finish();
    });
    expect(written).toEqual({ sizeBytes: 12 * MIB, parts: 3 });
  });

  test("4. full GET, compared byte by byte", async () => {
    const found = await timed("GET 12 MiB", () => store.get("large" as ObjectKey));
    expect(Buffer.from(found?.body ?? []).equals(large)).toBe(true);
  });

  test("5. race of conditional PUTs: the loser is answered 412, and fenced", async () => {
    const { bucket } = s3Settings(prefix);
    const put = async (body: string): Promise<number> => {
      try {
        await client.send(
          new PutObjectCommand({ Bucket: bucket, Key: `${prefix}/raced`, Body: body, IfNoneMatch: "*" }),
        );
        return 200;
      } catch (error) {
        if (!(error instanceof S3ServiceException)) throw error;
        return error.$metadata.httpStatusCode ?? 0;
      }
    };
    const statuses = await timed("two racing PUTs with If-None-Match: *", () => Promise.all([put("a"), put("b")]));
    expect(statuses.sort()).toEqual([200, 412]);

    const chains = ["a", "b"].map(
      (writerId) =>
        new IndexChain({
          ...systemRuntime,
          store,
          shard: 7 as ShardId,
          writerId,
          graceMs: 3_600_000,
          checkpointEvery: 256,
        }),
    );
    const outcomes = await timed("two racing take-overs", () =>
      Promise.allSettled(chains.map((chain) => chain.takeOver())),
    );
    const lost = outcomes.filter((outcome) => outcome.status === "rejected");
    expect(lost).toHaveLength(1);
    expect(lost[0]?.reason).toBeInstanceOf(FencedError);
    await Promise.all(chains.map((chain) => chain.close()));
  });
});
