import { existsSync } from "node:fs";
import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { jsonLines, Workplace } from "./tierlog.ts";

let place: Workplace;
beforeEach(async () => {
  place = await Workplace.make();
});
afterEach(() => place.remove());

const REQUESTS = [
  "put",
  "createMultipart",
  "uploadPart",
  "completeMultipart",
  "abortMultipart",
  "get",
  "head",
  "list",
  "delete",
];

describe.each(["memory", "fs"])("demo --kind %s", (kind) => {
  test.each(["none", "lz4"])("--compression %s: one JSON object, nothing left behind", async (compression) => {
    const argv = [
      "demo",
      "--json",
      "--kind",
      kind,
      "--records",
      "5000",
      "--partitions",
      "7",
      "--compression",
      compression,
    ];
    const { exitCode, stdout, stderr } = await place.run(argv);
    expect([exitCode, stderr]).toEqual([0, ""]);
    const [report = {}, ...rest] = jsonLines(stdout);
    expect(rest).toEqual([]);
    expect(Object.keys(report)).toEqual([
      "kind",
      "records",
      "partitions",
      "bytesIn",
      "bytesStored",
      "seconds",
      "recordsPerSecond",
      "ackMs",
      "requests",
      "objects",
      "verified",
    ]);
    expect(report).toMatchObject({ kind, records: 5000, partitions: 7, verified: true });
    expect(Object.keys(report["requests"] as object)).toEqual(REQUESTS);
    expect((report["requests"] as { put: number }).put).toBeLessThan(20);
    expect(report["objects"]).toBeGreaterThan(2);
    const smaller = (report["bytesStored"] as number) < (report["bytesIn"] as number);
    expect(smaller).toBe(compression === "lz4");
    expect(await readdir(place.path)).toEqual([]);
  });
});

test("a table for people; quiet in a pipe", async () => {
  const { exitCode, stdout, stderr } = await place.run(["demo", "--kind", "memory", "--records", "2000"]);
  expect([exitCode, stderr]).toEqual([0, ""]);
  expect(stdout.toString()).toMatch(/^records +2,000 in 16 partitions$/m);
  expect(stdout.toString()).toMatch(/^verified +yes: /m);
});

test("--input: every byte of the lines counts, files one after the other", async () => {
  await writeFile(join(place.path, "crlf.txt"), "a\r\nb\r\n\r\nlast without end");
  await writeFile(join(place.path, "binary"), Buffer.from([0, 0xff, 0x0a, 0x0a, 0xc3, 0x28, 0x0a]));
  await writeFile(join(place.path, "empty"), "");
  const argv = ["demo", "--json", "--partitions", "3", "--input", "crlf.txt", "binary", "--input", "empty"];
  const [report] = jsonLines(await place.done(argv));
  expect(report).toMatchObject({ records: 7, bytesIn: 2 + 2 + 1 + 16 + 2 + 0 + 2, verified: true });
});

test("--input -: more lines than one append takes, from a pipe", async () => {
  const text = Array.from({ length: 20_000 }, (_, i) => `line ${i}`).join("\n");
  const [report] = jsonLines(await place.done(["demo", "--json", "--input", "-"], text));
  expect(report).toMatchObject({ records: 20_000, bytesIn: text.length - 19_999, verified: true });
});

test("an input that does not exist: exit code 66, nothing left behind", async () => {
  const { exitCode, stdout, stderr } = await place.run(["demo", "--input", "nowhere.txt"]);
  expect([exitCode, stdout.toString()]).toEqual([66, ""]);
  expect(stderr).toBe("tierlog: file nowhere.txt does not exist; check the name\n");
  expect(await readdir(place.path)).toEqual([]);
});

test("--keep leaves the store and says where", async () => {
  const { exitCode, stderr } = await place.run(["demo", "--records", "100", "--keep", "--json"]);
  expect(exitCode).toBe(0);
  const { kept } = jsonLines(stderr)[0] as { kept: string };
  const topics = jsonLines(await place.done(["topics", "list", "--json", "--set", `system.path=${kept}`]));
  expect(topics).toMatchObject([{ name: "demo", partitions: 16 }]);
});

test("a data directory that was there before stays", async () => {
  await place.done(["topics", "create", "mine", "--partitions", "1"]);
  await place.done(["demo", "--records", "100"]);
  expect(await readdir(join(place.path, "tierlog-data"))).toEqual(["store"]);
});

test("the child uses the same file, environment and flags", async () => {
  await writeFile(join(place.path, "config.toml"), '[system]\npath = "elsewhere"\n[system.flush]\nlinger = "20ms"\n');
  const { exitCode } = await place.run(
    ["demo", "--config", "config.toml", "--records", "100", "--keep", "--set", "system.cache.size=1 MiB"],
    "",
    { TIERLOG_SYSTEM_CACHE_TAIL_SIZE: "1 MiB" },
  );
  expect(exitCode).toBe(0);
  expect(existsSync(join(place.path, "elsewhere"))).toBe(true);
});

test("SIGINT: nothing left behind, exit code 130", async () => {
  const running = place.start(["demo", "--input", "-"]);
  running.child.stdin?.write("a line\n");
  for (let i = 0; i < 500 && (await readdir(place.path)).length === 0; i++) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  running.child.kill("SIGINT");
  const { exitCode, stdout } = await running.finished;
  expect([exitCode, stdout.toString()]).toEqual([130, ""]);
  expect(await readdir(place.path)).toEqual([]);
});
