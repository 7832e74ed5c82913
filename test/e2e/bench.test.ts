import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";

import { afterEach, beforeEach, expect, test } from "vitest";

import { EndpointPlace } from "../support/endpoint-place.ts";
import { jsonLines, Workplace } from "./tierlog.ts";

let place: Workplace;
beforeEach(async () => {
  place = await Workplace.make();
});
afterEach(() => place.remove());

test("bench flush beside a store and its journal: both stay as they are", async () => {
  const journaled = ["--set", "system.storage.object.ack_after_upload=false"];
  await place.done(["topics", "create", "mine", "--partitions", "1", ...journaled]);
  await place.done(["produce", "mine", ...journaled], "a record\n");
  const before = await readdir(place.path, { recursive: true });
  const argv = ["bench", "flush", "--seconds", "1", "--producers", "4", "--json", ...journaled];
  const [report] = jsonLines(await place.done(argv));
  expect(report).toMatchObject({ removed: true, plan: { ack: "journaled", producers: 4 }, unsent: 0 });
  expect((await readdir(place.path, { recursive: true })).toSorted()).toEqual(before.toSorted());
  expect((await place.done(["consume", "mine", ...journaled])).toString()).toBe("a record\n");
});

test("SIGINT: nothing left behind, exit code 130", async () => {
  const running = place.start(["bench", "flush", "--set", "system.storage.object.ack_after_upload=false"]);
  const isWriting = async (): Promise<boolean> => {
    const names = existsSync(place.path) ? await readdir(place.path, { recursive: true }) : [];
    return names.some((name) => name.endsWith(".idx"));
  };
  while (!(await isWriting())) await new Promise((resolve) => setTimeout(resolve, 20));
  running.child.kill("SIGINT");
  const { exitCode, stdout, stderr } = await running.finished;
  expect([exitCode, stdout.toString(), stderr]).toEqual([130, "", ""]);
  expect(existsSync(join(place.path, "tierlog-data"))).toBe(false);
});

test("a second signal: at once, and the command that it names removes the rest", async () => {
  const s3 = await EndpointPlace.start();
  try {
    const running = place.start(["bench", "flush", "--set", "system.flush.linger=10ms"], s3.env());
    while (!(await s3.keys()).some((key) => key.endsWith(".idx"))) await new Promise((done) => setTimeout(done, 20));
    running.child.kill("SIGINT");
    running.child.kill("SIGTERM");
    const { exitCode, stderr } = await running.finished;
    const [, command = ""] =
      /^left behind: .*; to remove the rest: tierlog (.*) and the same --set$/m.exec(stderr) ?? [];
    expect([[130, 143].includes(exitCode ?? 0), command]).toEqual([
      true,
      expect.stringMatching(/^stores delete bench-/),
    ]);
    expect((await s3.keys()).length).toBeGreaterThan(0);
    expect((await place.run(command.split(" "), "", s3.env())).exitCode).toBe(0);
    expect(await s3.keys()).toEqual([]);
  } finally {
    await s3.close();
  }
});
