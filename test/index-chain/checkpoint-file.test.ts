import { readFileSync } from "node:fs";

import { describe, expect, test } from "vitest";

import type { Epoch, ObjectKey, Offset, Seq, ShardId, TopicId } from "../../src/domain.ts";
import { isTierlogError } from "../../src/errors.ts";
import { CHECKPOINT_HEADER_BYTES, decodeCheckpoint, encodeCheckpoint } from "../../src/index-chain/checkpoint-file.ts";
import { capacityOf, extentRows, FrozenExtents } from "../../src/index-chain/extent-rows.ts";
import type { LinkExtent } from "../../src/index-chain/link-entries.ts";
import { ShardState } from "../../src/index-chain/shard-state.ts";
import { checkpointKey, dataKey } from "../../src/object-store/object-names.ts";
import { crc32c } from "../../src/record/crc32c.ts";
import { fenced, fold, type Fold } from "./fold.ts";
import { extent, PARTITION, SHARD, TOPIC, writeId } from "./links.ts";
import { digest } from "./states.ts";

const OTHER_TOPIC = "fedcba9876543210".repeat(2) as TopicId;

/** The state of the worked example in docs/checkpoint-format.md. */
function example(): ShardState {
  const into = fenced();
  fold(into, 3, [{ type: "append", objects: [], extents: [extent(0, 3, 3, 189, 5)] }]);
  fold(into, 3, [
    {
      type: "append",
      objects: [{ key: dataKey(SHARD, 3 as Epoch, 1, "00112233445566ff"), sizeBytes: 9000 }],
      extents: [
        { ...extent(3, 103, 3, 0, 5000), object: 1 },
        { ...extent(0, 1, 3, 5000, 3000), object: 1, topicId: OTHER_TOPIC, partition: 2 },
      ],
    },
  ]);
  return into.state;
}

/** So many extents in each of so many partitions. */
function large(partitions: number, extents: number): Fold {
  const into = fenced();
  for (let i = 0; i < extents; i++) {
    const run: LinkExtent[] = Array.from({ length: partitions }, (_, partition) => ({
      ...extent(i * 10, i * 10 + 10, 3, 1000 + partition * 100, 100),
      partition,
    }));
    fold(into, 3, [{ type: "append", objects: [], extents: run }]);
  }
  return into;
}

async function decoded(bytes: Uint8Array, seq: Seq, key: ObjectKey = checkpointKey(SHARD, seq)): Promise<ShardState> {
  const state = new ShardState(SHARD);
  state.restore(await decodeCheckpoint(bytes, key, SHARD, seq));
  return state;
}

const SEQ = 2 as Seq;
const KEY = checkpointKey(SHARD, SEQ);

test("golden file: checkpoint.ckpt is what is written, byte for byte, and reads back", async () => {
  const golden = readFileSync(new URL("../format/checkpoint.ckpt", import.meta.url));
  expect(Buffer.from(await encodeCheckpoint(example().snapshot())).toString("hex")).toBe(golden.toString("hex"));
  expect(digest(await decoded(golden, SEQ))).toBe(digest(example()));
});

/** The example, its first partition trimmed into its first extent: what needs version 2. */
function trimmedExample(): ShardState {
  const state = example();
  const trims = [{ ...PARTITION, oldStart: 0 as Offset, newStart: 2 as Offset }];
  fold({ state, lastLive: writeId("link 2") }, 3, [{ type: "trim", trims }]);
  return state;
}

test("golden file: checkpoint-2.ckpt, with a start inside an extent, is what is written and reads back", async () => {
  const golden = readFileSync(new URL("../format/checkpoint-2.ckpt", import.meta.url));
  expect(Buffer.from(await encodeCheckpoint(trimmedExample().snapshot())).toString("hex")).toBe(golden.toString("hex"));
  const copy = await decoded(golden, 3 as Seq);
  expect(digest(copy)).toBe(digest(trimmedExample()));
  expect(copy.extents(PARTITION)).toMatchObject({ startOffset: 2, nextOffset: 103, count: 2 });
});

/** The example, all its extents merged into one object, and a boundary behind: what needs version 3. */
function mergedExample(): ShardState {
  const into = { state: example(), lastLive: writeId("link 2") };
  const { state } = into;
  const ranges = [
    { ...PARTITION, baseOffset: 0 as Offset, nextOffset: 103 as Offset, count: 2 },
    { topicId: OTHER_TOPIC, partition: 2, baseOffset: 0 as Offset, nextOffset: 1 as Offset, count: 1 },
  ];
  const superseded = state.supersededDigest(ranges);
  if (superseded === undefined) throw new Error("no such extents");
  const objects = [{ key: dataKey(SHARD, 3 as Epoch, 2, "ff112233445566aa"), sizeBytes: 8200 }];
  const extents = [
    { ...extent(0, 103, 3, 0, 5005), object: 1 },
    { ...extent(0, 1, 3, 5005, 3000), object: 1, topicId: OTHER_TOPIC, partition: 2 },
  ];
  fold(into, 3, [{ type: "replace", objects, ranges, superseded, extents }]);
  fold(into, 3, [{ type: "boundary", seq: 4 as Seq }]);
  return state;
}

test("golden file: checkpoint-3.ckpt, with a boundary, is what is written and reads back", async () => {
  const golden = readFileSync(new URL("../format/checkpoint-3.ckpt", import.meta.url));
  expect(Buffer.from(await encodeCheckpoint(mergedExample().snapshot())).toString("hex")).toBe(golden.toString("hex"));
  const copy = await decoded(golden, 4 as Seq);
  expect(digest(copy)).toBe(digest(mergedExample()));
  expect(copy.boundary).toBe(4);
  expect([...copy.dataObjects]).toMatchObject([{ number: -1, liveBytes: 8005, extents: 2 }]);
});

test("a start at an extent's edge is written in version 1, which older versions read", async () => {
  const state = example();
  const trims = [{ ...PARTITION, oldStart: 0 as Offset, newStart: 3 as Offset }];
  fold({ state, lastLive: writeId("link 2") }, 3, [{ type: "trim", trims }]);
  const bytes = await encodeCheckpoint(state.snapshot());
  expect(Buffer.from(bytes).readUInt16BE(8)).toBe(1);
  expect((await decoded(bytes, 3 as Seq)).extents(PARTITION)).toMatchObject({ startOffset: 3, count: 1 });
});

test.each([1, 2, 3, 50, 102, 103])(
  "a state trimmed to %i goes on, and so does what was read back",
  async (newStart) => {
    const state = example();
    const before = state.snapshot();
    const seen = await encodeCheckpoint(before);
    const trims = [{ ...PARTITION, oldStart: 0 as Offset, newStart: newStart as Offset }];
    fold({ state, lastLive: writeId("link 2") }, 3, [{ type: "trim", trims }]);
    // The snapshot shares columns with the state, and must not feel the trim.
    expect(Buffer.compare(await encodeCheckpoint(before), seen)).toBe(0);
    const copy = await decoded(await encodeCheckpoint(state.snapshot()), 3 as Seq);
    expect(copy.extents(PARTITION)).toMatchObject({
      startOffset: newStart,
      nextOffset: 103,
      count: newStart < 3 ? 2 : newStart < 103 ? 1 : 0,
      bytes: newStart < 3 ? 5005 : newStart < 103 ? 5000 : 0,
    });
    for (const one of [state, copy]) {
      fold({ state: one, lastLive: writeId("link 3") }, 3, [
        { type: "append", objects: [], extents: [extent(103, 104, 3, 189, 4)] },
        { type: "trim", trims: [{ ...PARTITION, oldStart: newStart as Offset, newStart: 104 as Offset }] },
        { type: "append", objects: [], extents: [extent(104, 105, 3, 193, 4)] },
      ]);
      expect(one.extents(PARTITION)).toMatchObject({ startOffset: 104, nextOffset: 105, count: 1, bytes: 4 });
    }
    expect(digest(copy)).toBe(digest(state));
  },
);

test.each([
  ["another old start", { oldStart: 1, newStart: 2 }],
  ["a new start that is the old one", { oldStart: 0, newStart: 0 }],
  ["a start past the end", { oldStart: 0, newStart: 104 }],
  ["an unknown partition", { partition: 9, oldStart: 0, newStart: 1 }],
  ["an unknown topic", { topicId: OTHER_TOPIC, oldStart: 0, newStart: 1 }],
])("a trim with %s has no effect, nor has what stands beside it in the entry; its link is live", (_, wrong) => {
  const good = { topicId: OTHER_TOPIC, partition: 2, oldStart: 0 as Offset, newStart: 1 as Offset };
  const bad = { ...PARTITION, ...wrong } as typeof good;
  for (const trims of [
    [good, bad],
    [bad, good],
  ]) {
    const state = example();
    const into = { state, lastLive: writeId("link 2") };
    fold(into, 3, [{ type: "trim", trims }]);
    expect(state.lastLive).toBe(writeId("link 3"));
    expect(state.extents(PARTITION)).toMatchObject({ startOffset: 0, count: 2 });
    expect(state.extents(good)).toMatchObject({ startOffset: 0, count: 1 });
    // The other entries of a link do not depend on it.
    fold(into, 3, [
      { type: "trim", trims },
      { type: "trim", trims: [good] },
    ]);
    expect(state.extents(good)).toMatchObject({ startOffset: 1, nextOffset: 1, count: 0 });
  }
});

test.each([0n, 3n, 200n])(
  "a checkpoint whose extents begin at %i beside a start of 2 is damage, unless it can be",
  async (base) => {
    const bytes = Buffer.from(await encodeCheckpoint(trimmedExample().snapshot()));
    // Start offset of the first partition, then the base of its first extent.
    const at = 0x11b + 8;
    expect(bytes.readBigUInt64BE(at)).toBe(2n);
    bytes.writeBigUInt64BE(base, at + 8);
    bytes.writeUInt32BE(crc32c(bytes.subarray(CHECKPOINT_HEADER_BYTES, -4)), bytes.length - 4);
    const outcome = await decoded(bytes, 3 as Seq).then(
      () => "read",
      (error: unknown) => (isTierlogError(error) ? error.code : String(error)),
    );
    expect(outcome).toBe(base === 0n ? "read" : "TIERLOG_CORRUPTION");
  },
);

test("lists with room to grow are not written into by the states that share a snapshot", () => {
  const { state, lastLive } = large(1, 9);
  const snapshot = state.snapshot();
  expect(capacityOf(snapshot.partitions[0]!.extents.rows)).toBeGreaterThan(9);
  const copies = [new ShardState(SHARD), new ShardState(SHARD)];
  for (const [i, copy] of copies.entries()) {
    copy.restore(snapshot);
    fold({ state: copy, lastLive }, 3, [
      { type: "append", objects: [], extents: [extent(90, 91 + i, 3, 1000, 4 + i)] },
    ]);
  }
  for (const [i, copy] of copies.entries())
    expect(copy.extents(PARTITION)?.at(9)).toMatchObject({ lengthBytes: 4 + i });
  expect(state.extents(PARTITION)?.count).toBe(9);
});

test("a partition without extents keeps its end", async () => {
  const snapshot = large(1, 1).state.snapshot();
  const extents = new FrozenExtents(extentRows(0), 0, 4711, 4711);
  const bytes = await encodeCheckpoint({ ...snapshot, partitions: [{ ...PARTITION, extents }] });
  const list = (await decoded(bytes, snapshot.seq)).extents(PARTITION);
  expect(list).toMatchObject({ count: 0, startOffset: 4711, nextOffset: 4711, bytes: 0 });
});

test("a restored state goes on as the one it was taken of, and neither sees what the other adds", async () => {
  const state = example();
  const snapshot = state.snapshot();
  const copies = [await decoded(await encodeCheckpoint(snapshot), SEQ), new ShardState(SHARD)];
  copies[1]?.restore(snapshot);
  const before = digest(state);
  for (const copy of copies) {
    fold({ state: copy, lastLive: writeId("link 2") }, 3, [
      { type: "append", objects: [], extents: [extent(103, 104, 3, 189, 4)] },
      { type: "append", objects: [{ key: "other" as ObjectKey, sizeBytes: 10 }], extents: [] },
    ]);
    expect(copy.extents(PARTITION)?.count).toBe(3);
  }
  expect(digest(state)).toBe(before);
  fold({ state, lastLive: writeId("link 2") }, 3, [
    { type: "append", objects: [], extents: [extent(103, 104, 3, 189, 4)] },
    { type: "append", objects: [{ key: "other" as ObjectKey, sizeBytes: 10 }], extents: [] },
  ]);
  for (const copy of copies) expect(digest(copy)).toBe(digest(state));
});

test("a released shard, partitions by the thousand and extents by the ten thousand read back", async () => {
  for (const into of [large(3000, 2), large(1, 20_000), large(3, 7000)]) {
    fold(into, 3, [{ type: "release" }]);
    const { seq } = into.state.snapshot();
    const copy = await decoded(await encodeCheckpoint(into.state.snapshot()), seq);
    expect(copy.released).toBe(true);
    expect(digest(copy)).toBe(digest(into.state));
  }
});

test("the journal id keeps the epoch since which it stands, across fences and restarts", async () => {
  const into = fenced();
  const fence = (epoch: number, digit: string): void =>
    fold(into, epoch, [{ type: "fence", journalId: digit.repeat(32), endpoint: "" }]);
  fence(4, "7");
  expect(into.state.fence).toMatchObject({ epoch: 4, journalSince: 3 });
  const copy = await decoded(await encodeCheckpoint(into.state.snapshot()), 1 as Seq);
  fold({ state: copy, lastLive: into.lastLive }, 5, [{ type: "fence", journalId: "7".repeat(32), endpoint: "" }]);
  expect(copy.fence).toMatchObject({ epoch: 5, journalSince: 3 });
  fence(6, "8");
  expect(into.state.fence).toMatchObject({ epoch: 6, journalSince: 6 });
});

describe("a snapshot while the state goes on", () => {
  test("is encoded as it was: links folded between two turns change nothing", async () => {
    // Enough data objects for turns among them too.
    const objects = Array.from({ length: 5000 }, (_, i) => ({ key: `object ${i}` as ObjectKey, sizeBytes: 100 }));
    const still = large(4, 5000);
    const moving = large(4, 5000);
    for (const into of [still, moving]) fold(into, 3, [{ type: "append", objects, extents: [] }]);
    const { seq } = still.state.snapshot();
    const expected = Buffer.from(await encodeCheckpoint(still.state.snapshot()));
    const encoding = encodeCheckpoint(moving.state.snapshot());
    const turns = { count: 0, over: false };
    const done = encoding.finally(() => {
      turns.over = true;
    });
    // Each turn folds on: more extents to partitions that are there, new partitions, new data objects, another owner.
    for (let i = 5000; !turns.over; i++) {
      turns.count++;
      fold(moving, 3 + turns.count, [{ type: "fence", journalId: "9".repeat(32), endpoint: "elsewhere" }]);
      fold(moving, 3 + turns.count, [
        {
          type: "append",
          objects: [{ key: `late ${i}` as ObjectKey, sizeBytes: 100 }],
          extents: [0, 1, 2, 3, i].map((partition) => ({
            ...extent(partition < 4 ? i * 10 : 0, partition < 4 ? i * 10 + 10 : 1, 3, 0, 100),
            partition,
            object: 1,
          })),
        },
      ]);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(turns.count).toBeGreaterThan(2);
    expect(Buffer.compare(await done, expected)).toBe(0);
    expect(digest(await decoded(expected, seq))).toBe(digest(still.state));
  });
});

describe("damage", async () => {
  const bytes = await encodeCheckpoint(example().snapshot());

  test("every flipped bit is noticed, and named with the object and a byte of it", async () => {
    for (let at = 0; at < bytes.length; at++) {
      for (let bit = 0; bit < 8; bit++) {
        const damaged = Uint8Array.from(bytes);
        damaged[at] = (damaged[at] ?? 0) ^ (1 << bit);
        const error = await failure(decodeCheckpoint(damaged, KEY, SHARD, SEQ));
        expect(error.code, `byte ${at} bit ${bit}`).toBe("TIERLOG_CORRUPTION");
        expect(error.key).toBe(KEY);
        expect(error.position).toBeLessThanOrEqual(bytes.length);
      }
    }
  });

  test("every cut and every byte too many is noticed", async () => {
    for (let length = 0; length < bytes.length; length++) {
      const error = await failure(decodeCheckpoint(bytes.subarray(0, length), KEY, SHARD, SEQ));
      expect(error.code, `cut at ${length}`).toBe("TIERLOG_CORRUPTION");
    }
    const longer = await failure(decodeCheckpoint(Buffer.concat([bytes, Buffer.alloc(1)]), KEY, SHARD, SEQ));
    expect(longer.code).toBe("TIERLOG_CORRUPTION");
  });

  test("numbers that lie under a right CRC are refused or harmless, and nothing is allocated for them", async () => {
    const buffersBefore = process.memoryUsage().arrayBuffers;
    const buffersMax = { value: 0 };
    let refused = 0;
    for (const [size, values] of [
      [4, [0x7fff_ffffn, 0xffff_ffffn]],
      [8, [2n ** 31n - 1n, 2n ** 53n, 2n ** 63n]],
    ] as const) {
      for (const value of values) {
        for (let at = CHECKPOINT_HEADER_BYTES; at + size <= bytes.length - 4; at++) {
          const lying = Buffer.from(bytes);
          if (size === 4) lying.writeUInt32BE(Number(value), at);
          else lying.writeBigUInt64BE(value, at);
          rightBodyCrc(lying);
          const { kind } = await failure(decodeCheckpoint(lying, KEY, SHARD, SEQ));
          expect(["data", "no error"], `byte ${at}`).toContain(kind);
          if (kind === "data") refused++;
          buffersMax.value = Math.max(buffersMax.value, process.memoryUsage().arrayBuffers);
        }
      }
    }
    expect(refused).toBeGreaterThan(500);
    // One believed count of 2^31 extents alone would be 96 GiB.
    expect(buffersMax.value - buffersBefore).toBeLessThan(64 * 1024 * 1024);
  });

  test("the length in the header is compared with the object", async () => {
    for (const value of [0n, 2n ** 31n - 1n, 2n ** 53n, 2n ** 63n]) {
      const lying = Buffer.from(bytes);
      lying.writeBigUInt64BE(value, 24);
      rightHeaderCrc(lying);
      expect((await failure(decodeCheckpoint(lying, KEY, SHARD, SEQ))).code).toBe("TIERLOG_CORRUPTION");
    }
  });

  test("what no fold can give is refused under a right CRC", async () => {
    const text = Buffer.from(bytes);
    const at = (needle: Buffer): number => {
      const found = text.indexOf(needle);
      if (found < 0) throw new Error("fixture has changed");
      return found;
    };
    const fenceAt = CHECKPOINT_HEADER_BYTES + 16 + 8 + 8 + 1;
    const extentsEnd = bytes.length - 4;
    const cases: [string, (lying: Buffer) => void][] = [
      ["no live link", (lying) => lying.writeBigUInt64BE(0n, CHECKPOINT_HEADER_BYTES + 16)],
      ["more live links than links", (lying) => lying.writeBigUInt64BE(4n, CHECKPOINT_HEADER_BYTES + 16)],
      ["released is 2", (lying) => lying.writeUInt8(2, CHECKPOINT_HEADER_BYTES + 32)],
      ["a fence behind the seq", (lying) => lying.writeBigUInt64BE(3n, fenceAt)],
      ["epoch 0", (lying) => lying.writeUInt32BE(0, fenceAt + 8)],
      ["an epoch beyond 31 bits", (lying) => lying.writeUInt32BE(0x8000_0000, fenceAt + 8)],
      ["a journal since epoch 0", (lying) => lying.writeUInt32BE(0, fenceAt + 44)],
      ["a journal from the future", (lying) => lying.writeUInt32BE(4, fenceAt + 44)],
      ["a partition twice", (lying) => twice(lying)],
      ["a topic that is not there", (lying) => lying.writeUInt32BE(2, extentsEnd - 36 - 20)],
      ["an empty extent", (lying) => lying.writeUInt32BE(0, extentsEnd - 36)],
      ["an extent of epoch 0", (lying) => lying.writeUInt32BE(0, extentsEnd - 32)],
      ["an extent of a later epoch", (lying) => lying.writeUInt32BE(4, extentsEnd - 32)],
      ["an extent of no bytes", (lying) => lying.writeUInt32BE(0, extentsEnd - 28)],
      ["an extent past its object", (lying) => lying.writeUInt32BE(4001, extentsEnd - 28)],
      ["an index file that was not folded", (lying) => lying.writeBigInt64BE(3n, extentsEnd - 24)],
      ["a data object that is not there", (lying) => lying.writeBigInt64BE(-2n, extentsEnd - 24)],
      ["a position below 0", (lying) => lying.writeBigInt64BE(-1n, extentsEnd - 16)],
      ["offsets beyond 2^53", (lying) => lying.writeBigUInt64BE(2n ** 53n - 1n, extentsEnd - 36 - 12)],
    ];
    function twice(lying: Buffer): void {
      // The second partition, of the other topic and number 2, becomes the first.
      lying.writeUInt32BE(0, extentsEnd - 36 - 20);
      lying.writeUInt32BE(0, extentsEnd - 36 - 16);
    }
    expect(at(Buffer.from("10.0.0.7:9092"))).toBeGreaterThan(fenceAt);
    for (const [what, change] of cases) {
      const lying = Buffer.from(bytes);
      change(lying);
      rightBodyCrc(lying);
      const error = await failure(decodeCheckpoint(lying, KEY, SHARD, SEQ));
      expect(error.code, `case ${what}`).toBe("TIERLOG_CORRUPTION");
      expect(error.position, `case ${what}`).toBeGreaterThanOrEqual(CHECKPOINT_HEADER_BYTES);
    }
  });

  test("an object under a wrong name is noticed", async () => {
    expect((await failure(decodeCheckpoint(bytes, KEY, SHARD, 3 as Seq))).code).toBe("TIERLOG_CORRUPTION");
    expect((await failure(decodeCheckpoint(bytes, KEY, 1 as ShardId, SEQ))).code).toBe("TIERLOG_CORRUPTION");
  });
});

describe("what this version does not know", () => {
  test.each([
    ["a newer format version", 9, 4],
    ["flags", 10, 1],
    ["encryption", 11, 1],
  ])("%s is refused as unsupported, not as damage", async (_, at, value) => {
    const newer = Buffer.from(await encodeCheckpoint(example().snapshot()));
    newer[at] = value;
    rightHeaderCrc(newer);
    expect((await failure(decodeCheckpoint(newer, KEY, SHARD, SEQ))).code).toBe("TIERLOG_UNSUPPORTED_VERSION");
  });

  test("a boundary belongs to version 3, and lies neither behind the seq nor above bytes that are read", async () => {
    const boundaryAt = CHECKPOINT_HEADER_BYTES + 24;
    const older = Buffer.from(await encodeCheckpoint(example().snapshot()));
    older.writeBigUInt64BE(1n, boundaryAt);
    rightBodyCrc(older);
    expect((await failure(decodeCheckpoint(older, KEY, SHARD, SEQ))).code).toBe("TIERLOG_CORRUPTION");
    const merged = Buffer.from(await encodeCheckpoint(mergedExample().snapshot()));
    const boundaries = [0n, 2n, 4n, 5n].map(async (boundary) => {
      const changed = Buffer.from(merged);
      changed.writeBigUInt64BE(boundary, boundaryAt);
      rightBodyCrc(changed);
      const key = checkpointKey(SHARD, 4 as Seq);
      return await decodeCheckpoint(changed, key, SHARD, 4 as Seq).then(
        () => "read",
        (error: unknown) => (isTierlogError(error) ? error.code : error),
      );
    });
    expect(await Promise.all(boundaries)).toEqual(["TIERLOG_CORRUPTION", "read", "read", "TIERLOG_CORRUPTION"]);
    // Its first extent in the index file of seq 1, below the boundary.
    const objectAt = merged.length - 4 - (28 + 36) - 36 + 12;
    expect(merged.readBigInt64BE(objectAt)).toBe(-1n);
    merged.writeBigInt64BE(1n, objectAt);
    rightBodyCrc(merged);
    expect((await failure(decodeCheckpoint(merged, checkpointKey(SHARD, 4 as Seq), SHARD, 4 as Seq))).code).toBe(
      "TIERLOG_CORRUPTION",
    );
  });
});

test("offsets up to 2^53 − 1 survive", async () => {
  const top = Number.MAX_SAFE_INTEGER;
  const into = fenced();
  fold(into, 3, [{ type: "append", objects: [], extents: [extent(0, 0xffff_ffff, 3, 100, 4)] }]);
  const bytes = Buffer.from(await encodeCheckpoint(into.state.snapshot()));
  // The start moves up so that the only extent ends at the top.
  bytes.writeBigUInt64BE(BigInt(top - 0xffff_ffff), bytes.length - 4 - 36 - 12);
  rightBodyCrc(bytes);
  const state = await decoded(bytes, 1 as Seq);
  expect(state.extents({ topicId: TOPIC, partition: 0 })?.nextOffset).toBe(top as Offset);
  expect(Buffer.compare(await encodeCheckpoint(state.snapshot()), bytes)).toBe(0);
});

function rightBodyCrc(bytes: Buffer): void {
  bytes.writeUInt32BE(crc32c(bytes.subarray(CHECKPOINT_HEADER_BYTES, bytes.length - 4)), bytes.length - 4);
}

function rightHeaderCrc(bytes: Buffer): void {
  bytes.writeUInt32BE(crc32c(bytes.subarray(0, 60)), 60);
}

async function failure(
  decoding: Promise<unknown>,
): Promise<{ code: string; kind: string; key?: unknown; position?: number }> {
  try {
    await decoding;
  } catch (error) {
    if (!isTierlogError(error)) throw error;
    const { key, position } = error.data();
    return { code: error.code, kind: error.kind, key, position: Number(position ?? Number.NaN) };
  }
  return { code: "no error", kind: "no error" };
}
