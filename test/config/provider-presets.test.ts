import { expect, test } from "vitest";

import { loadConfig } from "../../src/config/load-config.ts";
import { PROVIDER_PRESETS } from "../../src/config/provider-presets.ts";
import { defaultConfig, type ResolvedConfig } from "../../src/config/resolve-config.ts";
import { endpointProblem, regionProblem } from "../../src/config/s3-names.ts";
import { ConfigError } from "../../src/errors.ts";

const OBJECT = "system.storage.object";

function load(object: string, env: Record<string, string> = {}): Promise<ResolvedConfig> {
  const text = `[system.storage]\nkind = "object"\n[${OBJECT}]\nbucket = "my-bucket"\n${object}`;
  return loadConfig({
    file: "t.toml",
    env,
    cwd: "/x",
    readText: () => Promise.resolve(text),
    fileSystem: { stat: () => Promise.reject(Object.assign(new Error("no"), { code: "ENOENT" })) },
  });
}

const problems = async (object: string, env?: Record<string, string>): Promise<string[]> => {
  try {
    await load(object, env);
    return [];
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.issues.map(({ path, problem }) => `${path.replace(`${OBJECT}.`, "")}: ${problem}`);
  }
};

test("a preset fills in what nobody said, and says that it did", async () => {
  const { config, sources } = await load('provider = "r2"\naccount = "f00d"\n');
  expect(config.storage.object).toMatchObject({
    provider: "r2",
    endpoint: "https://f00d.r2.cloudflarestorage.com",
    region: "auto",
    forcePathStyle: true,
    payloadSigning: "auto",
    createIfAbsent: "if-none-match",
  });
  const filled = ["endpoint", "region", "force_path_style", "payload_signing", "create_if_absent"];
  for (const name of filled) expect([name, sources.get(`${OBJECT}.${name}`)]).toEqual([name, "provider preset"]);
  expect(sources.get(`${OBJECT}.provider`)).toBe("file /x/t.toml");
  expect(sources.get(`${OBJECT}.deadline`)).toBe("default");
});

test("the words in which a provider is asked come with it", async () => {
  const gcs = await load('provider = "gcs"\n');
  expect(gcs.config.storage.object.createIfAbsent).toBe("x-goog-if-generation-match");
  const oss = await load('provider = "oss"\nregion = "cn-hangzhou"\n');
  expect(oss.config.storage.object).toMatchObject({
    createIfAbsent: "x-oss-forbid-overwrite",
    forcePathStyle: false,
    endpoint: "https://s3.oss-cn-hangzhou.aliyuncs.com",
  });
});

test("whatever is said wins: in the file, in AWS variables, in our own", async () => {
  const file = await load('provider = "gcs"\nendpoint = "http://127.0.0.1:9000"\ncreate_if_absent = "if-none-match"\n');
  expect(file.config.storage.object).toMatchObject({
    endpoint: "http://127.0.0.1:9000",
    createIfAbsent: "if-none-match",
    region: "auto",
  });
  expect(file.sources.get(`${OBJECT}.endpoint`)).toBe("file /x/t.toml");
  const variables = await load('provider = "r2"\naccount = "f00d"\n', {
    AWS_REGION: "eu-west-1",
    TIERLOG_SYSTEM_STORAGE_OBJECT_FORCE_PATH_STYLE: "false",
  });
  expect(variables.config.storage.object).toMatchObject({ region: "eu-west-1", forcePathStyle: false });
  expect(variables.sources.get(`${OBJECT}.region`)).toBe("env AWS_REGION");
});

test("an unknown provider is refused with the nearest and with all", async () => {
  const [problem] = await problems('provider = "minoi"\n');
  expect(problem).toMatch(
    /^provider: "minoi" is not a provider known here; did you mean "minio"\? Known are aws, .*, localstack;/,
  );
  for (const { name } of PROVIDER_PRESETS) expect(problem).toContain(name);
  expect((await problems('provider = "qqqqqqqqqq"\n'))[0]).not.toContain("did you mean");
});

test("what a provider needs and nobody said is told, once", async () => {
  expect(await problems('provider = "hetzner"\n')).toEqual([
    'region: is missing; provider = "hetzner" needs it, as in "nbg1"',
  ]);
  expect(await problems('provider = "r2"\n')).toEqual([
    'account: is missing; provider = "r2" needs it for its address https://{account}.r2.cloudflarestorage.com',
  ]);
  expect(await problems('provider = "minio"\n')).toEqual([
    'endpoint: is missing; provider = "minio" has no address of its own',
  ]);
  expect(await problems('provider = "aws"\naccount = "f00d"\n')).toEqual([
    'account: has no use with provider = "aws"; leave it out',
  ]);
  expect(await problems('account = "f00d"\n')).toEqual(["account: has no use without provider; leave it out"]);
  expect(await problems('provider = "r2"\naccount = "f00d/.."\n')).toEqual([
    'account: "f00d/.." is not a name of letters, digits and hyphens',
  ]);
  expect(await problems('provider = "hetzner"\nendpoint = "https://elsewhere.example"\n')).toEqual([]);
});

test("without a bucket to reach, nothing is missing", () => {
  const config = defaultConfig({ storage: { kind: "fs", object: { provider: "hetzner" } } });
  expect(config.storage.object.endpoint).toBeUndefined();
});

test("a config with a preset is accepted as it was returned", () => {
  const config = defaultConfig({
    storage: {
      kind: "object",
      object: { provider: "oci", account: "ns", region: "eu-frankfurt-1", bucket: "my-bucket" },
    },
  });
  expect(config.storage.object.endpoint).toBe("https://ns.compat.objectstorage.eu-frankfurt-1.oraclecloud.com");
  expect(defaultConfig(config)).toEqual(config);
});

test.each(PROVIDER_PRESETS)("$name: a name of its own, regions and an address that are accepted", (preset) => {
  expect(PROVIDER_PRESETS.filter(({ name }) => name === preset.name)).toHaveLength(1);
  expect(regionProblem(preset.exampleRegion)).toBeUndefined();
  expect(preset.name).toMatch(/^[a-z][a-z0-9-]*$/);
  const { endpoint } = preset;
  if (endpoint === undefined || endpoint === "aws") return;
  expect(endpoint).toMatch(/^https:\/\//);
  const filled = endpoint.replace("{region}", preset.exampleRegion).replace("{account}", "f00d");
  expect(filled).not.toMatch(/[{}]/);
  expect(endpointProblem(filled)).toBeUndefined();
});
