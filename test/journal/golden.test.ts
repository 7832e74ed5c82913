import { readFileSync } from "node:fs";

import { describe, expect, test } from "vitest";

import type { Epoch, Offset, ShardId, TopicId } from "../../src/domain.ts";
import { readAside } from "../../src/journal/aside.ts";
import type { FrameInput } from "../../src/journal/frame.ts";
import { Journal } from "../../src/journal/journal.ts";
import { crc32c } from "../../src/record/crc32c.ts";
import { nodeFileSystem } from "../../src/runtime/file-system.ts";
import { SimulatedDisk } from "../support/simulated-disk.ts";
import { journalOptions, SHARD } from "./support.ts";

/**
 * Stored bytes outlive every release: these files were written once and must be read for ever. They are described in
 * docs/journal-format.md. Never regenerate one to make a test pass.
 */
const golden = (name: string): Buffer => readFileSync(new URL(`../format/${name}`, import.meta.url));

const DIRECTORY = "/data/0003";

const INPUT: FrameInput = {
  epoch: 7 as Epoch,
  createdAtMs: 1_700_000_000_000,
  extents: [
    {
      topicId: "00112233445566778899aabbccddeeff" as TopicId,
      partition: 5,
      baseOffset: 4_294_967_396 as Offset,
      nextOffset: 4_294_967_399 as Offset,
      position: 0,
      lengthBytes: 14,
      maxTimestampMs: 1_699_999_999_000,
    },
    {
      topicId: "0f1e2d3c4b5a69788796a5b4c3d2e1f0" as TopicId,
      partition: 0,
      baseOffset: 0 as Offset,
      nextOffset: 1 as Offset,
      position: 14,
      lengthBytes: 7,
      maxTimestampMs: -1,
    },
  ],
  chunks: [Buffer.from("three records."), Buffer.from("and one")],
  payloadBytes: 21,
};

/** A journal whose ids are fixed. */
async function written(): Promise<SimulatedDisk> {
  const disk = new SimulatedDisk();
  let made = 0;
  const random = { bytes: (size: number) => new Uint8Array(size).fill(0xd0 + made++), float: () => 0 };
  const journal = await Journal.open(journalOptions(DIRECTORY, { fileSystem: disk, random }), "create");
  await journal.append({ ...INPUT, extents: [], chunks: [], payloadBytes: 0 });
  await journal.recordFence("ab".repeat(16));
  journal.free(1);
  await journal.append(INPUT);
  await journal.close();
  return disk;
}

test("a frame and its end mark are written byte for byte", async () => {
  const disk = await written();
  const bytes = disk.bytesOf(`${DIRECTORY}/0000.jrn`);
  expect(bytes.subarray(512, 1536).toString("hex")).toBe(golden("journal-frame.jrn").toString("hex"));
});

test("a manifest is written byte for byte, and so it is read", async () => {
  const disk = await written();
  expect(disk.bytesOf(`${DIRECTORY}/MANIFEST`).toString()).toBe(golden("journal-manifest.txt").toString());
});

test("the stored frame is read", async () => {
  const path = new URL("../format/journal-aside.jrn", import.meta.url).pathname;
  const frames = [];
  for await (const { frame, payload } of readAside(path, nodeFileSystem)) {
    frames.push({ ...frame, payload: Buffer.from(payload).toString() });
  }
  const { epoch, createdAtMs, extents, payloadBytes } = INPUT;
  expect(frames).toEqual([
    { sequence: 2, epoch, createdAtMs, extents, payloadBytes, payload: "three records.and one" },
  ]);
});

describe("what this version does not read", () => {
  const changes: [string, (frame: Buffer) => void][] = [
    ["a newer version of the format", (frame) => frame.writeUInt16BE(2, 4)],
    ["an encrypted frame", (frame) => frame.writeUInt8(1, 7)],
  ];

  test.each(changes)("%s: an error, and nothing is changed", async (_name, change) => {
    const disk = await written();
    const file = disk.bytesOf(`${DIRECTORY}/0000.jrn`);
    const frame = file.subarray(512, 1024);
    change(frame);
    frame.writeUInt32BE(crc32c(frame.subarray(0, 124)), 124);
    const before = Buffer.from(file);
    await expect(Journal.open(journalOptions(DIRECTORY, { fileSystem: disk }), "create")).rejects.toMatchObject({
      code: "TIERLOG_UNSUPPORTED_VERSION",
    });
    expect(Buffer.compare(before, disk.bytesOf(`${DIRECTORY}/0000.jrn`))).toBe(0);
  });

  test("frames of another directory are not there, whatever they say", async () => {
    const disk = await written();
    const file = disk.bytesOf(`${DIRECTORY}/0000.jrn`);
    golden("journal-frame.jrn").copy(file, 1024);
    file.writeUInt32BE(SHARD + 1, 1024 + 24);
    file.writeUInt32BE(crc32c(file.subarray(1024, 1024 + 124)), 1024 + 124);
    const journal = await Journal.open(journalOptions(DIRECTORY, { fileSystem: disk }), "create");
    expect(journal.opened.frames).toBe(1);
    await journal.close();
    const other = { ...journalOptions(DIRECTORY, { fileSystem: disk }), shard: 9 as ShardId };
    await expect(Journal.open(other, "create")).rejects.toMatchObject({ code: "TIERLOG_CORRUPTION" });
  });
});
