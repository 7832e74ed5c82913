import { describe, expect, test } from "vitest";

import { inspectJournal } from "../../src/journal/inspect.ts";
import { Journal } from "../../src/journal/journal.ts";
import type { JournalSettings } from "../../src/journal/options.ts";
import { seededRandom } from "../../src/runtime/random.ts";
import { SimulatedDisk, diskProblem, type DiskCall, type Interference } from "../support/simulated-disk.ts";
import { VirtualClock } from "../support/virtual-clock.ts";
import { frameOf, journalOptions, LoggerSpy, payloadOf, SETTINGS } from "./support.ts";

const DIRECTORY = "/data/0003";

interface Setting {
  readonly disk: SimulatedDisk;
  readonly journal: Journal;
  readonly logger: LoggerSpy;
  readonly clock: VirtualClock;
}

/** A journal with three frames on a disk that syncs (`dsync`: with its writes). */
async function begin({
  dsync = false,
  ...change
}: Partial<JournalSettings> & { dsync?: boolean } = {}): Promise<Setting> {
  const disk = new SimulatedDisk();
  disk.dsync = dsync;
  const logger = new LoggerSpy();
  const clock = new VirtualClock();
  const settings = { ...SETTINGS, ...change };
  const journal = await Journal.open(
    journalOptions(DIRECTORY, { fileSystem: disk, logger, clock, settings }),
    "create",
  );
  for (let i = 0; i < 3; i++) await journal.append(frameOf(i, 100));
  await settled();
  return { disk, journal, logger, clock };
}

/** Lets the background come to its end. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Answers the nth call that fits, and those after it as long as `times` lasts. */
function on(disk: SimulatedDisk, fits: (call: DiskCall) => boolean, answer: Interference, times = 1): void {
  let left = times;
  disk.interfere = (call) => (fits(call) && left-- > 0 ? answer : undefined);
}

async function sequencesAfter(disk: SimulatedDisk): Promise<number[]> {
  const journal = await Journal.open(journalOptions(DIRECTORY, { fileSystem: disk }), "create");
  const sequences = [];
  for await (const frame of journal.frames()) {
    const { baseOffset } = frame.extents[0]!;
    expect(Buffer.compare(await journal.readPayload(frame.sequence), payloadOf(baseOffset, frame.payloadBytes))).toBe(
      0,
    );
    sequences.push(frame.sequence);
  }
  await journal.close();
  return sequences;
}

const isFrameWrite = ({ call, path }: DiskCall): boolean => call === "write" && path.endsWith(".jrn");

describe("F35 fsync-eio-once", () => {
  test.each([
    ["fdatasync", false, ({ call }: DiskCall) => call === "datasync", { error: diskProblem("EIO") }],
    ["O_DSYNC write", true, isFrameWrite, { error: diskProblem("EIO"), afterBytes: 1024 }],
    ["write", false, isFrameWrite, { error: diskProblem("EIO") }],
  ] as const)(
    "%s: the frame is moved to another file, and the one that failed is never written again",
    async (_name, dsync, fits, answer) => {
      const { disk, journal, logger } = await begin({ dsync });
      on(disk, fits, answer);
      expect(await journal.append(frameOf(3, 700))).toBe(4);
      expect(await journal.append(frameOf(4, 100))).toBe(5);
      disk.interfere = () => undefined;
      const failed = `${DIRECTORY}/0000.jrn`;
      expect(logger.warnings.map(({ fields }) => fields?.["file"])).toEqual([failed]);
      expect(journal.metrics()).toMatchObject({ filesFailed: 1, liveFrames: 5 });
      // What was acknowledged did not come from a sync that said OK afterwards.
      for (let seed = 0; seed < 20; seed++)
        expect(await sequencesAfter(disk.afterPowerCut(seededRandom(seed)))).toEqual([1, 2, 3, 4, 5]);

      const writes = disk.calls.length;
      journal.free(4);
      for (let i = 5; i < 8; i++) await journal.append(frameOf(i, 100));
      await settled();
      const later = disk.calls.slice(writes).filter(({ path }) => path === failed);
      expect(later.map(({ call }) => call)).toEqual(["remove"]);
      await journal.close();
    },
  );

  test("in the second file as well: the append fails with effect unknown, and the next frame skips it", async () => {
    for (const dsync of [false, true]) {
      const { disk, journal } = await begin({ dsync });
      on(
        disk,
        dsync ? isFrameWrite : ({ call }) => call === "datasync",
        { error: diskProblem("EIO"), afterBytes: 1024 },
        2,
      );
      await expect(journal.append(frameOf(3, 700))).rejects.toMatchObject({
        code: "TIERLOG_STORAGE_IO",
        effect: "unknown",
      });
      disk.interfere = () => undefined;
      expect(journal.metrics()).toMatchObject({ filesFailed: 2, liveFrames: 3 });
      expect(await journal.append(frameOf(3, 100))).toBe(5);
      expect(await sequencesAfter(disk.afterKill())).toEqual([1, 2, 3, 5]);
      for (let seed = 0; seed < 20; seed++)
        expect(await sequencesAfter(disk.afterPowerCut(seededRandom(seed)))).toEqual([1, 2, 3, 5]);
      await journal.close();
    }
  });

  test("of a sync in the background (interval): the file is given up, counted and told; frames go on in another", async () => {
    const { disk, journal, logger, clock } = await begin({ fsync: "interval" });
    on(disk, ({ call }) => call === "datasync", { error: diskProblem("EIO") });
    clock.runNext();
    await settled();
    disk.interfere = () => undefined;
    expect(journal.metrics()).toMatchObject({ syncFailures: 1, filesFailed: 1 });
    expect(logger.warnings[0]?.fields).toMatchObject({ file: `${DIRECTORY}/0000.jrn`, frames: [1, 3] });
    for (let i = 3; i < 6; i++) await journal.append(frameOf(i, 100));
    clock.runNext();
    await settled();
    // The next file is synced, but no frame may say because of that that frames 1 to 3 are on the disk: a false alarm later.
    await journal.append(frameOf(6, 100));
    clock.runNext();
    await settled();
    for (let seed = 0; seed < 20; seed++) {
      const cut = disk.afterPowerCut(seededRandom(seed));
      expect((await sequencesAfter(cut)).length).toBeLessThanOrEqual(7);
    }
    expect(await sequencesAfter(disk.afterKill())).toEqual([1, 2, 3, 4, 5, 6, 7]);
    await journal.close();
  });

  test("a frame that is being written when such a sync fails goes to another file", async () => {
    const { disk, journal, clock } = await begin({ fsync: "interval" });
    disk.interfere = ({ call, bytes }) => {
      // The frame comes in many small writes; the sync fails between the first and the last.
      if (call === "write" && bytes === 1024) clock.runNext();
      if (call === "write") return { shortBytes: 32 };
      return call === "datasync" ? { error: diskProblem("EIO") } : undefined;
    };
    expect(await journal.append(frameOf(3, 100))).toBe(4);
    disk.interfere = () => undefined;
    expect(journal.metrics().filesFailed).toBe(1);
    const holding = (await inspectJournal(DIRECTORY, disk)).slots.filter(({ frames }) =>
      frames.some(({ sequence }) => sequence === 4),
    );
    expect(holding.map(({ slot }) => slot)).toContain(1);
    await journal.close();
  });

  test("interval syncs once for all frames of an interval; never does not sync at all before it is closed", async () => {
    const { journal, clock } = await begin({ fsync: "interval" });
    expect(journal.metrics().syncs).toBe(0);
    expect(clock.pending).toBe(1);
    clock.runNext();
    await settled();
    expect(journal.metrics().syncs).toBe(1);
    expect(clock.pending).toBe(0);
    await journal.close();

    const never = await begin({ fsync: "never" });
    for (let i = 3; i < 60; i++) await never.journal.append(frameOf(i, 600));
    const frameSyncs = (): number =>
      never.disk.calls.filter(({ call, path }) => path.endsWith(".jrn") && (call === "sync" || call === "datasync"))
        .length;
    expect(frameSyncs()).toBe(0);
    expect(never.clock.pending).toBe(0);
    await never.journal.close();
    expect(frameSyncs()).toBeGreaterThan(2);
    expect((await sequencesAfter(never.disk.afterPowerCut(seededRandom(1)))).length).toBe(60);
  });
});

describe("F36 disk-full", () => {
  test("a file that finds no room leaves nothing behind, costs no record, and is tried again", async () => {
    const disk = new SimulatedDisk();
    const full: Interference = { error: diskProblem("ENOSPC"), afterBytes: 512 };
    disk.interfere = (call) => (isFrameWrite(call) ? full : undefined);
    const journal = await Journal.open(journalOptions(DIRECTORY, { fileSystem: disk }), "create");
    for (let i = 0; i < 3; i++) {
      await expect(journal.append(frameOf(0, 100))).rejects.toMatchObject({
        code: "TIERLOG_DISK_FULL",
        effect: "none",
      });
      await settled();
      expect((await disk.list(DIRECTORY)).map(({ name }) => name)).toEqual(["MANIFEST"]);
    }
    disk.interfere = () => undefined;
    expect(await journal.append(frameOf(0, 100))).toBe(1);
    await journal.close();
    expect(disk.openFiles).toBe(0);
  });

  test("a short write is gone on with", async () => {
    const { disk, journal } = await begin({});
    on(disk, isFrameWrite, { shortBytes: 100 }, 3);
    expect(await journal.append(frameOf(3, 1000))).toBe(4);
    disk.interfere = () => undefined;
    for (let seed = 0; seed < 20; seed++)
      expect(await sequencesAfter(disk.afterPowerCut(seededRandom(seed)))).toEqual([1, 2, 3, 4]);
    await journal.close();
  });

  test("a short write, then ENOSPC: moved; without a place to move to, an error with effect unknown; reads go on", async () => {
    const { disk, journal } = await begin({});
    let writes = 0;
    disk.interfere = (call) => {
      if (!isFrameWrite(call)) return undefined;
      return writes++ === 0 ? { shortBytes: 512 } : { error: diskProblem("ENOSPC") };
    };
    await expect(journal.append(frameOf(3, 1000))).rejects.toMatchObject({
      code: "TIERLOG_DISK_FULL",
      effect: "unknown",
    });
    expect(Buffer.compare(await journal.readPayload(2), payloadOf(1, 100))).toBe(0);
    disk.interfere = () => undefined;
    expect(await journal.append(frameOf(3, 100))).toBe(5);
    expect(await sequencesAfter(disk.afterKill())).toEqual([1, 2, 3, 5]);
    await journal.close();
  });

  test("an overwrite that finds no room has no effect, and takes no sequence", async () => {
    const { disk, journal } = await begin({});
    disk.interfere = (call) => (isFrameWrite(call) ? { error: diskProblem("ENOSPC") } : undefined);
    await expect(journal.append(frameOf(3, 1000))).rejects.toMatchObject({ code: "TIERLOG_DISK_FULL", effect: "none" });
    disk.interfere = () => undefined;
    expect(await journal.append(frameOf(3, 100))).toBe(4);
    await journal.close();
  });

  test("full below max_size: no room until frames are freed", async () => {
    const { journal } = await begin({ maxSizeBytes: 2 * SETTINGS.fileSizeBytes });
    let offset = 3;
    while (journal.hasRoom(1, 3000)) await journal.append(frameOf(offset++, 3000));
    await expect(journal.append(frameOf(offset, 3000))).rejects.toMatchObject({ code: "TIERLOG_INVARIANT" });
    expect(journal.metrics().usedBytes).toBe(2 * SETTINGS.fileSizeBytes);
    journal.free(journal.metrics().liveFrames - 1);
    expect(journal.hasRoom(1, 3000)).toBe(true);
    for (let i = 0; i < 40; i++) {
      const sequence = await journal.append(frameOf(offset++, 3000));
      journal.free(sequence - 1);
    }
    expect(journal.metrics()).toMatchObject({ files: 2, filesCreated: 2 });
    await journal.close();
  });
});

describe("F37 emfile", () => {
  test("whatever goes on at a time, few files are open", async () => {
    const { disk, journal } = await begin({ maxSizeBytes: 20 * SETTINGS.fileSizeBytes });
    const sizes = new Map<number, number>();
    for (let i = 0; i < 110; i++) sizes.set(await journal.append(frameOf(i, 2000)), i);
    await Promise.all([
      journal.append(frameOf(200, 2000)),
      journal.setAside(20),
      journal.recordFence("00".repeat(16)),
      ...[...sizes].map(async ([sequence]) => journal.readPayload(sequence).catch(() => undefined)),
    ]);
    expect(journal.metrics().files).toBeGreaterThan(15);
    expect(disk.openFilesMax).toBeLessThanOrEqual(13);
    await journal.close();
    expect(disk.openFiles).toBe(0);
  });

  test("EMFILE costs one append, and no file", async () => {
    const { disk, journal } = await begin({ maxSizeBytes: 2 * SETTINGS.fileSizeBytes });
    await journal.close();
    const again = await Journal.open(journalOptions(DIRECTORY, { fileSystem: disk }), "create");
    on(disk, ({ call }) => call === "open", { error: diskProblem("EMFILE") });
    await expect(again.append(frameOf(3, 100))).rejects.toMatchObject({ code: "TIERLOG_STORAGE_IO", effect: "none" });
    expect(await again.append(frameOf(3, 100))).toBe(4);
    expect(again.metrics().filesFailed).toBe(0);
    await again.close();
  });
});
