import { describe, expect, test } from "vitest";

import { readAside } from "../../src/journal/aside.ts";
import { cutDamage } from "../../src/journal/cut-damage.ts";
import { inspectJournal } from "../../src/journal/inspect.ts";
import { JournalDirectory } from "../../src/journal/journal-directory.ts";
import { Journal } from "../../src/journal/journal.ts";
import { seededRandom } from "../../src/runtime/random.ts";
import { SimulatedDisk } from "../support/simulated-disk.ts";
import { frameOf, journalOptions } from "./support.ts";

const DIRECTORY = "/data/0003";
const FENCE = "ab".repeat(16);

/** A disk with six live frames, synced, whose journal is not open. */
async function withFrames(): Promise<SimulatedDisk> {
  const disk = new SimulatedDisk();
  const journal = await Journal.open(journalOptions(DIRECTORY, { fileSystem: disk }), "create");
  await journal.recordFence(FENCE);
  for (let i = 0; i < 6; i++) await journal.append(frameOf(i, 100));
  await new Promise((resolve) => setImmediate(resolve));
  return disk.afterKill();
}

interface Left {
  readonly live: readonly number[];
  readonly aside: readonly number[];
}

async function leftOn(disk: SimulatedDisk): Promise<Left> {
  const journal = await Journal.open(journalOptions(DIRECTORY, { fileSystem: disk }), "create");
  const live = [];
  for await (const { sequence } of journal.frames()) live.push(sequence);
  await journal.close();
  const aside = [];
  for (const { file } of (await inspectJournal(DIRECTORY, disk)).aside) {
    for await (const { frame } of readAside(file, disk)) aside.push(frame.sequence);
  }
  return { live, aside };
}

/**
 * Runs `work` on a fresh disk again and again, cut off before its first change of the disk, its second, and so on, until it comes
 * through; after each cut (of the process, or of the power in several ways) `check` looks at the disk.
 */
async function cutEverywhere(
  start: () => Promise<SimulatedDisk>,
  work: (disk: SimulatedDisk) => Promise<unknown>,
  check: (disk: SimulatedDisk, cut: string) => Promise<void>,
): Promise<number> {
  for (let cut = 0; ; cut++) {
    const disk = await start();
    const before = disk.calls.length;
    disk.interfere = () => {
      if (disk.calls.length - before > cut) disk.crash();
      return undefined;
    };
    const done = await work(disk).then(
      () => true,
      (error: unknown) => {
        if (!disk.crashed) throw error;
        return false;
      },
    );
    if (done && !disk.crashed) return cut;
    await check(disk.afterKill(), `killed at ${cut}`);
    for (let seed = 0; seed < 8; seed++) {
      await check(disk.afterPowerCut(seededRandom(seed)), `power cut ${seed} at ${cut}`);
    }
  }
}

async function onJournal(disk: SimulatedDisk, use: (journal: Journal) => Promise<unknown>): Promise<void> {
  const journal = await Journal.open(journalOptions(DIRECTORY, { fileSystem: disk }), "create");
  await use(journal);
}

describe("I7: cut off anywhere and run again, it has the same result", () => {
  test("setAside", async () => {
    const setAside = (disk: SimulatedDisk): Promise<void> => onJournal(disk, (journal) => journal.setAside(4));
    const cuts = await cutEverywhere(withFrames, setAside, async (disk, cut) => {
      const between = await leftOn(disk);
      // Frames may be in both places then, never in none.
      expect({ cut, there: [...new Set([...between.live, ...between.aside])].sort((a, b) => a - b) }).toEqual({
        cut,
        there: [1, 2, 3, 4, 5, 6],
      });
      await setAside(disk);
      expect({ cut, ...(await leftOn(disk)) }).toEqual({ cut, live: [5, 6], aside: [1, 2, 3, 4] });
    });
    expect(cuts).toBeGreaterThan(10);
  });

  test("setAside of more frames than the one that was cut off", async () => {
    const cuts = await cutEverywhere(
      withFrames,
      (disk) => onJournal(disk, (journal) => journal.setAside(3)),
      async (disk, cut) => {
        await onJournal(disk, (journal) => journal.setAside(5));
        const { live, aside } = await leftOn(disk);
        expect({ cut, live, aside }).toEqual({ cut, live: [6], aside: [1, 2, 3, 4, 5] });
      },
    );
    expect(cuts).toBeGreaterThan(10);
  });

  test("renewId", async () => {
    const start = await withFrames();
    const { manifest } = await inspectJournal(DIRECTORY, start);
    const cuts = await cutEverywhere(
      async () => start.afterKill(),
      (disk) => onJournal(disk, (journal) => journal.renewId()),
      async (disk, cut) => {
        await onJournal(disk, async (journal) => {
          // The old id with its fences, or a new one without.
          expect({ cut, known: journal.knowsFence(FENCE) }).toEqual({
            cut,
            known: journal.journalId === manifest?.journalId,
          });
          await journal.renewId();
          expect(journal.journalId).not.toBe(manifest?.journalId);
          expect(journal.knowsFence(FENCE)).toBe(false);
        });
        expect({ cut, ...(await leftOn(disk)) }).toEqual({ cut, live: [1, 2, 3, 4, 5, 6], aside: [] });
      },
    );
    expect(cuts).toBeGreaterThan(5);
  });

  test("a cut of damage", async () => {
    const start = await withFrames();
    start.flip(`${DIRECTORY}/0000.jrn`, 2 * 512 + 200);
    const cut = (disk: SimulatedDisk): Promise<unknown> => cutDamage(journalOptions(DIRECTORY, { fileSystem: disk }));
    const cuts = await cutEverywhere(
      async () => start.afterKill(),
      cut,
      async (disk, where) => {
        await cut(disk);
        expect({ where, ...(await leftOn(disk)) }).toEqual({ where, live: [1, 2], aside: [4, 5, 6] });
      },
    );
    expect(cuts).toBeGreaterThan(10);
  });
});

describe("F38 rename-lost-on-crash", () => {
  test("the making of a journal, cut off at every step: it is made again", async () => {
    const create = async (disk: SimulatedDisk): Promise<void> => {
      const directory = await JournalDirectory.open({ path: "/data", storeId: "s", fileSystem: disk, create: true });
      await onJournal(disk, (journal) => journal.append(frameOf(0, 100)));
      await directory?.close();
    };
    const cuts = await cutEverywhere(
      async () => new SimulatedDisk(),
      create,
      async (disk, cut) => {
        await create(disk);
        const { live } = await leftOn(disk);
        expect({ cut, last: live.length === 1 || live.length === 2 }).toEqual({ cut, last: true });
      },
    );
    expect(cuts).toBeGreaterThan(15);
  });

  test("the replacing of a manifest: the old or the new one is found, whole", async () => {
    const other = "cd".repeat(16);
    const cuts = await cutEverywhere(
      withFrames,
      (disk) => onJournal(disk, (journal) => journal.recordFence(other)),
      async (disk) => {
        const { manifest, problems } = await inspectJournal(DIRECTORY, disk);
        expect(problems).toEqual([]);
        expect([[FENCE], [FENCE, other]]).toContainEqual(manifest?.fences);
      },
    );
    expect(cuts).toBeGreaterThan(5);
  });
});
