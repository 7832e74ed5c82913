import {
  CreateBucketCommand,
  ListObjectVersionsCommand,
  PutBucketVersioningCommand,
  PutObjectLockConfigurationCommand,
  S3Client,
} from "@aws-sdk/client-s3";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";

import { defaultConfig } from "../../src/config/resolve-config.ts";
import { Engine, type OpenOptions } from "../../src/engine/engine.ts";
import { openStore } from "../../src/engine/open-store.ts";
import { systemRuntime } from "../../src/runtime/runtime.ts";
import { CephGateway } from "../support/ceph-gateway.ts";
import { GRACE_MS, openCollector, ROUND_MS } from "../support/gc-rig.ts";
import { describeCeph } from "../support/s3.ts";
import { contents, everyKind, fill, fillObject, MIB } from "./gc-scenario.ts";

describeCeph("freeing space on Ceph", () => {
  let ceph: CephGateway;
  let client: S3Client;
  const engines: Engine[] = [];

  beforeAll(async () => {
    ceph = await CephGateway.start();
    const { endpoint, region, accessKeyId, secretAccessKey } = ceph.connection;
    client = new S3Client({ endpoint, region, credentials: { accessKeyId, secretAccessKey }, forcePathStyle: true });
  });

  afterAll(() => {
    client.destroy();
    ceph.stop();
  });

  afterEach(async () => {
    await Promise.allSettled(engines.splice(0).map((engine) => engine.close()));
  });

  function config(bucket: string, prefix: string, fencing: "conditional-put" | "external" = "conditional-put") {
    const { endpoint, region, accessKeyId, secretAccessKey } = ceph.connection;
    const credentials = { accessKeyId, secretAccessKey };
    return defaultConfig({
      storage: {
        kind: "object",
        object: { endpoint, region, bucket, prefix, credentials, fencing, multipartPartSizeBytes: 5 * MIB },
      },
      flush: { lingerMs: 2 },
      index: { checkpointEvery: 16 },
      gc: { graceMs: GRACE_MS, intervalMs: ROUND_MS, sweepIntervalMs: 10 * GRACE_MS },
    });
  }

  async function open(of: ReturnType<typeof config>, options: OpenOptions = {}): Promise<Engine> {
    const engine = await Engine.open(of, options);
    engines.push(engine);
    return engine;
  }

  test("I5: every kind of garbage, open uploads too, goes a grace after it was seen, and nothing else", async () => {
    const here = config(ceph.connection.bucket, "every/kind");
    const store = await openStore(here, systemRuntime, true);
    try {
      await expect(everyKind(store, (options) => open(here, options), true)).resolves.toBeUndefined();
    } finally {
      await store.close();
    }
  });

  test.each([
    ["F52 versioned-or-locked-bucket, versioned", false],
    ["F52 versioned-or-locked-bucket, locked for a day", true],
  ])("%s: a delete leaves a marker, and is done; the versions are the bucket's", async (_, locked) => {
    const Bucket = locked ? "locked" : "versioned";
    await client.send(new CreateBucketCommand({ Bucket, ObjectLockEnabledForBucket: locked }));
    await client.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration: { Status: "Enabled" } }));
    if (locked) {
      const Rule = { DefaultRetention: { Mode: "COMPLIANCE", Days: 1 } } as const;
      const ObjectLockConfiguration = { ObjectLockEnabled: "Enabled", Rule } as const;
      await client.send(new PutObjectLockConfigurationCommand({ Bucket, ObjectLockConfiguration }));
    }
    // Ceph ignores If-None-Match there, so that nothing but this test keeps writers apart.
    const here = config(Bucket, "", "external");
    const { engine, clock, round } = await openCollector((options) => open(here, options));
    await engine.createTopic("t", { partitions: 1 });
    await fillObject(engine, "t", 1);
    await fill(engine, "t", 40);
    await (await engine.topic("t")).partition(0).trim({ before: 46 });
    await round();
    clock.aheadMs += GRACE_MS + 1000;
    await round();
    const deleted = engine.metrics().gc;
    expect(deleted).toMatchObject({ objectsDeleted: 1, refused: 0, lastError: undefined, waiting: 0 });
    expect(deleted.linksDeleted).toBeGreaterThanOrEqual(16);
    clock.aheadMs += 11 * GRACE_MS;
    await round();
    clock.aheadMs += GRACE_MS + 1000;
    await round();
    expect(engine.metrics().gc.objectsDeleted).toBe(1);
    const { Versions = [], DeleteMarkers = [] } = await client.send(
      new ListObjectVersionsCommand({ Bucket, Prefix: "data/" }),
    );
    expect([Versions.length, DeleteMarkers.length]).toEqual([1, 1]);
    expect(await contents(await open(here, { readOnly: true }), "t")).toEqual(["46: t 39"]);
  });
});
