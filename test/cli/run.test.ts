import { Readable, Writable } from "node:stream";

import { describe, expect, test } from "vitest";

import { COMMANDS } from "../../src/cli/commands/commands.ts";
import { Interruption } from "../../src/cli/interruption.ts";
import { BrokenPipe, Output, OutputError } from "../../src/cli/output.ts";
import { run } from "../../src/cli/run.ts";
import { systemClock } from "../../src/runtime/clock.ts";
import { systemRuntime } from "../../src/runtime/runtime.ts";

class Capture extends Writable {
  text = "";

  override _write(chunk: Buffer, _: string, done: () => void): void {
    this.text += chunk.toString();
    done();
  }
}

async function cli(
  argv: string[],
  env: Record<string, string> = {},
): Promise<{ exitCode: number; stdout: string; stderr: string }> {
  const [stdout, stderr] = [new Capture(), new Capture()];
  const exitCode = await run(argv, {
    stdin: Readable.from([]),
    stdout,
    stderr,
    stderrIsTerminal: false,
    env,
    cwd: "/nonexistent",
    version: "1.2.3",
    runtime: systemRuntime,
    interruption: new Interruption(() => undefined),
  });
  return { exitCode, stdout: stdout.text, stderr: stderr.text };
}

describe("help", () => {
  test.each([[], ["--help"], ["-h"], ["help"]])("tierlog %s", async (...argv) => {
    const { exitCode, stdout, stderr } = await cli(argv);
    expect([exitCode, stderr]).toEqual([0, ""]);
    for (const command of COMMANDS) expect(stdout).toContain(`tierlog ${command.name} `);
  });

  test.each(COMMANDS.map(({ name }) => name))("tierlog %s --help", async (name) => {
    const words = name.split(" ");
    const asked = await cli([...words, "--help"]);
    expect(asked).toEqual(await cli(["help", ...words]));
    expect(asked.exitCode).toBe(0);
    expect(asked.stdout).toContain(`tierlog ${name} `);
    for (const { name: flag } of COMMANDS.find((command) => command.name === name)?.flags ?? []) {
      expect(asked.stdout).toContain(`--${flag}`);
    }
  });

  test.each([[["topics", "--help"]], [["help", "topics"]], [["topics", "-h"]]])(
    "%j lists the commands of the group",
    async (argv) => {
      const { exitCode, stdout } = await cli(argv);
      expect(exitCode).toBe(0);
      expect(
        stdout
          .split("\n")
          .slice(1, -1)
          .map((line) => line.trim().split("  ")[0]),
      ).toEqual([
        "tierlog topics create",
        "tierlog topics list",
        "tierlog topics describe",
        "tierlog topics alter",
        "tierlog topics delete",
      ]);
    },
  );

  test("--version", async () => {
    expect(await cli(["--version"])).toEqual({ exitCode: 0, stdout: "1.2.3\n", stderr: "" });
  });
});

describe("mistakes: exit code 64, nothing on stdout, a hint", () => {
  test.each([
    [["prodcue"], "tierlog: prodcue: unknown command; did you mean tierlog produce? See tierlog --help\n"],
    [
      ["--config", "a.toml", "doctor"],
      "tierlog: --config: flags follow the command, as in tierlog doctor --config FILE\n",
    ],
    [["qqqqqq"], "tierlog: qqqqqq: unknown command; See tierlog --help\n"],
    [["topics"], "tierlog: tierlog topics: needs one more word: create, list, describe, alter, delete\n"],
    [["topics", "drop"], 'tierlog: tierlog topics: has no command "drop": create, list, describe, alter, delete\n'],
    [["help", "nothing"], "tierlog: nothing: unknown command; See tierlog --help\n"],
    [["topics", "create", "x"], "tierlog: --partitions: is missing; how many partitions shall the topic have?\n"],
    [["consume", "x", "--from", "7"], "tierlog: --from: an offset needs --partition: each partition counts its own\n"],
    [
      ["consume", "x", "--from", "new"],
      'tierlog: --from: "new" is no position. Examples: earliest, latest, 1000 (an offset), 2026-11-20, 2026-11-20T10:00:00Z, ' +
        "2026-11-20T10:00:00+02:00, -15m\n",
    ],
    [["produce", "x", "--key-separator="], "tierlog: --key-separator: is empty\n"],
    [["demo", "a.txt"], "tierlog: a.txt: unknown argument; for a file: --input a.txt\n"],
    [
      ["demo", "--input", "a", "--records", "1"],
      "tierlog: --records: counts generated events; --input takes all lines\n",
    ],
  ])("%j", async (argv, stderr) => {
    expect(await cli(argv)).toEqual({ exitCode: 64, stdout: "", stderr });
  });
});

test("memory is refused where nothing would come of it", async () => {
  const { exitCode, stderr } = await cli(["topics", "list", "--set", "system.storage.kind=memory"]);
  expect(exitCode).toBe(78);
  expect(stderr).toContain('system.storage.kind: "memory" is gone when the command ends');
});

test("--json: an error is one JSON line", async () => {
  const { exitCode, stdout, stderr } = await cli(["config", "check", "--json", "--set", "system.shards=0"]);
  expect([exitCode, stdout]).toEqual([78, ""]);
  expect(JSON.parse(stderr)).toEqual({
    error: {
      kind: "invalid",
      code: "TIERLOG_CONFIG",
      effect: "none",
      message: 'config: system.shards: "0" is below the minimum of 1, set by flag --set',
      issues: [{ path: "system.shards", problem: '"0" is below the minimum of 1, set by flag --set' }],
    },
  });
});

test("config check: values, sources, no secrets", async () => {
  const env = {
    TIERLOG_SYSTEM_STORAGE_KIND: "object",
    TIERLOG_SYSTEM_STORAGE_OBJECT_BUCKET: "my-bucket",
    AWS_ACCESS_KEY_ID: "CANARYCANARYCANARY12",
    AWS_SECRET_ACCESS_KEY: "CANARYsecret",
    AWS_SESSION_TOKEN: "CANARYtoken",
  };
  const human = await cli(["config", "check", "--set", "system.shards=3"], env);
  expect(human.exitCode).toBe(0);
  expect(human.stdout).toMatch(/^system\.shards +3 +flag --set$/m);
  expect(human.stdout).toMatch(/^system\.storage\.object\.access_key_id +\*{4}RY12 +env AWS_ACCESS_KEY_ID$/m);
  const json = await cli(["config", "check", "--json"], env);
  expect(JSON.parse(json.stdout)).toMatchObject({
    config: {
      "system.storage.object.bucket": { value: "my-bucket", source: "env TIERLOG_SYSTEM_STORAGE_OBJECT_BUCKET" },
      "system.storage.object.secret_access_key": { value: "[redacted]", source: "env AWS_SECRET_ACCESS_KEY" },
      "system.storage.object.endpoint": { value: null, source: "default" },
    },
  });
  for (const text of [human.stdout, json.stdout, human.stderr, json.stderr]) expect(text).not.toContain("CANARY");
});

describe("output", () => {
  function output(stdout: Writable, json = false, terminal = false): { output: Output; stderr: Capture } {
    const stderr = new Capture();
    return { output: new Output({ stdout, stderr, json, terminal, clock: systemClock }), stderr };
  }

  test("a reader that went away is a broken pipe, another failure is not", async () => {
    const failing = (code: string): Writable =>
      new Writable({ write: (_, __, done) => done(Object.assign(new Error(code), { code })) });
    const closed = output(failing("EPIPE")).output;
    await expect(closed.write("x")).rejects.toBeInstanceOf(BrokenPipe);
    await expect(closed.write("x")).rejects.toBeInstanceOf(BrokenPipe);
    expect(closed.stdoutGone.aborted).toBe(true);
    await expect(output(failing("ENOSPC")).output.write("x")).rejects.toBeInstanceOf(OutputError);
  });

  test("progress is for terminals", () => {
    const quiet = output(new Capture());
    quiet.output.progress("1 %");
    expect(quiet.stderr.text).toBe("");
    const shown = output(new Capture(), false, true);
    shown.output.progress("1 %");
    shown.output.progress("too soon to be read");
    shown.output.message("done");
    expect(shown.stderr.text).toBe("\r\u001B[2K1 %\r\u001B[2Kdone\n");
    const json = output(new Capture(), true, true);
    json.output.progress("1 %");
    json.output.message("done", { records: 1 });
    expect(json.stderr.text).toBe('{"message":"done","records":1}\n');
  });
});

describe("interruption", () => {
  test("a command that asked is told, the second signal ends the process", () => {
    const ended: number[] = [];
    const interruption = new Interruption((exitCode) => void ended.push(exitCode));
    const { signal } = interruption;
    interruption.receive("SIGTERM");
    expect([signal.aborted, interruption.exitCode, ended]).toEqual([true, 143, []]);
    interruption.receive("SIGINT");
    expect(ended).toEqual([130]);
  });

  test("a command that did not ask is ended", () => {
    const ended: number[] = [];
    new Interruption((exitCode) => void ended.push(exitCode)).receive("SIGINT");
    expect(ended).toEqual([130]);
  });
});
