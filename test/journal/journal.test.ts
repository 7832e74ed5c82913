import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, expect, test } from "vitest";

import { Journal } from "../../src/journal/journal.ts";
import { frameOf, journalOptions, payloadOf } from "./support.ts";

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
