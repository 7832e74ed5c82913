import * as fc from "fast-check";
import { beforeEach, describe, expect, test } from "vitest";

import type { ObjectKey, Offset } from "../../src/domain.ts";
import { asTierlogError } from "../../src/errors.ts";
import type { LinkEntry } from "../../src/index-chain/link-entries.ts";
import type { MergeOutcome } from "../../src/merge/merge-job.ts";
import { createMemoryStore } from "../../src/object-store/memory-store.ts";
import { TOPIC } from "../index-chain/links.ts";
import { MergeLab } from "./merge-lab.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

let lab: MergeLab;

beforeEach(async () => {
  lab = new MergeLab();
  await lab.takeOver();
});

/** Three links, two partitions. */
async function fill(): Promise<void> {
  for (let i = 0; i < 3; i++)
    await lab.append([
      { partition: 1, valueBytes: [100, 3000] },
      { partition: 0, valueBytes: [50] },
    ]);
}

const trim = (partition: number, newStart: number): LinkEntry => {
  const id = { topicId: TOPIC, partition };
  const oldStart = lab.chain.state.extents(id)?.startOffset ?? (0 as Offset);
  return { type: "trim", trims: [{ ...id, oldStart, newStart: newStart as Offset }] };
};

describe("what a merge writes", () => {
  test("all batches, bit for bit and in order, one extent a partition, sorted by partition", async () => {
    await fill();
    const before = [await lab.contents(0), await lab.contents(1)];
    const outcome = await lab.merge(lab.plan());
    expect(outcome).toMatchObject({ kind: "merged", superseded: { extents: 6 }, droppedRanges: 0 });
    const after = [await lab.contents(0), await lab.contents(1)];
    for (const i of [0, 1]) expect(Buffer.compare(after[i]!.bytes, before[i]!.bytes)).toBe(0);
    expect(after.map(({ keys }) => keys.length)).toEqual([1, 1]);
    expect(after[0]?.keys).toEqual(after[1]?.keys);
    expect(lab.abandoned).toEqual([]);
  });

  test("whatever the sizes: the same bytes, and no more memory than was given", async () => {
    const sizes = fc.oneof(fc.integer({ min: 1, max: 2000 }), fc.integer({ min: 100 * KIB, max: 900 * KIB }));
    const links = fc.array(
      fc.record({
        extents: fc.uniqueArray(
          fc.record({ partition: fc.nat(2), valueBytes: fc.array(sizes, { minLength: 1, maxLength: 6 }) }),
          { minLength: 1, selector: ({ partition }) => partition },
        ),
        where: fc.constantFrom("inline" as const, "object" as const),
      }),
      { minLength: 2, maxLength: 12 },
    );
    await fc.assert(
      fc.asyncProperty(links, async (all) => {
        lab = new MergeLab();
        await lab.takeOver();
        await lab.append([0, 1, 2].map((partition) => ({ partition, valueBytes: [10] })));
        for (const { extents, where } of all) await lab.append(extents, where);
        await lab.append([0, 1, 2].map((partition) => ({ partition, valueBytes: [10] })));
        const before = await Promise.all([0, 1, 2].map((partition) => lab.contents(partition)));
        // Extents of up to 5 MiB through windows of 1.
        const memoryBytes = 4 * MIB;
        const outcome = await lab.merge(lab.plan({ memoryBytes }), { memoryBytes });
        expect(outcome.kind).toBe("merged");
        expect(outcome.heldBytesMax).toBeLessThanOrEqual(memoryBytes);
        const after = await Promise.all([0, 1, 2].map((partition) => lab.contents(partition)));
        for (const [i, { bytes }] of after.entries()) expect(Buffer.compare(bytes, before[i]!.bytes)).toBe(0);
      }),
      { numRuns: 25 },
    );
  });

  test("neighbours in a source are one request", async () => {
    for (let i = 0; i < 8; i++)
      await lab.append(
        [0, 1, 2, 3].map((partition) => ({ partition, valueBytes: [500] })),
        "object",
      );
    const outcome = await lab.merge(lab.plan());
    expect(outcome).toMatchObject({ kind: "merged", requests: 8 });
  });
});

describe("what happens between plan and link", () => {
  test("C16: of two merges of the same extents one takes effect; the other sees that in the state, and gives its object up", async () => {
    await fill();
    const before = await lab.contents(1);
    const job = lab.plan();
    // Both have made their entries before either link is live: only the fold can tell.
    const entries: (readonly LinkEntry[])[] = [];
    let bothPlanned: () => void = () => undefined;
    const planned = new Promise<void>((resolve) => (bothPlanned = resolve));
    const run = (): Promise<MergeOutcome> =>
      lab.merge(job, {
        commit: async (plan) => {
          const own = plan(lab.chain.state);
          entries.push(own);
          if (entries.length === 2) bothPlanned();
          await planned;
          await lab.commit(own);
        },
      });
    const outcomes = await Promise.all([run(), run()]);
    expect(outcomes.map(({ kind }) => kind).toSorted()).toEqual(["merged", "void"]);
    const after = await lab.contents(1);
    expect(Buffer.compare(after.bytes, before.bytes)).toBe(0);
    expect(lab.abandoned.length).toBe(1);
    expect(after.keys).not.toContain(lab.abandoned[0]);
  });

  test("a partition that was trimmed meanwhile is left out; the others are replaced", async () => {
    await fill();
    const before = await lab.contents(0);
    const outcome = await lab.merge(lab.plan(), {
      commit: async (plan) => {
        await lab.commit([trim(1, 4)]);
        await lab.commit(plan(lab.chain.state));
      },
    });
    expect(outcome).toMatchObject({ kind: "merged", droppedRanges: 1, superseded: { extents: 3 } });
    const after = await lab.contents(0);
    expect(Buffer.compare(after.bytes, before.bytes)).toBe(0);
    expect((await lab.contents(1)).keys.every((key) => key.startsWith("index/"))).toBe(true);
  });

  test("a trim inside the first extent changes nothing about the extents: they are replaced, and the start stays", async () => {
    await fill();
    await lab.commit([trim(1, 1)]);
    expect(await lab.merge(lab.plan())).toMatchObject({ kind: "merged", droppedRanges: 0 });
    expect(lab.chain.state.extents({ topicId: TOPIC, partition: 1 })?.startOffset).toBe(1);
  });

  test("everything was trimmed: no link, and the object is given up", async () => {
    await fill();
    const job = lab.plan();
    await lab.commit([trim(0, 3), trim(1, 6)]);
    const seq = lab.chain.state.nextSeq;
    expect(await lab.merge(job)).toMatchObject({ kind: "overtaken" });
    expect(lab.chain.state.nextSeq).toBe(seq);
    expect(lab.abandoned).toEqual(await lab.dataKeys());
  });

  test("in another epoch than the one it was planned in nothing is replaced: the object may have been swept", async () => {
    await fill();
    const outcome = await lab.merge(lab.plan(), {
      commit: async (plan) => {
        await lab.takeOver();
        await lab.commit(plan(lab.chain.state));
      },
    });
    expect(outcome).toMatchObject({ kind: "overtaken" });
    expect(lab.abandoned.length).toBe(1);
  });
});

describe("what goes wrong", () => {
  const flip = async (key: ObjectKey, at: number): Promise<void> => {
    const found = await lab.raw.get(key);
    const body = Buffer.from(found?.body ?? []);
    body[at]! ^= 1;
    await lab.raw.put(key, body, { condition: { kind: "none" } });
  };

  test("damaged extents, all of them, are told with object, position and offsets; nothing is written or replaced", async () => {
    await fill();
    const job = lab.plan();
    const { state } = lab.chain;
    const expected = [];
    for (const [partition, i] of [
      [0, 1],
      [1, 2],
    ] as const) {
      const extent = state.extents({ topicId: TOPIC, partition })!.at(i);
      const key = state.objectKey(extent.object);
      await flip(key, extent.position + extent.lengthBytes - 1);
      const { position, lengthBytes, baseOffset, nextOffset } = extent;
      expected.push(expect.objectContaining({ partition, key, position, lengthBytes, baseOffset, nextOffset }));
    }
    const seq = state.nextSeq;
    expect(await lab.merge(job)).toMatchObject({ kind: "damaged", extents: expected });
    expect(state.nextSeq).toBe(seq);
    expect(await lab.dataKeys()).toEqual([]);
    expect(lab.abandoned.length).toBe(1);
  });

  test("a source that is gone is damage of all its extents", async () => {
    for (let i = 0; i < 8; i++) await lab.append([{ partition: 0, valueBytes: [500] }], "object");
    const job = lab.plan();
    const { keys } = await lab.contents(0);
    await lab.raw.delete([keys[3]!]);
    expect(await lab.merge(job)).toMatchObject({ kind: "damaged", extents: [{ key: keys[3], baseOffset: 3 }] });
  });

  test("a byte that was flipped on its way is fetched again, and copied as it is in the store", async () => {
    await fill();
    const before = await lab.contents(1);
    let flips = 0;
    const outcome = await lab.merge(lab.plan(), {
      source: {
        fromTail: () => undefined,
        fetch: async (key, start, end) => {
          const body = Buffer.from((await lab.raw.get(key, { range: { start, end } }))?.body ?? []);
          if (flips++ === 0) body[body.length - 1]! ^= 1;
          return body;
        },
      },
    });
    expect(outcome.kind).toBe("merged");
    const after = await lab.contents(1);
    expect(Buffer.compare(after.bytes, before.bytes)).toBe(0);
  });

  test("aborted in the middle of a large object: nothing stays but what was there", async () => {
    const store = createMemoryStore();
    lab = new MergeLab(store);
    await lab.takeOver();
    for (let i = 0; i < 4; i++) await lab.append([{ partition: 0, valueBytes: [4 * MIB] }], "object");
    const keys = await lab.dataKeys();
    const job = lab.plan({ segmentBytes: 16 * MIB });
    expect(job).toMatchObject({ reason: "segment", count: 3 });
    const all = await lab.contents(0);
    const abort = new AbortController();
    let fetches = 0;
    const merging = lab.merge(job, {
      signal: abort.signal,
      source: {
        fromTail: () => undefined,
        fetch: async (key, start, end) => {
          if (++fetches === 3) abort.abort(new Error("closed"));
          const found = await store.get(key, { range: { start, end } });
          return found!.body;
        },
      },
    });
    await expect(merging).rejects.toThrow("closed");
    expect(await lab.dataKeys()).toEqual(keys);
    expect(lab.abandoned.length).toBe(1);
    const after = await lab.contents(0);
    expect(Buffer.compare(after.bytes, all.bytes)).toBe(0);
  });

  test("an outcome of the link that is unknown: the object is not given up, for it may be named", async () => {
    await fill();
    const lost = asTierlogError(new Error("lost")).withEffect("unknown");
    await expect(lab.merge(lab.plan(), { commit: () => Promise.reject(lost) })).rejects.toBe(lost);
    expect(lab.abandoned).toEqual([]);
    expect((await lab.dataKeys()).length).toBe(1);
  });
});
