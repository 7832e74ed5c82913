import { afterEach, beforeEach, expect, test } from "vitest";

import { jsonLines, Workplace } from "./tierlog.ts";

let place: Workplace;
beforeEach(async () => {
  place = await Workplace.make();
  await place.done(["topics", "create", "t", "--partitions", "1"]);
  await place.done(["produce", "t"], "a\nb\nc\nd\n");
});
afterEach(() => place.remove());

test("trim says old and new start; consume and inspect begin there", async () => {
  expect((await place.done(["trim", "t", "--partition", "0", "--before", "3"])).toString()).toBe("t/0: start 0 → 3\n");
  expect((await place.done(["consume", "t"])).toString()).toBe("d\n");
  const [trimmed] = jsonLines(await place.done(["trim", "t", "--partition", "0", "--before", "1", "--json"]));
  expect(trimmed).toEqual({ topic: "t", partition: 0, oldStart: 3, newStart: 3 });
  expect((await place.done(["inspect", "t"])).toString()).toMatch(/START.*\n +0 +\d+ +3 +4 /);
  await place.done(["produce", "t"], "e\n");
  expect((await place.done(["consume", "t"])).toString()).toBe("d\ne\n");

  const beyond = await place.run(["trim", "t", "--partition", "0", "--before", "9"]);
  expect(beyond.exitCode).toBe(64);
  expect(beyond.stderr).toContain("3 … 5");
  const nothing = await place.run(["trim", "t", "--partition", "0"]);
  expect(nothing.exitCode).toBe(64);
  expect(nothing.stderr).toContain("--before");
});

test("a shard that its owner has not given back is not taken from it unasked", async () => {
  const producer = place.start(["produce", "t", "--print-acks"]);
  producer.child.stdin?.write("e\n");
  await producer.until((text) => text.includes("\n"));
  const refused = await place.run(["trim", "t", "--partition", "0", "--before", "2"]);
  expect(refused.exitCode).toBe(64);
  expect(refused.stderr).toContain("--take-over");
  expect((await place.done(["consume", "t"])).toString()).toBe("a\nb\nc\nd\ne\n");

  await place.done(["trim", "t", "--partition", "0", "--before", "2", "--take-over"]);
  producer.child.stdin?.end("f\n");
  expect((await producer.finished).exitCode).toBe(77);
  expect((await place.done(["consume", "t"])).toString()).toBe("c\nd\ne\n");
});

test("limits are set, shown and taken back", async () => {
  const [created] = jsonLines(
    await place.done(["topics", "create", "k", "--partitions", "1", "--retention-ms", "7d", "--json"]),
  );
  expect(created).toMatchObject({ retentionMs: 604_800_000 });
  await place.done(["topics", "alter", "k", "--retention-bytes", "10GiB", "--retention-ms", "off"]);
  const shown = (await place.done(["topics", "describe", "k"])).toString();
  expect(shown).toMatch(/^retention\.ms +off$/m);
  expect(shown).toMatch(/^retention\.bytes +10 GiB$/m);
  const args = ["topics", "alter", "k", "--retention-ms", "default", "--retention-bytes", "default", "--json"];
  const [altered] = jsonLines(await place.done(args));
  expect(altered).not.toHaveProperty("retentionMs");
  expect(altered).not.toHaveProperty("retentionBytes");
  for (const [args, problem] of [
    [["k"], "nothing to change"],
    [["k", "--retention-ms", "7"], "has no unit"],
    [["k", "--retention-ms", "0d"], "keeps nothing"],
    [["none", "--retention-ms", "7d"], "does not exist"],
  ] as const) {
    const { exitCode, stderr } = await place.run(["topics", "alter", ...args]);
    expect([64, 66]).toContain(exitCode);
    expect(stderr).toContain(problem);
  }
});
