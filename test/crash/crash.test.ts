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

async function run(toml: string, extraEnv: NodeJS.ProcessEnv, rounds: number): Promise<CrashReport> {
  const configFile = join(directory, "config.toml");
  await writeFile(configFile, toml);
  const env = { PATH: process.env["PATH"], ...extraEnv };
  const { config } = await loadConfig({ file: configFile, env, cwd: directory });
  const report = await killRounds({ configFile, env, config, partitions: 6, rounds, seed: SEED });
  console.log(
    `kill -9 (${config.storage.kind}, seed ${SEED}): ${report.rounds} rounds, ${report.inFlight} with a flush in flight, ` +
      `${report.acked} records acked, ${report.storedUnacked} stored without their ack`,
  );
  return report;
}

// Small links and no linger: almost every kill then meets a flush on its way, and some meet one of several links.
const SETTINGS = `
[system]
shards = 2
[system.flush]
linger = "0ms"
[system.batch]
max_bytes = "256 KiB"
`;

test(`fs: ${FS_ROUNDS} rounds of kill -9: no acked record is lost, doubled or out of order`, async () => {
  const report = await run(`${SETTINGS}\n[system.storage]\nkind = "fs"\n`, {}, FS_ROUNDS);
  expect(report.inFlight).toBeGreaterThan(FS_ROUNDS / 2);
});

describeS3("S3", () => {
  test(`${S3_ROUNDS} rounds of kill -9: no acked record is lost, doubled or out of order`, async () => {
    const { endpoint, bucket, region, credentials } = s3Settings("");
    const toml = `${SETTINGS}
[system.storage]
kind = "object"
[system.storage.object]
endpoint = "${endpoint}"
bucket = "${bucket}"
region = "${region}"
prefix = "${freshPrefix()}"
`;
    const keys = {
      AWS_ACCESS_KEY_ID: credentials?.accessKeyId,
      AWS_SECRET_ACCESS_KEY: credentials?.secretAccessKey,
    };
    const report = await run(toml, keys, S3_ROUNDS);
    expect(report.inFlight).toBeGreaterThan(S3_ROUNDS / 2);
  });
});
