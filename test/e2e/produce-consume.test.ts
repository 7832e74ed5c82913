import { writeFile } from "node:fs/promises";
import { join } from "node:path";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { jsonLines, Workplace } from "./tierlog.ts";

let place: Workplace;
beforeEach(async () => {
  place = await Workplace.make();
});
afterEach(() => place.remove());

async function topic(name: string, partitions = 1): Promise<void> {
  await place.done(["topics", "create", name, "--partitions", String(partitions)]);
}

describe("bytes", () => {
  test.each([
    ["carriage returns", Buffer.from("a\r\nb\r\n"), 2],
    ["no text", Buffer.from([0, 0xff, 0x0a, 0x80, 0x0a]), 2],
    ["empty lines", Buffer.from("\n\nx\n\n"), 4],
    ["no end of the last line", Buffer.from("a\nb"), 2],
    ["nothing", Buffer.from(""), 0],
    ["a long line", Buffer.concat([Buffer.alloc(900_000, "x"), Buffer.from("\ny\n")]), 2],
  ])("%s come back as they went in, in another process", async (_, input, records) => {
    await topic("t");
    expect((await place.done(["produce", "t"], input)).toString()).toBe("");
    const back = await place.done(["consume", "t"]);
    const ended = input.length === 0 || input.at(-1) === 0x0a ? input : Buffer.concat([input, Buffer.from("\n")]);
    expect(back.equals(ended)).toBe(true);
    expect(jsonLines(await place.done(["consume", "t", "--json"]))).toHaveLength(records);
  });
});

test("--file, keys, --batch-lines and --print-acks", async () => {
  await topic("t", 4);
  const lines = Array.from({ length: 1000 }, (_, i) => `key-${i % 50}:value:${i}`);
  await writeFile(join(place.path, "in.txt"), `${lines.join("\n")}\n`);
  const argv = ["produce", "t", "--file", "in.txt", "--key-separator", ":", "--batch-lines", "100", "--print-acks"];
  const acks = jsonLines(await place.done(argv)) as { partition: number; firstOffset: number; nextOffset: number }[];
  expect(Object.keys(acks[0] ?? {})).toEqual(["partition", "firstOffset", "nextOffset", "level", "epoch"]);
  // Ten appends, each of which touches all four partitions.
  expect(acks).toHaveLength(40);
  expect(acks.reduce((sum, { firstOffset, nextOffset }) => sum + nextOffset - firstOffset, 0)).toBe(1000);

  const records = jsonLines(await place.done(["consume", "t", "--json"]));
  expect(records.map(({ key, value }) => `${String(key)}:${String(value)}`).sort()).toEqual([...lines].sort());
  const homes = new Map(records.map(({ key, partition }) => [key, partition]));
  for (const { key, partition } of records) expect(partition).toBe(homes.get(key));
});

test("--ack: a level that is there, one that is not, one that nobody knows", async () => {
  await topic("t");
  const [ack] = jsonLines(await place.done(["produce", "t", "--ack", "uploaded", "--print-acks"], "a\n"));
  expect(ack).toMatchObject({ firstOffset: 0, nextOffset: 1, level: "uploaded" });
  const journaled = await place.run(["produce", "t", "--ack", "journaled", "--json"], "b\n");
  expect(journaled.exitCode).toBe(64);
  expect(jsonLines(journaled.stderr).at(-1)).toMatchObject({
    error: { code: "TIERLOG_INVALID_ARGUMENT", argument: "ack" },
  });
  const unknown = await place.run(["produce", "t", "--ack", "synced"], "c\n");
  expect([unknown.exitCode, unknown.stderr]).toEqual([
    64,
    'tierlog: --ack: "synced" is none of buffered, journaled, uploaded\n',
  ]);
  expect((await place.done(["consume", "t"])).toString()).toBe("a\n");
});

test("--partition, --from, --max", async () => {
  await topic("t", 3);
  await place.done(["produce", "t", "--partition", "1"], "a\nb\nc\nd\n");
  await place.done(["produce", "t", "--partition", "2"], "x\n");
  const consume = async (...flags: string[]): Promise<string> =>
    (await place.done(["consume", "t", ...flags])).toString();
  expect(await consume("--partition", "1")).toBe("a\nb\nc\nd\n");
  expect(await consume("--partition", "1", "--from", "2")).toBe("c\nd\n");
  expect(await consume("--partition", "1", "--from", "1", "--max", "2")).toBe("b\nc\n");
  expect(await consume("--partition", "1", "--from", "4")).toBe("");
  expect(await consume("--from", "latest")).toBe("");
  expect(await consume("--max", "0")).toBe("");
  expect((await consume()).split("\n").sort()).toEqual(["", "a", "b", "c", "d", "x"]);
  expect((await place.run(["consume", "t", "--partition", "1", "--from", "5"])).exitCode).toBe(64);
  expect((await place.run(["consume", "t", "--partition", "3"])).exitCode).toBe(64);
  expect((await place.run(["produce", "t", "--partition", "3"])).exitCode).toBe(64);
});

test("--json: text in value, anything else in valueBase64", async () => {
  await topic("t");
  await place.done(["produce", "t"], Buffer.from([0xc3, 0xa4, 0x0a, 0xff, 0x0a]));
  const records = jsonLines(await place.done(["consume", "t", "--json"]));
  expect(records).toMatchObject([
    { partition: 0, offset: 0, key: null, value: "ä" },
    { partition: 0, offset: 1, valueBase64: "/w==" },
  ]);
  expect(records[0]).not.toHaveProperty("valueBase64");
  expect(records[1]).not.toHaveProperty("value");
});

test("inspect shows watermarks, extents, objects, links and epoch; each producer adds an epoch", async () => {
  await topic("t", 2);
  await place.done(["produce", "t", "--partition", "0"], "a\nb\n");
  await place.done(["produce", "t", "--partition", "0"], "c\n");
  const [inspection] = jsonLines(await place.done(["inspect", "t", "--json"]));
  expect(inspection).toMatchObject({
    topic: "t",
    partitions: [
      { partition: 0, watermarks: { start: 0, uploaded: 3, durable: 3, end: 3 }, extents: 2, objects: 2, epoch: 2 },
      { partition: 1, watermarks: { start: 0, uploaded: 0, durable: 0, end: 0 }, extents: 0, objects: 0, epoch: 2 },
    ],
  });
  const table = (await place.done(["inspect", "t", "--partition", "0"])).toString();
  expect(table).toMatch(/^PARTITION +SHARD +START .*\n +0 +0 +0 +3 +3 +3 +2 /);
});

test("an unknown topic: exit code 66, with the command that creates it", async () => {
  const human = await place.run(["produce", "nope"], "a\n");
  expect([human.exitCode, human.stdout.toString()]).toEqual([66, ""]);
  expect(human.stderr).toContain("tierlog topics create nope --partitions N");
  const json = await place.run(["produce", "nope", "--json"], "a\n");
  expect(jsonLines(json.stderr).at(-1)).toMatchObject({
    error: { kind: "not-found", code: "TIERLOG_NOT_FOUND", effect: "none", resource: 'topic "nope"' },
  });
});

test("a line without the separator: what was acknowledged before is told", async () => {
  await topic("t");
  const argv = ["produce", "t", "--key-separator", ":", "--batch-lines", "1", "--json"];
  const { exitCode, stdout, stderr } = await place.run(argv, "a:1\nb:2\noops\n");
  expect([exitCode, stdout.toString()]).toEqual([64, ""]);
  expect(jsonLines(stderr)).toMatchObject([
    { acknowledged: 2 },
    { error: { kind: "invalid", argument: "--key-separator" } },
  ]);
  expect((await place.done(["consume", "t"])).toString()).toBe("1\n2\n");
});

test("a line that is too long: those before it are stored", async () => {
  await topic("t");
  const { exitCode, stderr } = await place.run(["produce", "t"], `a\n${"x".repeat(3_000_000)}\n`);
  expect(exitCode).toBe(64);
  expect(stderr).toContain("1 records were acknowledged before the error\ntierlog: line 2 of the input");
  expect((await place.done(["consume", "t"])).toString()).toBe("a\n");
});

test("produce --json sums up", async () => {
  await topic("t");
  expect(jsonLines(await place.done(["produce", "t", "--json"], "a\nbc\n"))).toEqual([
    { topic: "t", records: 2, bytes: 3 },
  ]);
});

test("more lines than may wait: back-pressure, all arrive in order", async () => {
  await topic("t");
  const lines = Array.from({ length: 60_000 }, (_, i) => `line ${i} ${"x".repeat(100)}`);
  const limits = ["--set", "system.flush.max_pending=1 MiB", "--set", "system.flush.max_bytes=1 MiB"];
  await place.done(["produce", "t", ...limits], lines.join("\n"));
  expect((await place.done(["consume", "t"])).toString()).toBe(`${lines.join("\n")}\n`);
});

describe("while a producer runs", () => {
  test("consume --follow sees each line soon, ends cleanly by SIGINT, and nobody is fenced", async () => {
    await topic("t", 2);
    const follower = place.start(["consume", "t", "--follow"]);
    const producer = place.start(["produce", "t", "--print-acks", "--set", "system.flush.linger=20ms"]);
    for (const line of ["one", "two", "three"]) {
      producer.child.stdin?.write(`${line}\n`);
      await follower.until((stdout) => stdout.includes(`${line}\n`));
      expect((await place.run(["inspect", "t"])).exitCode).toBe(0);
    }
    producer.child.stdin?.end();
    expect(await producer.finished).toMatchObject({ exitCode: 0, stderr: "" });
    expect(jsonLines(producer.stdout).map(({ epoch }) => epoch)).toEqual([1, 1, 1]);
    follower.child.kill("SIGINT");
    const { exitCode, stdout, stderr } = await follower.finished;
    expect([exitCode, stdout.toString(), stderr]).toEqual([0, "one\ntwo\nthree\n", ""]);
  });

  test.each([
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const)("%s to a producer: reads no more, waits for the acks, exits with %d", async (signal, code) => {
    await topic("t");
    const slow = ["--batch-lines", "1", "--set", "system.flush.linger=500ms"];
    const producer = place.start(["produce", "t", "--json", "--print-acks", ...slow]);
    producer.child.stdin?.write("one\n");
    await producer.until((stdout) => stdout.includes("\n"));
    producer.child.stdin?.write("two\nunfinis");
    await new Promise((resolve) => setTimeout(resolve, 150));
    producer.child.kill(signal);
    const { exitCode, stdout, stderr } = await producer.finished;
    expect(exitCode).toBe(code);
    expect(jsonLines(stdout)).toHaveLength(2);
    expect(jsonLines(stderr)).toMatchObject([{ acknowledged: 2 }]);
    expect((await place.done(["consume", "t"])).toString()).toBe("one\ntwo\n");
  });

  test("a producer whose shard was taken over ends with 77", async () => {
    await topic("t");
    const first = place.start(["produce", "t", "--print-acks", "--json"]);
    first.child.stdin?.write("one\n");
    await first.until((stdout) => stdout.includes("\n"));
    await place.done(["produce", "t"], "two\n");
    first.child.stdin?.end("three\n");
    const { exitCode, stderr } = await first.finished;
    expect(exitCode).toBe(77);
    expect(jsonLines(stderr).at(-1)).toMatchObject({ error: { kind: "fenced", code: "TIERLOG_FENCED" } });
    expect((await place.done(["consume", "t"])).toString()).toBe("one\ntwo\n");
  });
});

describe("a reader of stdout that goes away", () => {
  test("ends consume quietly", async () => {
    await topic("t");
    await place.done(["produce", "t"], "a line of some length\n".repeat(200_000));
    const running = place.start(["consume", "t"]);
    await running.until((stdout) => stdout.length > 0);
    running.child.stdout?.destroy();
    expect(await running.finished).toMatchObject({ exitCode: 0, stderr: "" });
  });

  test("ends help quietly", async () => {
    const running = place.start(["--help"]);
    running.child.stdout?.destroy();
    expect(await running.finished).toMatchObject({ exitCode: 0, stderr: "" });
  });
});
