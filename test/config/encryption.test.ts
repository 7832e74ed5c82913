import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { describeConfig } from "../../src/config/describe-config.ts";
import { loadConfig } from "../../src/config/load-config.ts";
import { defaultConfig, type ResolvedConfig } from "../../src/config/resolve-config.ts";
import { ConfigError } from "../../src/errors.ts";

const KEY = Buffer.alloc(32, 7).toString("base64");
const TABLE = "system.storage.object.encryption";
const VARIABLE = "TIERLOG_SYSTEM_STORAGE_OBJECT_ENCRYPTION_CUSTOMER_KEY";

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "tierlog-encryption-"));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

async function load(lines: string[], env: Record<string, string> = {}, object: string[] = []): Promise<ResolvedConfig> {
  const file = join(directory, "config.toml");
  const head = ['[system.storage]\nkind = "object"\n[system.storage.object]\nbucket = "my-bucket"', ...object];
  await writeFile(file, [...head, `[${TABLE}]`, ...lines].join("\n"));
  return loadConfig({ file, env, cwd: "/" });
}

async function problems(lines: string[], env: Record<string, string> = {}, object: string[] = []): Promise<string[]> {
  const error: unknown = await load(lines, env, object).catch((reason: unknown) => reason);
  if (!(error instanceof ConfigError)) throw new Error("the configuration was taken");
  expect(error.message).not.toContain(KEY);
  return error.issues.map(({ path, problem }) => `${path.replace(`${TABLE}.`, "")}: ${problem}`);
}

test("nothing is asked for by default", () => {
  expect(defaultConfig().storage.object.encryption).toEqual({
    mode: "none",
    kmsKeyId: undefined,
    bucketKey: true,
    customerKey: undefined,
    customerKeyFile: undefined,
  });
});

describe("a customer's key", () => {
  test("from the environment: kept, and shown nowhere", async () => {
    const { config } = await load(['mode = "sse-c"'], { [VARIABLE]: KEY });
    expect(config.storage.object.encryption.customerKey?.reveal()).toBe(KEY);
    expect(describeConfig(config).filter(({ path }) => path.startsWith(TABLE))).toEqual([
      { path: `${TABLE}.mode`, value: "sse-c" },
      { path: `${TABLE}.kms_key_id`, value: undefined },
      { path: `${TABLE}.bucket_key`, value: "true" },
      { path: `${TABLE}.customer_key`, value: "[redacted]" },
      { path: `${TABLE}.customer_key_file`, value: undefined },
    ]);
    expect(JSON.stringify(config) + inspect(config, { depth: 9 })).not.toContain(KEY);
  });

  test.each([
    ["base64", `  ${KEY}\n`],
    ["its bytes", Buffer.alloc(32, 7)],
  ])("from a file beside the config that holds %s", async (_, content) => {
    await writeFile(join(directory, "the.key"), content);
    const { config } = await load(['mode = "sse-c"', 'customer_key_file = "the.key"']);
    expect(config.storage.object.encryption.customerKeyFile).toBe(join(directory, "the.key"));
    // A path is no secret; the config can be handed on as it is.
    expect(defaultConfig(config)).toEqual(config);
  });

  test.each([
    ["missing", undefined, "there is no such file"],
    ["too short", Buffer.alloc(31), "256-bit key in base64"],
    ["too long", Buffer.alloc(4096, 65), "256-bit key in base64"],
    ["base64 with a typing error", `${KEY.slice(0, -2)}!=`, "256-bit key in base64"],
  ])("a file that is %s", async (_, content, told) => {
    if (content !== undefined) await writeFile(join(directory, "the.key"), content);
    const found = await problems(['mode = "sse-c"', 'customer_key_file = "the.key"']);
    expect(found).toEqual([expect.stringMatching(/^customer_key_file: "\/.*the\.key": /)]);
    expect(found[0]).toContain(told);
  });

  test.each(["short", Buffer.alloc(16).toString("base64"), `${KEY.slice(0, 10)} ${KEY.slice(10)}`])(
    "one that is none: %j",
    async (value) => {
      expect(await problems(['mode = "sse-c"'], { [VARIABLE]: value })).toEqual([
        `customer_key: the value is not a 256-bit key in base64, as openssl rand -base64 32 makes one, set by env ${VARIABLE}`,
      ]);
    },
  );
});

test.each<[string, string[], Record<string, string>, string[], string[]]>([
  ["sse-c without a key", ['mode = "sse-c"'], {}, [], ["customer_key_file: is missing"]],
  [
    "two keys",
    ['mode = "sse-c"', 'customer_key_file = "the.key"'],
    { [VARIABLE]: KEY },
    [],
    ["customer_key_file: is set beside customer_key"],
  ],
  [
    "a key without sse-c",
    ['mode = "sse-s3"'],
    { [VARIABLE]: KEY },
    [],
    ['customer_key: has no use with mode = "sse-s3"'],
  ],
  ["a KMS key without sse-kms", ['kms_key_id = "k"'], {}, [], ['kms_key_id: has no use with mode = "none"']],
  ["a KMS key that is none", ['mode = "sse-kms"', 'kms_key_id = "a b"'], {}, [], ['kms_key_id: "a b" is not the id']],
  [
    "sse-c over plain HTTP",
    ['mode = "sse-c"'],
    { [VARIABLE]: KEY },
    ['endpoint = "http://store.example.com"', "allow_http = true"],
    ['mode: "sse-c" needs an https'],
  ],
  [
    "Google",
    ['mode = "sse-kms"'],
    {},
    ['create_if_absent = "x-goog-if-generation-match"'],
    ['mode: "sse-kms" cannot be asked for in Google'],
  ],
  ["another mode", ['mode = "aes"'], {}, [], ['mode: "aes" is not one of the choices']],
])("refused: %s", async (_, lines, env, object, told) => {
  const found = await problems(lines, env, object);
  expect(found.map((problem, i) => problem.slice(0, told[i]?.length))).toEqual(told);
});

test("sse-c over plain HTTP to this machine is taken", async () => {
  const object = ['endpoint = "http://127.0.0.1:9000"'];
  expect((await load(['mode = "sse-c"'], { [VARIABLE]: KEY }, object)).config.storage.object.encryption.mode).toBe(
    "sse-c",
  );
});
