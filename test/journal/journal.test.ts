import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { getuid, platform } from "node:process";

import * as fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { Journal } from "../../src/journal/journal.ts";
import { crc32c } from "../../src/record/crc32c.ts";
import { SimulatedDisk } from "../support/simulated-disk.ts";
import { frameOf, journalOptions, LoggerSpy, payloadOf, SETTINGS } from "./support.ts";

let root: string;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "tierlog-journal-"));
});

afterEach(async () => {
  await rm(root, { recursive: true, force: true });
});

test("what was appended is there again after a re-open, with directories and payloads", async () => {
  const options = journalOptions(join(root, "0003"));
  const journal = await Journal.open(options, "create");
  expect(journal.opened).toMatchObject({ created: true, frames: 0, records: 0, bytes: 0, tornTail: undefined });
  for (let i = 0; i < 40; i++) expect(await journal.append(frameOf(i * 10, 1000 + i, 10))).toBe(i + 1);
  journal.free(7);
  await journal.close();

  const again = await Journal.open(options, "existing");
  expect(again?.opened).toMatchObject({
    created: false,
    frames: 33,
    records: 330,
    tornTail: undefined,
    damagedFreed: [],
  });
  expect(again?.journalId).toBe(journal.journalId);
  const sequences = [];
  for await (const frame of again!.frames()) {
    const { extents, epoch, createdAtMs } = frameOf((frame.sequence - 1) * 10, 999 + frame.sequence, 10);
    expect(frame).toEqual({
      sequence: frame.sequence,
      epoch,
      createdAtMs,
      extents,
      payloadBytes: 999 + frame.sequence,
    });
    expect(Buffer.from(await again!.readPayload(frame.sequence))).toEqual(
      Buffer.from(payloadOf((frame.sequence - 1) * 10, frame.payloadBytes)),
    );
    sequences.push(frame.sequence);
  }
  expect(sequences).toEqual(Array.from({ length: 33 }, (_, i) => i + 8));
  expect(await again?.append(frameOf(400, 100))).toBe(41);
  await again?.close();
});

test("a frame has the same bytes whether the CRCs of its chunks are given or not", async () => {
  const settings = { ...SETTINGS, fileSizeBytes: 4 * 1024 * 1024, maxSizeBytes: 64 * 1024 * 1024 };
  await fc.assert(
    fc.asyncProperty(
      // Up to and beyond what is encoded in one turn of the event loop.
      fc.array(fc.record({ bytes: fc.oneof(fc.nat(300), fc.nat(400_000)), isKnown: fc.boolean() }), { maxLength: 6 }),
      async (pieces) => {
        const journal = await Journal.open(journalOptions(await mkdtemp(join(root, "crcs-")), { settings }), "create");
        const chunks = pieces.map(({ bytes }, i) => payloadOf(i, bytes));
        const chunkCrcs = pieces.map(({ isKnown }, i) =>
          isKnown ? crc32c(chunks[i] ?? new Uint8Array(0)) : undefined,
        );
        const payloadBytes = chunks.reduce((sum, { length }) => sum + length, 0);
        const frame = { ...frameOf(0, payloadBytes), chunks };
        const encoded = [await journal.encode({ ...frame, chunkCrcs }), await journal.encode(frame)];
        expect(encoded[0]?.crcs).toEqual(encoded[1]?.crcs);
        const [known] = encoded;
        expect(await journal.append(known!)).toBe(1);
        // Reading it checks its CRC.
        expect(Buffer.compare(await journal.readPayload(1), Buffer.concat(chunks))).toBe(0);
        await journal.close();
      },
    ),
    { numRuns: 40 },
  );
});

test("random appends, frees, copies aside and re-opens: as a model of them says", async () => {
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.record({ do: fc.constant("append" as const), bytes: fc.nat(5000) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("free" as const), frames: fc.nat(8) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("aside" as const), frames: fc.nat(4) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("reopen" as const) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("read" as const), frames: fc.nat(8) }) },
  );
  const fsync = fc.constantFrom("always" as const, "interval" as const, "never" as const);
  let runs = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), fsync, fc.boolean(), async (steps, fsync, oDirect) => {
      const settings = { ...SETTINGS, fsync, oDirect };
      const options = journalOptions(join(root, String(runs++)), { settings });
      let journal = await Journal.open(options, "create");
      let model: { sequence: number; offset: number; bytes: number }[] = [];
      let next = 1;
      for (const [offset, at] of steps.entries()) {
        const count = "frames" in at ? Math.min(at.frames, model.length) : 0;
        const through = model[count - 1]?.sequence ?? 0;
        // What the step gave, and what the model says that it should.
        let [seen, due]: [unknown, unknown] = [undefined, undefined];
        if (at.do === "append" && journal.hasRoom(1, at.bytes)) {
          const sequence = await journal.append(frameOf(offset, at.bytes));
          [seen, due] = [sequence, next++];
          model.push({ sequence, offset, bytes: at.bytes });
        } else if (at.do === "free") {
          journal.free(through);
          model = model.slice(count);
        } else if (at.do === "aside") {
          [seen, due] = [(await journal.setAside(through)).frames, count];
          model = model.slice(count);
        } else if (at.do === "reopen") {
          await journal.close();
          journal = await Journal.open(options, "create");
          const { created, tornTail, damagedFreed, frames } = journal.opened;
          seen = { created, tornTail, damagedFreed, frames };
          due = { created: false, tornTail: undefined, damagedFreed: [], frames: model.length };
        } else if (at.do === "read" && count > 0) {
          const { sequence, offset, bytes } = model[count - 1]!;
          const piece = await journal.readPiece(sequence, bytes >> 1, bytes >> 2);
          const expected = payloadOf(offset, bytes).subarray(bytes >> 1, (bytes >> 1) + (bytes >> 2));
          [seen, due] = [Buffer.compare(piece, expected), 0];
        }
        expect(seen).toEqual(due);
        const { liveFrames, liveBytes, usedBytes } = journal.metrics();
        expect({ liveFrames, liveBytes }).toEqual({
          liveFrames: model.length,
          liveBytes: model.reduce((sum, frame) => sum + frame.bytes, 0),
        });
        expect(usedBytes).toBeLessThanOrEqual(SETTINGS.maxSizeBytes);
      }
      const found = [];
      for await (const { sequence, extents, payloadBytes } of journal.frames()) {
        const offset = extents[0]!.baseOffset;
        expect(Buffer.compare(await journal.readPayload(sequence), payloadOf(offset, payloadBytes))).toBe(0);
        found.push({ sequence, offset, bytes: payloadBytes });
      }
      expect(found).toEqual(model);
      await journal.close();
      await rm(options.directory, { recursive: true });
    }),
    { numRuns: 40 },
  );
});

describe("what a caller may rely on", () => {
  test("one append at a time, of chunks that add up, into an open journal", async () => {
    const journal = await Journal.open(journalOptions(root), "create");
    const first = journal.append(frameOf(0, 100));
    await expect(journal.append(frameOf(1, 100))).rejects.toMatchObject({ code: "TIERLOG_INVARIANT" });
    expect(await first).toBe(1);
    for (const payloadBytes of [99, 101]) {
      await expect(journal.append({ ...frameOf(1, 100), payloadBytes })).rejects.toMatchObject({
        code: "TIERLOG_INVARIANT",
      });
    }
    const most = journal.payloadBytesMax(1);
    expect(await journal.append(frameOf(1, most))).toBe(2);
    expect(Buffer.compare(await journal.readPayload(2), payloadOf(1, most))).toBe(0);
    await expect(journal.append(frameOf(1, most + 1))).rejects.toMatchObject({ code: "TIERLOG_INVARIANT" });
    expect(() => journal.free(3)).toThrow(/never written/);
    await journal.close();
    await expect(journal.append(frameOf(2, 1))).rejects.toMatchObject({ code: "TIERLOG_CLOSED" });
  });

  test("a frame that was freed is not found; all files but two are removed when all is freed", async () => {
    const journal = await Journal.open(journalOptions(root), "create");
    for (let i = 0; i < 40; i++) await journal.append(frameOf(i, 2000));
    journal.free(39);
    await expect(journal.readPayload(39)).rejects.toMatchObject({ code: "TIERLOG_NOT_FOUND" });
    await expect(journal.readPiece(12, 0, 1)).rejects.toMatchObject({ code: "TIERLOG_NOT_FOUND" });
    expect((await journal.readPiece(40, 10, 5)).length).toBe(5);
    journal.free(40);
    await journal.close();
    expect((await readdir(root)).filter((name) => name.endsWith(".jrn"))).toHaveLength(2);
    const again = await Journal.open(journalOptions(root), "create");
    expect(await again.append(frameOf(0, 1))).toBe(41);
    await again.close();
  });

  test("fences: known until a later one is live, or the id is renewed", async () => {
    const [a, b, c] = ["aa", "bb", "cc"].map((byte) => byte.repeat(16)) as [string, string, string];
    const journal = await Journal.open(journalOptions(root), "create");
    await journal.recordFence(a);
    await journal.recordFence(b);
    journal.fenceLive(b);
    await journal.recordFence(c);
    await journal.close();
    const again = await Journal.open(journalOptions(root), "existing");
    expect([a, b, c].map((writeId) => again?.knowsFence(writeId))).toEqual([false, true, true]);
    await again?.renewId();
    expect(again?.journalId).not.toBe(journal.journalId);
    expect(again?.knowsFence(b)).toBe(false);
    await again?.close();
  });

  test("existing: a directory that is not there is no journal, and is not made", async () => {
    expect(await Journal.open(journalOptions(join(root, "x")), "existing")).toBe(undefined);
    expect(await readdir(root)).toEqual([]);
  });
});

describe("O_DIRECT", () => {
  test("where it is refused the journal is written through the page cache, and says so once", async () => {
    const disk = new SimulatedDisk();
    disk.direct = false;
    const logger = new LoggerSpy();
    const settings = { ...SETTINGS, oDirect: true };
    const journal = await Journal.open(journalOptions("/data/0003", { fileSystem: disk, logger, settings }), "create");
    for (let i = 0; i < 30; i++) await journal.append(frameOf(i, 2000));
    expect(logger.warnings.map(({ message }) => message)).toEqual([
      expect.stringContaining("o_direct is not possible"),
    ]);
    expect(journal.metrics().oDirect).toBe("refused");
    await journal.close();
  });

  test("frames start at multiples of 4 KiB, and a journal may be opened with it and without", async () => {
    const disk = new SimulatedDisk();
    let sequence = 0;
    for (const oDirect of [true, false, true, false]) {
      const settings = { ...SETTINGS, oDirect };
      const journal = await Journal.open(journalOptions("/data/0003", { fileSystem: disk, settings }), "create");
      expect(journal.metrics()).toMatchObject({ oDirect: oDirect ? "on" : "off", liveFrames: sequence });
      expect(journal.frameBytes(1, 100)).toBe(oDirect ? 4096 : 512);
      for (let i = 0; i < 3; i++) sequence = await journal.append(frameOf(i, 100));
      await journal.close();
    }
    expect(sequence).toBe(12);
  });
});

/** Only root may mount a file system, and only on Linux. */
describe.skipIf(platform !== "linux" || getuid?.() !== 0)("F36 disk-full, on a real disk of 1 MiB", () => {
  test("a clean error, reads go on, and so do appends once there is room", async () => {
    const path = join(root, "small");
    await mkdir(path);
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", path]);
    try {
      const settings = { ...SETTINGS, fileSizeBytes: 256 * 1024, maxSizeBytes: 8 * 256 * 1024 };
      const journal = await Journal.open(journalOptions(join(path, "j"), { settings }), "create");
      await journal.append(frameOf(0, 60_000));
      await writeFile(join(path, "ballast"), Buffer.alloc(300_000));
      let full: unknown;
      for (let i = 1; i < 30 && full === undefined; i++) full = await appendError(journal, i);
      expect(full).toMatchObject({ code: "TIERLOG_DISK_FULL", effect: "none" });
      const { liveFrames } = journal.metrics();
      expect(Buffer.compare(await journal.readPayload(1), payloadOf(0, 60_000))).toBe(0);
      const slots = (await readdir(join(path, "j"))).filter((name) => name.endsWith(".jrn"));
      expect(slots).toHaveLength(journal.metrics().files);
      await rm(join(path, "ballast"));
      expect(await journal.append(frameOf(100, 60_000))).toBe(liveFrames + 1);
      await journal.close();
      const again = await Journal.open(journalOptions(join(path, "j"), { settings }), "existing");
      expect(again?.opened).toMatchObject({ frames: liveFrames + 1, tornTail: undefined });
      await again?.close();
    } finally {
      execFileSync("umount", [path]);
    }
  });
});

async function appendError(journal: Journal, offset: number): Promise<unknown> {
  try {
    await journal.append(frameOf(offset, 60_000));
    return undefined;
  } catch (error) {
    return error;
  }
}
