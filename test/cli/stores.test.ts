import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable, Writable } from "node:stream";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { Interruption } from "../../src/cli/interruption.ts";
import { run } from "../../src/cli/run.ts";
import { systemRuntime } from "../../src/runtime/runtime.ts";
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
  cwd = await mkdtemp(join(tmpdir(), "tierlog-stores-cli-"));
});
afterEach(() => rm(cwd, { recursive: true, force: true }));

interface Ended {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function tierlog(
  argv: string[],
  {
    env = {},
    terminal = false,
    onStderr,
  }: { env?: object; terminal?: boolean; onStderr?: (text: string, stop: Interruption) => void } = {},
): Promise<Ended> {
  const [stdout, stderr] = [new Capture(), new Capture()];
  const interruption = new Interruption(() => undefined);
  stderr.onText = (text) => onStderr?.(text, interruption);
  const exitCode = await run(argv, {
    stdin: Readable.from([]),
    stdout,
    stderr,
    stderrIsTerminal: terminal,
    env: { ...env },
    cwd,
    version: "1.2.3",
    runtime: systemRuntime,
    interruption,
  });
  return { exitCode, stdout: stdout.text, stderr: stderr.text };
}

describe("tierlog stores", () => {
  test("create, list, describe and delete", async () => {
    expect(await tierlog(["stores", "create", "teams/orders/"])).toEqual({ exitCode: 0, stdout: "", stderr: "" });
    const made = JSON.parse((await tierlog(["stores", "create", "b", "--json"])).stdout) as Record<string, unknown>;
    expect(Object.keys(made)).toEqual(["prefix", "storeId", "formatVersion", "createdAt"]);
    expect(made["prefix"]).toBe("b");
    // The same prefix by the configuration: an engine there uses this store.
    const set = ["--set", "system.storage.object.prefix=teams/orders"];
    expect((await tierlog(["topics", "create", "t", "--partitions", "2", ...set])).exitCode).toBe(0);

    const listed = (await tierlog(["stores", "list", "--json"])).stdout.trimEnd().split("\n");
    expect(listed.map((line) => JSON.parse(line) as unknown)).toEqual([
      made,
      {
        ...made,
        prefix: "teams/orders",
        storeId: expect.any(String) as string,
        createdAt: expect.any(String) as string,
      },
    ]);
    expect((await tierlog(["stores", "list"])).stdout).toMatch(
      /^PREFIX +ID +FORMAT +CREATED\nb +[0-9a-f]{32} +1 +20.*\nteams\/orders +[0-9a-f]{32} +1 +20.*\n$/,
    );
    expect((await tierlog(["stores", "list", "--prefix", "b"])).stdout.split("\n")).toHaveLength(3);

    const described = (await tierlog(["stores", "describe", "teams/orders"])).stdout;
    for (const told of [
      /^prefix +teams\/orders$/m,
      /^format version +1$/m,
      /^total +2 objects, /m,
      /^t +2 +none /m,
      /^ +0 +0 +0 +-$/m,
    ]) {
      expect(described).toMatch(told);
    }
    const json = JSON.parse((await tierlog(["stores", "describe", "teams/orders", "--json"])).stdout) as object;
    expect(json).toMatchObject({ topics: [{ name: "t" }], total: { objects: 2 }, probe: null });

    const gone = JSON.parse((await tierlog(["stores", "delete", "b", "--yes", "--json"])).stdout) as object;
    expect(gone).toEqual({ ...gone, prefix: "b", storeId: made["storeId"], objects: 1, uploads: 0, othersLeft: false });
    const shown = await tierlog(["stores", "delete", "teams/orders", "--yes"], { terminal: true });
    expect([shown.exitCode, shown.stdout]).toEqual([0, ""]);
    expect(shown.stderr).toMatch(/store [0-9a-f]{32} at teams\/orders is deleted: 2 objects, \d+ B\n$/);
    expect((await tierlog(["stores", "list", "--json"])).stdout).toBe("");
  });

  test.each([
    [["stores", "delete", "a"], 64, "--yes: is missing"],
    [["stores", "delete", "", "--yes"], 64, "is empty; write /"],
    [["stores", "delete"], 64, "PREFIX: is missing"],
    [["stores", "delete", "nothing", "--yes"], 66, "a store at prefix nothing does not exist"],
    [["stores", "delete", "/", "--yes"], 66, "a store at prefix / does not exist"],
    [["stores", "describe", "nothing"], 66, "does not exist"],
    [["stores", "create", "a"], 64, "a store is at a already"],
    [["stores", "create", "a/b"], 64, "lies below the store at a"],
    [["stores", "create", "a//b"], 64, "two slashes"],
    [["stores", "list", "--prefix", "x/../y"], 64, "between slashes"],
    [["stores", "list", "--depth", "65"], 64, "--depth"],
    [["stores", "list", "--set", "system.storage.kind=memory"], 78, "holds no stores"],
  ])("%j ends with %d", async (argv, code, told) => {
    await tierlog(["stores", "create", "a"]);
    const { exitCode, stdout, stderr } = await tierlog(argv);
    expect([exitCode, stdout]).toEqual([code, ""]);
    expect(stderr).toContain(told);
    expect((await tierlog(["stores", "describe", "a"])).exitCode).toBe(0);
  });

  test("what lies too deep is named", async () => {
    await tierlog(["stores", "create", "a/b/c"]);
    const { exitCode, stderr } = await tierlog(["stores", "list", "--depth", "1"]);
    expect([exitCode, stderr]).toEqual([0, "not looked below a/b: deeper than --depth\n"]);
  });

  test("a bucket: progress on a terminal, Ctrl-C, and once more", async () => {
    const s3 = await EndpointPlace.start();
    try {
      const env = s3.env();
      await tierlog(["stores", "create", "a"], { env });
      expect((await tierlog(["stores", "describe", "a"], { env })).stdout).toMatch(/^probe +fenced, since 20/m);
      const stopped = await tierlog(["stores", "delete", "a", "--yes"], {
        env,
        terminal: true,
        onStderr: (text, stop) => {
          if (text.includes("deleting")) stop.receive("SIGTERM");
        },
      });
      expect([stopped.exitCode, stopped.stderr.includes("deleting catalog; 0 objects")]).toEqual([143, true]);
      expect(await s3.keys()).toContain("a/FORMAT");
      expect((await tierlog(["stores", "delete", "a", "--yes"], { env })).exitCode).toBe(0);
      expect(await s3.keys()).toEqual([]);
    } finally {
      await s3.close();
    }
  });
});
