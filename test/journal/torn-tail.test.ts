import { describe, expect, test } from "vitest";

import { readAside } from "../../src/journal/aside.ts";
import { cutDamage } from "../../src/journal/cut-damage.ts";
import { inspectJournal } from "../../src/journal/inspect.ts";
import { Journal } from "../../src/journal/journal.ts";
import { SimulatedDisk } from "../support/simulated-disk.ts";
import { frameOf, journalOptions, LoggerSpy, payloadOf, SETTINGS, TOPIC } from "./support.ts";

const DIRECTORY = "/data/0003";
const FIRST = `${DIRECTORY}/0000.jrn`;

/** A journal that was killed after so many frames of 100 bytes, one sector and a mark each. */
async function killedAfter(frames: number, use: (journal: Journal) => void = () => undefined): Promise<SimulatedDisk> {
  const disk = new SimulatedDisk();
  const journal = await Journal.open(journalOptions(DIRECTORY, { fileSystem: disk }), "create");
  for (let i = 0; i < frames; i++) await journal.append(frameOf(i, 100));
  use(journal);
  await new Promise((resolve) => setImmediate(resolve));
  return disk.afterKill();
}

async function sequencesOf(journal: Journal): Promise<number[]> {
  const sequences = [];
  for await (const frame of journal.frames()) {
    expect(
      Buffer.compare(await journal.readPayload(frame.sequence), payloadOf(frame.extents[0]!.baseOffset, 100)),
    ).toBe(0);
    sequences.push(frame.sequence);
  }
  return sequences;
}

/** Bytes that the CRCs of a frame of 100 bytes and its end mark cover; the padding behind either means nothing. */
const FRAME_BYTES = 128 + 52 + 100;
const MARK_AT = 512;
const MARK_BYTES = 40;

describe("F33 torn-tail", () => {
  const changes: [string, (bytes: Buffer, at: number) => void][] = [
    ["cut", (bytes, at) => bytes.fill(0, at)],
    ["flipped", (bytes, at) => (bytes[at]! ^= 0x10)],
  ];

  test.each(changes)(
    "the last frame %s at every byte: the frames before it are there, and it is told",
    async (name, change) => {
      const disk = await killedAfter(3);
      const start = 2 * 512;
      const whole = Buffer.from(disk.bytesOf(FIRST));
      for (let at = 0; at < MARK_AT + MARK_BYTES; at++) {
        if (at >= FRAME_BYTES && at < MARK_AT && name === "flipped") continue;
        const torn = disk.afterKill();
        change(torn.bytesOf(FIRST), start + at);
        const logger = new LoggerSpy();
        const journal = await Journal.open(journalOptions(DIRECTORY, { fileSystem: torn, logger }), "create");
        // A cut in the padding or in the end mark leaves the frame whole, and the tail torn behind it.
        const kept = name === "cut" ? at >= FRAME_BYTES : at >= MARK_AT;
        expect({ at, sequences: await sequencesOf(journal) }).toEqual({ at, sequences: kept ? [1, 2, 3] : [1, 2] });
        const { tornTail } = journal.opened;
        expect({ at, file: tornTail?.file, position: tornTail?.position }).toEqual({
          at,
          file: FIRST,
          position: kept ? start + 512 : start,
        });
        expect(tornTail!.lengthBytes).toBeGreaterThan(0);
        expect(logger.warnings.map(({ fields }) => fields?.["position"])).toEqual([tornTail!.position]);
        // The header is readable, and so is what it held, once the cut lies behind both.
        const directoryReadable = !kept && at >= 128 + 52;
        expect(tornTail!.partitions).toEqual(
          directoryReadable ? [{ topicId: TOPIC, partition: 5, firstOffset: 2, nextOffset: 3, epochs: [7] }] : [],
        );
        // It goes on in another file, and is clean then.
        const next = await journal.append(frameOf(9, 100));
        await journal.close();
        const again = await Journal.open(journalOptions(DIRECTORY, { fileSystem: torn }), "create");
        expect(await sequencesOf(again)).toEqual(kept ? [1, 2, 3, next] : [1, 2, next]);
        expect(again.opened.tornTail).toBe(undefined);
        await again.close();
        expect(whole.length).toBe(torn.bytesOf(FIRST).length);
      }
    },
  );

  test("in a file that is used again, frames of its earlier use are never taken for new ones", async () => {
    const disk = new SimulatedDisk();
    const settings = { ...SETTINGS, maxSizeBytes: 2 * SETTINGS.fileSizeBytes };
    const options = journalOptions(DIRECTORY, { fileSystem: disk, settings });
    const journal = await Journal.open(options, "create");
    let sequence = 0;
    // Both files are full of frames of one sector; then the first is begun again.
    for (let i = 0; i < 2 * 32 + 3; i++) {
      if (sequence > 0) journal.free(sequence - 1);
      sequence = await journal.append(frameOf(i, 100));
    }
    expect(journal.metrics().filesRecycled).toBeGreaterThan(0);
    const killed = disk.afterKill();
    for (let at = 0; at < FRAME_BYTES; at++) {
      const torn = killed.afterKill();
      const file = torn.bytesOf(FIRST);
      file.fill(0, 2 * 512 + at, 3 * 512);
      const again = await Journal.open({ ...options, fileSystem: torn }, "create");
      const sequences = await sequencesOf(again);
      expect(sequences.at(-1)).toBe(sequence - 1);
      // Only the torn frame says that the one before the last was freed, if its header can be read.
      expect(sequences[0]).toBeGreaterThanOrEqual(sequence - 2);
      expect(again.opened.tornTail).toMatchObject({ file: FIRST, position: 2 * 512 });
      await again.close();
    }
  });

  test("an end mark without its frame is told as torn, although the mark before it stands", async () => {
    const disk = await killedAfter(2);
    const before = Buffer.from(disk.bytesOf(FIRST));
    const journal = await Journal.open(journalOptions(DIRECTORY, { fileSystem: disk }), "create");
    await journal.append(frameOf(2, 1500));
    const torn = disk.afterKill();
    // Only the last sector of the write came to the disk.
    before.copy(torn.bytesOf(FIRST), 0, 0, 2 * 512 + 2048 - 512);
    torn.bytesOf(FIRST).fill(0, 3 * 512, 2 * 512 + 2048);
    const again = await Journal.open(journalOptions(DIRECTORY, { fileSystem: torn }), "create");
    expect(await sequencesOf(again)).toEqual([1, 2]);
    expect(again.opened.tornTail).toMatchObject({ position: 2 * 512, sequence: 3, partitions: [] });
    expect(again.opened.tornTail!.lengthBytes).toBe(2048 + 512);
    expect(await again.append(frameOf(2, 100))).toBe(4);
    await again.close();
  });
});

describe("F34 hole-in-the-middle", () => {
  /** Frame 3 of 6 is bad; it was on the disk, as frames behind it say. */
  async function damaged(at = 200): Promise<SimulatedDisk> {
    const disk = await killedAfter(6);
    disk.bytesOf(FIRST)[2 * 512 + at]! ^= 1;
    return disk;
  }

  test("at whatever byte it is: no frame is dropped in silence, and nothing is changed", async () => {
    for (let at = 0; at < FRAME_BYTES; at++) {
      const disk = await damaged(at);
      const bytes = Buffer.from(disk.bytesOf(FIRST));
      const options = journalOptions(DIRECTORY, { fileSystem: disk });
      await expect(Journal.open(options, "create")).rejects.toMatchObject({
        code: "TIERLOG_CORRUPTION",
        key: FIRST,
        position: 2 * 512,
      });
      expect(Buffer.compare(bytes, disk.bytesOf(FIRST))).toBe(0);
    }
  });

  test("inspect names it; a cut keeps what is before it and sets aside what is behind", async () => {
    const disk = await damaged();
    const seen = await inspectJournal(DIRECTORY, disk);
    expect(seen.damage).toEqual([
      { file: FIRST, position: 2 * 512, sequence: 3, problem: "its bytes do not match their CRC" },
    ]);
    expect(seen.problems.join()).toMatch(/frame 3 is not whole/);
    expect(seen.slots[0]?.frames.map(({ sequence, whole }) => [sequence, whole])).toEqual([
      [1, true],
      [2, true],
      [3, false],
      [4, true],
      [5, true],
      [6, true],
    ]);
    const options = journalOptions(DIRECTORY, { fileSystem: disk });
    const report = await cutDamage(options);
    expect(report).toMatchObject({
      frames: 3,
      records: 3,
      bytes: 300,
      partitions: [{ topicId: TOPIC, partition: 5, firstOffset: 3, nextOffset: 6 }],
    });
    const aside = [];
    for await (const { frame } of readAside(report!.file!, disk)) aside.push(frame.sequence);
    expect(aside).toEqual([4, 5, 6]);
    expect(await cutDamage(options)).toBe(undefined);

    const journal = await Journal.open(options, "create");
    expect(await sequencesOf(journal)).toEqual([1, 2]);
    expect(await journal.append(frameOf(2, 100))).toBe(7);
    await journal.close();
    const again = await Journal.open(options, "create");
    expect(await sequencesOf(again)).toEqual([1, 2, 7]);
    await again.close();
  });

  test("damage of frames that were freed stops nobody, and is told", async () => {
    const disk = await killedAfter(6);
    const journal = await Journal.open(journalOptions(DIRECTORY, { fileSystem: disk }), "create");
    journal.free(4);
    await journal.append(frameOf(6, 100));
    const torn = disk.afterKill();
    torn.bytesOf(FIRST)[2 * 512 + 200]! ^= 1;
    const again = await Journal.open(journalOptions(DIRECTORY, { fileSystem: torn }), "create");
    expect(await sequencesOf(again)).toEqual([5, 6, 7]);
    expect(again.opened.damagedFreed).toMatchObject([{ position: 2 * 512, sequence: 3 }]);
    await again.close();
  });
});
