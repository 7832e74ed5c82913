import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable, Writable } from "node:stream";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { formatDiagnosis } from "../../src/cli/commands/doctor.ts";
import { Interruption } from "../../src/cli/interruption.ts";
import { run } from "../../src/cli/run.ts";
import type { StoreCheck, StoreDiagnosis } from "../../src/engine/diagnose-store.ts";
import { systemRuntime } from "../../src/runtime/runtime.ts";
import type { S3BackendOptions } from "../../src/testing/s3/backend.ts";
import { EndpointPlace } from "../support/endpoint-place.ts";

class Capture extends Writable {
  text = "";

  override _write(chunk: Buffer, _: string, done: () => void): void {
    this.text += chunk.toString();
    done();
  }
}

let cwd: string;
beforeEach(async () => {
  cwd = await mkdtemp(join(tmpdir(), "tierlog-doctor-"));
});
afterEach(() => rm(cwd, { recursive: true, force: true }));

interface Shown {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function doctor(
  env: Record<string, string>,
  argv: string[] = [],
  interruption = new Interruption(() => undefined),
  stderrIsTerminal = false,
): Promise<Shown> {
  const [stdout, stderr] = [new Capture(), new Capture()];
  const exitCode = await run(["doctor", ...argv], {
    stdin: Readable.from([]),
    stdout,
    stderr,
    stderrIsTerminal,
    env,
    cwd,
    version: "1.2.3",
    runtime: systemRuntime,
    interruption,
  });
  return { exitCode, stdout: stdout.text, stderr: stderr.text };
}

async function withEndpoint<T>(options: S3BackendOptions, use: (s3: EndpointPlace) => Promise<T>): Promise<T> {
  const s3 = await EndpointPlace.start(options);
  try {
    return await use(s3);
  } finally {
    await s3.close();
  }
}

interface Report {
  readonly verdict: string;
  readonly checks: readonly { name: string; ok: boolean | null; detail: string; severity: string; hint?: string }[];
  readonly latencyMs: { p50: number | null; p99: number | null };
}

function checkOf(report: Report, name: string): Report["checks"][number] | undefined {
  return report.checks.find((check) => check.name === name);
}

describe("tierlog doctor on a bucket", () => {
  test("--json of a good one: the three fields, exit code 0, nothing left, nothing else said", async () => {
    await withEndpoint({}, async (s3) => {
      const { exitCode, stdout, stderr } = await doctor(s3.env(), ["--json"]);
      expect([exitCode, stderr]).toEqual([0, ""]);
      const report = JSON.parse(stdout) as Report;
      expect(Object.keys(report)).toEqual(["verdict", "checks", "latencyMs"]);
      expect(report.verdict).toBe("fenced");
      expect(report.checks.filter(({ ok }) => ok === false)).toEqual([]);
      for (const check of report.checks) expect(Object.keys(check)).toEqual(["name", "ok", "detail", "severity"]);
      expect(checkOf(report, "If-Match")?.detail).toContain("in quotes");
      expect(checkOf(report, "versioning")?.ok).toBeNull();
      // A Date has whole seconds: "0.3 s" would be made up. A stall of this process may pass for some.
      expect(checkOf(report, "clock")?.detail).toMatch(
        /^(within a second of the store's|this machine is [1-9]\d* s (behind|ahead of) the store)$/,
      );
      expect(report.latencyMs).toEqual({ p50: expect.any(Number) as number, p99: expect.any(Number) as number });
      expect([await s3.keys(), s3.endpoint.openUploads]).toEqual([[], 0]);
    });
  });

  test("a table of one that refuses conditions: exit code 69, what to do, progress on a terminal", async () => {
    await withEndpoint({ character: "swift" }, async (s3) => {
      const { exitCode, stdout, stderr } = await doctor(s3.env(), [], undefined, true);
      expect(exitCode).toBe(69);
      expect(stdout).toMatch(/^create-if-absent, racing +FAIL +.*HTTP 501/m);
      expect(stdout).toMatch(/^delete many at once +warn /m);
      expect(stdout).toContain("What to do\n  - create-if-absent, key exists; create-if-absent, racing: ");
      expect(stdout).toMatch(/^Verdict: single-writer only\. .*fencing = "external"/m);
      // oxlint-disable-next-line no-control-regex -- how a terminal line is replaced
      expect(stderr).toMatch(/^(\r\u001b\[2K(\d+ of \d+: [^\r]+)?)+$/);
      expect(await s3.keys()).toEqual([]);
      expect(stdout + stderr).not.toContain(s3.endpoint.credentials.secretAccessKey);
    });
  });

  test("credentials without some actions, a clock that is off: each is named, exit code 76, and what is left", async () => {
    await withEndpoint({ clockOffsetMs: -10 * 60_000 }, async (s3) => {
      const { credentials } = s3.endpoint;
      s3.endpoint.setCredentials([
        { ...credentials, deniedActions: ["s3:ListBucket", "s3:DeleteObject", "s3:AbortMultipartUpload"] },
      ]);
      const { exitCode, stdout } = await doctor(s3.env(), ["--json"]);
      const report = JSON.parse(stdout) as Report;
      expect([exitCode, report.verdict]).toEqual([76, "unusable"]);
      const denied = { ok: false, detail: "denied: HTTP 403 AccessDenied" };
      expect(checkOf(report, "s3:ListBucket")).toMatchObject({ ...denied, severity: "required" });
      expect(checkOf(report, "s3:DeleteObject")).toMatchObject({ ...denied, severity: "advice" });
      expect(checkOf(report, "s3:AbortMultipartUpload")).toMatchObject(denied);
      expect(checkOf(report, "s3:PutObject")).toMatchObject({ ok: true });
      expect(checkOf(report, "clock")).toMatchObject({
        ok: false,
        detail: expect.stringMatching(/^this machine is (599|600|601) s ahead of the store$/) as string,
      });
      expect(checkOf(report, "missing object")).toMatchObject({
        ok: false,
        detail: expect.stringContaining("403") as string,
      });
      expect(checkOf(report, "clean-up")?.detail).toMatch(
        /s3:DeleteObject is denied.*s3:AbortMultipartUpload is denied/,
      );
    });
  });

  test.each([
    ["a wrong secret", { AWS_SECRET_ACCESS_KEY: "canary-of-a-secret" }, "SignatureDoesNotMatch"],
    ["a bucket that is not there", { TIERLOG_SYSTEM_STORAGE_OBJECT_BUCKET: "no-such-bucket" }, "NoSuchBucket"],
    ["nobody there", { AWS_ENDPOINT_URL_S3: "http://127.0.0.1:1" }, "ECONNREFUSED"],
  ])("%s: one line says so, the others are not run", async (_, wrong, said) => {
    await withEndpoint({}, async (s3) => {
      const { exitCode, stdout, stderr } = await doctor({ ...s3.env(), ...wrong });
      expect([exitCode, stderr]).toEqual([76, ""]);
      expect(stdout).toMatch(new RegExp(`^connection +FAIL +.*${said}`, "m"));
      expect(stdout).toMatch(/^\d+ more checks +skip +not run: no connection$/m);
      expect(stdout).toMatch(/^Because of: connection\.$/m);
      expect(stdout).not.toContain("canary");
    });
  });

  test("Ctrl-C: exit code 130, no table, nothing left", async () => {
    await withEndpoint({}, async (s3) => {
      const interruption = new Interruption(() => undefined);
      const running = doctor(s3.env(), [], interruption);
      await expect.poll(() => s3.keys().then((keys) => keys.length), { timeout: 10_000 }).toBeGreaterThan(0);
      interruption.receive("SIGINT");
      expect(await running).toEqual({ exitCode: 130, stdout: "", stderr: "" });
      expect([await s3.keys(), s3.endpoint.openUploads]).toEqual([[], 0]);
    });
  });
});

describe("tierlog doctor elsewhere", () => {
  test("a directory is checked too, and looks as before", async () => {
    const { exitCode, stdout, stderr } = await doctor({}, ["--json"]);
    expect([exitCode, stderr]).toEqual([0, ""]);
    expect(JSON.parse(stdout)).toMatchObject({ verdict: "fenced" });
    expect(await readdir(cwd)).toEqual([]);
  });

  test("memory: nothing to check, exit code 78", async () => {
    const { exitCode, stdout, stderr } = await doctor({ TIERLOG_SYSTEM_STORAGE_KIND: "memory" });
    expect([exitCode, stdout]).toEqual([78, ""]);
    expect(stderr).toContain("there is nothing to check");
  });
});

describe("the table", () => {
  const check = (part: Partial<StoreCheck>): StoreCheck => ({
    name: "a check",
    severity: "required",
    ok: true,
    detail: "seen",
    hint: undefined,
    ...part,
  });
  const diagnosis = (checks: readonly StoreCheck[], part: Partial<StoreDiagnosis> = {}): StoreDiagnosis => ({
    verdict: "fenced",
    because: [],
    checks,
    latencyMs: undefined,
    ...part,
  });

  test("words for every outcome", () => {
    const outcomes = [
      check({ ok: true }),
      check({ ok: false }),
      check({ ok: false, severity: "fencing" }),
      check({ ok: false, severity: "advice" }),
      check({ ok: false, severity: "info" }),
      check({ ok: true, severity: "info" }),
      check({ ok: undefined }),
    ];
    const words = [...formatDiagnosis(diagnosis(outcomes), "place", undefined).matchAll(/^a check +(\S+)/gm)];
    expect(words.map(([, word]) => word)).toEqual(["ok", "FAIL", "FAIL", "warn", "info", "info", "skip"]);
  });

  test("in a pipe each check is one line; on a narrow terminal no line is longer than it", () => {
    const long = "word ".repeat(60).trim();
    const shown = diagnosis([check({ detail: long, ok: false, hint: long })], { latencyMs: { p50: 1, p99: 2 } });
    expect(formatDiagnosis(shown, "place", undefined)).toContain(long);
    const lines = formatDiagnosis(shown, "place", 80).split("\n");
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(80);
  });

  test("one advice for the checks that share it, the worst first; none for facts", () => {
    const shown = formatDiagnosis(
      diagnosis([
        check({ name: "a", ok: false, severity: "advice", hint: "later" }),
        check({ name: "b", ok: false, severity: "fencing", hint: "now" }),
        check({ name: "c", ok: false, severity: "fencing", hint: "now" }),
        check({ name: "d", ok: false, severity: "info", hint: "never" }),
      ]),
      "place",
      undefined,
    );
    expect(shown).toContain("What to do\n  - b; c: now\n  - a: later\n");
    expect(shown).not.toContain("never");
  });
});
