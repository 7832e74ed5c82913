import { readdirSync } from "node:fs";
import { join } from "node:path";

import { afterEach, beforeEach, expect, test } from "vitest";

import { jsonLines, Workplace } from "./tierlog.ts";

let place: Workplace;
beforeEach(async () => {
  place = await Workplace.make();
  await place.done(["topics", "create", "t", "--partitions", "1"]);
  await place.done(["produce", "t"], "a\nb\n");
  await place.done(["produce", "t"], "c\nd\n");
});
afterEach(() => place.remove());

const files = (): string[] =>
  readdirSync(join(place.path, "tierlog-data/store"), { recursive: true, encoding: "utf8" }).filter((name) =>
    /\.[a-z]+$/.test(name),
  );

test("a dry run shows what would go and changes nothing; gc deletes it after the grace, and every record is still read", async () => {
  await place.done(["topics", "create", "old", "--partitions", "1"]);
  await place.done(["produce", "old"], `${"x".repeat(9_000_000)}\n`.replace(/.{90000}/g, "$&\n"));
  await place.done(["trim", "t", "--partition", "0", "--before", "2"]);
  await place.done(["topics", "delete", "old"]);
  const before = files();
  const table = (await place.done(["gc", "--dry-run"])).toString();
  expect(files()).toEqual(before);
  expect(table).toMatch(/^KIND +AGE +SIZE +REASON +NAME$/m);
  expect(table).toMatch(/^link +\d+s +\d+ B +behind a new boundary +index\/0000\/0{20}\.idx$/m);
  expect(table).toMatch(/^object +\d+s +8\.\d MiB +of a deleted topic +data\/\S+\.log$/m);
  expect(table).toMatch(/^\d+ objects, 8\.\d MiB, can go$/m);
  const found = jsonLines(await place.done(["gc", "--dry-run", "--json"]));
  expect(found[0]).toMatchObject({ kind: "link", reason: "behind a new boundary" });
  expect(found.at(-1)).toMatchObject({
    total: { garbage: { count: found.length - 1 }, shards: [{ shard: 0, owner: "", boundary: 0 }] },
  });

  const [collected] = jsonLines(await place.done(["gc", "--json", "--set", "system.gc.grace=1s"]));
  expect(collected).toMatchObject({
    interrupted: false,
    deleted: { objectsDeleted: 1, othersDeleted: 1 },
    refused: 0,
    waiting: 0,
    problems: [],
  });
  expect(files().filter((name) => name.startsWith("data"))).toEqual([]);
  expect((await place.done(["consume", "t"])).toString()).toBe("c\nd\n");
  await place.done(["produce", "t"], "e\n");
  expect((await place.done(["consume", "t"])).toString()).toBe("c\nd\ne\n");
});

test("a shard that was not given back is not taken unasked; who is interrupted loses nothing", async () => {
  const producer = place.start(["produce", "t", "--print-acks"]);
  producer.child.stdin?.write("e\n");
  await producer.until((text) => text.includes("\n"));
  const refused = await place.run(["gc"]);
  expect(refused.exitCode).toBe(64);
  expect(refused.stderr).toContain("--take-over");
  const shown = (await place.done(["gc", "--dry-run"])).toString();
  expect(shown).toMatch(/shard 0 belongs to \S+ since epoch 3; if it runs, it deletes by itself/);
  expect((await place.run(["gc", "--dry-run", "--take-over"])).exitCode).toBe(64);

  const running = place.start(["gc", "--take-over"]);
  for (;;) {
    const [shard] = jsonLines(await place.done(["gc", "--dry-run", "--json"])).flatMap(({ total }) =>
      total === undefined ? [] : (total as { shards: { epoch: number; boundary: number }[] }).shards,
    );
    if (shard !== undefined && shard.epoch > 3 && shard.boundary > 0) break;
  }
  producer.child.stdin?.end("f\n");
  running.child.kill("SIGINT");
  const { exitCode, stderr, stdout } = await running.finished;
  expect(exitCode).toBe(130);
  expect(stderr).toContain("Nothing is lost");
  expect(stdout.toString()).toBe("nothing was deleted\n");
  expect((await producer.finished).exitCode).toBe(77);
  expect((await place.done(["consume", "t"])).toString()).toBe("a\nb\nc\nd\ne\n");
});
