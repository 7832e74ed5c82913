import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import type { ShardId } from "../../src/domain.ts";
import { JournalDirectory } from "../../src/journal/journal-directory.ts";
import { Journal } from "../../src/journal/journal.ts";
import { systemRuntime } from "../../src/runtime/runtime.ts";
import { BatchMaker } from "../support/frames.ts";
import { jsonLines, Workplace } from "./tierlog.ts";

const MIB = 1024 * 1024;
const SHARD = 0 as ShardId;
const SETTINGS = {
  fileSizeBytes: 4 * MIB,
  maxSizeBytes: 64 * MIB,
  fsync: "always",
  fsyncIntervalMs: 100,
  oDirect: false,
} as const;
/** Within the directory of a frame that begins at 0. */
const IN_FIRST_FRAME = 150;

let place: Workplace;
let maker: BatchMaker;
let storeId: string;
let topicId: string;
beforeEach(async () => {
  place = await Workplace.make();
  maker = new BatchMaker();
  topicId = await createTopic("events");
  const [store] = jsonLines(await place.done(["stores", "describe", "/", "--json"]));
  storeId = String(store?.["storeId"]);
});
afterEach(async () => {
  await maker.close();
  await place.remove();
});

async function createTopic(name: string): Promise<string> {
  const [topic] = jsonLines(await place.done(["topics", "create", name, "--partitions", "2", "--json"]));
  return String(topic?.["id"]);
}

const journalPath = (...names: string[]): string => join(place.path, "tierlog-data", "journal", ...names);
const firstSlot = (): string => journalPath("0000", "0000.jrn");

/** Opens the journal as a process would that has it for itself. */
async function withJournal(use: (journal: Journal) => Promise<void>, store = storeId): Promise<void> {
  const { fileSystem } = systemRuntime;
  const directory = await JournalDirectory.open({ path: journalPath(), storeId: store, fileSystem, create: true });
  if (directory === undefined) throw new Error("no directory");
  const journal = await Journal.open(
    { ...systemRuntime, directory: directory.shardPath(SHARD), shard: SHARD, settings: SETTINGS },
    "create",
  );
  try {
    await use(journal);
  } finally {
    await journal.close();
    await directory.close();
  }
}

/** Frames with one record each in partition 1, one behind the other in time but not in offsets. */
async function appendFrames(journal: Journal, ...records: string[]): Promise<void> {
  for (const [i, record] of records.entries()) {
    await journal.append(await maker.frame(i + 1, [{ topicId, partition: 1, appends: [[record]] }]));
  }
}

async function flip(file: string, position: number): Promise<void> {
  const bytes = await readFile(file);
  bytes[position] = (bytes[position] ?? 0) ^ 0xff;
  await writeFile(file, bytes);
}

interface Inspected {
  readonly live: { readonly frames: number; readonly records: number };
  readonly tornTail?: unknown;
  readonly damage: readonly unknown[];
  readonly problems: readonly string[];
  readonly aside: readonly { readonly file: string; readonly records: number }[];
}

async function inspected(): Promise<Inspected> {
  const [found] = jsonLines(await place.done(["journal", "inspect", "--json"]));
  const [journal] = (found as unknown as { journals: Inspected[] }).journals;
  if (journal === undefined) throw new Error("no journal");
  return journal;
}

const text = async (...argv: string[]): Promise<string> => (await place.done(argv)).toString();

/** Names and bytes of all files of the journal. */
async function contents(): Promise<string> {
  const names = await readdir(journalPath(), { recursive: true, withFileTypes: true });
  const files = names.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const bytes = await Promise.all(files.sort().map(async (file) => [file, (await readFile(file)).toString("latin1")]));
  return JSON.stringify(bytes);
}

describe("journal inspect", () => {
  test.each([
    [["journal", "inspect"], "a journal in "],
    [["journal", "inspect", "--shard", "3"], "a journal of shard 3 in "],
    [["journal", "salvage"], "a journal in "],
  ])("%j where there is none", async (argv, problem) => {
    const { exitCode, stdout, stderr } = await place.run(argv);
    expect([exitCode, stdout.toString()]).toEqual([66, ""]);
    expect(stderr).toContain(`tierlog: ${problem}${journalPath()} does not exist`);
  });

  test("shows what is not uploaded, also beside the process that writes it, and changes nothing", async () => {
    await withJournal(async (journal) => {
      await appendFrames(journal, "a", "b");
      await journal.append(
        await maker.frame(3, [
          { topicId, partition: 0, appends: [["c", "d"], ["e"]] },
          { topicId, partition: 1, appends: [["f"]] },
        ]),
      );
      expect(await inspected()).toMatchObject({ live: { frames: 3, records: 6 }, damage: [], aside: [] });
      const shown = await text("journal", "inspect");
      expect(shown).toMatch(/^not uploaded +6 records, .* in 3 frames$/m);
      expect(shown).toMatch(/^ +0 +1 +4\.0 MiB +1\.5 KiB +3 +3 +1 +3$/m);
      expect(shown).toMatch(/^damaged +nothing$/m);
    });
    const before = await contents();
    expect((await place.run(["journal", "inspect", "--shard", "1"])).exitCode).toBe(66);
    expect(await text("journal", "inspect", "--shard", "0")).toMatch(/^not uploaded +6 records/m);
    expect(await contents()).toBe(before);
  });

  test("tells a torn tail from damage", async () => {
    await withJournal((journal) => appendFrames(journal, "a", "b"));
    const whole = await readFile(firstSlot());
    const second = whole.indexOf("TLJF", 1);
    await flip(firstSlot(), second + IN_FIRST_FRAME);
    expect(await inspected()).toMatchObject({ live: { frames: 1 }, tornTail: { position: second }, damage: [] });
    expect(await text("journal", "inspect")).toMatch(
      /^the last write did not come to the disk whole: .* do not count/m,
    );

    await writeFile(firstSlot(), whole);
    await flip(firstSlot(), IN_FIRST_FRAME);
    const found = await inspected();
    expect(found.damage).toMatchObject([{ file: firstSlot(), position: 0 }]);
    expect(await text("journal", "inspect")).toMatch(/^tierlog journal salvage shows what can be saved$/m);
  });
});

describe("journal salvage", () => {
  test("says what it would do, and does nothing without --yes", async () => {
    await withJournal((journal) => appendFrames(journal, "a", "b", "c"));
    expect(await text("journal", "salvage")).toBe("There is nothing to do.\n");
    await flip(firstSlot(), IN_FIRST_FRAME);
    const before = await contents();
    const shown = await text("journal", "salvage");
    expect(shown).toContain(`shard 0 cannot be opened: ${firstSlot()} at byte 0: `);
    expect(shown).toContain(`\nit would be cut at the first of\n  ${firstSlot()}, byte 0: frame 1: `);
    expect(shown).toMatch(/\nNothing was done: --yes does it\.\n$/);
    expect(jsonLines(await place.done(["journal", "salvage", "--json"]))).toMatchObject([
      { done: false, broken: [{ shard: 0, cut: true, damage: [{ position: 0 }] }], append: [] },
    ]);
    expect(await contents()).toBe(before);
  });

  test("cuts a damaged journal, and appends what stood behind the damage as new records, once", async () => {
    await place.done(["produce", "events", "--partition", "1"], "before\n");
    await withJournal((journal) => appendFrames(journal, "a", "b", "c"));
    await flip(firstSlot(), IN_FIRST_FRAME);
    expect(await text("journal", "salvage", "--yes")).toMatch(
      /^shard 0 is cut: 2 records \(.*\) that stood behind the damage are in .*\/aside\/[0-9a-f]{32}-2-3\.jrn\n$/,
    );
    const { aside, problems } = await inspected();
    expect(problems).toEqual([]);
    expect(aside).toMatchObject([{ records: 2 }]);
    expect(await text("consume", "events")).toBe("before\n");

    const plan = await text("journal", "salvage", "--append");
    expect(plan).toContain("2 records");
    expect(plan).toContain("would be appended");
    const name = String(aside[0]?.file).split("/").at(-1) ?? "";
    const [done] = jsonLines(await place.done(["journal", "salvage", "--append", "--file", name, "--yes", "--json"]));
    expect(done).toMatchObject({
      done: true,
      cuts: [],
      appended: [{ records: 2, skipped: [], partitions: [{ topicId, partition: 1, firstOffset: 1, nextOffset: 3 }] }],
    });
    expect(await text("consume", "events", "--partition", "1")).toBe("before\nb\nc\n");
    expect(await readdir(journalPath("0000", "aside"))).toEqual([`${name}.done`]);
    expect(await text("journal", "salvage", "--append", "--yes")).toBe("There is nothing to do.\n");
    expect(await text("consume", "events", "--partition", "1")).toBe("before\nb\nc\n");
  });

  test("appends what a recovery set aside; a topic that is gone is named, and its records stay in the file", async () => {
    const gone = await createTopic("gone");
    await withJournal(async (journal) => {
      await journal.append(
        await maker.frame(1, [
          { topicId, partition: 0, appends: [["a"]] },
          { topicId: gone, partition: 0, appends: [["x", "y"]] },
        ]),
      );
      await journal.setAside(1);
    });
    await place.done(["topics", "delete", "gone"]);
    expect(await text("journal", "salvage")).toMatch(/: 3 records are set aside; --append would append them\n/);
    const told = await text("journal", "salvage", "--append", "--yes");
    expect(told).toMatch(/: 1 records, .* are appended; it is .*\.jrn\.done now\n/);
    expect(told).toMatch(/^events +0 +0 +1 +1$/m);
    expect(told).toMatch(new RegExp(`left out, their topics are gone:\nTOPIC.*\n${gone} +0 +0 +2 +1\n$`));
    expect(await text("consume", "events")).toBe("a\n");
  });

  test("leaves a file alone of which nothing can be appended", async () => {
    await withJournal(async (journal) => {
      await appendFrames(journal, "a");
      await journal.setAside(1);
    });
    await place.done(["topics", "delete", "events"]);
    const before = await readdir(journalPath("0000", "aside"));
    expect(await text("journal", "salvage", "--append", "--yes")).toMatch(/: nothing was appended\nleft out/);
    expect(await readdir(journalPath("0000", "aside"))).toEqual(before);
  });

  test("needs the journal for itself, and says who has it", async () => {
    await withJournal((journal) => appendFrames(journal, "a", "b"));
    await flip(firstSlot(), IN_FIRST_FRAME);
    const { fileSystem } = systemRuntime;
    const holder = await JournalDirectory.open({ path: journalPath(), storeId, fileSystem, create: false });
    const before = await contents();
    const { exitCode, stderr } = await place.run(["journal", "salvage", "--yes", "--json"]);
    expect(exitCode).toBe(75);
    expect(jsonLines(stderr).at(-1)).toMatchObject({
      error: { code: "TIERLOG_LOCK_HELD", path: journalPath(), holder: { pid: process.pid } },
    });
    expect(await contents()).toBe(before);
    await holder?.close();
    await place.done(["journal", "salvage", "--yes"]);
  });

  test("refuses the journal of another store", async () => {
    await withJournal((journal) => appendFrames(journal, "a", "b"), "0123456789abcdef0123456789abcdef");
    await flip(firstSlot(), IN_FIRST_FRAME);
    const { exitCode, stderr } = await place.run(["journal", "salvage", "--yes"]);
    expect(exitCode).toBe(78);
    expect(stderr).toContain("system.journal.path");
  });

  test.each([
    [["--file", "x.jrn"], 64, "--file: names what --append appends: it is missing"],
    [["--append", "--file", "x.jrn"], 66, "file x.jrn among those set aside does not exist"],
    [["--shard", "10000"], 64, '--shard: "10000" is not a whole number 0 … 9999'],
  ])("%j ends with %d", async (flags, exitCode, problem) => {
    await withJournal((journal) => appendFrames(journal, "a"));
    const finished = await place.run(["journal", "salvage", ...flags]);
    expect(finished.exitCode).toBe(exitCode);
    expect(finished.stderr).toContain(problem);
  });
});
