import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { afterEach, beforeEach, expect, test } from "vitest";

import { jsonLines, Workplace } from "./tierlog.ts";

let place: Workplace;
beforeEach(async () => {
  place = await Workplace.make();
});
afterEach(() => place.remove());

test("the shipped file is a good one", async () => {
  const shipped = fileURLToPath(new URL("../../config.toml", import.meta.url));
  const stdout = await place.done(["config", "check", "--config", shipped]);
  expect(stdout.toString()).toMatch(/^system\.flush\.linger +250ms +file .*config\.toml$/m);
});

test("secrets appear nowhere, whatever goes wrong (I8)", async () => {
  const secret = "CANARYcanary0123456789";
  const object = `access_key_id = "${secret}"\nsecret_access_key = "${secret}"\nsession_token = "${secret}"`;
  const good = `[system.storage]\nkind = "object"\n[system.storage.object]\nbucket = "my-bucket"\n${object}\n`;
  await writeFile(join(place.path, "good.toml"), good);
  await writeFile(join(place.path, "bad.toml"), `${good}region = "${secret} x"\nsecret = "${secret}"\n`);
  await writeFile(join(place.path, "broken.toml"), `${good}region = "${secret}\n`);
  const env = { TIERLOG_DEBUG: "1", AWS_SECRET_ACCESS_KEY: secret };
  const unreachable = [
    "--set=system.storage.object.endpoint=http://127.0.0.1:9",
    "--set=system.storage.object.request_timeout=100ms",
    "--set=system.storage.object.deadline=200ms",
  ];
  const lines: [string[], number][] = [
    [["config", "check", "--config", "good.toml"], 0],
    [["config", "check", "--config", "bad.toml"], 78],
    [["config", "check", "--config", "broken.toml"], 78],
    [["topics", "list", "--config", "good.toml", ...unreachable], 75],
    [["demo", "--config", "good.toml", ...unreachable], 75],
    [["topics", "list", `--set=system.storage.object.secret_access_key=${secret} x`], 78],
    [["topics", "list", "--set", secret], 64],
  ];
  for (const [argv, exitCode] of lines) {
    for (const format of [[], ["--json"]]) {
      const finished = await place.run([...argv, ...format], "", env);
      expect(finished.exitCode).toBe(exitCode);
      expect(finished.stdout.toString() + finished.stderr).not.toContain(secret);
      expect(finished.stderr).not.toContain("NodeVersionSupportWarning");
    }
  }
});

test("all problems at once, as text and as JSON", async () => {
  await writeFile(join(place.path, "config.toml"), '[system]\nshard = 1\n[system.flush]\nlinger = "1 week"\n');
  const human = await place.run(["topics", "list", "--config", "config.toml"]);
  expect([human.exitCode, human.stdout.toString()]).toEqual([78, ""]);
  expect(human.stderr).toBe(
    "tierlog: config has 2 problems:\n" +
      "  system.shard: is not a key; did you mean system.shards?\n" +
      '  system.flush.linger: "1 week" has the unknown unit "week" (units: ms, s, m, h, d)\n',
  );
  const json = await place.run(["topics", "list", "--config", "config.toml", "--json"]);
  expect(jsonLines(json.stderr)).toMatchObject([
    {
      error: {
        kind: "invalid",
        code: "TIERLOG_CONFIG",
        issues: [{ path: "system.shard" }, { path: "system.flush.linger" }],
      },
    },
  ]);
});

test("a data path that is a file", async () => {
  await writeFile(join(place.path, "data"), "");
  const { exitCode, stderr } = await place.run([
    "topics",
    "create",
    "t",
    "--partitions",
    "1",
    "--set",
    "system.path=data",
  ]);
  expect(exitCode).toBe(78);
  expect(stderr).toContain("is a file; it must be a directory or not exist yet");
});

test("what has no effect is warned of, and is no error", async () => {
  const flags = ["--set=system.journal.fsync_interval=50ms", "--set=system.fence.lease=30s"];
  const human = await place.run(["config", "check", ...flags]);
  expect(human.exitCode).toBe(0);
  expect(human.stderr.split("\n")).toEqual([
    expect.stringMatching(/^warning: system\.journal\.fsync_interval does nothing with /),
    expect.stringMatching(/^warning: system\.fence\.lease does nothing with /),
    "",
  ]);
  expect(human.stdout.toString()).toMatch(/^system\.fence\.lease +30s +flag /m);
  expect(human.stdout.toString()).toMatch(/^system\.journal\.path +.*\/tierlog-data\/journal +default$/m);
  const json = await place.run(["config", "check", "--json", ...flags]);
  expect(jsonLines(json.stderr)).toHaveLength(2);
  expect(
    (
      await place.run([
        "config",
        "check",
        ...flags,
        "--set=system.journal.fsync=interval",
        "--set=system.storage.object.ack_after_upload=false",
      ])
    ).stderr,
  ).toBe("");
});
