import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { FaultScript } from "../../src/testing/fault-script.ts";
import { EndpointPlace } from "../support/endpoint-place.ts";
import { jsonLines, Workplace, type Running } from "./tierlog.ts";

/** Acks from the journal, and nothing goes to the store by itself while a test runs. */
const JOURNALED = {
  TIERLOG_SYSTEM_STORAGE_OBJECT_ACK_AFTER_UPLOAD: "false",
  TIERLOG_SYSTEM_JOURNAL_UPLOAD_INTERVAL: "1h",
  TIERLOG_SYSTEM_JOURNAL_FILE_SIZE: "4 MiB",
  TIERLOG_SYSTEM_JOURNAL_MAX_SIZE: "16 MiB",
};

let place: Workplace;
let env: Record<string, string>;
beforeEach(async () => {
  place = await Workplace.make();
  env = JOURNALED;
  await done("topics", "create", "t", "--partitions", "1");
});
afterEach(() => place.remove());

async function done(...argv: string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await place.run(argv, "", env);
  if (exitCode !== 0) throw new Error(`tierlog ${argv.join(" ")} ended with ${String(exitCode)}: ${stderr}`);
  return stdout.toString();
}

async function journal(): Promise<Record<string, unknown>> {
  const { journals } = JSON.parse(await done("journal", "inspect", "--json")) as {
    journals: Record<string, unknown>[];
  };
  return journals[0] ?? {};
}

/** A producer whose lines are acknowledged, and which waits for more. */
async function producer(lines: string[], extra: Record<string, string> = {}): Promise<Running> {
  const running = place.start(["produce", "t", "--batch-lines", "1", "--print-acks"], { ...env, ...extra });
  await send(running, lines, 0);
  return running;
}

/** Sends lines and waits for their acks; `before` lines have been acknowledged so far. */
async function send(running: Running, lines: string[], before: number): Promise<void> {
  running.child.stdin?.write(lines.map((line) => `${line}\n`).join(""));
  await running.until(
    (stdout) => jsonLines(stdout.slice(0, stdout.lastIndexOf("\n") + 1)).length >= before + lines.length,
  );
}

async function killed(running: Running): Promise<void> {
  running.child.kill("SIGKILL");
  await running.finished;
}

describe("produce", () => {
  test.each([
    [[], "journaled"],
    [["--ack", "journaled"], "journaled"],
    [["--ack", "uploaded"], "uploaded"],
    [["--ack", "buffered"], "buffered"],
  ])("%j is acknowledged as %s, and is in the store when the process has ended", async (flags, level) => {
    const { exitCode, stdout, stderr } = await place.run(["produce", "t", "--print-acks", ...flags], "a\nb\n", env);
    expect([exitCode, stderr]).toEqual([0, ""]);
    expect(jsonLines(stdout)).toMatchObject([{ firstOffset: 0, nextOffset: 2, level }]);
    expect(await done("consume", "t")).toBe("a\nb\n");
    expect(await journal()).toMatchObject({ live: { records: 0 }, problems: [], tornTail: null });
  });

  test("a topic's own level counts where none is asked for", async () => {
    await done("topics", "create", "safe", "--partitions", "1", "--ack", "uploaded");
    const { stdout } = await place.run(["produce", "safe", "--print-acks"], "a\n", env);
    expect(jsonLines(stdout)).toMatchObject([{ level: "uploaded" }]);
  });

  test("beside a process that has the journal: refused, and told who has it; readers and changes of topics are not", async () => {
    const running = await producer(["a"]);
    await done("topics", "create", "u", "--partitions", "1");
    await done("topics", "delete", "u");
    const { exitCode, stderr } = await place.run(["produce", "t", "--json"], "b\n", env);
    expect(exitCode).toBe(75);
    expect(jsonLines(stderr).at(-1)).toMatchObject({
      error: { code: "TIERLOG_LOCK_HELD", holder: { pid: running.child.pid } },
    });
    expect((await place.run(["recover"], "", env)).stderr).toContain(`process ${String(running.child.pid)} on `);
    const shown = await done("inspect", "t");
    expect(shown).toMatch(/^ +0 +0 +0 +0 /m);
    expect(shown).toMatch(
      /\n\nshard 0: 1 records, .* in the journal on this machine are not in the store yet, the oldest for [\d.]+ s\n$/,
    );
    expect(JSON.parse(await done("inspect", "t", "--json"))).toMatchObject({ journal: [{ shard: 0, records: 1 }] });
    expect(await journal()).toMatchObject({ live: { records: 1 } });
    running.child.stdin?.end();
    expect((await running.finished).exitCode).toBe(0);
    expect(JSON.parse(await done("inspect", "t", "--json"))).toMatchObject({ journal: [] });
  });

  test("a journal of another store is not shown as this one's", async () => {
    await killed(await producer(["a"]));
    const elsewhere = {
      TIERLOG_SYSTEM_STORAGE_OBJECT_PREFIX: "other",
      TIERLOG_SYSTEM_JOURNAL_PATH: join(place.path, "j"),
    };
    const other = { ...env, ...elsewhere };
    expect((await place.run(["topics", "create", "t", "--partitions", "1"], "", other)).exitCode).toBe(0);
    const { TIERLOG_SYSTEM_JOURNAL_PATH: _, ...sameJournal } = other;
    expect((await place.run(["produce", "t"], "b\n", sameJournal)).exitCode).toBe(78);
    const { exitCode, stdout } = await place.run(["inspect", "t", "--json"], "", sameJournal);
    expect([exitCode, JSON.parse(stdout.toString())]).toMatchObject([0, { journal: [] }]);
  });
});

describe("recover", () => {
  test("after kill -9: what was acknowledged is brought to the store, once", async () => {
    await killed(await producer(["a", "b", "c"]));
    expect(await done("consume", "t")).toBe("");
    expect(await journal()).toMatchObject({ live: { records: 3 } });
    const { exitCode, stdout, stderr } = await place.run(["recover"], "", env);
    expect([exitCode, stderr]).toEqual([0, ""]);
    expect(stdout.toString()).toMatch(
      /^SHARD +OUTCOME +FRAMES +RECORDS +BYTES +SET ASIDE\n +0 +replayed +\d+ +3 .* B +0\n$/,
    );
    expect(await done("consume", "t")).toBe("a\nb\nc\n");
    expect(await journal()).toMatchObject({ live: { records: 0 } });
    expect((await place.run(["recover"], "", env)).exitCode).toBe(0);
    expect(await done("consume", "t")).toBe("a\nb\nc\n");
  });

  test("is what the next producer does too", async () => {
    await killed(await producer(["a", "b"]));
    expect((await place.run(["produce", "t"], "c\n", env)).exitCode).toBe(0);
    expect(await done("consume", "t")).toBe("a\nb\nc\n");
  });

  test("also where acks come after the upload now", async () => {
    await killed(await producer(["a"]));
    env = {};
    expect(jsonLines(await done("recover", "--json"))).toMatchObject([
      { shards: [{ shard: 0, outcome: "replayed", replayed: { records: 1 } }] },
    ]);
    expect(await done("consume", "t")).toBe("a\n");
  });

  test("with nothing to do", async () => {
    const { exitCode, stdout, stderr } = await place.run(["recover"], "", env);
    expect([exitCode, stdout.toString(), stderr]).toEqual([0, "", ""]);
    expect(jsonLines(await done("recover", "--json"))).toEqual([{ shards: [] }]);
  });

  test("after another node took over: set aside, told with topics and offsets, and salvaged as new records", async () => {
    await killed(await producer(["a", "b"]));
    const other = { ...env, TIERLOG_SYSTEM_JOURNAL_PATH: join(place.path, "elsewhere") };
    expect((await place.run(["produce", "t"], "x\n", other)).exitCode).toBe(0);
    const { exitCode, stdout } = await place.run(["recover"], "", env);
    expect(exitCode).toBe(65);
    expect(stdout.toString()).toMatch(/^ +0 +set-aside +0 +0 +0 B +2$/m);
    expect(stdout.toString()).toMatch(/shard 0: 2 records \(.*\) are set aside in .*\/aside\/[0-9a-f]{32}-1-\d\.jrn: /);
    expect(stdout.toString()).toMatch(/^[0-9a-f]{32} +0 +0 +2 +1$/m);
    expect(await done("consume", "t")).toBe("x\n");
    expect((await place.run(["recover"], "", env)).exitCode).toBe(0);
    expect(await done("journal", "salvage", "--append", "--yes")).toMatch(/2 records, .* are appended; it is /);
    expect(await done("consume", "t")).toBe("x\na\nb\n");
    expect(await done("journal", "salvage", "--append", "--yes")).toBe("There is nothing to do.\n");
  });

  test("an empty directory where a journal was: the loss is told, with the offsets at which it may be", async () => {
    const first = await producer(["a"]);
    await killed(first);
    await done("recover");
    await killed(await producer(["b", "c"]));
    await rm(join(place.path, "tierlog-data", "journal"), { recursive: true });
    const { exitCode, stderr } = await place.run(["produce", "t", "--json"], "d\n", env);
    expect(exitCode).toBe(0);
    expect(jsonLines(stderr)).toMatchObject([
      {
        message: expect.stringContaining("records may be lost") as string,
        mayBeLost: [{ topic: "t", partition: 0, firstOffset: 1 }],
      },
    ]);
    expect(await done("consume", "t")).toBe("a\nd\n");
  });
});

describe("an outage of the store", () => {
  test("acks go on; what could not be sent before the end is told, stays, and is sent by recover", async () => {
    const faults = new FaultScript({ seed: 1 });
    const server = await EndpointPlace.start({ faults });
    try {
      env = {
        ...JOURNALED,
        ...server.env(),
        TIERLOG_SYSTEM_STORAGE_OBJECT_REQUEST_TIMEOUT: "300ms",
        TIERLOG_SYSTEM_STORAGE_OBJECT_DEADLINE: "600ms",
        TIERLOG_SYSTEM_SHUTDOWN_TIMEOUT: "300ms",
        // A journal belongs to one store.
        TIERLOG_SYSTEM_JOURNAL_PATH: join(place.path, "journal"),
      };
      await done("topics", "create", "t", "--partitions", "1");
      const running = await producer(["a"]);
      faults.add({ fault: { kind: "refuse" } });
      await send(running, ["b", "c"], 1);
      running.child.stdin?.end();
      const { exitCode, stdout, stderr } = await running.finished;
      expect(exitCode).toBe(0);
      expect(jsonLines(stdout).map(({ level }) => level)).toEqual(["journaled", "journaled", "journaled"]);
      expect(stderr).toMatch(
        /^warning: 3 records \(.* B\) of shard 0 are in the journal and not in the store: the next process that opens /m,
      );
      expect(await journal()).toMatchObject({ live: { records: 3 } });
      faults.clear();
      expect(await done("recover")).toMatch(/^ +0 +replayed +\d+ +3 /m);
      expect(await done("consume", "t")).toBe("a\nb\nc\n");
    } finally {
      await server.close();
    }
  });
});

test("the demo compares what came through a journal of its own, and removes it", async () => {
  const [report] = jsonLines(await done("demo", "--records", "2000", "--json"));
  expect(report).toMatchObject({ records: 2000, verified: true });
  expect(await readdir(join(place.path, "tierlog-data"))).toEqual(["store"]);
  await done("demo", "--records", "2000", "--keep");
  expect((await readdir(join(place.path, "tierlog-data"))).sort()).toEqual([
    expect.stringMatching(/^demo-/),
    "journal",
    "store",
  ]);
});
