import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable, Writable } from "node:stream";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import type { BenchReport } from "../../src/cli/bench/bench-report.ts";
import { Interruption } from "../../src/cli/interruption.ts";
import { run } from "../../src/cli/run.ts";
import { systemRuntime } from "../../src/runtime/runtime.ts";
import { FaultScript } from "../../src/testing/fault-script.ts";
import { EndpointPlace } from "../support/endpoint-place.ts";

class Capture extends Writable {
  text = "";
  onText: (text: string) => void = () => undefined;

  override _write(chunk: Buffer, _: string, done: () => void): void {
    this.text += chunk.toString();
    this.onText(this.text);
    done();
  }
}

let cwd: string;
beforeEach(async () => {
  cwd = await mkdtemp(join(tmpdir(), "tierlog-bench-cli-"));
});
afterEach(() => rm(cwd, { recursive: true, force: true }));

interface Given {
  readonly env?: Record<string, string>;
  readonly terminal?: boolean;
  readonly onStderr?: (text: string, stop: Interruption) => void;
}

async function bench(
  argv: readonly string[],
  { env = {}, terminal = false, onStderr }: Given = {},
): Promise<{ exitCode: number; stdout: string; stderr: string; ended: number[] }> {
  const [stdout, stderr] = [new Capture(), new Capture()];
  const ended: number[] = [];
  const interruption = new Interruption((code) => ended.push(code));
  stderr.onText = (text) => onStderr?.(text, interruption);
  const exitCode = await run(["bench", "flush", ...argv], {
    stdin: Readable.from([]),
    stdout,
    stderr,
    stderrIsTerminal: terminal,
    env,
    cwd,
    version: "1.2.3",
    runtime: systemRuntime,
    interruption,
  });
  return { exitCode, stdout: stdout.text, stderr: stderr.text, ended };
}

const SHORT = ["--seconds", "1", "--producers", "8", "--set", "system.flush.linger=20ms"];

describe("a bucket", () => {
  const denied = { kind: "access-denied" } as const;

  test("figures as JSON, and nothing left but what was there", async () => {
    const s3 = await EndpointPlace.start();
    try {
      const env = { ...s3.env(), TIERLOG_SYSTEM_STORAGE_OBJECT_PREFIX: "logs" };
      expect((await bench([...SHORT, "--json"], { env })).exitCode).toBe(0);
      const { exitCode, stdout, stderr } = await bench([...SHORT, "--json", "--partitions", "3"], { env });
      expect([exitCode, stderr]).toEqual([0, ""]);
      const report = JSON.parse(stdout) as BenchReport;
      expect(Object.keys(report)).toEqual([
        "place",
        "plan",
        "loop",
        "seconds",
        "records",
        "recordsPerSecond",
        "bytes",
        "bytesPerSecond",
        "ackMs",
        "unsent",
        "flushes",
        "bytesPerFlush",
        "storedBytes",
        "requests",
        "requestSeconds",
        "putsPerSecond",
        "putsPerGiB",
        "cpuSecondsPerGiB",
        "rssPeakBytes",
        "loopDelayP99Ms",
        "failedRequests",
        "throttled",
        "requestsInAll",
        "probeRequests",
        "removed",
        "conditions",
      ]);
      expect(report.place).toMatch(/^bucket bucket, prefix logs\/bench-[0-9a-f]{12}$/);
      expect(report.requests).toMatchObject({ put: report.flushes });
      expect(report.bytes).toBe(report.records * 1024);
      expect(report.records).toBeGreaterThan(8);
      expect(report.requestsInAll).toBeGreaterThan(report.flushes + report.probeRequests);
      expect(report).toMatchObject({
        loop: "closed",
        removed: true,
        plan: { partitions: 3, rate: null, ack: "uploaded" },
        conditions: { kind: "object", endpoint: new URL(s3.endpoint.url).host, lingerMs: 20, journal: null },
      });
      expect(await s3.keys()).toEqual([]);
    } finally {
      await s3.close();
    }
  });

  test("that lets nothing be deleted is refused, with what is left", async () => {
    const faults = new FaultScript({
      rules: [{ match: { operation: ["DeleteObjects", "DeleteObject"] }, fault: denied }],
    });
    const s3 = await EndpointPlace.start({ faults });
    try {
      const { exitCode, stdout, stderr } = await bench(SHORT, { env: s3.env() });
      expect([exitCode, stdout]).toEqual([64, ""]);
      expect(stderr).toMatch(
        /^tierlog: bucket bucket, prefix bench-[0-9a-f]{12}: what is written there cannot be deleted, so nothing is measured; one object of 20 bytes is left, delete-check: /,
      );
      expect(await s3.keys()).toEqual([expect.stringMatching(/^bench-[0-9a-f]{12}\/delete-check$/)]);
    } finally {
      await s3.close();
    }
  });

  test("that stops letting objects be deleted: the figures, what is left, and the command for it", async () => {
    const match = { operation: ["DeleteObjects", "DeleteObject"] } as const;
    const faults = new FaultScript({ rules: [{ match: { ...match, after: 1 }, fault: denied }] });
    const s3 = await EndpointPlace.start({ faults });
    try {
      const { exitCode, stdout, stderr } = await bench([...SHORT, "--json", "--set", "system.shards=1"], {
        env: s3.env(),
      });
      expect([exitCode, (JSON.parse(stdout) as { removed: boolean }).removed]).toEqual([75, false]);
      expect(stderr).toMatch(
        /not everything could be removed from .*; to remove the rest: tierlog stores delete bench-[0-9a-f]{12} --yes and the same --set/,
      );
    } finally {
      await s3.close();
    }
  });

  test("Ctrl-C: nothing left; once more: at once, and the command that removes the rest", async () => {
    const s3 = await EndpointPlace.start();
    try {
      const seen: string[] = [];
      const once = await bench(["--set", "system.flush.linger=5ms"], {
        env: s3.env(),
        terminal: true,
        onStderr: (text, stop) => {
          if (!/of 30 s: [\d,]+ records\/s, [\d.]+ MB\/s, p50 .*, p99 .* PUTs/.test(text) || seen.length > 0) return;
          seen.push(text);
          stop.receive("SIGINT");
        },
      });
      expect([once.exitCode, once.stdout, once.ended, seen.length]).toEqual([130, "", [], 1]);
      expect(await s3.keys()).toEqual([]);

      const twice = await bench(["--set", "system.flush.linger=5ms"], {
        env: s3.env(),
        terminal: true,
        onStderr: (text, stop) => {
          if (!text.includes("of 30 s:") || text.includes("left behind")) return;
          stop.receive("SIGINT");
          stop.receive("SIGINT");
        },
      });
      expect(twice.ended).toEqual([130]);
      expect(twice.stderr).toMatch(
        /left behind: bucket bucket, prefix (bench-[0-9a-f]{12}); to remove the rest: tierlog stores delete \1 --yes/,
      );
    } finally {
      await s3.close();
    }
  });
});

test("an open loop with a journal of its own, for people; quiet in a pipe", async () => {
  const { exitCode, stdout, stderr } = await bench([
    "--seconds",
    "1",
    "--rate",
    "200",
    "--record-size",
    "100 B",
    "--compression",
    "lz4",
    "--set",
    "system.storage.object.ack_after_upload=false",
  ]);
  expect([exitCode, stderr]).toEqual([0, ""]);
  for (const row of [
    /^load +open loop, 200 records\/s; latencies from when a record was due$/m,
    /^records +200 of 100 B in 16 partitions, journaled, compression lz4, \d\.\d s$/m,
    /^latency +p50 .*, p90 .*, p99 .*, p99\.9 .*, max .* ms$/m,
    /^PUTs +[\d.]+ per second, [\d,]+ per GiB$/m,
    /^journal +fsync always, upload_interval 10s$/m,
    /^machine +\d+ × /m,
  ]) {
    expect(stdout).toMatch(row);
  }
  expect(await readdir(cwd)).toEqual([]);
});

test.each([
  [["--producers", "3", "--rate", "5"], "--producers: are those of the closed loop"],
  [["--seconds", "0"], "--seconds"],
  [["--seconds", "3601"], "1 … 3600"],
  [["--ack", "journaled"], "needs a journal: --set system.storage.object.ack_after_upload=false"],
  [["--ack", "all"], "is none of uploaded, journaled, buffered"],
  [["--record-size", "1 MiB"], "is not 1 B … 1048448 B"],
  [["--record-size", "1 MB"], "is in decimal units"],
  [["--partitions", "100001"], "1 … 100000"],
])("%j is refused", async (argv, told) => {
  const { exitCode, stdout, stderr } = await bench(argv);
  expect([exitCode, stdout]).toEqual([64, ""]);
  expect(stderr).toContain(told);
  expect(await readdir(cwd)).toEqual([]);
});
