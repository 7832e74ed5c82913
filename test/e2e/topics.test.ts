import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { jsonLines, Workplace } from "./tierlog.ts";

let place: Workplace;
beforeEach(async () => {
  place = await Workplace.make();
});
afterEach(() => place.remove());

test("create, list, describe, delete, each in a process of its own", async () => {
  expect((await place.done(["topics", "create", "b", "--partitions", "3", "--compression", "lz4"])).toString()).toBe(
    "",
  );
  const [created] = jsonLines(await place.done(["topics", "create", "a", "--partitions", "1", "--json"]));
  expect(created).toMatchObject({ name: "a", partitions: 1, compression: "none" });

  const listed = jsonLines(await place.done(["topics", "list", "--json"]));
  expect(listed.map(({ name }) => name)).toEqual(["a", "b"]);
  expect(listed[0]).toEqual(created);
  expect((await place.done(["topics", "list"])).toString()).toMatch(
    /^TOPIC +PARTITIONS +COMPRESSION +ACK +CREATED\na +1 +none +as configured .*\nb +3 +lz4 /,
  );

  const [described] = jsonLines(await place.done(["topics", "describe", "b", "--json"]));
  expect(described).toEqual(listed[1]);
  expect((await place.done(["topics", "describe", "b"])).toString()).toMatch(/^partitions +3$/m);

  await place.done(["topics", "delete", "b"]);
  expect(jsonLines(await place.done(["topics", "list", "--json"])).map(({ name }) => name)).toEqual(["a"]);
});

test("the ack level that a topic asks for is shown where topics are", async () => {
  const [created] = jsonLines(
    await place.done(["topics", "create", "p", "--partitions", "1", "--ack", "uploaded", "--json"]),
  );
  expect(created).toMatchObject({ name: "p", ack: "uploaded" });
  await place.done(["topics", "create", "q", "--partitions", "1"]);
  expect(jsonLines(await place.done(["topics", "list", "--json"])).map(({ ack }) => ack)).toEqual([
    "uploaded",
    undefined,
  ]);
  expect((await place.done(["topics", "list"])).toString()).toMatch(
    /\np +1 +none +uploaded .*\nq +1 +none +as configured /,
  );
  expect((await place.done(["topics", "describe", "p"])).toString()).toMatch(/^ack +uploaded$/m);
  expect((await place.done(["topics", "describe", "q"])).toString()).toMatch(/^ack +as configured$/m);
  expect((await place.done(["stores", "describe", "/"])).toString()).toMatch(/^p +1 +none +uploaded /m);
});

describe("mistakes", () => {
  test.each([
    [["topics", "create", "x", "--partitions", "1", "--ack", "buffered"], 64],
    [["topics", "create", "x", "--partitions", "1", "--ack", "journaled"], 64],
    [["topics", "create", "../x", "--partitions", "1"], 64],
    [["topics", "create", "x", "--partitions", "0"], 64],
    [["topics", "create", "x", "--partitions", "100001"], 64],
    [["topics", "create", "x", "--partitions", "1", "--compression", "zstd"], 64],
    [["topics", "describe", "x"], 66],
    [["topics", "delete", "x"], 66],
    [["topics", "list"], 66],
    [["consume", "x"], 66],
    [["inspect", "x"], 66],
  ])("%j ends with %d", async (argv, exitCode) => {
    const human = await place.run(argv);
    expect([human.exitCode, human.stdout.toString()]).toEqual([exitCode, ""]);
    expect(human.stderr).toMatch(/^tierlog: .+\n$/);
    const json = await place.run([...argv, "--json"]);
    expect(json.exitCode).toBe(exitCode);
    expect(Object.keys(jsonLines(json.stderr).at(-1)?.["error"] as object).slice(0, 4)).toEqual([
      "kind",
      "code",
      "effect",
      "message",
    ]);
  });

  test("a name that is taken", async () => {
    await place.done(["topics", "create", "x", "--partitions", "1"]);
    const { exitCode, stderr } = await place.run(["topics", "create", "x", "--partitions", "1"]);
    expect([exitCode, stderr]).toEqual([64, 'tierlog: topic: "x" exists already; see tierlog topics describe x\n']);
  });
});
