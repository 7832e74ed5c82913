import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, expect, test } from "vitest";

import { createMemoryStore } from "../../src/object-store/memory-store.ts";
import { Cluster, testConfig, values } from "../support/engine.ts";
import { tierlog } from "./tierlog.ts";

let cwd: string;
beforeEach(async () => {
  cwd = await mkdtemp(join(tmpdir(), "tierlog-cost-"));
});
afterEach(() => rm(cwd, { recursive: true, force: true }));

async function json(argv: readonly string[]): Promise<Record<string, never>[]> {
  const { exitCode, stdout, stderr } = await tierlog(cwd, ["cost", "--json", ...argv]);
  expect([exitCode, stderr]).toEqual([0, ""]);
  return stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, never>);
}

test("a forecast as JSON, with the settings of a file", async () => {
  await writeFile(join(cwd, "config.toml"), '[system.flush]\nlinger = "500ms"\n[system.merge]\nenabled = false\n');
  const argv = ["--config", "config.toml", "--bytes-per-second", "1 MiB", "--partitions", "100", "--provider", "aws"];
  const [row, ...rest] = await json(argv);
  expect(rest).toEqual([]);
  expect(Object.keys(row ?? {})).toEqual([
    "gatherMs",
    "shards",
    "flush",
    "requestsPerSecond",
    "mergedBytesPerSecond",
    "month",
    "putsPerPartition",
    "dollars",
    "warnings",
  ]);
  expect(row).toMatchObject({
    gatherMs: 500,
    shards: 1,
    mergedBytesPerSecond: 0,
    requestsPerSecond: { flush: { put: expect.closeTo(2, 2) as number }, merge: { put: 0 } },
    dollars: { aws: { date: expect.stringMatching(/^\d{4}-\d\d-\d\d$/) as string } },
  });
});

test("--ack journaled: --linger is the interval of uploads; a row for each", async () => {
  const argv = ["--bytes-per-second", "1MiB", "--ack", "journaled", "--linger", "1s", "--linger", "10s"];
  const rows = await json(argv);
  expect(rows.map((row) => row["gatherMs"])).toEqual([1000, 10_000]);
  const shown = await tierlog(cwd, ["cost", ...argv]);
  expect(shown.stdout).toMatch(/^LINGER +FLUSH EVERY +BYTES +PUTS\/S .*\n1s .*\n10s /);
});

test("what engine.metrics() counted, as a month", async () => {
  const cluster = new Cluster(createMemoryStore());
  const engine = await cluster.open(testConfig());
  await engine.createTopic("t", { partitions: 1 });
  await (await engine.topic("t")).partition(0).append(values("a", "b"));
  const metrics = engine.metrics();
  await cluster.close();
  await writeFile(join(cwd, "metrics.json"), JSON.stringify(metrics));
  const [month] = await json(["--measured", "metrics.json", "--seconds", "2592", "--provider", "r2"]);
  expect(month?.["requests"]).toMatchObject({
    put: 1000 * metrics.store.put.requests,
    list: 1000 * metrics.store.list.requests,
  });
  expect(month?.["dollars"]).toMatchObject({
    r2: { puts: expect.closeTo((4.5 * metrics.store.put.requests) / 1000) as number },
  });
});

test("what bench flush measured, as a month", async () => {
  const bench = [
    "bench",
    "flush",
    "--seconds",
    "1",
    "--producers",
    "4",
    "--json",
    "--set",
    "system.storage.kind=memory",
  ];
  const { stdout } = await tierlog(cwd, bench);
  const report = JSON.parse(stdout) as { requests: { put: number }; requestSeconds: number };
  await writeFile(join(cwd, "bench.json"), stdout);
  const [month] = await json(["--measured", "bench.json"]);
  const puts = (report.requests.put * 30 * 86_400) / report.requestSeconds;
  expect(month).toMatchObject({ seconds: report.requestSeconds, requests: { put: expect.closeTo(puts, 3) as number } });
  const shown = await tierlog(cwd, ["cost", "--measured", "bench.json"]);
  expect(shown.stdout).toMatch(/^A month like those \d+ s, at /);
});

test.each([
  [[], "--bytes-per-second: is missing"],
  [["--bytes-per-second", "10"], "has no unit"],
  [["--bytes-per-second", "10 MB"], "is in decimal units"],
  [["--bytes-per-second", "2048 GiB"], "is outside of what can be forecast"],
  [["--bytes-per-second", "1MiB", "--linger", "2m"], "system.flush.linger"],
  [["--bytes-per-second", "1MiB", "--partitions", "0"], "--partitions"],
  [["--bytes-per-second", "1MiB", "--provider", "nobody"], "there are aws, aws-express, r2, gcs"],
  [["--bytes-per-second", "1MiB", "--prices", "none.json"], "none.json there is no such file"],
  [["--bytes-per-second", "1MiB", "--prices", "bad.json"], "bad.json: 0.putPerMillion"],
  [["--bytes-per-second", "1MiB", "--seconds", "3"], "--seconds: belongs to --measured"],
  [["--measured", "bad.json"], "is neither what tierlog bench flush"],
  [["--measured", "bad.json", "--readers", "1"], "--readers: belongs to a forecast"],
  [["--measured", "none.json"], "none.json there is no such file"],
])("%j is refused", async (argv, told) => {
  await writeFile(join(cwd, "bad.json"), '[{"name":"x","putPerMillion":-1}]');
  const { exitCode, stdout, stderr } = await tierlog(cwd, ["cost", ...argv]);
  expect([[64, 78].includes(exitCode), stdout]).toEqual([true, ""]);
  expect(stderr).toContain(told);
});
