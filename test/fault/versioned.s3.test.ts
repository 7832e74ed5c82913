import {
  CreateBucketCommand,
  ListObjectVersionsCommand,
  PutBucketVersioningCommand,
  PutObjectLockConfigurationCommand,
  S3Client,
} from "@aws-sdk/client-s3";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";

import type { Config } from "../../src/config/config.ts";
import { defaultConfig } from "../../src/config/resolve-config.ts";
import type { ObjectKey } from "../../src/domain.ts";
import { diagnoseStore } from "../../src/engine/diagnose-store.ts";
import { Engine, type OpenOptions } from "../../src/engine/engine.ts";
import { openStore } from "../../src/engine/open-store.ts";
import type { StoreCheck } from "../../src/object-store/doctor/check.ts";
import type { ObjectStore } from "../../src/object-store/object-store.ts";
import { systemRuntime } from "../../src/runtime/runtime.ts";
import { CephGateway } from "../support/ceph-gateway.ts";
import { collect, readAll, values } from "../support/engine.ts";
import { describeCeph } from "../support/s3.ts";

const IF_ABSENT = { condition: { kind: "if-absent" } } as const;
const KEY = "index/0000/a" as ObjectKey;

describeCeph("F52 versioned-or-locked-bucket, on Ceph", () => {
  let ceph: CephGateway;
  let client: S3Client;
  const ended: (() => Promise<unknown>)[] = [];

  beforeAll(async () => {
    ceph = await CephGateway.start();
    const { endpoint, region, accessKeyId, secretAccessKey } = ceph.connection;
    const credentials = { accessKeyId, secretAccessKey };
    client = new S3Client({ endpoint, region, credentials, forcePathStyle: true });
    await client.send(new CreateBucketCommand({ Bucket: "versioned" }));
    await client.send(
      new PutBucketVersioningCommand({ Bucket: "versioned", VersioningConfiguration: { Status: "Enabled" } }),
    );
    await client.send(new CreateBucketCommand({ Bucket: "locked", ObjectLockEnabledForBucket: true }));
    const lock = { ObjectLockEnabled: "Enabled", Rule: { DefaultRetention: { Mode: "COMPLIANCE", Days: 1 } } } as const;
    await client.send(new PutObjectLockConfigurationCommand({ Bucket: "locked", ObjectLockConfiguration: lock }));
  });

  afterAll(() => {
    client.destroy();
    ceph.stop();
  });

  afterEach(async () => {
    for (const end of ended.splice(0).toReversed()) await end();
  });

  function config(bucket: string): Config {
    const { endpoint, region, accessKeyId, secretAccessKey } = ceph.connection;
    const credentials = { accessKeyId, secretAccessKey };
    return defaultConfig({
      storage: { kind: "object", object: { endpoint, region, bucket, credentials } },
      flush: { lingerMs: 2 },
    });
  }

  async function storeOf(bucket: string): Promise<ObjectStore> {
    const store = await openStore(config(bucket), systemRuntime, false);
    ended.push(() => store.close());
    return store;
  }

  async function open(bucket: string, options: OpenOptions = {}): Promise<Engine> {
    const engine = await Engine.open(config(bucket), options);
    ended.push(() => engine.close());
    return engine;
  }

  /** How many versions and delete markers, over all keys that begin so. */
  async function kept(bucket: string, prefix: string): Promise<[versions: number, markers: number]> {
    const command = new ListObjectVersionsCommand({ Bucket: bucket, Prefix: prefix, MaxKeys: 1000 });
    const { Versions = [], DeleteMarkers = [] } = await client.send(command);
    return [Versions.length, DeleteMarkers.length];
  }

  test.each(["versioned", "locked"])(
    "%s: a key whose newest version is a delete marker is absent; what is deleted stays as a version",
    async (bucket) => {
      const store = await storeOf(bucket);
      await expect(store.put(KEY, Buffer.from("one"), IF_ABSENT)).resolves.toMatchObject({ kind: "written" });
      await store.delete([KEY]);
      expect(await kept(bucket, KEY)).toEqual([1, 1]);
      expect([await store.get(KEY), await store.head(KEY), await collect(store.list("index/"))]).toEqual([
        undefined,
        undefined,
        [],
      ]);
      await expect(store.put(KEY, Buffer.from("two"), IF_ABSENT)).resolves.toMatchObject({ kind: "written" });
      expect(Buffer.from((await store.get(KEY))?.body ?? []).toString()).toBe("two");
      await store.delete([KEY, "index/0000/b" as ObjectKey]);
      expect(await collect(store.list("index/"))).toEqual([]);
    },
  );

  test.each([
    ["versioned", "versioning", "stays as an old version"],
    ["locked", "object lock", "old versions cannot be removed"],
  ])(
    "%s: the doctor sees that If-None-Match is ignored, hides what it wrote, and says what stays",
    async (bucket, check, said) => {
      const { verdict, because, checks } = await diagnoseStore(config(bucket));
      expect(verdict).toBe("single-writer only");
      expect(because).toEqual(["create-if-absent, key exists", "create-if-absent, racing"]);
      const about = (name: string): StoreCheck | undefined => checks.find((one) => one.name === name);
      expect(about("create-if-absent, key exists")?.hint).toContain("without versioning");
      expect(about(check)?.detail).toContain(said);
      expect(about("clean-up")).toMatchObject({ ok: true });
      expect(await collect((await storeOf(bucket)).list("probe/doctor-"))).toEqual([]);
      expect((await kept(bucket, "probe/doctor-"))[0]).toBeGreaterThan(100);
    },
  );

  test.each(["versioned", "locked"])(
    "%s: an engine refuses it, and leaves nothing but what it found",
    async (bucket) => {
      await expect(Engine.open(config(bucket))).rejects.toMatchObject({ code: "TIERLOG_UNSUPPORTED_PROVIDER" });
      const keys = (await collect((await storeOf(bucket)).list(""))).map(({ key }) => key);
      expect(keys).toEqual([expect.stringMatching(/^probe\/\d{8}T/)]);
    },
  );

  test("versioning that is switched on later: the next engine no longer believes what was found (I4)", async () => {
    const bucket = ceph.connection.bucket;
    const first = await open(bucket);
    await first.createTopic("t", { partitions: 1 });
    await (await first.topic("t")).partition(0).append(values("a"));
    await first.close();
    await client.send(
      new PutBucketVersioningCommand({ Bucket: bucket, VersioningConfiguration: { Status: "Enabled" } }),
    );
    await expect(Engine.open(config(bucket))).rejects.toMatchObject({ code: "TIERLOG_UNSUPPORTED_PROVIDER" });
    const reader = await open(bucket, { readOnly: true });
    expect(await readAll((await reader.topic("t")).partition(0))).toEqual(["a"]);
  });
});
