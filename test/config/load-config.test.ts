import { inspect } from "node:util";

import { describe, expect, test } from "vitest";

import { describeConfig } from "../../src/config/describe-config.ts";
import { loadConfig, type LoadOptions } from "../../src/config/load-config.ts";
import type { ResolvedConfig } from "../../src/config/resolve-config.ts";
import { ConfigError } from "../../src/errors.ts";

const FILE = "/etc/tierlog/config.toml";

function load(toml: string | undefined, rest: Partial<LoadOptions> = {}): Promise<ResolvedConfig> {
  return loadConfig({
    file: toml === undefined ? undefined : FILE,
    env: {},
    cwd: "/srv",
    readText: () => Promise.resolve(toml ?? ""),
    fileSystem: { stat: () => Promise.reject(failure("ENOENT")) },
    ...rest,
  });
}

async function problems(toml: string | undefined, rest: Partial<LoadOptions> = {}): Promise<string[]> {
  return (await refused(toml, rest)).issues.map((issue) => `${issue.path}: ${issue.problem}`);
}

async function refused(toml: string | undefined, rest: Partial<LoadOptions> = {}): Promise<ConfigError> {
  const error = await load(toml, rest).then(
    () => undefined,
    (error: unknown) => error,
  );
  if (!(error instanceof ConfigError)) throw new Error("expected a ConfigError", { cause: error });
  return error;
}

function failure(code: string): Error {
  return Object.assign(new Error(code), { code });
}

const OBJECT = "system.storage.object";
const bucket = `[system.storage]\nkind = "object"\n[system.storage.object]\nbucket = "my-bucket"\n`;

describe("one problem each", () => {
  const object = (line: string): string => `[system.storage.object]\n${line}`;

  test.each([
    [object('multipart_part_size = "4 MiB"'), `"4 MiB" is below the minimum of 5 MiB (S3 refuses smaller parts)`],
    [object('multipart_part_size = "65 MiB"'), `"65 MiB" is above the maximum of 64 MiB (parts are held in memory`],
    [object('multipart_part_size = "8 MB"'), `"8 MB" is in decimal units; write KiB, MiB or GiB`],
    [object("multipart_part_size = 8388608"), '8388608 is not a size like "8 MiB"'],
    [object("bucket = ['a']"), "a list is not a text in quotes"],
    [object('bucket = "My_Bucket"'), '"My_Bucket" is not a bucket name: those are lower-case letters'],
    [object('bucket = "ab"'), '"ab" is not a bucket name: those have 3 to 63 characters'],
    [object('bucket = "192.168.0.1"'), '"192.168.0.1" is not a bucket name: those do not look like an IP address'],
    [object('bucket = ""'), '"" is not a bucket name'],
    [object('prefix = "a/"'), '"a/" begins or ends with a slash'],
    [object('prefix = "/a"'), '"/a" begins or ends with a slash'],
    [object('prefix = "a/../b"'), '"a/../b" holds "." or ".." between slashes'],
    [object('prefix = "a//b"'), '"a//b" holds two slashes in a row'],
    [object('endpoint = "localhost"'), '"localhost" is not a URL'],
    [object('endpoint = "ftp://x"'), '"ftp://x" does not begin with https:// or http://'],
    [object('endpoint = "http://x/?a=b"'), "holds a query"],
    [object('service = "gcs"'), '"gcs" is not one of the choices: "s3"'],
    [object('region = "us east"'), '"us east" is not a region name'],
    [object('ack_after_upload = "true"'), '"true" is not true or false, without quotes'],
    [object('access_key_id = "AKIAXXXXXXXX"'), "is missing; access_key_id is set"],
    [object('secret_access_key = "s3cr3ts3cr3t"'), "is missing; secret_access_key is set"],
    [object('session_token = "t0k3nt0k3n"'), "is missing; session_token is set"],
    [object('deadline = "10s"'), `10s is below ${OBJECT}.request_timeout, 15s`],
    [object("request_timeout = 2026-01-01"), 'a date is not a time like "250ms"'],
    ['[system.storage]\nkind = "s3"', '"s3" is not one of the choices: "memory" or "fs" or "object"'],
    ['[system.storage]\nkind = "object"', 'is missing; kind = "object" needs it'],
    [object('payload_signing = "none"'), '"none" is not one of the choices: "auto" or "signed" or "unsigned"'],
    [
      `${bucket}endpoint = "http://10.1.2.3:9000"\nallow_http = true\npayload_signing = "unsigned"`,
      `${OBJECT}.payload_signing: "unsigned" needs an https ${OBJECT}.endpoint, or one on this machine`,
    ],
    ["[system]\nshards = 0", "0 is below the minimum of 1"],
    ["[system]\nshards = 10001", "10001 is above the maximum of 10000"],
    ["[system]\nshards = 1.5", "1.5 is not a whole number, 1 … 10000"],
    ['[system]\npath = ""', '"" is empty'],
    ['[system.storage.object]\nrequest_timeout = "0ms"', '"0ms" is below the minimum of 100ms'],
    ['[system.flush]\nlinger = "250"', '"250" has no unit; write a time as in "250ms" (units: ms, s, m, h, d)'],
    [
      '[system.flush]\nmax_pending = "4 MiB"',
      "4 MiB is below system.flush.max_bytes, 32 MiB (a full flush waits there)",
    ],
    ['[system.batch]\nmax_bytes = "5 MiB"', `5 MiB is above half of ${OBJECT}.multipart_part_size, 8 MiB`],
    ['[system.flush]\nmax_bytes = "512 KiB"', "512 KiB is below system.batch.max_bytes, 1 MiB"],
    [
      '[system.journal]\nfile_size = "4 MiB"\n[system.batch]\nmax_bytes = "3 MiB"',
      "4 MiB is below two of system.batch.max_bytes, 3 MiB (a batch lies in one file, with its frame around it)",
    ],
    [
      '[system.journal]\nmax_size = "100 MiB"',
      "100 MiB is below two of system.journal.file_size, 64 MiB (one file is written while the other is uploaded)",
    ],
    ['[system.journal]\nfile_size = "2 MiB"', '"2 MiB" is below the minimum of 4 MiB'],
    ['[system.journal]\nfile_size = "2 GiB"', '"2 GiB" is above the maximum of 1 GiB (recovery reads a file whole)'],
    [
      '[system.journal]\nfsync = "sometimes"',
      '"sometimes" is not one of the choices: "always" or "interval" or "never"',
    ],
    ['[system.journal]\nfsync_interval = "2m"', '"2m" is above the maximum of 1m'],
    ['[system.journal]\nupload_interval = "10ms"', '"10ms" is below the minimum of 100ms'],
    ['[system.journal]\ncatch_up_rate = "1 KiB"', '"1 KiB" is below the minimum of 1 MiB (bytes per second)'],
    ['[system.journal]\npath = ""', '"" is empty'],
    ['[system.journal]\npath = "/srv/tierlog-data"\n[system]\npath = 1', "1 is not a text in quotes"],
    [
      '[system.journal]\npath = "./tierlog-data/store/journal"',
      '"/etc/tierlog/tierlog-data/store/journal" lies in the store, "/etc/tierlog/tierlog-data/store": choose another place',
    ],
    ["[system.fence]\nlease = 30", '30 is not "off" or a time like "250ms"'],
    [
      '[system.fence]\nlease = "0ms"',
      '"0ms" is below the minimum of 1s (each acknowledgement needs a younger answer of the store); write "off"',
    ],
    [
      '[system.fence]\nlease = "500ms"',
      '"500ms" is below the minimum of 1s (each acknowledgement needs a younger answer',
    ],
    ['[system.fence]\nlease = "11m"', '"11m" is above the maximum of 10m'],
    [
      '[system.gc]\ngrace = "500ms"',
      '"500ms" is below the minimum of 1s (readers must have time to leave what was replaced)',
    ],
    ['[system.gc]\ngrace = "8d"', '"8d" is above the maximum of 7d'],
    ['[system.gc]\ngrace = "off"', '"off" is not a time; write a whole number with a unit'],
    ['[system.gc]\nenabled = "no"', "is not true or false"],
    ['[system.gc]\nsweep_interval = "10ms"', '"10ms" is below the minimum of 100ms (each sweep lists the whole store)'],
    ['[system]\nshutdown_timeout = "2h"', '"2h" is above the maximum of 1h'],
    ["[system.flash]\nlinger = 1", "is not a key; did you mean system.flush?"],
    ['[system.flush]\nlingr = "1s"', "is not a key; did you mean system.flush.linger?"],
    ['bucket = "abc"', `is not a key; did you mean ${OBJECT}.bucket?`],
    ["nonsense = 1", "is not a key"],
    ["[system]\nflush = 5", "is a table: write [system.flush] and its keys below"],
    ["[system]\n__proto__ = 1", "is not a key"],
  ])("%s", async (toml, problem) => {
    const found = await problems(toml);
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(problem);
  });

  test.each([undefined, "https://s3.example.com", "http://127.0.0.1:9000", "http://localhost:9000"])(
    "an unsigned payload is taken to %s",
    async (endpoint) => {
      const line = endpoint === undefined ? "" : `endpoint = "${endpoint}"\n`;
      const { config } = await load(`${bucket}${line}payload_signing = "unsigned"`);
      expect(config.storage.object.payloadSigning).toBe("unsigned");
    },
  );

  test("text that is not TOML: file, line and column, but not the text", async () => {
    const error = await refused('[system]\nsecret_access_key = "CANARY');
    expect(error.issues).toEqual([{ path: FILE, problem: "line 2, column 21: unfinished string" }]);
    expect(inspect(error)).not.toContain("CANARY");
  });

  test.each([
    ["ENOENT", "there is no such file"],
    ["EISDIR", "is a directory, not a file"],
    ["EACCES", "may not be read by this user"],
  ])("a config file that fails with %s", async (code, problem) => {
    expect(await problems("", { readText: () => Promise.reject(failure(code)) })).toEqual([`${FILE}: ${problem}`]);
  });

  test("a config file that is not UTF-8", async () => {
    const readText = (): Promise<string> => Promise.reject(new TypeError("The encoded data was not valid"));
    expect(await problems("", { readText })).toEqual([`${FILE}: is not UTF-8 text`]);
  });

  test("a path that is a file, told together with other problems", async () => {
    const fileSystem = { stat: () => Promise.resolve({ sizeBytes: 1, identity: "", modifiedAtMs: 0 }) };
    expect(await problems('[system]\npath = "data"\nshards = 0', { fileSystem })).toEqual([
      "system.shards: 0 is below the minimum of 1",
      'system.path: "/etc/tierlog/data" is a file; it must be a directory or not exist yet',
    ]);
  });

  test("a path below a file", async () => {
    const fileSystem = { stat: () => Promise.reject(failure("ENOTDIR")) };
    expect(await problems("", { fileSystem })).toEqual([
      'system.path: "/etc/tierlog/tierlog-data" lies below something that is a file',
    ]);
  });
});

test("all problems at once, with path, value and limit", async () => {
  const toml = `
    [system]
    shard = 2
    [system.storage]
    kind = "object"
    [system.storage.object]
    multipart_part_size = "4 MiB"
    [system.flush]
    linger = "2 weeks"`;
  const env = { TIERLOG_SYSTEM_CACHE_SIZE: "1 KiB", TIERLOG_SYSTEM_FLUSH_LINGR: "1s" };
  const error = await refused(toml, { env, flags: { "system.batch.max_bytes": "1 MB", "system.cahce.size": "1 MiB" } });
  expect(error.exitCode).toBe(78);
  expect(error.message.split("\n")).toEqual([
    "config has 8 problems:",
    "  system.shard: is not a key; did you mean system.shards?",
    "  env TIERLOG_SYSTEM_FLUSH_LINGR: names no key; did you mean TIERLOG_SYSTEM_FLUSH_LINGER?",
    "  system.cahce.size: is not a key; did you mean system.cache.size?",
    `  ${OBJECT}.multipart_part_size: "4 MiB" is below the minimum of 5 MiB (S3 refuses smaller parts)`,
    '  system.flush.linger: "2 weeks" has the unknown unit "weeks" (units: ms, s, m, h, d)',
    '  system.batch.max_bytes: "1 MB" is in decimal units; write KiB, MiB or GiB (1 MiB = 1,048,576 bytes), set by flag --set',
    '  system.cache.size: "1 KiB" is below the minimum of 64 KiB, set by env TIERLOG_SYSTEM_CACHE_SIZE',
    `  ${OBJECT}.bucket: is missing; kind = "object" needs it`,
  ]);
});

describe("precedence", () => {
  const toml = `${bucket}region = "from-file"`;
  const aws = { AWS_REGION: "from-aws", AWS_DEFAULT_REGION: "not-this" };
  const env = { ...aws, TIERLOG_SYSTEM_STORAGE_OBJECT_REGION: "from-env" };

  test.each([
    [{}, "from-file", `file ${FILE}`],
    [{ env: aws }, "from-aws", "env AWS_REGION"],
    [{ env }, "from-env", "env TIERLOG_SYSTEM_STORAGE_OBJECT_REGION"],
    [{ env, flags: { [`${OBJECT}.region`]: "from-flag" } }, "from-flag", "flag --set"],
  ])("%o", async (rest, region, source) => {
    const { config, sources } = await load(toml, rest);
    expect(config.storage.object.region).toBe(region);
    expect(sources.get(`${OBJECT}.region`)).toBe(source);
    expect(sources.get("system.flush.linger")).toBe("default");
  });

  test("AWS variables count only for an object store", async () => {
    const env = { AWS_ACCESS_KEY_ID: "half a set", AWS_REGION: "!" };
    const { config } = await load("", { env });
    expect(config.storage.object).toMatchObject({ region: "us-east-1", credentials: undefined });
    expect(await problems(bucket, { env })).toHaveLength(3);
  });

  test("kind itself may come from the environment", async () => {
    const env = {
      TIERLOG_SYSTEM_STORAGE_KIND: "object",
      TIERLOG_SYSTEM_STORAGE_OBJECT_BUCKET: "my-bucket",
      AWS_ENDPOINT_URL: "http://general",
      AWS_ENDPOINT_URL_S3: "https://s3.local",
      AWS_SESSION_TOKEN: "",
    };
    const { config } = await load(undefined, { env });
    expect(config.storage.object).toMatchObject({
      endpoint: "https://s3.local",
      forcePathStyle: true,
      bucket: "my-bucket",
    });
  });

  test("a new access key drops the secret and token of weaker places", async () => {
    const withToken = `${bucket}access_key_id = "AKIAFILE"\nsecret_access_key = "filesecret"\nsession_token = "filetoken"`;
    const env = { AWS_ACCESS_KEY_ID: "AKIAENV", AWS_SECRET_ACCESS_KEY: "envsecret" };
    const { credentials } = (await load(withToken, { env })).config.storage.object;
    expect(credentials?.accessKeyId).toBe("AKIAENV");
    expect(credentials?.secretAccessKey.reveal()).toBe("envsecret");
    expect(credentials?.sessionToken).toBeUndefined();
    expect(await problems(withToken, { env: { AWS_ACCESS_KEY_ID: "AKIAENV" } })).toEqual([
      `${OBJECT}.secret_access_key: is missing; access_key_id is set`,
    ]);
  });

  test("the secret may come from the environment to an access key of the file", async () => {
    const { config } = await load(`${bucket}access_key_id = "AKIAFILE"`, {
      env: { AWS_SECRET_ACCESS_KEY: "envsecret" },
    });
    expect(config.storage.object.credentials?.secretAccessKey.reveal()).toBe("envsecret");
  });

  test("a bad value is told although a stronger place replaces it", async () => {
    expect(await problems("[system]\nshards = 0", { flags: { "system.shards": 2 } })).toHaveLength(1);
  });

  test("numbers and booleans as text", async () => {
    const env = { TIERLOG_SYSTEM_SHARDS: "3", TIERLOG_SYSTEM_STORAGE_OBJECT_FORCE_PATH_STYLE: "true" };
    const { config } = await load(undefined, { env });
    expect(config.shards).toBe(3);
    expect(config.storage.object.forcePathStyle).toBe(true);
    for (const value of ["0x3", "3.0", "", " 3", "three"]) {
      expect(await problems(undefined, { env: { TIERLOG_SYSTEM_SHARDS: value } })).toHaveLength(1);
    }
    expect(await problems(undefined, { env: { TIERLOG_SYSTEM_STORAGE_OBJECT_FORCE_PATH_STYLE: "yes" } })).toHaveLength(
      1,
    );
  });

  test("variables that belong to others are left alone", async () => {
    await load(undefined, { env: { TIERLOG_TEST_ENDPOINT: "x", TIERLOG_DEBUG: "1", TIERLOGX: "1", PATH: "/bin" } });
    expect(await problems(undefined, { env: { TIERLOG_DEBUGX: "1" } })).toHaveLength(1);
  });
});

describe("relative paths", () => {
  test.each([
    ['[system]\npath = "data"', {}, "/etc/tierlog/data"],
    ['[system]\npath = "/data"', {}, "/data"],
    ["", {}, "/etc/tierlog/tierlog-data"],
    [undefined, {}, "/srv/tierlog-data"],
    ['[system]\npath = "data"', { env: { TIERLOG_SYSTEM_PATH: "other" } }, "/srv/other"],
    ["", { flags: { "system.path": "../other" } }, "/other"],
  ])("%s %o", async (toml, rest, path) => {
    expect((await load(toml, rest)).config.path).toBe(path);
  });
});

describe("the journal", () => {
  test("lies below the data, or where it is said, and the lease is off", async () => {
    const { config } = await load('[system]\npath = "data"');
    expect(config.journal).toEqual({
      path: "/etc/tierlog/data/journal",
      fsync: "always",
      fsyncIntervalMs: 100,
      fileSizeBytes: 64 * 1024 * 1024,
      maxSizeBytes: 1024 * 1024 * 1024,
      uploadIntervalMs: 10_000,
      catchUpRateBytes: 128 * 1024 * 1024,
      oDirect: false,
    });
    expect(config.fence).toEqual({ leaseMs: 0 });
    expect(config.shutdownTimeoutMs).toBe(30_000);
    const elsewhere = await load('[system.journal]\npath = "j"\n[system.fence]\nlease = "30s"');
    expect(elsewhere.config.journal.path).toBe("/etc/tierlog/j");
    expect(elsewhere.config.fence).toEqual({ leaseMs: 30_000 });
    expect(describeConfig(elsewhere.config)).toContainEqual({ path: "system.fence.lease", value: "30s" });
    expect(describeConfig(config)).toContainEqual({ path: "system.fence.lease", value: "off" });
  });

  test("a lease of the environment", async () => {
    const env = (TIERLOG_SYSTEM_FENCE_LEASE: string): Partial<LoadOptions> => ({ env: { TIERLOG_SYSTEM_FENCE_LEASE } });
    expect((await load('[system.fence]\nlease = "5s"', env("off"))).config.fence.leaseMs).toBe(0);
    expect((await load("", env("5s"))).config.fence.leaseMs).toBe(5000);
    expect((await problems("", env("0s")))[0]).toContain('"0s" is below the minimum of 1s');
  });

  test("where a file is told, where a journal is needed", async () => {
    const toml = '[system.journal]\npath = "/var/journal"\n';
    const fileSystem = {
      stat: (path: string) =>
        path === "/var/journal"
          ? Promise.resolve({ sizeBytes: 1, identity: "", modifiedAtMs: 0 })
          : Promise.reject(failure("ENOENT")),
    };
    expect(await problems(`${toml}${journaled}`, { fileSystem })).toEqual([
      'system.journal.path: "/var/journal" is a file; it must be a directory or not exist yet',
    ]);
    expect((await load(toml, { fileSystem })).config.journal.path).toBe("/var/journal");
  });

  const warned = async (toml: string): Promise<readonly string[]> => (await load(toml)).warnings;
  const journaled = "[system.storage.object]\nack_after_upload = false\n";

  test("an interval that nothing looks at is worth a warning, a default that was written down is not", async () => {
    const interval = '[system.journal]\nfsync_interval = "50ms"\n';
    expect(await warned(interval)).toEqual([
      'system.journal.fsync_interval does nothing with system.journal.fsync = "always": only "interval" looks at it',
    ]);
    expect(await warned(`${interval}fsync = "never"`)).toHaveLength(1);
    expect(await warned(`${interval}fsync = "interval"`)).toEqual([]);
    expect(await warned('[system.journal]\nfsync_interval = "100ms"')).toEqual([]);
  });

  test("so is a lease where acks wait for the store", async () => {
    const lease = '[system.fence]\nlease = "30s"\n';
    expect(await warned(lease)).toEqual([
      "system.fence.lease does nothing with system.storage.object.ack_after_upload = true: every ack is a proof of the fence by itself",
    ]);
    expect(await warned(`${lease}${journaled}`)).toEqual([]);
    expect(await warned('[system.fence]\nlease = "off"')).toEqual([]);
  });

  test("in the store's own directory only with a store that is none", async () => {
    const inside = '[system.journal]\npath = "tierlog-data/store/j"';
    expect(await problems(inside)).toHaveLength(1);
    expect(await problems('[system.journal]\npath = "tierlog-data/store"')).toHaveLength(1);
    expect((await load('[system.journal]\npath = "tierlog-data/storehouse"')).warnings).toEqual([]);
    expect((await load(`${bucket}${inside}`)).config.journal.path).toBe("/etc/tierlog/tierlog-data/store/j");
  });
});

describe("I8: no secret in any output", () => {
  const CANARY = "CANARYcanary0123456789";
  const secrets = `access_key_id = "${CANARY}id"\nsecret_access_key = "${CANARY}"\nsession_token = "${CANARY}token"\n`;

  test("of a good configuration", async () => {
    const { config, sources } = await load(`${bucket}${secrets}`);
    const secret = config.storage.object.credentials?.secretAccessKey;
    const shown = [describeConfig(config), secret, [...sources]];
    for (const text of [JSON.stringify(shown), inspect(shown, { depth: 9 }), String(secret)]) {
      expect(text).not.toContain(CANARY);
    }
    expect(inspect(config.storage.object.credentials?.sessionToken)).toBe("[redacted]");
    expect(config.storage.object.credentials?.secretAccessKey.reveal()).toBe(CANARY);
  });

  test.each([
    ["as wrong keys beside it", `${secrets}secret_acces_key = "${CANARY}"`],
    ["with white space", `secret_access_key = "${CANARY} "\naccess_key_id = "id ${CANARY}"`],
    ["as something else than a text", `secret_access_key = ["${CANARY}"]\nsession_token = { a = "${CANARY}" }`],
    ["in the endpoint", `endpoint = "http://user:${CANARY}@host"`],
    ["in a broken endpoint", `endpoint = "http//user:${CANARY}@://@"`],
    ["in an endpoint without a scheme", `endpoint = "AKIA:${CANARY}@host"`],
    ["in a URL that was signed", `endpoint = "https://host/key?X-Amz-Signature=${CANARY}&x=1"`],
    ["in a signed URL in place of a name", `region = "https://host/key?X-Amz-Security-Token=${CANARY}"`],
    ["in a fragment", `endpoint = "https://host/#${CANARY}"`],
    ["in another key too", `${secrets}region = "a b ${CANARY}"`],
    ["in broken TOML", `secret_access_key = "${CANARY}`],
    ["in a doubled key", `secret_access_key = "a"\nsecret_access_key = "${CANARY}"`],
  ])("of a bad one: %s", async (_, lines) => {
    const error = await refused(`${bucket}${lines}`);
    for (const text of [error.message, JSON.stringify(error), inspect(error, { depth: 9 }), String(error.stack)]) {
      expect(text).not.toContain(CANARY);
    }
  });

  test("of bad environment and flags", async () => {
    const error = await refused(bucket, {
      env: {
        AWS_SECRET_ACCESS_KEY: `${CANARY} x`,
        TIERLOG_SYSTEM_STORAGE_OBJECT_SESSION_TOKEN: `${CANARY}\n`,
        TIERLOG_SECRET: CANARY,
      },
      flags: { [`${OBJECT}.secret_access_key`]: "", "system.secret": CANARY },
    });
    expect(error.issues.length).toBeGreaterThan(4);
    expect(inspect(error, { depth: 9 })).not.toContain(CANARY);
  });
});

test("the result is frozen all the way down", async () => {
  const { config } = await load(bucket);
  for (const part of [config, config.storage, config.storage.object, config.flush, config.batch, config.cache]) {
    expect(Object.isFrozen(part)).toBe(true);
  }
});
