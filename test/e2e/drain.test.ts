import { writeFile } from "node:fs/promises";
import { join } from "node:path";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { FaultScript } from "../../src/testing/fault-script.ts";
import type { Fault } from "../../src/testing/fault.ts";
import { startEndpoint } from "../support/endpoint.ts";
import { jsonLines, Workplace, type Finished } from "./tierlog.ts";

let place: Workplace;
let faults: FaultScript;
let endpoint: Awaited<ReturnType<typeof startEndpoint>>;
let env: Record<string, string>;

const LINE_BYTES = 16 * 1024;
const LINES = 2048;

beforeEach(async () => {
  place = await Workplace.make();
  faults = new FaultScript();
  endpoint = await startEndpoint({ faults });
  const { settings } = endpoint;
  await writeFile(
    join(place.path, "config.toml"),
    `
[system]
shutdown_timeout = "2s"
[system.storage]
kind = "object"
[system.storage.object]
endpoint = "${settings.endpoint ?? ""}"
bucket = "${settings.bucket}"
region = "${settings.region}"
prefix = "drain"
multipart_part_size = "5 MiB"
deadline = "4s"
request_timeout = "2s"
ack_after_upload = false
[system.flush]
max_bytes = "8 MiB"
linger = "50ms"
[system.journal]
path = "${join(place.path, "journal")}"
upload_interval = "1s"
`,
  );
  env = {
    AWS_ACCESS_KEY_ID: settings.credentials.accessKeyId,
    AWS_SECRET_ACCESS_KEY: settings.credentials.secretAccessKey,
  };
  const made = await run("topics", "create", "t", "--partitions", "1");
  if (made.exitCode !== 0) throw new Error(made.stderr);
});

afterEach(async () => {
  faults.clear();
  await endpoint.server.close();
  await place.remove();
});

const CONFIG = ["--config", "config.toml"];

function run(...argv: string[]): Promise<Finished> {
  return place.run([...argv, ...CONFIG], "", env);
}

const line = (i: number): string => `${String(i).padStart(6, "0")} ${"x".repeat(LINE_BYTES - 8)}\n`;

/** The numbers of the lines in the order of the log. */
async function numbers(): Promise<number[]> {
  const { exitCode, stdout, stderr } = await run("consume", "t");
  expect([exitCode, stderr]).toEqual([0, ""]);
  return stdout
    .toString()
    .split("\n")
    .filter((text) => text !== "")
    .map((text) => Number(text.slice(0, 6)));
}

interface Stopped {
  readonly exitCode: number | null;
  readonly acked: number;
  readonly told: readonly Record<string, unknown>[];
  /** Records that the process said it left in the journal. */
  readonly stays: number;
}

/** A producer that is told to end while the store is as `fault` makes it. */
async function stopped(ack: "journaled" | "uploaded", fault: Fault, enough: number): Promise<Stopped> {
  const producer = place.start(
    ["produce", "t", ...CONFIG, "--json", "--print-acks", "--batch-lines", "16", "--ack", ack],
    env,
  );
  producer.child.stdin?.write(line(0));
  // One way or another the shard is ours by then.
  await producer.until((stdout) => stdout.includes("\n"));
  for (const operation of ["PutObject", "UploadPart", "CompleteMultipartUpload"] as const) {
    faults.add({ fault, match: { operation, key: /\/(?:index|data)\// } });
  }
  for (let i = 1; i < LINES; i++) producer.child.stdin?.write(line(i));
  await producer.until((stdout) => stdout.split("\n").length > enough);
  if (ack === "uploaded") await new Promise((resolve) => setTimeout(resolve, 1000));
  producer.child.kill("SIGTERM");
  const { exitCode, stdout, stderr } = await producer.finished;
  const acks = jsonLines(stdout);
  const acked = acks.reduce((sum, { firstOffset, nextOffset }) => sum + Number(nextOffset) - Number(firstOffset), 0);
  const told = jsonLines(stderr);
  const stays = told.reduce((sum, { records }) => sum + Number(records ?? 0), 0);
  return { exitCode, acked, told, stays };
}

/** The next start brings everything to the store: once each, in the order in which it was sent, all that was acked. */
async function checkRecovered(acked: number): Promise<void> {
  faults.clear();
  const recovered = await run("recover", "--json");
  expect(recovered.exitCode).toBe(0);
  const { shards } = JSON.parse(recovered.stdout.toString()) as { shards: { outcome: string }[] };
  expect(shards.map(({ outcome }) => outcome)).toEqual(["replayed"]);
  const log = await numbers();
  expect(log.length).toBeGreaterThanOrEqual(acked);
  expect(log).toEqual(log.map((_, i) => i));
}

describe("F50 sigterm-drain: tens of MiB on their way, and a store that hardly takes any", () => {
  test.each<[Fault]>([[{ kind: "silence" }], [{ kind: "delay", delayMs: 1500 }]])(
    "journaled, %j: ends in time, says what stays, and the next start has all that was acked",
    async (fault) => {
      const { exitCode, acked, told, stays } = await stopped("journaled", fault, 60);
      expect(exitCode).toBe(143);
      expect(acked).toBeGreaterThan(900);
      expect(stays).toBeGreaterThan(0);
      expect(told).toContainEqual(expect.objectContaining({ shard: 0, records: stays }));
      await checkRecovered(acked);
    },
    60_000,
  );

  test("uploaded: what waits for the store is told that it is away, and may be stored all the same", async () => {
    const { exitCode, acked, told } = await stopped("uploaded", { kind: "silence" }, 1);
    expect([exitCode, acked]).toEqual([75, 1]);
    expect(told).toContainEqual(
      expect.objectContaining({
        error: expect.objectContaining({ kind: "unavailable", effect: "unknown" }) as unknown,
      }),
    );
    await checkRecovered(acked);
  }, 60_000);
});
