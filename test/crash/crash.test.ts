import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, expect, test } from "vitest";

import { loadConfig } from "../../src/config/load-config.ts";
import { describeS3, freshPrefix, s3Settings } from "../support/s3.ts";
import { killRounds, type CrashReport } from "./kill.ts";

const FS_ROUNDS = Number(process.env["TIERLOG_TEST_CRASH_ROUNDS"] ?? 50);
const S3_ROUNDS = Number(process.env["TIERLOG_TEST_CRASH_ROUNDS_S3"] ?? Math.ceil(FS_ROUNDS / 5));
const SEED = Number(process.env["TIERLOG_TEST_SEED"] ?? 1);

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "tierlog-crash-"));
});

afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

interface Case {
  readonly settings: string;
  readonly env: NodeJS.ProcessEnv;
  readonly size: "small" | "big";
  readonly rounds: number;
}

async function run({ settings, env: extraEnv, size, rounds }: Case): Promise<CrashReport> {
  const configFile = join(directory, "config.toml");
  await writeFile(configFile, settings);
  const env = { PATH: process.env["PATH"], ...extraEnv };
  const { config } = await loadConfig({ file: configFile, env, cwd: directory });
  const report = await killRounds({ configFile, env, config, partitions: 6, size, rounds, seed: SEED });
  console.log(
    `kill -9 (${config.storage.kind}, ${size} flushes, seed ${SEED}): ${report.rounds} rounds, ${report.inFlight} with a flush in ` +
      `flight, ${report.acked} records acked, ${report.storedUnacked} stored without their ack, ${report.dataObjects} data objects`,
  );
  return report;
}

// No linger: almost every kill meets a flush on its way. A checkpoint every few links: many are cut as well.
const SMALL = `
[system]
shards = 2
[system.index]
checkpoint_every = 16
[system.flush]
linger = "0ms"
[system.batch]
max_bytes = "256 KiB"
`;

// Flushes of several MiB with parts of 5 MiB: most go through a data object, some of them in several parts.
const BIG = `
[system.index]
checkpoint_every = 16
[system.flush]
linger = "40ms"
[system.batch]
max_bytes = "512 KiB"
`;

const FS = '[system.storage]\nkind = "fs"\n[system.storage.object]\nmultipart_part_size = "5 MiB"\n';

test(`fs: ${FS_ROUNDS} rounds of kill -9: no acked record is lost, doubled or out of order`, async () => {
  const report = await run({ settings: SMALL + FS, env: {}, size: "small", rounds: FS_ROUNDS });
  expect(report.inFlight).toBeGreaterThan(FS_ROUNDS / 2);
});

test(`fs, big flushes: ${S3_ROUNDS} rounds of kill -9`, async () => {
  const report = await run({ settings: BIG + FS, env: {}, size: "big", rounds: S3_ROUNDS });
  expect(report.inFlight).toBeGreaterThan(S3_ROUNDS / 2);
  expect(report.dataObjects).toBeGreaterThan(0);
});

describeS3("S3", () => {
  function onS3(): { settings: string; env: NodeJS.ProcessEnv } {
    const { endpoint, bucket, region, credentials } = s3Settings("");
    return {
      settings: `
[system.storage]
kind = "object"
[system.storage.object]
endpoint = "${endpoint}"
bucket = "${bucket}"
region = "${region}"
prefix = "${freshPrefix()}"
multipart_part_size = "5 MiB"
`,
      env: { AWS_ACCESS_KEY_ID: credentials?.accessKeyId, AWS_SECRET_ACCESS_KEY: credentials?.secretAccessKey },
    };
  }

  test(`${S3_ROUNDS} rounds of kill -9: no acked record is lost, doubled or out of order`, async () => {
    const { settings, env } = onS3();
    const report = await run({ settings: SMALL + settings, env, size: "small", rounds: S3_ROUNDS });
    expect(report.inFlight).toBeGreaterThan(S3_ROUNDS / 2);
  });

  test(`big flushes: ${S3_ROUNDS} rounds of kill -9`, async () => {
    const { settings, env } = onS3();
    const report = await run({ settings: BIG + settings, env, size: "big", rounds: S3_ROUNDS });
    expect(report.inFlight).toBeGreaterThan(S3_ROUNDS / 2);
    expect(report.dataObjects).toBeGreaterThan(0);
  });
});
