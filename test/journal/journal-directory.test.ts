import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import type { ShardId } from "../../src/domain.ts";
import { inspectJournal } from "../../src/journal/inspect.ts";
import { JournalDirectory } from "../../src/journal/journal-directory.ts";
import { Journal } from "../../src/journal/journal.ts";
import { nodeFileSystem } from "../../src/runtime/file-system.ts";
import { diskProblem, SimulatedDisk } from "../support/simulated-disk.ts";
import { frameOf, journalOptions } from "./support.ts";

let root: string;
let path: string;
const children: ChildProcess[] = [];

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "tierlog-journal-directory-"));
  path = join(root, "journal");
});

afterEach(async () => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
  await rm(root, { recursive: true, force: true });
});

function open(create = true, storeId = "store-1"): Promise<JournalDirectory | undefined> {
  return JournalDirectory.open({ path, storeId, fileSystem: nodeFileSystem, create });
}

/** Another process that holds the lock. */
async function holder(): Promise<ChildProcess> {
  const script = fileURLToPath(new URL("lock-holder.mjs", import.meta.url));
  const child = spawn(process.execPath, [script, path], { stdio: ["ignore", "pipe", "inherit"] });
  children.push(child);
  await once(child.stdout, "data");
  return child;
}

describe("F39 lock-held, stale-lock", () => {
  test("another process holds it: an error that names it; killed, it leaves nothing to clean up", async () => {
    const child = await holder();
    await expect(open()).rejects.toMatchObject({
      code: "TIERLOG_LOCK_HELD",
      path,
      holder: { pid: child.pid, host: hostname() },
    });
    await expect(open(false)).rejects.toMatchObject({ code: "TIERLOG_LOCK_HELD" });
    const exited = once(child, "exit");
    child.kill("SIGKILL");
    await exited;
    const directory = await open();
    expect(JSON.parse(await readFile(join(path, "LOCK"), "utf8"))).toEqual({ pid: process.pid, host: hostname() });
    await directory?.close();
  });

  test("a second opening in the same process is refused too, until the first is closed", async () => {
    const first = await open();
    await expect(open()).rejects.toMatchObject({ code: "TIERLOG_LOCK_HELD", holder: { pid: process.pid } });
    await first?.close();
    const second = await open();
    await second?.close();
  });
});

describe("whose journal it is", () => {
  test("shards with a directory are listed; a missing directory is made only on demand", async () => {
    expect(await open(false)).toBe(undefined);
    const directory = await open();
    expect(directory?.shards()).toEqual([]);
    for (const shard of [12, 3] as ShardId[]) {
      const options = { ...journalOptions(directory!.shardPath(shard)), shard };
      const journal = await Journal.open(options, "create");
      await journal.append(frameOf(0, 100));
      await journal.close();
    }
    await directory?.close();
    const again = await open(false);
    expect(again?.shards()).toEqual([3, 12]);
    await again?.close();
  });

  test("a journal of another store is refused", async () => {
    await (await open())?.close();
    await expect(open(true, "store-2")).rejects.toMatchObject({
      code: "TIERLOG_CONFIG",
      issues: [{ path: "system.journal.path", problem: expect.stringContaining("another store (store-1") }],
    });
  });

  test("a journal of another shard is refused", async () => {
    const options = journalOptions(join(path, "0003"));
    await (await Journal.open(options, "create")).close();
    await expect(Journal.open({ ...options, shard: 4 as ShardId }, "create")).rejects.toMatchObject({
      code: "TIERLOG_CORRUPTION",
    });
  });

  test("STORE is missing though there are journals: nothing is guessed", async () => {
    await mkdir(join(path, "0000"), { recursive: true });
    await expect(open()).rejects.toMatchObject({ code: "TIERLOG_CORRUPTION", key: join(path, "STORE") });
  });
});

describe("F40 readonly-or-wrong-owner-dir", () => {
  test.each(["EACCES", "EROFS", "EPERM"])("%s is a matter of the config", async (code) => {
    for (const call of ["makeDirectory", "open"] as const) {
      const disk = new SimulatedDisk();
      disk.interfere = (asked) => (asked.call === call ? { error: diskProblem(code) } : undefined);
      const wrong = { code: "TIERLOG_CONFIG", issues: [{ path: "system.journal.path" }] };
      await expect(
        JournalDirectory.open({ path: "/data", storeId: "s", fileSystem: disk, create: true }),
      ).rejects.toMatchObject(wrong);
      await expect(Journal.open(journalOptions("/data/0003", { fileSystem: disk }), "create")).rejects.toMatchObject(
        wrong,
      );
    }
  });

  test("a symbolic link, or a file, where the directory should be", async () => {
    await mkdir(join(root, "elsewhere"));
    await symlink(join(root, "elsewhere"), path);
    const wrong = { code: "TIERLOG_CONFIG", message: expect.stringContaining("no directory") };
    await expect(open()).rejects.toMatchObject(wrong);
    await expect(Journal.open(journalOptions(path), "create")).rejects.toMatchObject(wrong);
    await rm(path);
    await writeFile(path, "");
    await expect(open()).rejects.toMatchObject(wrong);
    await expect(Journal.open(journalOptions(path), "existing")).rejects.toMatchObject(wrong);
  });

  test("a symbolic link in the place of a file is not followed", async () => {
    const options = journalOptions(path);
    const journal = await Journal.open(options, "create");
    await journal.append(frameOf(0, 100));
    await journal.close();
    await writeFile(join(root, "elsewhere"), "");
    await rm(join(path, "MANIFEST"));
    await symlink(join(root, "elsewhere"), join(path, "MANIFEST"));
    await expect(Journal.open(options, "create")).rejects.toMatchObject({ code: "TIERLOG_CONFIG" });
  });
});

describe("F42 manifest-corrupt-or-future-version", () => {
  const manifests: [string, (text: string) => string, string][] = [
    ["cut off", (text) => text.slice(0, -5), "TIERLOG_CORRUPTION"],
    ["empty", () => "", "TIERLOG_CORRUPTION"],
    ["with a flipped byte", (text) => text.replace('"shard":3', '"shard":4'), "TIERLOG_CORRUPTION"],
    [
      "of a newer version",
      (text) => text.replace("tierlog-journal 1", "tierlog-journal 2"),
      "TIERLOG_UNSUPPORTED_VERSION",
    ],
  ];

  test.each(manifests)("%s: an error, and it stays as it is", async (_name, change, code) => {
    const options = journalOptions(path);
    const journal = await Journal.open(options, "create");
    await journal.append(frameOf(0, 100));
    await journal.close();
    const file = join(path, "MANIFEST");
    const changed = change(await readFile(file, "utf8"));
    await writeFile(file, changed);
    await expect(Journal.open(options, "create")).rejects.toMatchObject({ code });
    expect(await readFile(file, "utf8")).toBe(changed);
    // It can be looked at all the same.
    const seen = await inspectJournal(path, nodeFileSystem);
    expect(seen.problems).toHaveLength(1);
    expect(seen.slots.flatMap((slot) => slot.frames).map(({ sequence }) => sequence)).toEqual([1]);
  });

  test("gone, with frames beside it: an error, and none is made", async () => {
    const options = journalOptions(path);
    const journal = await Journal.open(options, "create");
    await journal.append(frameOf(0, 100));
    await journal.close();
    await rm(join(path, "MANIFEST"));
    await expect(Journal.open(options, "create")).rejects.toMatchObject({ code: "TIERLOG_CORRUPTION" });
    await expect(readFile(join(path, "MANIFEST"))).rejects.toMatchObject({ code: "ENOENT" });
  });
});
