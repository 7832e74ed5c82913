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
import { S3_PROVIDERS, type S3Character, type S3Provider } from "../../src/testing/s3/character.ts";

const MIB = 2 ** 20;

let server: S3Endpoint | undefined;
const engines: Engine[] = [];

afterEach(async () => {
  for (const engine of engines.splice(0)) await engine.close();
  await server?.close();
});

/** What the preset says, at the address of a server in that provider's character. */
async function configFor(provider: string): Promise<Config> {
  const preset = providerPreset(provider);
  const region = preset?.region ?? preset?.exampleRegion ?? "";
  server = await S3Endpoint.start({ character: characterOf(provider), buckets: ["logs"], region, raceWindowMs: 5 });
  return defaultConfig({
    storage: {
      kind: "object",
      object: {
        provider,
        endpoint: server.url,
        bucket: "logs",
        // The endpoint has one host name; how hosts are spelled is for the table of addresses.
        forcePathStyle: true,
        multipartPartSizeBytes: 5 * MIB,
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

/** Of one flush, which is larger than a part. */
async function appendInParts(engine: Engine): Promise<string[]> {
  const partition = (await engine.topic("events")).partition(0);
  const before = engine.metrics().store.completeMultipart.requests;
  const large = Array.from({ length: 6 }, (_, n) => String(n).repeat(960 * 1024));
  await Promise.all(large.map((text) => partition.append([{ value: Buffer.from(text) }])));
  expect(engine.metrics().store.completeMultipart.requests).toBe(before + 1);
  return large;
}

async function values(engine: Engine): Promise<string[]> {
  const found: string[] = [];
  for await (const { value } of (await engine.topic("events")).partition(0).records({ from: "earliest" })) {
    found.push(Buffer.from(value ?? []).toString());
  }
  return found;
}

/** Presets of servers that are asked as Amazon is and of which nothing else is known: the endpoint answers them as Amazon. */
const AS_AMAZON = ["ibm", "ovh", "scaleway", "tigris", "lakefs", "zenko", "localstack"];
/** By what docs/providers.md says of them: the software that they run, or what differs. */
const ELSEWHERE: Readonly<Record<string, S3Character>> = {
  linode: "ceph",
  vultr: "ceph",
  hetzner: "unchecked-checksums",
  "aws-express": "unordered-listing",
};

function characterOf(name: string): S3Character {
  if (Object.hasOwn(S3_PROVIDERS, name)) return name as S3Provider;
  const known = AS_AMAZON.includes(name) ? "aws" : ELSEWHERE[name];
  if (known === undefined) throw new Error(`no character for ${name}`);
  return known;
}

const REFUSED = ["b2", "wasabi", "garage", "swift", "oci", "seaweedfs", "rustfs"];
const UNUSABLE = ["aws-express"];
const NAMES = PROVIDER_PRESETS.map(({ name }) => name);
const FENCED = NAMES.filter((name) => !REFUSED.includes(name) && !UNUSABLE.includes(name));

test("every preset has a character, and every character of a provider a preset", () => {
  expect(NAMES.map(characterOf)).toHaveLength(25);
  expect(Object.keys(S3_PROVIDERS).filter((name) => !NAMES.includes(name))).toEqual([]);
});

test.each(FENCED)("%s: probed, written in one piece and in parts, taken over, read, opened again", async (provider) => {
  const config = await configFor(provider);
  const first = await open(config);
  expect(first.metrics().probeRequests).toBeGreaterThan(60);
  await first.createTopic("events", { partitions: 1 });
  await append(first, "one");
  const large = await appendInParts(first);
  const second = await open(config);
  await append(second, "two");
  await expect(append(first, "three")).rejects.toMatchObject({ code: "TIERLOG_FENCED" });
  expect(await values(second)).toEqual(["one", ...large, "two"]);
  await second.close();
  const third = await open(config);
  expect(third.metrics().probeRequests).toBe(0);
  await append(third, "four");
  expect(await values(third)).toEqual(["one", ...large, "two", "four"]);
});

test.each(REFUSED)("%s, as it is said to be: refused for several writers, good for one", async (provider) => {
  const config = await configFor(provider);
  await expect(open(config)).rejects.toMatchObject({ code: "TIERLOG_UNSUPPORTED_PROVIDER" });
  const object = { ...config.storage.object, fencing: "external" as const };
  const alone = { ...config, storage: { ...config.storage, object } };
  const engine = await open(alone);
  await engine.createTopic("events", { partitions: 1 });
  await append(engine, "one");
  const large = await appendInParts(engine);
  await engine.close();
  const again = await open(alone);
  await append(again, "two");
  expect(await values(again)).toEqual(["one", ...large, "two"]);
});

test.each(UNUSABLE)("%s: refused, whatever is set", async (provider) => {
  const config = await configFor(provider);
  expect(providerPreset(provider)?.facts.fencing).toBe("unusable");
  await expect(open(config)).rejects.toMatchObject({
    code: "TIERLOG_UNSUPPORTED_PROVIDER",
    failed: ["it does not list keys in the order of their bytes"],
  });
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
