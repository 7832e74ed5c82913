import { readFileSync } from "node:fs";

import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

import type { Epoch, ObjectKey, Offset, PartitionId, ShardId, TopicId } from "../../src/domain.ts";
import { CorruptionError, isTierlogError, UnsupportedVersionError } from "../../src/errors.ts";
import {
  DataObjectDirectory,
  decodeFooter,
  decodeTrailer,
  TRAILER_BYTES,
  type DataExtent,
  type Footer,
} from "../../src/object-store/data-object.ts";
import { dataKey } from "../../src/object-store/object-names.ts";
import { decodeRecords, readExtent } from "../../src/record/batch.ts";
import { crc32c } from "../../src/record/crc32c.ts";
import { batchOf, epoch, offset, utf8 } from "../record/support.ts";

const SHARD = 5 as ShardId;
const EPOCH = 3 as Epoch;
const CREATED_MS = 1_700_000_000_500;
const KEY = dataKey(SHARD, EPOCH, 8, "4f00112233445566");
const ORDERS = "0123456789abcdef".repeat(2) as TopicId;
const AUDIT = "fedcba9876543210".repeat(2) as TopicId;
const KIB = 1024;
/** What the format promises: a block about so often. */
const BLOCK_BYTES = 256 * KIB;

const golden = (name: string): Buffer => readFileSync(new URL(`../format/${name}`, import.meta.url));

/** As a reader does it: trailer, then footer. `object` may be the end of an object whose batches are `missing` bytes more. */
function decode(object: Uint8Array, missing = 0, key: ObjectKey = KEY): Footer {
  const sizeBytes = missing + object.length;
  const trailer = decodeTrailer(object.subarray(Math.max(0, object.length - TRAILER_BYTES)), sizeBytes, key);
  const end = object.length - TRAILER_BYTES;
  const start = end - trailer.footerBytes;
  // A trailer that lies may let the footer begin among the batches.
  const footer =
    start < 0 ? Buffer.concat([Buffer.alloc(-start), object.subarray(0, end)]) : object.subarray(start, end);
  return decodeFooter(footer, trailer, missing + start, key);
}

/** The object of the worked example in docs/data-object-format.md. */
const EXAMPLE: readonly {
  readonly id: PartitionId;
  readonly baseOffset: number;
  readonly values: readonly string[];
  readonly timestampMs: number;
}[] = [
  { id: { topicId: ORDERS, partition: 0 }, baseOffset: 7, values: ["apples", "pears"], timestampMs: 1_700_000_000_000 },
  { id: { topicId: ORDERS, partition: 0 }, baseOffset: 9, values: ["figs"], timestampMs: 1_700_000_000_250 },
  { id: { topicId: ORDERS, partition: 2 }, baseOffset: 0, values: ["plums"], timestampMs: 1_700_000_000_100 },
  { id: { topicId: AUDIT, partition: 0 }, baseOffset: 2 ** 32, values: ["login"], timestampMs: 1_699_999_999_000 },
];

async function encodeExample(): Promise<{ bytes: Buffer; directory: DataObjectDirectory }> {
  const directory = new DataObjectDirectory();
  const parts: Uint8Array[] = [];
  for (const { id, baseOffset, values, timestampMs } of EXAMPLE) {
    const records = values.map((value) => ({ key: null, value: utf8(value), timestampMs }));
    const batch = await batchOf(records, { baseOffset, epoch: EPOCH });
    parts.push(batch.bytes);
    directory.add(id, EPOCH, { ...batch, lengthBytes: batch.bytes.length });
  }
  parts.push(directory.encodeTail(SHARD, EPOCH, CREATED_MS));
  return { bytes: Buffer.concat(parts), directory };
}

/** The end of an object with large extents: five batches of 150 KiB, then seven of 100 KiB. */
function largeExtents(): DataObjectDirectory {
  const directory = new DataObjectDirectory();
  for (let i = 0; i < 5; i++) {
    directory.add({ topicId: ORDERS, partition: 1 }, EPOCH, {
      baseOffset: offset(1000 + 10 * i),
      nextOffset: offset(1010 + 10 * i),
      lengthBytes: 150 * KIB,
      maxTimestampMs: 1_700_000_000_000 + 1000 * ((i * 3) % 5),
    });
  }
  for (let i = 0; i < 7; i++) {
    directory.add({ topicId: ORDERS, partition: 3 }, EPOCH, {
      baseOffset: offset(4 * i),
      nextOffset: offset(4 * i + 4),
      lengthBytes: 100 * KIB,
      maxTimestampMs: 1_700_000_000_000 + i,
    });
  }
  return directory;
}
const LARGE_BYTES = (5 * 150 + 7 * 100) * KIB;

describe("golden files", () => {
  test("data-object.log is what is written, byte for byte, and reads back to the records", async () => {
    const stored = golden("data-object.log");
    const { bytes, directory } = await encodeExample();
    expect(bytes.toString("hex")).toBe(stored.toString("hex"));

    const footer = decode(stored);
    expect(footer).toEqual({ shard: SHARD, epoch: EPOCH, createdAtMs: CREATED_MS, extents: directory.extents });
    expect(footer.extents.map(({ topicId, partition }) => ({ topicId, partition }))).toEqual([
      { topicId: ORDERS, partition: 0 },
      { topicId: ORDERS, partition: 2 },
      { topicId: AUDIT, partition: 0 },
    ]);
    const read = footer.extents.flatMap((extent) =>
      readExtent(
        stored.subarray(extent.position, extent.position + extent.lengthBytes),
        { ...extent, epoch: extent.leaderEpoch },
        { key: KEY, position: extent.position },
      ).map((batch) => ({ id: extent, batch })),
    );
    expect(
      read.map(({ id, batch }) => ({
        partition: id.partition,
        baseOffset: batch.header.baseOffset,
        values: decodeRecords(batch.bytes, { key: KEY, position: 0 }).map(({ value }) =>
          Buffer.from(value ?? []).toString(),
        ),
      })),
    ).toEqual(EXAMPLE.map(({ id, baseOffset, values }) => ({ partition: id.partition, baseOffset, values })));
  });

  test("data-object-tail.bin: the end of an object with large extents, a block about every 256 KiB", () => {
    const stored = golden("data-object-tail.bin");
    const directory = largeExtents();
    expect(Buffer.from(directory.encodeTail(SHARD, EPOCH, CREATED_MS)).toString("hex")).toBe(stored.toString("hex"));
    expect(directory.position).toBe(LARGE_BYTES);
    const { extents } = decode(stored, LARGE_BYTES);
    expect(extents).toEqual(directory.extents);
    // A block begins with the first batch that lies 256 KiB or more behind the beginning of the block before.
    expect(extents.map(({ blocks }) => blocks)).toEqual([
      [
        { offset: 1000, position: 0, maxTimestampMs: 1_700_000_003_000 },
        { offset: 1020, position: 300 * KIB, maxTimestampMs: 1_700_000_004_000 },
        { offset: 1040, position: 600 * KIB, maxTimestampMs: 1_700_000_002_000 },
      ],
      [
        { offset: 0, position: 0, maxTimestampMs: 1_700_000_000_002 },
        { offset: 12, position: 300 * KIB, maxTimestampMs: 1_700_000_000_005 },
        { offset: 24, position: 600 * KIB, maxTimestampMs: 1_700_000_000_006 },
      ],
    ]);
    expect(extents.map(({ maxTimestampMs }) => maxTimestampMs)).toEqual([1_700_000_004_000, 1_700_000_000_006]);
  });
});

test("an object without batches has a footer without extents", () => {
  const tail = new DataObjectDirectory().encodeTail(SHARD, EPOCH, 0);
  expect(decode(tail)).toEqual({ shard: SHARD, epoch: EPOCH, createdAtMs: 0, extents: [] });
});

describe("property: what the directory collects is what the footer says", () => {
  interface Batch {
    readonly id: PartitionId;
    readonly leaderEpoch: Epoch;
    readonly baseOffset: Offset;
    readonly nextOffset: Offset;
    readonly lengthBytes: number;
    readonly maxTimestampMs: number;
  }

  const anyBatches = fc
    .array(
      fc.record({
        same: fc.boolean(),
        topic: fc.constantFrom(ORDERS, AUDIT),
        partition: fc.nat(2),
        leaderEpoch: fc.integer({ min: 1, max: 2 }),
        gap: fc.constantFrom(0, 0, 0, 1, 2 ** 40),
        records: fc.oneof(fc.integer({ min: 1, max: 1000 }), fc.constant(2 ** 20)),
        lengthBytes: fc.oneof(
          fc.integer({ min: 61, max: 70_000 }),
          fc.constantFrom(BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 32 * KIB * KIB),
        ),
        maxTimestampMs: fc.oneof(fc.maxSafeInteger(), fc.integer({ min: 0, max: 4_000_000_000_000 })),
      }),
      { maxLength: 60 },
    )
    .map((drafts) => {
      const ends = new Map<string, number>();
      const batches: Batch[] = [];
      for (const draft of drafts) {
        const before = draft.same ? batches.at(-1) : undefined;
        const id = before?.id ?? { topicId: draft.topic, partition: draft.partition };
        const name = `${id.topicId}/${id.partition}`;
        const baseOffset = (ends.get(name) ?? 0) + draft.gap;
        ends.set(name, baseOffset + draft.records);
        batches.push({
          id,
          leaderEpoch: before?.leaderEpoch ?? epoch(draft.leaderEpoch),
          baseOffset: offset(baseOffset),
          nextOffset: offset(baseOffset + draft.records),
          lengthBytes: draft.lengthBytes,
          maxTimestampMs: draft.maxTimestampMs,
        });
      }
      return batches;
    });

  test("extents, blocks, positions, timestamps", () => {
    fc.assert(
      fc.property(anyBatches, fc.nat(0xffff_ffff), fc.maxSafeNat(), (batches, shard, createdAtMs) => {
        const directory = new DataObjectDirectory();
        for (const batch of batches) directory.add(batch.id, batch.leaderEpoch, batch);
        const batchBytes = batches.reduce((sum, { lengthBytes }) => sum + lengthBytes, 0);
        expect(directory.position).toBe(batchBytes);
        const footer = decode(directory.encodeTail(shard as ShardId, EPOCH, createdAtMs), batchBytes);
        expect(footer).toEqual({ shard, epoch: EPOCH, createdAtMs, extents: directory.extents });
        expectToDescribe(footer.extents, batches);
      }),
      { numRuns: 300 },
    );
  });

  /** Walks batches and extents side by side. */
  function expectToDescribe(extents: readonly DataExtent[], batches: readonly Batch[]): void {
    let i = 0;
    let position = 0;
    for (const [number, extent] of extents.entries()) {
      const inside: (Batch & { readonly position: number })[] = [];
      for (let bytes = 0; bytes < extent.lengthBytes; i++) {
        const batch = batches[i];
        if (batch === undefined) throw new Error("the extents hold more than was added");
        inside.push({ ...batch, position: bytes });
        bytes += batch.lengthBytes;
      }
      const [first, last] = [inside[0], inside.at(-1)];
      expect(extent).toMatchObject({ ...first?.id, leaderEpoch: first?.leaderEpoch, position });
      expect([extent.baseOffset, extent.nextOffset]).toEqual([first?.baseOffset, last?.nextOffset]);
      expect(extent.lengthBytes).toBe(inside.reduce((sum, { lengthBytes }) => sum + lengthBytes, 0));
      expect(extent.maxTimestampMs).toBe(Math.max(...inside.map(({ maxTimestampMs }) => maxTimestampMs)));
      // Nothing that belongs together is cut.
      const next = batches[i];
      expect(
        next !== undefined &&
          next.id.topicId === extent.topicId &&
          next.id.partition === extent.partition &&
          next.leaderEpoch === extent.leaderEpoch &&
          next.baseOffset === extent.nextOffset &&
          extent.lengthBytes + next.lengthBytes <= 2 ** 30,
        `extent ${number} goes on`,
      ).toBe(false);

      const { blocks } = extent;
      expect(blocks[0]).toMatchObject({ offset: extent.baseOffset, position: 0 });
      for (const [at, block] of blocks.entries()) {
        const end = blocks[at + 1]?.position ?? extent.lengthBytes;
        const own = inside.filter((batch) => batch.position >= block.position && batch.position < end);
        expect(own[0]).toMatchObject({ position: block.position, baseOffset: block.offset });
        expect(block.maxTimestampMs).toBe(Math.max(...own.map(({ maxTimestampMs }) => maxTimestampMs)));
        // A read of a random offset steps over less than 256 KiB, and the index is no denser than that takes.
        expect((own.at(-1)?.position ?? 0) - block.position).toBeLessThan(BLOCK_BYTES);
        const bytesMin = at + 1 < blocks.length ? BLOCK_BYTES : 1;
        expect(end - block.position).toBeGreaterThanOrEqual(bytesMin);
      }
      position += extent.lengthBytes;
    }
    expect(i).toBe(batches.length);
  }
});

describe("limits of the fields", () => {
  test("offsets up to 2^53 − 1 and timestamps of either sign survive", () => {
    const directory = new DataObjectDirectory();
    directory.add({ topicId: ORDERS, partition: 0xffff_ffff }, 0x7fff_ffff as Epoch, {
      baseOffset: offset(Number.MAX_SAFE_INTEGER - 1),
      nextOffset: offset(Number.MAX_SAFE_INTEGER),
      lengthBytes: 61,
      maxTimestampMs: Number.MIN_SAFE_INTEGER,
    });
    expect(decode(directory.encodeTail(SHARD, EPOCH, Number.MAX_SAFE_INTEGER), 61).extents).toEqual(directory.extents);
  });

  test("batches of one partition beyond 1 GiB go on in another extent: lengths have 32 bits", () => {
    const directory = new DataObjectDirectory();
    const lengthBytes = 2 ** 25;
    for (let i = 0; i < 130; i++) {
      directory.add({ topicId: ORDERS, partition: 0 }, EPOCH, {
        baseOffset: offset(i),
        nextOffset: offset(i + 1),
        lengthBytes,
        maxTimestampMs: i,
      });
    }
    expect(directory.position).toBeGreaterThan(2 ** 32);
    const { extents } = decode(directory.encodeTail(SHARD, EPOCH, 0), directory.position);
    expect(extents).toEqual(directory.extents);
    expect(extents.map(({ baseOffset, position, lengthBytes: bytes }) => [baseOffset, position, bytes])).toEqual([
      [0, 0, 2 ** 30],
      [32, 2 ** 30, 2 ** 30],
      [64, 2 ** 31, 2 ** 30],
      [96, 3 * 2 ** 30, 2 ** 30],
      [128, 2 ** 32, 2 * lengthBytes],
    ]);
  });

  test("more records of one partition than 32 bits count go on in another extent", () => {
    const directory = new DataObjectDirectory();
    // What a batch of 260 KiB may hold when it is compressed: 500 of them wait below the default of flush.max_pending.
    const records = 9_000_000;
    for (let i = 0; i < 500; i++) {
      directory.add({ topicId: ORDERS, partition: 0 }, EPOCH, {
        baseOffset: offset(i * records),
        nextOffset: offset((i + 1) * records),
        lengthBytes: 260 * KIB,
        maxTimestampMs: i,
      });
    }
    const { extents } = decode(directory.encodeTail(SHARD, EPOCH, 0), directory.position);
    expect(extents).toEqual(directory.extents);
    expect(extents.map(({ baseOffset, nextOffset }) => nextOffset - baseOffset)).toEqual([477 * records, 23 * records]);
  });
});

/** Objects to damage: all bytes, how many bytes of batches stand before them, how long the footer is. */
const SAMPLES = [
  { name: "small", bytes: golden("data-object.log"), missing: 0 },
  { name: "several blocks", bytes: golden("data-object-tail.bin"), missing: LARGE_BYTES },
].map((sample) => {
  const trailerAt = sample.bytes.length - TRAILER_BYTES;
  return { ...sample, trailerAt, footerAt: trailerAt - sample.bytes.readUInt32BE(trailerAt + 12) };
});
type Sample = (typeof SAMPLES)[number];

describe.each(SAMPLES)("damage ($name)", (sample) => {
  const { bytes, missing, footerAt, trailerAt } = sample;
  const sizeBytes = missing + bytes.length;

  test("every flipped bit of footer and trailer is noticed, and named with object and position", () => {
    for (let at = footerAt; at < bytes.length; at++) {
      for (let bit = 0; bit < 8; bit++) {
        const damaged = Uint8Array.from(bytes);
        damaged[at] = (damaged[at] ?? 0) ^ (1 << bit);
        const error = failure(() => decode(damaged, missing));
        expect(error, `byte ${at} bit ${bit}`).toBeInstanceOf(CorruptionError);
        expect(error).toMatchObject({ key: KEY, position: missing + (at < trailerAt ? footerAt : trailerAt) });
      }
    }
  });

  test("every cut is noticed, wherever it is", () => {
    const object = Buffer.concat([Buffer.alloc(missing), bytes]);
    for (let length = 0; length < object.length; length++) {
      // Far within zeros one cut is like another.
      if (length === 200 && missing > 400) length = missing - 200;
      expect(
        failure(() => decode(object.subarray(0, length))),
        `cut to ${length}`,
      ).toBeInstanceOf(CorruptionError);
      const rest = object.subarray(length + 1);
      expect(
        failure(() => decode(rest)),
        `from ${length + 1}`,
      ).toBeInstanceOf(CorruptionError);
    }
  });

  test("bytes that were put in or taken out are noticed", () => {
    expect(failure(() => decode(Buffer.concat([bytes, Buffer.alloc(1)]), missing))).toBeInstanceOf(CorruptionError);
    expect(failure(() => decode(bytes, missing + 1))).toBeInstanceOf(CorruptionError);
  });

  test("a number that lies under right CRCs is refused or decodes to something whole; nothing is allocated for it", () => {
    const outcomes = [...lies()].map((lie) => ({ lie, outcome: outcomeOf(lie) }));
    const wrong = outcomes.filter(({ outcome }) => outcome !== "refused" && outcome !== "whole");
    expect(wrong.map(({ lie, outcome }) => `${lie.what}: ${outcome}`)).toEqual([]);
    expect(outcomes.filter(({ outcome }) => outcome === "refused").length).toBeGreaterThan(outcomes.length / 4);
  });

  test("property: random bytes under right CRCs end in the same way", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), fc.nat(0xffff_ffff), (noise, at) => {
        const lying = Buffer.from(bytes);
        const length = Math.min(noise.length, trailerAt - footerAt);
        lying.set(noise.subarray(0, length), footerAt + (at % (trailerAt - footerAt - length + 1)));
        resealFooter(lying, sample);
        expect(["refused", "whole"]).toContain(outcomeOf({ bytes: lying, from: missing + footerAt }));
      }),
      { numRuns: 2000 },
    );
  });

  /** An error must name the object and a position from `from` on. */
  function outcomeOf(lie: { readonly bytes: Buffer; readonly from: number }): string {
    const error = failure(() => expectWhole(decode(lie.bytes, missing), sample));
    if (error === undefined) return "whole";
    if (error instanceof UnsupportedVersionError) return error.message.includes(KEY) ? "refused" : error.message;
    const named =
      error instanceof CorruptionError &&
      error.key === KEY &&
      error.position >= lie.from &&
      error.position <= sizeBytes;
    return named ? "refused" : String(error);
  }

  /** Each place in footer and trailer says, in 4 and in 8 bytes, what breaks naive arithmetic. */
  function* lies(): Generator<{
    readonly bytes: Buffer;
    readonly what: string;
    readonly from: number;
  }> {
    for (const value of [
      0n,
      1n,
      2n ** 31n - 1n,
      2n ** 32n - 1n,
      2n ** 53n - 1n,
      2n ** 53n,
      2n ** 63n,
      2n ** 64n - 1n,
    ]) {
      for (const size of [4, 8]) {
        if (value >= 2n ** 32n && size === 4) continue;
        for (let at = footerAt; at + size <= bytes.length - 4; at++) {
          // Over both would only be a trailer that fails its CRC.
          if (at < trailerAt && at + size > trailerAt) continue;
          const lying = Buffer.from(bytes);
          if (size === 4) lying.writeUInt32BE(Number(value), at);
          else lying.writeBigUInt64BE(value, at);
          if (at < trailerAt) resealFooter(lying, sample);
          else resealTrailer(lying);
          // A trailer may lie about where the footer begins.
          yield {
            bytes: lying,
            what: `${value} in ${size} bytes at ${at}`,
            from: at < trailerAt ? missing + footerAt : 0,
          };
        }
      }
    }
  }
});

test("damaged batches do not concern the footer: the batch's own CRC tells", () => {
  const damaged = Buffer.from(golden("data-object.log"));
  damaged[70] = (damaged[70] ?? 0) ^ 1;
  const [extent] = decode(damaged).extents;
  if (extent === undefined) throw new Error("no extent");
  const bytes = damaged.subarray(extent.position, extent.position + extent.lengthBytes);
  const read = (): unknown =>
    readExtent(bytes, { ...extent, epoch: extent.leaderEpoch }, { key: KEY, position: extent.position });
  expect(failure(read)).toBeInstanceOf(CorruptionError);
});

test.each([
  ["a newer format version", 8, 0x0002_0000],
  ["flags", 8, 0x0001_0100],
  ["encryption", 8, 0x0001_0001],
])("%s is refused as unsupported, not as damage", (_, at, value) => {
  const newer = Buffer.from(golden("data-object.log"));
  newer.writeUInt32BE(value, newer.length - TRAILER_BYTES + at);
  resealTrailer(newer);
  const error = failure(() => decode(newer));
  expect(error).toBeInstanceOf(UnsupportedVersionError);
  expect(error?.message).toContain(KEY);
});

function resealFooter(object: Buffer, { footerAt, trailerAt }: Sample): void {
  object.writeUInt32BE(crc32c(object.subarray(footerAt, trailerAt)), trailerAt + 24);
  resealTrailer(object);
}

function resealTrailer(object: Buffer): void {
  const end = object.length - 4;
  object.writeUInt32BE(crc32c(object.subarray(end + 4 - TRAILER_BYTES, end)), end);
}

/** Whatever was decoded, a reader can go by it: all numbers are exact, everything lies within the object, blocks in order. */
function expectWhole({ extents, createdAtMs }: Footer, { missing, footerAt, trailerAt }: Sample): void {
  const numbers: number[] = [createdAtMs];
  let size = extents.length * 48;
  for (const extent of extents) {
    size += extent.blocks.length * 16;
    numbers.push(extent.baseOffset, extent.nextOffset, extent.position, extent.lengthBytes, extent.maxTimestampMs);
    expect(extent.topicId).toMatch(/^[0-9a-f]{32}$/);
    expect(extent.nextOffset).toBeGreaterThan(extent.baseOffset);
    expect(extent.position + extent.lengthBytes).toBeLessThanOrEqual(missing + footerAt);
    expect(extent.blocks[0]).toMatchObject({ offset: extent.baseOffset, position: 0 });
    let before = { offset: -1, position: -1 };
    for (const block of extent.blocks) {
      numbers.push(block.offset, block.position, block.maxTimestampMs);
      expect(block.offset).toBeGreaterThan(before.offset);
      expect(block.position).toBeGreaterThan(before.position);
      before = block;
    }
    expect(before.offset).toBeLessThan(extent.nextOffset);
    expect(before.position).toBeLessThan(extent.lengthBytes);
  }
  expect(size).toBeLessThanOrEqual(trailerAt - footerAt);
  expect(numbers.filter((number) => !Number.isSafeInteger(number))).toEqual([]);
}

/** The error of tierlog's that `act` throws; anything else comes out. */
function failure(act: () => unknown): Error | undefined {
  try {
    act();
  } catch (error) {
    if (isTierlogError(error)) return error;
    throw error;
  }
  return undefined;
}
