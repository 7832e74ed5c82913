import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { check } from "./check.ts";
import { encodeFrame, writeJournal, type FrameFields, type JournalFields } from "./planted-journal.ts";
import { writeStore, type Planted } from "./planted.ts";

let directory: string;
let store: Planted;
/** Of a partition of shard 0: where its chain ends. */
let end: number;
let topicId: string;
let partition: number;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "tierlog-checker-"));
  store = await writeStore(directory);
  const extent = store.links(0).findLast(({ extents }) => extents.length > 0)!.extents[0]!;
  ({ topicId, partition, nextOffset: end } = extent);
});

afterAll(async () => {
  await rm(directory, { recursive: true, force: true });
});

interface Options {
  readonly acks?: readonly string[];
  readonly lost?: readonly string[];
  readonly spoil?: (path: string) => Promise<void>;
}

/** Two frames of epoch 2 behind the end of the chain, with the records j.1 and j.2, both acked as journaled. */
async function findings(
  change: (frames: [FrameFields, FrameFields]) => JournalFields,
  { acks = ["j.00000001", "j.00000002"], lost = [], spoil }: Options = {},
): Promise<readonly string[]> {
  const copy = store.copy();
  for (const [n, id] of ["j.00000001", "j.00000002"].entries()) {
    copy.log.send(id, topicId, partition);
    if (acks.includes(id)) copy.log.ack({ id, topicId, partition, level: "journaled", offset: end + n, epoch: 2 });
  }
  const common = { freed: 0, epoch: 2, topicId, partition };
  const path = await mkdtemp(join(directory, "journal-"));
  await writeJournal(
    path,
    change([
      { ...common, sequence: 1, prev: 0, offset: end, id: "j.00000001" },
      { ...common, sequence: 2, prev: 1, offset: end + 1, id: "j.00000002" },
    ]),
  );
  await spoil?.(path);
  const report = await check({ store: copy.reader, journals: [path], log: copy.log, lost: new Set(lost) });
  return report.violations;
}

const journalId = "77".repeat(16);
const sound = (frames: readonly FrameFields[]): JournalFields => ({
  journalId,
  freedThrough: 0,
  frames: frames.map((frame) => encodeFrame(frame)),
});

test("journaled records that wait in a live frame are there", async () => {
  expect(await findings(sound)).toEqual([]);
});

test("a record whose journal is lost with its disk is excused, no other", async () => {
  const none = (): JournalFields => ({ journalId, freedThrough: 0, frames: [] });
  const found = await findings(none, { lost: ["j.00000001"] });
  expect(found).toEqual([expect.stringMatching(/^I1: j\.00000002, acked as journaled .* is lost/)]);
});

const damages: {
  name: string;
  plant: (frames: [FrameFields, FrameFields]) => JournalFields;
  acks?: readonly string[];
  found: RegExp;
}[] = [
  {
    name: "the last frame is torn",
    plant: (frames) => {
      const journal = sound(frames);
      journal.frames[1]![250]! ^= 1;
      return journal;
    },
    found: /^I1: j\.00000002, acked as journaled .* is lost/,
  },
  {
    name: "a frame before a whole one is torn",
    plant: (frames) => {
      const journal = sound(frames);
      journal.frames[0]![250]! ^= 1;
      return journal;
    },
    found: /^I3: .* frame 1 is missing, frames behind it are there/,
  },
  {
    name: "a frame is freed that is not in the chain, by the manifest",
    plant: (frames) => ({ ...sound(frames), freedThrough: 1 }),
    found: /^I5: frame 1 .* is freed, but j\.00000001 .* is neither in the chain nor set aside/,
  },
  {
    name: "a frame is freed that is not in the chain, by the next frame",
    plant: ([first, second]) => sound([first, { ...second, freed: 1 }]),
    found: /^I5: frame 1 .* is freed, but j\.00000001 .* is neither in the chain nor set aside/,
  },
  {
    name: "the frame has another epoch than the ack",
    plant: ([first, second]) => sound([first, { ...second, epoch: 1 }]),
    found: /^I1: j\.00000002, acked as journaled .* is in a journal at .*epoch 1/,
  },
  {
    name: "frames were set aside though nobody else took over",
    plant: (frames) => ({ ...sound([]), freedThrough: 2, aside: sound(frames).frames }),
    found: /^I1: j\.00000001, .* was set aside though nobody else took over/,
  },
  {
    name: "a damaged file of frames set aside",
    plant: (frames) => {
      const aside = sound(frames).frames;
      aside[1]![250]! ^= 1;
      return { ...sound([]), freedThrough: 2, aside };
    },
    found: /^I3: .*aside.*: no whole frame/,
  },
  {
    name: "a frame of an owner that has left in order",
    plant: (frames) => ({ ...sound(frames), journalId: "0".repeat(32) }),
    found: /^I1: shard 0 is released, but j\.00000001 waits in/,
  },
  {
    name: "another record at the place of a committed one, in the same epoch",
    plant: ([first, second]) => sound([{ ...first, offset: end - 1 }, second]),
    acks: ["j.00000002"],
    found: /^I2: p\.\d+ and j\.00000001 both at/,
  },
];

describe("planted damage is found", () => {
  test.each(damages)("$name", async ({ plant, found, acks }) => {
    const all = await findings(plant, acks === undefined ? {} : { acks });
    expect(all.filter((text) => found.test(text))).not.toEqual([]);
  });
});

test("a manifest whose CRC is wrong is damage", async () => {
  const found = await findings(sound, {
    spoil: async (path) => {
      const manifest = join(path, "0000", "MANIFEST");
      const text = await readFile(manifest, "utf8");
      await writeFile(manifest, text.replace('"freedThrough":0', '"freedThrough":1'));
    },
  });
  expect(found).toContainEqual(expect.stringMatching(/^I3: .*MANIFEST: CRC is wrong/));
});
