import { expect, test } from "vitest";

import { readAside } from "../../src/journal/aside.ts";
import { inspectJournal } from "../../src/journal/inspect.ts";
import { Journal } from "../../src/journal/journal.ts";
import type { JournalSettings } from "../../src/journal/options.ts";
import { seededRandom, type Random } from "../../src/runtime/random.ts";
import { SimulatedDisk } from "../support/simulated-disk.ts";
import { VirtualClock } from "../support/virtual-clock.ts";
import { frameOf, journalOptions, payloadOf, SETTINGS } from "./support.ts";

const HISTORIES = Number(process.env["TIERLOG_TEST_JOURNAL_HISTORIES"] ?? 100);
const DIRECTORY = "/data/0003";
const CHANGES = ["open", "write", "datasync", "sync", "rename", "remove", "syncDirectory", "makeDirectory"];

/** What was asked of the journal and what it promised. The base offset of a frame tells which append it was. */
class Promised {
  nextOffset = 0;
  /** Acknowledged and not freed: base offset by sequence. */
  readonly live = new Map<number, number>();
  readonly freed = new Map<number, number>();
  readonly aside = new Map<number, number>();
  /** Appends that were under way when the process died. */
  readonly doubtful = new Set<number>();
  fences: string[] = [];
  journalId: string | undefined;

  move(through: number, to: Map<number, number>): void {
    for (const [sequence, offset] of this.live) {
      if (sequence > through) continue;
      this.live.delete(sequence);
      to.set(sequence, offset);
    }
  }
}

interface Recovery {
  /** Acknowledged frames that are gone. */
  readonly lost: number;
  readonly reported: boolean;
}

/** Several lives of one journal, each ended by a power cut or a kill somewhere. */
async function history(seed: number, settings: JournalSettings): Promise<Recovery[]> {
  const random = seededRandom(seed);
  const promised = new Promised();
  const recoveries: Recovery[] = [];
  let disk = new SimulatedDisk();
  disk.dsync = random.float() < 0.5;
  for (let life = 0; life < 4; life++) {
    await live(disk, random, settings, promised);
    const powerCut = random.float() < 0.8;
    disk = powerCut ? disk.afterPowerCut(random) : disk.afterKill();
    const recovery = await recover(disk, random, settings, promised);
    expect({ life, lostInKill: powerCut ? 0 : recovery.lost }).toEqual({ life, lostInKill: 0 });
    recoveries.push(recovery);
  }
  return recoveries;
}

/** Works until the crash, or until it has worked enough. */
async function live(disk: SimulatedDisk, random: Random, settings: JournalSettings, promised: Promised): Promise<void> {
  const clock = new VirtualClock();
  let changesLeft = Math.floor(random.float() * 200);
  disk.interfere = ({ call }) => {
    if (CHANGES.includes(call) && changesLeft-- === 0) disk.crash();
    return undefined;
  };
  try {
    const options = journalOptions(DIRECTORY, { fileSystem: disk, clock, random, settings });
    const journal = await Journal.open(options, "create");
    promised.journalId ??= journal.journalId;
    for (let step = 0; step < 60; step++) await act(journal, clock, random, promised);
    if (random.float() < 0.5) await journal.close();
  } catch (error) {
    if (!disk.crashed) throw error;
  }
  disk.crash();
  // What goes on in the background sees the crash as well.
  await new Promise((resolve) => setImmediate(resolve));
}

async function act(journal: Journal, clock: VirtualClock, random: Random, promised: Promised): Promise<void> {
  const dice = random.float();
  const sequences = [...promised.live.keys()];
  const picked = sequences[Math.floor(random.float() * sequences.length)] ?? 0;
  const bytes = Math.floor(random.float() ** 2 * 6000);
  if (dice < 0.75 && journal.hasRoom(1, bytes)) {
    const offset = promised.nextOffset++;
    promised.doubtful.add(offset);
    const sequence = await journal.append(frameOf(offset, bytes));
    promised.doubtful.delete(offset);
    promised.live.set(sequence, offset);
  } else if (dice < 0.88) {
    promised.move(picked, promised.freed);
    journal.free(picked);
  } else if (dice < 0.93) {
    clock.runNext();
    await Promise.resolve();
  } else if (dice < 0.96) {
    // Until it has resolved, a frame may be in either place, or in both.
    await journal.setAside(picked);
    promised.move(picked, promised.aside);
  } else {
    const writeId = Buffer.from(random.bytes(16)).toString("hex");
    await journal.recordFence(writeId);
    promised.fences.push(writeId);
  }
}

async function recover(
  disk: SimulatedDisk,
  random: Random,
  settings: JournalSettings,
  promised: Promised,
): Promise<Recovery> {
  const before = await inspectJournal(DIRECTORY, disk);
  const options = journalOptions(DIRECTORY, { fileSystem: disk, clock: new VirtualClock(), random, settings });
  const journal = await Journal.open(options, "existing");
  const aside = new Map<number, number>();
  for (const { file, problem } of before.aside) {
    expect(problem).toBe(undefined);
    for await (const { frame, payload } of readAside(file, disk)) {
      const offset = frame.extents[0]!.baseOffset;
      expect(Buffer.compare(payload, payloadOf(offset, frame.payloadBytes))).toBe(0);
      aside.set(frame.sequence, offset);
    }
  }
  const found = new Map<number, number>();
  for await (const frame of journal?.frames() ?? []) {
    const offset = frame.extents[0]!.baseOffset;
    const payload = await journal!.readPayload(frame.sequence);
    expect(Buffer.compare(payload, payloadOf(offset, frame.payloadBytes))).toBe(0);
    found.set(frame.sequence, offset);
  }

  // Nothing is there that was not appended, and nothing twice.
  for (const [sequence, offset] of found) {
    const known = promised.live.get(sequence) ?? promised.freed.get(sequence) ?? promised.aside.get(sequence);
    expect(known === offset || promised.doubtful.has(offset)).toBe(true);
  }
  expect(new Set(found.values()).size).toBe(found.size);
  for (const [sequence, offset] of promised.aside) expect([sequence, aside.get(sequence)]).toEqual([sequence, offset]);
  for (const writeId of promised.fences) expect(journal?.knowsFence(writeId)).toBe(true);
  if (promised.journalId !== undefined) expect(journal?.journalId).toBe(promised.journalId);

  // What is lost is a suffix.
  const kept = [...promised.live].map(([sequence, offset]) => (found.get(sequence) ?? aside.get(sequence)) === offset);
  const lost = kept.filter((there) => !there).length;
  expect(kept.lastIndexOf(true) + 1).toBe(kept.length - lost);
  // Whole frames that a recovery drops are always told.
  const whole = before.slots.flatMap((slot) => slot.frames).filter((frame) => frame.whole && !frame.live);
  const reported = journal?.opened.tornTail !== undefined;
  const last = [...found.keys()].at(-1) ?? before.freedThrough;
  if (whole.some((frame) => frame.sequence > last)) expect(reported).toBe(true);

  // The next life starts from what this one found.
  const lostOffsets = [...promised.live].filter((_, i) => kept[i] === false);
  for (const [sequence] of lostOffsets) promised.live.delete(sequence);
  for (const [sequence, offset] of aside) {
    promised.live.delete(sequence);
    promised.aside.set(sequence, offset);
  }
  promised.live.clear();
  for (const [sequence, offset] of found) promised.live.set(sequence, offset);
  promised.freed.clear();
  promised.journalId ??= journal?.journalId;
  await journal?.close();
  return { lost, reported };
}

test("a file is not used again before the disk knows that its frames are freed", async () => {
  for (let cut = 0; cut < 12; cut++) {
    const disk = new SimulatedDisk();
    const settings = { ...SETTINGS, maxSizeBytes: 2 * SETTINGS.fileSizeBytes };
    const options = journalOptions(DIRECTORY, { fileSystem: disk, settings });
    const journal = await Journal.open(options, "create");
    let last = 0;
    for (let i = 0; journal.hasRoom(1, 2000); i++) last = await journal.append(frameOf(i, 2000));
    // Nothing is written between this and the frame that overwrites the first file.
    journal.free(last - 1);
    const before = disk.calls.length;
    disk.interfere = () => {
      if (disk.calls.length - before > cut) disk.crash();
      return undefined;
    };
    await journal.append(frameOf(last, 6000)).catch(() => undefined);
    disk.crash();
    for (let seed = 0; seed < 10; seed++) {
      const after = disk.afterPowerCut(seededRandom(seed));
      const again = await Journal.open({ ...options, fileSystem: after }, "create");
      const found = [];
      for await (const { sequence } of again.frames()) found.push(sequence);
      expect({ cut, seed, found: found.includes(last) }).toEqual({ cut, seed, found: true });
    }
  }
});

test("frames of a process that was killed are on the disk once the next one has opened the journal", async () => {
  const disk = new SimulatedDisk();
  disk.dsync = false;
  const options = journalOptions(DIRECTORY, { fileSystem: disk });
  const journal = await Journal.open(options, "create");
  await journal.append(frameOf(0, 100));
  await new Promise((resolve) => setImmediate(resolve));
  disk.interfere = ({ call }) => {
    if (call === "datasync") disk.crash();
    return undefined;
  };
  await expect(journal.append(frameOf(1, 100))).rejects.toMatchObject({ code: "TIERLOG_STORAGE_IO" });
  const killed = disk.afterKill();
  const again = await Journal.open({ ...options, fileSystem: killed }, "create");
  expect(again.opened.frames).toBe(2);
  for (let seed = 0; seed < 20; seed++) {
    const cut = await Journal.open({ ...options, fileSystem: killed.afterPowerCut(seededRandom(seed)) }, "create");
    expect(cut.opened.frames).toBe(2);
  }
});

test(`F32 power-loss-unsynced: what was acknowledged under fsync = "always" is there after any power cut`, async () => {
  for (let seed = 1; seed <= HISTORIES; seed++) {
    const recoveries = await history(seed, SETTINGS).catch((error: unknown) => {
      throw new Error(`seed ${seed}`, { cause: error });
    });
    expect({ seed, lost: recoveries.map(({ lost }) => lost) }).toEqual({ seed, lost: [0, 0, 0, 0] });
  }
});

test.each(["interval", "never"] as const)(
  `F32 power-loss-unsynced: under fsync = "%s" only a suffix is lost, and it is told`,
  async (fsync) => {
    let lossesReported = 0;
    for (let seed = 1; seed <= HISTORIES; seed++) {
      const recoveries = await history(seed, { ...SETTINGS, fsync }).catch((error: unknown) => {
        throw new Error(`seed ${seed}`, { cause: error });
      });
      lossesReported += recoveries.filter(({ lost, reported }) => lost > 0 && reported).length;
    }
    expect(lossesReported).toBeGreaterThan(HISTORIES / 10);
  },
);
