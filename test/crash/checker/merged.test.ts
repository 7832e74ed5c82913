import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import type { Offset, Seq } from "../../../src/domain.ts";
import { createMemoryStore } from "../../../src/object-store/memory-store.ts";
import type { ObjectStore } from "../../../src/object-store/object-store.ts";
import { keysBelow } from "../../index-chain/links.ts";
import { ChainEditor } from "../../support/chain-editor.ts";
import { crc32c } from "./bytes.ts";
import { readPlaces } from "./catalog.ts";
import { check, type CheckReport } from "./check.ts";
import { checkpointKey } from "./checkpoint.ts";
import { indexKey } from "./index-file.ts";
import { Planted, sealBatch, writeStore } from "./planted.ts";

/** A store whose shard 0 was merged: two segments, the last extent of each partition left inline. */
interface Merged {
  readonly planted: Planted;
  /** Of the replace; the same again behind it, which has no effect, then the boundary. */
  readonly replaceSeq: number;
  readonly boundary: number;
  readonly segments: readonly [string, string];
  readonly superseded: readonly string[];
  /** The last checkpoint that the engine wrote, which was deleted. */
  readonly early: { readonly key: string; readonly bytes: Buffer };
}

let directory: string;
let good: Planted;
let merged: Merged;
let swept: Merged;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "tierlog-checker-merged-"));
  good = await writeStore(directory);
  merged = await mergedStore();
  swept = sweep(merged);
});

afterAll(async () => {
  await rm(directory, { recursive: true, force: true });
});

async function storeOf({ objects }: Planted): Promise<ObjectStore> {
  const store = createMemoryStore();
  for (const [key, bytes] of objects) await store.put(key as never, bytes, { condition: { kind: "none" } });
  return store;
}

async function plantedOf(store: ObjectStore): Promise<Planted> {
  const objects = new Map<string, Buffer>();
  for (const key of await keysBelow(store, "")) objects.set(key, Buffer.from((await store.get(key))!.body));
  return new Planted(objects, good.log);
}

const dataNames = ({ objects }: Planted): string[] =>
  [...objects.keys()].filter((key) => key.startsWith("data/") && key.includes("/0000-"));

async function mergedStore(): Promise<Merged> {
  const store = await storeOf(good);
  const checkpoints = await keysBelow(store, "checkpoint/0000/");
  const last = checkpoints.at(-1)!;
  const early = { key: last, bytes: good.objects.get(last)! };
  await store.delete(checkpoints);
  const editor = await ChainEditor.open(store, 0);
  const ids = editor.state.ends().map(({ topicId, partition }) => ({ topicId, partition }));
  const replace = await editor.merge(ids, 1);
  const replaceSeq = editor.seq;
  await editor.commit([replace]);
  await editor.commit([replace]);
  await editor.checkpoint();
  const boundary = editor.state.lowestInline();
  await editor.commit([{ type: "boundary", seq: boundary }]);
  await editor.checkpoint();
  const [first, second] = replace.objects.map(({ key }) => key);
  const planted = await plantedOf(store);
  return { planted, replaceSeq, boundary, segments: [first!, second!], superseded: dataNames(good), early };
}

/** All that may be deleted is. */
function sweep(from: Merged): Merged {
  const planted = from.planted.copy();
  for (let seq = 0; seq < from.boundary; seq++) planted.objects.delete(indexKey(0, seq));
  for (const name of from.superseded) planted.objects.delete(name);
  return { ...from, planted };
}

const copy = (from: Merged): Merged => ({ ...from, planted: from.planted.copy() });

async function checked(
  { planted }: Merged,
  trims: boolean | ReadonlyMap<string, number> = false,
  deleted: ReadonlyMap<string, number> = new Map(),
): Promise<CheckReport> {
  return await check({ store: planted.reader, journals: [], log: planted.log, lost: new Set(), trims, deleted });
}

describe("a sound store", () => {
  test("all links are there: folded from the first, and what was merged holds the same records", async () => {
    const { violations, chains, inChain } = await checked(merged);
    expect([violations, inChain.size]).toEqual([[], good.log.acks.size]);
    const { boundary } = merged;
    expect(chains[0]).toMatchObject({ foldedFrom: 0, boundary, voidEntries: 1, merges: 2, mergesCompared: 2 });
    expect(chains[0]?.dataObjects.size).toBe(2);
  });

  test("links below the boundary and superseded objects are gone: folded from the older checkpoint", async () => {
    const { violations, chains, inChain } = await checked(swept);
    expect([violations, inChain.size]).toEqual([[], good.log.acks.size]);
    const { boundary, replaceSeq } = swept;
    expect(chains[0]).toMatchObject({ foldedFrom: replaceSeq + 2, boundary });
    expect(chains[0]?.dataObjects.size).toBe(2);
  });

  test("late PUTs in deleted slots mean nothing", async () => {
    const late = copy(swept);
    for (const seq of [0, 1, 5])
      late.planted.objects.set(indexKey(0, seq), merged.planted.objects.get(indexKey(0, seq))!);
    late.planted.objects.set(indexKey(0, 3), Buffer.from("no index file"));
    expect((await checked(late)).violations).toEqual([]);
  });

  test("a checkpoint that lands after it and the links behind it were deleted means nothing", async () => {
    const store = await storeOf(merged.planted);
    const editor = await ChainEditor.open(store, 0);
    const ids = editor.state.ends().map(({ topicId, partition }) => ({ topicId, partition }));
    await editor.commit([await editor.merge(ids)]);
    await editor.checkpoint();
    const boundary = editor.seq;
    await editor.commit([{ type: "boundary", seq: boundary as Seq }]);
    await editor.checkpoint();
    const { violations, chains } = await checked(sweep({ ...merged, planted: await plantedOf(store), boundary }));
    expect(violations).toEqual([]);
    expect(chains[0]).toMatchObject({ foldedFrom: boundary, boundary });
  });

  test("records that were trimmed away are missed, unless somebody may have trimmed", async () => {
    const store = await storeOf(merged.planted);
    const editor = await ChainEditor.open(store, 0);
    const [id] = editor.state.ends();
    const trim = { ...id!, oldStart: 0 as Offset, newStart: 2 as Offset };
    await editor.commit([{ type: "trim", trims: [trim] }]);
    await editor.checkpoint();
    const trimmed = { ...merged, planted: await plantedOf(store) };
    const { violations } = await checked(trimmed);
    expect(violations).toHaveLength(2);
    expect(violations.every((text) => /^I1: p\.\d+, acked at .*, was trimmed away/.test(text))).toBe(true);
    expect((await checked(trimmed, true)).violations).toEqual([]);

    const name = `${id!.topicId}/${id!.partition}`;
    expect((await checked(trimmed, new Map([[name, 2]]))).violations).toEqual([]);
    const tooFar = (await checked(trimmed, new Map([[name, 1]]))).violations;
    expect(tooFar).toEqual([
      `I1: ${name} begins at 2; nobody trimmed it beyond 1`,
      expect.stringMatching(/^I1: p\.\d+, acked at .*:1 .*, was trimmed away/),
    ]);
  });

  test("nothing is promised of a topic that was asked to be deleted, once the catalog does not name it", async () => {
    const gone = copy(merged);
    const { objects } = gone.planted;
    const places = await readPlaces(gone.planted.reader);
    // Asked for, and not done.
    expect((await checked(gone, false, places)).violations).toEqual([]);

    const newest = [...objects.keys()].filter((key) => key.startsWith("catalog/")).at(-1)!;
    const catalog = JSON.parse(objects.get(newest)!.toString("utf8")) as { topics: unknown[] };
    objects.set(newest, Buffer.from(JSON.stringify({ ...catalog, topics: [] })));
    const store = await storeOf(gone.planted);
    const editor = await ChainEditor.open(store, 0);
    const ends = editor.state.ends();
    const trims = ends.map(({ topicId, partition, firstOffset }) => {
      return { topicId, partition, oldStart: 0 as Offset, newStart: firstOffset };
    });
    await editor.commit([{ type: "trim", trims }]);
    await editor.checkpoint();
    const trimmed = { ...merged, planted: await plantedOf(store) };
    expect((await checked(trimmed, false, places)).violations).toEqual([]);
    expect((await checked(trimmed)).violations.length).toBeGreaterThan(0);
  });
});

function flip(bytes: Buffer, at: number): void {
  bytes[at]! ^= 0x10;
}

const damages: { name: string; whole?: boolean; plant: (store: Merged) => void; found: RegExp[] }[] = [
  {
    name: "the link at the boundary is gone",
    plant: ({ planted, boundary }) => planted.objects.delete(indexKey(0, boundary)),
    found: [/^I5: index\/0000\/\d+\.idx is missing, though the boundary is \d+/, /^I1/],
  },
  {
    name: "a link above the boundary that two checkpoints stand for is gone",
    plant: ({ planted, replaceSeq }) => planted.objects.delete(indexKey(0, replaceSeq)),
    found: [/^I5: index\/0000\/\d+\.idx is missing, though the boundary is \d+/],
  },
  {
    name: "a link above the boundary that two checkpoints stand for is damaged",
    plant: ({ planted, replaceSeq }) => flip(planted.objects.get(indexKey(0, replaceSeq))!, 80),
    found: [/^I5: index\/0000\/\d+\.idx: CRC of bytes .*, though the boundary is \d+/],
  },
  {
    name: "the link with the boundary is gone",
    plant: ({ planted, replaceSeq }) => planted.objects.delete(indexKey(0, replaceSeq + 2)),
    found: [/^I5: index\/0000\/\d+\.idx is missing, though the boundary is \d+/],
  },
  {
    name: "a segment is gone",
    plant: ({ planted, segments: [first] }) => planted.objects.delete(first),
    found: [/^I5: .*5e0.* is missing/, /^I1: p\.\d+, acked as uploaded/],
  },
  {
    name: "a truncated segment",
    plant: ({ planted: { objects }, segments: [first] }) => objects.set(first, objects.get(first)!.subarray(0, -1)),
    found: [/^I5: .* has \d+ bytes, not \d+/],
  },
  {
    name: "a flipped bit in a segment",
    plant: ({ planted, segments: [first] }) => flip(planted.objects.get(first)!, 70),
    found: [/^I3: checkpoint\/.*CRC of the batch/, /^I1/],
  },
  {
    name: "two segments in each other's place",
    plant: ({ planted: { objects }, segments: [first, second] }) => {
      const bytes = objects.get(first)!;
      objects.set(first, objects.get(second)!);
      objects.set(second, bytes);
    },
    found: [/^(I3: .*does not describe this extent|I5: .* has \d+ bytes)/, /^I1/],
  },
  {
    name: "an old, superseded object under the name of a segment",
    plant: ({ planted: { objects }, segments: [first], superseded: [old] }) =>
      objects.set(first, merged.planted.objects.get(old!)!),
    found: [/^I5: .* has \d+ bytes, not \d+/, /^I1/],
  },
  {
    name: "a merge that changed a record",
    whole: true,
    plant: ({ planted, segments: [first] }) => {
      const bytes = planted.objects.get(first)!;
      const at = bytes.indexOf("p.0");
      bytes.write("p.99999999", at, "latin1");
      sealBatch(bytes, 0);
    },
    found: [/^I2: .*merged, record p\.0\d+ at offset 0 became p\.99999999 at 0/, /^I2: .*was never sent/, /^I1/],
  },
  {
    name: "what a replace without effect wanted to supersede was deleted",
    whole: true,
    plant: ({ planted, replaceSeq, superseded }) => {
      const bytes = planted.objects.get(indexKey(0, replaceSeq))!;
      const end = 64 + bytes.readUInt32BE(28);
      const digest = bytes.subarray(0, end).lastIndexOf(Buffer.from(".log")) + 4 + 8;
      flip(bytes, digest);
      bytes.writeUInt32BE(crc32c(bytes.subarray(64, end - 4)), end - 4);
      // The same again behind it.
      const again = planted.objects.get(indexKey(0, replaceSeq + 1))!;
      flip(again, digest);
      again.writeUInt32BE(crc32c(again.subarray(64, end - 4)), end - 4);
      for (const name of superseded) planted.objects.delete(name);
    },
    found: [/^I5: .* is missing/, /^I3: checkpoint\/.*holds another state/, /^I1/],
  },
  {
    name: "both checkpoints are gone, and the links below the boundary",
    plant: ({ planted, replaceSeq }) => {
      planted.objects.delete(checkpointKey(0, replaceSeq + 1));
      planted.objects.delete(checkpointKey(0, replaceSeq + 2));
    },
    found: [/^I1: p\.\d+, acked as uploaded .* is not in the chain/],
  },
  {
    name: "both checkpoints are gone, no link yet",
    whole: true,
    plant: ({ planted, replaceSeq }) => {
      planted.objects.delete(checkpointKey(0, replaceSeq + 1));
      planted.objects.delete(checkpointKey(0, replaceSeq + 2));
    },
    found: [/^I5: shard 0 has a boundary of \d+ and 0 checkpoints/],
  },
  {
    name: "the boundary lies above what the older checkpoint stands for",
    whole: true,
    plant: ({ planted, replaceSeq, early }) => {
      planted.objects.delete(checkpointKey(0, replaceSeq + 1));
      planted.objects.set(early.key, early.bytes);
    },
    found: [/^I5: shard 0 has a boundary of \d+, its older checkpoint is of seq \d+/],
  },
  {
    name: "a checkpoint with another boundary than the links give",
    plant: ({ planted, replaceSeq }) => {
      const bytes = planted.objects.get(checkpointKey(0, replaceSeq + 2))!;
      bytes.writeBigUInt64BE(bytes.readBigUInt64BE(88) - 1n, 88);
      bytes.writeUInt32BE(crc32c(bytes.subarray(64, -4)), bytes.length - 4);
    },
    found: [/^I3: checkpoint\/.*holds another state/],
  },
  {
    name: "a checkpoint of version 3 without a boundary",
    plant: ({ planted, replaceSeq }) => {
      const bytes = planted.objects.get(checkpointKey(0, replaceSeq + 2))!;
      bytes.writeBigUInt64BE(0n, 88);
      bytes.writeUInt32BE(crc32c(bytes.subarray(64, -4)), bytes.length - 4);
    },
    found: [/^I3: checkpoint\/.*a boundary of 0 in version 3/],
  },
];

describe("planted damage is found", () => {
  test.each(damages)("$name", async ({ whole = false, plant, found }) => {
    const store = copy(whole ? merged : swept);
    plant(store);
    const { violations } = await checked(store);
    for (const pattern of found)
      expect([pattern, violations.filter((text) => pattern.test(text))]).not.toEqual([pattern, []]);
  });
});
