import { afterAll, beforeAll, expect, test } from "vitest";

import { CephGateway } from "../support/ceph-gateway.ts";
import { describeCeph, freshPrefix } from "../support/s3.ts";
import { findPowers } from "./rounds/faults.ts";
import { copiedJournal, lostJournal, modeSwitch } from "./rounds/journal-kinds.ts";
import { failingSyscall, fullDisk, kill, outage, takeOver } from "./rounds/kinds.ts";
import { runRounds, type RunOptions, type RunReport } from "./rounds/run-rounds.ts";

const ROUNDS = Number(process.env["TIERLOG_TEST_CRASH_ROUNDS"] ?? 50);
const S3_ROUNDS = Number(process.env["TIERLOG_TEST_CRASH_ROUNDS_S3"] ?? Math.ceil(ROUNDS / 5));
const SEED = Number(process.env["TIERLOG_TEST_SEED"] ?? 1);

async function run(name: string, options: Omit<RunOptions, "seed">): Promise<RunReport> {
  const report = await runRounds({ ...options, seed: SEED });
  console.log(`${name}, seed ${SEED}: ${[...report.counts].map(([what, n]) => `${n} ${what}`).join(", ")}`);
  return report;
}

const UPLOADED_ROUNDS = Math.ceil(ROUNDS / 5);

test(`fs, acks after upload: ${UPLOADED_ROUNDS} rounds of kill -9 and take-over`, async () => {
  const report = await run("fs, uploaded", { kinds: [kill, takeOver], rounds: UPLOADED_ROUNDS, ackAfterUpload: true });
  expect(report.counts.get("appends without an answer")).toBeGreaterThan(0);
});

test(`fs, journaled: ${ROUNDS} rounds of every kind`, async () => {
  const powers = await findPowers();
  const kinds = [
    kill,
    takeOver,
    lostJournal,
    copiedJournal,
    modeSwitch,
    ...(powers.strace ? [failingSyscall] : []),
    ...(powers.mount ? [fullDisk] : []),
  ];
  const report = await run("fs, journaled", { kinds, rounds: ROUNDS, ackAfterUpload: false });
  expect(report.counts.get("rounds that left something to replay")).toBeGreaterThan(ROUNDS / 5);
  expect(kinds.filter(({ name }) => !report.counts.has(name))).toEqual([]);
});

describeCeph("Ceph", () => {
  let gateway: CephGateway;
  beforeAll(async () => {
    gateway = await CephGateway.start();
  });
  afterAll(() => gateway.stop());

  const s3: NonNullable<RunOptions["s3"]> = () => ({ connection: gateway.connection, prefix: freshPrefix() });

  test(`acks after upload: ${S3_ROUNDS} rounds of kill -9, take-over and outage`, async () => {
    const kinds = [kill, takeOver, outage];
    const report = await run("Ceph, uploaded", { kinds, rounds: S3_ROUNDS, ackAfterUpload: true, gateway, s3 });
    expect(report.counts.get("outage")).toBeGreaterThan(0);
  });

  test(`journaled: ${S3_ROUNDS} rounds of kill -9, take-over, outage, lost and copied journals`, async () => {
    const kinds = [kill, takeOver, outage, lostJournal, copiedJournal, modeSwitch];
    const report = await run("Ceph, journaled", { kinds, rounds: S3_ROUNDS, ackAfterUpload: false, gateway, s3 });
    expect(report.counts.get("rounds that left something to replay")).toBeGreaterThan(0);
  });
});
