import { afterAll, beforeAll, expect, test } from "vitest";

import { CephGateway } from "../support/ceph-gateway.ts";
import { describeCeph, freshPrefix } from "../support/s3.ts";
import { findPowers } from "./rounds/faults.ts";
import { copiedJournal, lostJournal, modeSwitch } from "./rounds/journal-kinds.ts";
import { failingSyscall, fullDisk, kill, outage, takeOver } from "./rounds/kinds.ts";
import { killInMerge, sleepPastGrace } from "./rounds/merge-kinds.ts";
import { runRounds, type RunOptions, type RunReport } from "./rounds/run-rounds.ts";

const ROUNDS = Number(process.env["TIERLOG_TEST_CRASH_ROUNDS"] ?? 50);
const S3_ROUNDS = Number(process.env["TIERLOG_TEST_CRASH_ROUNDS_S3"] ?? Math.ceil(ROUNDS / 5));
const SEED = Number(process.env["TIERLOG_TEST_SEED"] ?? 1);

async function run(name: string, options: Omit<RunOptions, "seed">, seed = SEED): Promise<RunReport> {
  const report = await runRounds({ ...options, seed });
  console.log(`${name}, seed ${seed}: ${[...report.counts].map(([what, n]) => `${n} ${what}`).join(", ")}`);
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

/** How many rounds of merging and freeing, each a few seconds of work. */
const FREEING_ROUNDS = Math.ceil(ROUNDS / 5);

/** What a run of them must have met. */
const CUT = ["merges cut off before their link", "merges in the chain", "data objects swept", "links swept"];
/** Of two take-overs with two shards each; a link of the former owner may have been under way when it was stopped, and found its slot. */
const LATE = ["late links in deleted slots"];
const RUNS_MAX = 6;

/** Few rounds do not meet everything: runs them again, with other seeds, until they have; those of `wanted` that were not met even so. */
async function runUntil(
  wanted: readonly string[],
  name: string,
  options: Omit<RunOptions, "seed">,
): Promise<readonly string[]> {
  let left = wanted;
  for (let again = 0; again < RUNS_MAX && left.length > 0; again++) {
    const { counts } = await run(name, options, SEED + again * 1000);
    left = left.filter((what) => (counts.get(what) ?? 0) === 0);
  }
  return left;
}

test(`fs, merging and freeing, journaled: ${FREEING_ROUNDS} rounds of kill -9 in a merge, take-over past the grace`, async () => {
  const kinds = [killInMerge, killInMerge, takeOver];
  expect(
    await runUntil(CUT, "fs, merging, journaled", {
      kinds,
      rounds: FREEING_ROUNDS,
      ackAfterUpload: false,
      frees: true,
    }),
  ).toEqual([]);
});

test(`fs, merging and freeing, acks after upload: ${FREEING_ROUNDS} rounds of kill -9 in a merge, take-over past the grace`, async () => {
  const kinds = [killInMerge, killInMerge, takeOver];
  expect(
    await runUntil(CUT, "fs, merging, uploaded", { kinds, rounds: FREEING_ROUNDS, ackAfterUpload: true, frees: true }),
  ).toEqual([]);
});

test("F28 two-writers-split-brain, on a directory: one is stopped until the links that kept it out are freed; going on, it acks and revives nothing", async () => {
  for (const ackAfterUpload of [false, true]) {
    expect(
      await runUntil(LATE, "fs, late", { kinds: [sleepPastGrace], rounds: 2, ackAfterUpload, frees: true }),
    ).toEqual([]);
  }
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

  test(`merging and freeing: ${S3_ROUNDS} rounds of kill -9 in a merge, take-over past the grace, outage`, async () => {
    const kinds = [killInMerge, killInMerge, killInMerge, takeOver, outage];
    expect(
      await runUntil(CUT, "Ceph, merging", {
        kinds,
        rounds: S3_ROUNDS,
        ackAfterUpload: true,
        frees: true,
        gateway,
        s3,
      }),
    ).toEqual([]);
  });

  test("F28 two-writers-split-brain: one is stopped until the links that kept it out are freed; going on, it acks and revives nothing", async () => {
    const kinds = [sleepPastGrace];
    expect(
      await runUntil(LATE, "Ceph, late", { kinds, rounds: 2, ackAfterUpload: true, frees: true, gateway, s3 }),
    ).toEqual([]);
  });
});
