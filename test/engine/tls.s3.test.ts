import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, afterEach, beforeAll, expect, test } from "vitest";

import type { Config } from "../../src/config/config.ts";
import { defaultConfig } from "../../src/config/resolve-config.ts";
import type { ObjectKey } from "../../src/domain.ts";
import { diagnoseStore } from "../../src/engine/diagnose-store.ts";
import { Engine, type OpenOptions } from "../../src/engine/engine.ts";
import { s3Settings } from "../../src/engine/s3-settings.ts";
import type { ObjectStore } from "../../src/object-store/object-store.ts";
import { createS3Store, type S3StoreSettings } from "../../src/object-store/s3-store.ts";
import { systemRuntime } from "../../src/runtime/runtime.ts";
import { CephGateway } from "../support/ceph-gateway.ts";
import { makeCertificate } from "../support/certificates.ts";
import { readAll, values } from "../support/engine.ts";
import { describeCeph, freshPrefix } from "../support/s3.ts";

const CUSTOMER_KEY = Buffer.alloc(32, 7).toString("base64");
const LARGE = "x".repeat(900 * 1024);

describeCeph("a customer's key over TLS, on a Ceph gateway with a certificate of a private authority", () => {
  let directory: string;
  let tlsCaFile: string;
  let gateway: CephGateway;
  const ended: (() => Promise<unknown>)[] = [];

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "tierlog-tls-"));
    tlsCaFile = join(directory, "ca.pem");
    const issuer = makeCertificate("an authority", { authority: true });
    await writeFile(tlsCaFile, issuer.cert);
    gateway = await CephGateway.start(makeCertificate("store", { issuer, address: "127.0.0.1" }));
  });
  afterEach(async () => {
    for (const end of ended.splice(0).toReversed()) await end();
  });
  afterAll(async () => {
    gateway.stop();
    await rm(directory, { recursive: true });
  });

  function config(prefix: string, more: object = {}): Config {
    const { bucket, region, accessKeyId, secretAccessKey } = gateway.connection;
    const endpoint = gateway.tlsEndpoint;
    if (endpoint === undefined) throw new Error("the gateway does not serve TLS");
    return defaultConfig({
      storage: {
        kind: "object",
        object: {
          provider: "ceph",
          endpoint,
          tlsCaFile,
          bucket,
          region,
          prefix,
          credentials: { accessKeyId, secretAccessKey },
          encryption: { mode: "sse-c", customerKey: CUSTOMER_KEY },
          ...more,
        },
      },
      index: { checkpointEvery: 16 },
      flush: { lingerMs: 5 },
    });
  }

  async function open(of: Config, options: OpenOptions = {}): Promise<Engine> {
    const engine = await Engine.open(of, options);
    ended.push(() => engine.close());
    return engine;
  }

  /** The bucket itself, by other settings than the engine's. */
  async function bare(of: Config, change: Partial<S3StoreSettings>): Promise<ObjectStore> {
    const store = createS3Store(
      { ...(await s3Settings(of, systemRuntime)), ifMatchEtag: "bare", ...change },
      systemRuntime,
    );
    ended.push(() => store.close());
    return store;
  }

  test.each([
    ["signed", {}],
    ["unsigned", { payloadSigning: "unsigned" }],
  ])("written, read, written on; nothing is given out without the key; payloads %s", async (_, more) => {
    const of = config(freshPrefix(), more);
    const first = await open(of);
    await first.createTopic("t", { partitions: 1 });
    const partition = (await first.topic("t")).partition(0);
    for (let i = 0; i < 20; i++) await partition.append(values(`${i}`));
    await Promise.all(Array.from({ length: 12 }, () => partition.append(values(LARGE))));
    expect(first.metrics()).toMatchObject({
      checkpointsWritten: 1,
      store: { completeMultipart: { requests: 1 } },
    });
    await first.close();

    const second = await open(of);
    await (await second.topic("t")).partition(0).append(values("last"));
    expect(await readAll((await second.topic("t")).partition(0))).toHaveLength(33);
    await second.close();

    const { encryption: _none, ...rest } = await s3Settings(of, systemRuntime);
    const keyless = createS3Store({ ...rest, ifMatchEtag: "bare" }, systemRuntime);
    ended.push(() => keyless.close());
    const keys: ObjectKey[] = [];
    for await (const { key } of keyless.list("")) keys.push(key);
    const kinds = new Set(keys.map((key) => key.split("/")[0]));
    expect(kinds).toEqual(new Set(["FORMAT", "catalog", "checkpoint", "data", "index", "probe"]));
    const keyed = await bare(of, {});
    for (const key of keys) {
      const refused = { code: "TIERLOG_OBJECT_STORE", status: 400, retryable: false };
      await expect(keyless.get(key)).rejects.toMatchObject(refused);
      await expect(keyless.get(key, { range: { start: 0, end: 1 } })).rejects.toMatchObject(refused);
      await expect(keyless.head(key)).rejects.toMatchObject(refused);
      expect((await keyed.get(key, { range: { start: 0, end: 1 } }))?.body).toHaveLength(1);
    }
  });

  test("the key does not go over plain HTTP: the gateway would not take it", async () => {
    const of = config(freshPrefix());
    const store = await bare(of, { endpoint: gateway.connection.endpoint });
    const put = store.put("index/a" as ObjectKey, Buffer.from("x"), {
      condition: { kind: "none" },
    });
    await expect(put).rejects.toMatchObject({
      code: "TIERLOG_OBJECT_STORE",
      retryable: false,
      effect: "none",
    });
  });

  test("without tls_ca_file nothing is sent, and the message names it", async () => {
    const opening = Engine.open(config(freshPrefix(), { tlsCaFile: undefined }));
    await expect(opening).rejects.toThrow("system.storage.object.tls_ca_file");
  });

  test("the doctor finds it done", async () => {
    const { verdict, checks } = await diagnoseStore(config(freshPrefix()));
    expect(verdict).toBe("fenced");
    expect(checks.find(({ name }) => name === "encryption")).toMatchObject({ ok: true });
  });
});
