import { afterAll, beforeAll, expect, test } from "vitest";

import { FaultScript } from "../../src/testing/fault-script.ts";
import { S3Proxy } from "../../src/testing/s3-proxy.ts";
import { CephGateway } from "../support/ceph-gateway.ts";
import { describeCeph, freshPrefix } from "../support/s3.ts";
import { HANDLES_GROWTH_MAX, HANDLES_MAX, RSS_BYTES_MAX } from "./bounds.ts";
import { HARMFUL, HARMLESS, HARMLESS_ON_SERVER } from "./events.ts";
import { soak, type SoakReport } from "./run-soak.ts";
import { JOURNAL_BYTES_MAX } from "./world.ts";

const SECONDS = Number(process.env["TIERLOG_TEST_SOAK_SECONDS"] ?? 60);
const SEED = Number(process.env["TIERLOG_TEST_SEED"] ?? 1);
/** Of each of the two stores. */
const SHARE = SECONDS / 2;

/** What goes on by itself beside the events, and must have happened. */
const BESIDE = [
  "merges",
  "links deleted",
  "objects deleted",
  "checkpoints",
  "partitions trimmed by retention",
  "trim",
  "create",
  "delete",
  "reads from the start",
  "reads from an offset",
  "reads by time",
  "reads below a trimmed start",
  "kills in a merge",
  "kills with appends on their way",
];

function judge(name: string, report: SoakReport): void {
  const { events, counts, acked, extents, objects, producers, reader, journalFileBytesMax, asideBytes } = report;
  const mebibytes = (bytes: number): string => `${Math.ceil(bytes / 2 ** 20)} MiB`;
  const list = (map: ReadonlyMap<string, number>): string => [...map].map(([what, n]) => `${n} ${what}`).join(", ");
  console.log(
    `${name}, ${SHARE} s, seed ${SEED}: ${list(events)}; ${acked} records acked, ${list(counts)}; left ${objects.all} objects ` +
      `(≤ ${objects.bound}: ${list(objects.kinds)}) for ${extents} extents; producers ≤ ${mebibytes(producers.rssBytesMax)}, ${producers.handlesMax} handles ` +
      `(growth ${producers.handlesGrowth}); reader ≤ ${mebibytes(reader.rssBytesMax)}, ${reader.handlesMax} handles (growth ` +
      `${reader.handlesGrowth}); journal of a shard ≤ ${mebibytes(journalFileBytesMax)}, set aside ${mebibytes(asideBytes)}`,
  );
  expect(BESIDE.filter((what) => !counts.has(what))).toEqual([]);
  expect(objects.unnamed).toEqual([]);
  expect(objects.all).toBeLessThanOrEqual(objects.bound);
  for (const use of [producers, reader]) {
    expect(use.rssBytesMax).toBeLessThanOrEqual(RSS_BYTES_MAX);
    expect(use.handlesMax).toBeLessThanOrEqual(HANDLES_MAX);
    expect(use.handlesGrowth).toBeLessThanOrEqual(HANDLES_GROWTH_MAX);
  }
  expect(journalFileBytesMax).toBeLessThanOrEqual(JOURNAL_BYTES_MAX);
}

test(`a directory, ${SHARE} s of everything at once`, async () => {
  const report = await soak({ seconds: SHARE, seed: SEED });
  judge("directory", report);
  expect([...HARMLESS, ...HARMFUL].filter(({ name }) => !report.events.has(name))).toEqual([]);
});

describeCeph("Ceph", () => {
  let gateway: CephGateway;
  let script: FaultScript;
  let proxy: S3Proxy;
  beforeAll(async () => {
    gateway = await CephGateway.start();
    script = new FaultScript({ seed: SEED });
    proxy = await S3Proxy.start({ target: gateway.connection.endpoint, faults: script });
  });
  afterAll(async () => {
    await proxy.close();
    gateway.stop();
  });

  test(`${SHARE} s of everything at once`, async () => {
    const place = { connection: gateway.connection, prefix: freshPrefix(), through: proxy.url };
    const report = await soak({ seconds: SHARE, seed: SEED, on: { place, server: { gateway, script } } });
    judge("Ceph", report);
    expect([...HARMLESS_ON_SERVER, ...HARMFUL].filter(({ name }) => !report.events.has(name))).toEqual([]);
    expect(report.counts.has("requests met by a fault")).toBe(true);
  });
});
