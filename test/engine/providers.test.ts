import { afterEach, expect, test } from "vitest";

import type { Config } from "../../src/config/config.ts";
import { PROVIDER_PRESETS, providerPreset } from "../../src/config/provider-presets.ts";
import { defaultConfig } from "../../src/config/resolve-config.ts";
import { Engine } from "../../src/engine/engine.ts";
import { s3Settings } from "../../src/engine/s3-settings.ts";
import { createS3Store } from "../../src/object-store/s3-store.ts";
import { systemRuntime } from "../../src/runtime/runtime.ts";
import type { StoreUnderTest } from "../../src/testing/conformance/conformance-case.ts";
import { multipartConformance } from "../../src/testing/conformance/multipart.ts";
import { objectStoreConformance } from "../../src/testing/conformance/object-store.ts";
import { S3Endpoint } from "../../src/testing/s3-endpoint.ts";
import { S3_PROVIDERS, type S3Provider } from "../../src/testing/s3/character.ts";

let server: S3Endpoint | undefined;
const engines: Engine[] = [];

afterEach(async () => {
  for (const engine of engines.splice(0)) await engine.close();
  await server?.close();
});

/** What the preset says, at the address of a server in that provider's character. */
async function configFor(provider: S3Provider): Promise<Config> {
  const preset = providerPreset(provider);
  const region = preset?.region ?? preset?.exampleRegion ?? "";
  server = await S3Endpoint.start({ character: provider, buckets: ["logs"], region, raceWindowMs: 5 });
  return defaultConfig({
    storage: {
      kind: "object",
      object: {
        provider,
        endpoint: server.url,
        bucket: "logs",
        // The endpoint has one host name; how hosts are spelled is for the table of addresses.
        forcePathStyle: true,
        credentials: { ...server.credentials },
        ...(preset?.region === undefined ? { region } : {}),
      },
    },
    flush: { lingerMs: 1 },
  });
}

async function open(config: Config): Promise<Engine> {
  const engine = await Engine.open(config, { runtime: { logger: SILENT } });
  engines.push(engine);
  return engine;
}

const SILENT = { debug: nothing, info: nothing, warn: nothing, error: nothing };
function nothing(): void {
  // Warnings of fencing = "external" are the subject of another test.
}

async function append(engine: Engine, text: string): Promise<void> {
  await (await engine.topic("events")).partition(0).append([{ value: Buffer.from(text) }]);
}

async function values(engine: Engine): Promise<string[]> {
  const found: string[] = [];
  for await (const { value } of (await engine.topic("events")).partition(0).records({ from: "earliest" })) {
    found.push(Buffer.from(value ?? []).toString());
  }
  return found;
}

const FENCED: readonly S3Provider[] = ["aws", "r2", "gcs", "oss", "minio", "digitalocean", "ceph"];
const REFUSED: readonly S3Provider[] = ["b2", "wasabi", "garage", "swift", "oci", "seaweedfs", "rustfs"];

test("every character of the endpoint is tried, and has a preset", () => {
  expect([...FENCED, ...REFUSED].sort()).toEqual(Object.keys(S3_PROVIDERS).sort());
  const names = PROVIDER_PRESETS.map(({ name }) => name);
  expect(Object.keys(S3_PROVIDERS).filter((name) => !names.includes(name))).toEqual([]);
});

test.each(FENCED)("%s: probed, written, taken over, read", async (provider) => {
  const config = await configFor(provider);
  const first = await open(config);
  expect(first.metrics().probeRequests).toBeGreaterThan(60);
  await first.createTopic("events", { partitions: 1 });
  await append(first, "one");
  const second = await open(config);
  await append(second, "two");
  await expect(append(first, "three")).rejects.toMatchObject({ code: "TIERLOG_FENCED" });
  expect(await values(second)).toEqual(["one", "two"]);
});

test.each(REFUSED)("%s, as it is said to be: refused for several writers, good for one", async (provider) => {
  const config = await configFor(provider);
  await expect(open(config)).rejects.toMatchObject({ code: "TIERLOG_UNSUPPORTED_PROVIDER" });
  const object = { ...config.storage.object, fencing: "external" as const };
  const engine = await open({ ...config, storage: { ...config.storage, object } });
  await engine.createTopic("events", { partitions: 1 });
  await append(engine, "one");
  await append(engine, "two");
  expect(await values(engine)).toEqual(["one", "two"]);
});

/** Where servers differ, and the suite is quick. */
const RULES = /^conditions: |^list: what was|parts: (abort|two uploads)/;

/** Those whose requests are written in another way than Amazon's; the others are held to the suite elsewhere. */
test.each(["gcs", "oss", "digitalocean"] as const)(
  "%s: the conformance suite, as the preset reaches it",
  async (provider) => {
    const facts = providerPreset(provider)?.facts;
    const ifMatchEtag = facts?.ifMatch === "bare" ? "bare" : "quoted";
    const makeStore = async (): Promise<StoreUnderTest> => {
      const settings = { ...(await s3Settings(await configFor(provider), systemRuntime)), ifMatchEtag } as const;
      const started = server;
      const open = (): ReturnType<typeof createS3Store> => createS3Store(settings, systemRuntime);
      return { store: open(), other: open(), keyBytesMax: 1024, cleanUp: async () => started?.close() };
    };
    const broken: string[] = [];
    for (const { name, run } of [...objectStoreConformance(makeStore), ...multipartConformance(makeStore)]) {
      if (RULES.test(name)) await run().catch(() => broken.push(name));
    }
    // Nobody needs If-Match, and some have none.
    const without = (name: string): boolean => facts?.ifMatch === "none" && name.startsWith("conditions: if-match");
    expect(broken.filter((name) => !without(name))).toEqual([]);
  },
);

test.each(["gcs", "oss"] as const)(
  "%s without its preset is found out by the probe, not believed",
  async (provider) => {
    const config = await configFor(provider);
    const object = { ...config.storage.object, createIfAbsent: "if-none-match" as const };
    const opening = open({ ...config, storage: { ...config.storage, object } });
    await expect(opening).rejects.toMatchObject({ code: "TIERLOG_UNSUPPORTED_PROVIDER" });
  },
);
