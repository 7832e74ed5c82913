import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

import {
  CorruptionError,
  InvalidArgumentError,
  isTierlogError,
  RecordTooLargeError,
  UnsupportedVersionError,
} from "../../src/errors.ts";
import {
  BATCH_HEADER_BYTES,
  checkEncodedBatch,
  decodeRecords,
  patchBatch,
  readBatchHeader,
  readExtent,
  verifyBatch,
} from "../../src/record/batch.ts";
import type { LogRecord } from "../../src/record/record.ts";
import { writeVarint } from "../../src/record/varint.ts";
import { naiveRecords } from "./naive-records.ts";
import { reframe, resealed } from "./reframe.ts";
import { anyRecords, batchOf, epoch, expected, offset, plain, unlessCorrupt, utf8, WHERE } from "./support.ts";

const MIB = 1024 * 1024;

/** Batches of one extent, one for each list, from offset 100 on in epoch 3. */
async function extentOf(lists: readonly (readonly LogRecord[])[]): Promise<{ bytes: Buffer; nextOffset: number }> {
  const parts: Uint8Array[] = [];
  let baseOffset = 100;
  for (const [i, records] of lists.entries()) {
    const batch = await batchOf(records, { baseOffset, epoch: 3, compression: i % 2 === 0 ? "none" : "lz4" });
    parts.push(batch.bytes);
    baseOffset = batch.nextOffset;
  }
  return { bytes: Buffer.concat(parts), nextOffset: baseOffset };
}

const directory = (nextOffset: number): Parameters<typeof readExtent>[1] => ({
  baseOffset: offset(100),
  nextOffset: offset(nextOffset),
  epoch: epoch(3),
});

/** Every refusal of stored bytes is of kind "data"; where a flip makes another version, that is what it is called. */
function refusal(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    if (!isTierlogError(error)) throw error;
    return error.kind;
  }
  return undefined;
}

const simple: LogRecord[] = [{ key: utf8("k"), value: utf8("v"), timestampMs: 1 }];
const lists = fc.array(anyRecords, { minLength: 1, maxLength: 3 });

describe("readExtent", () => {
  test("gives the batches in order, their records intact", async () => {
    await fc.assert(
      fc.asyncProperty(lists, async (lists) => {
        const { bytes, nextOffset } = await extentOf(lists);
        const batches = readExtent(bytes, directory(nextOffset), WHERE);
        expect(batches.map(({ header }) => header.recordCount)).toEqual(lists.map((records) => records.length));
        expect(batches.flatMap((batch) => decodeRecords(batch.bytes, WHERE).map(plain))).toEqual(
          expected(lists.flat(), 100),
        );
      }),
    );
  });

  test("any one bit flipped anywhere is found", async () => {
    await fc.assert(
      fc.asyncProperty(lists, fc.nat(), fc.nat({ max: 7 }), async (lists, at, bit) => {
        const { bytes, nextOffset } = await extentOf(lists);
        const position = at % bytes.length;
        bytes[position] = (bytes[position] as number) ^ (1 << bit);
        expect(refusal(() => readExtent(bytes, directory(nextOffset), WHERE))).toBe("data");
      }),
      { numRuns: 1000 },
    );
  });

  test("every bit of a small extent, one by one", async () => {
    const { bytes, nextOffset } = await extentOf([simple, simple]);
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const flipped = Buffer.from(bytes);
      flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7));
      expect(
        refusal(() => readExtent(flipped, directory(nextOffset), WHERE)),
        `bit ${bit}`,
      ).toBe("data");
    }
  });

  test("any byte replaced in the first 17 bytes of any batch is found", async () => {
    await fc.assert(
      fc.asyncProperty(
        lists,
        fc.nat(),
        fc.nat({ max: 16 }),
        fc.integer({ min: 1, max: 255 }),
        async (lists, which, at, change) => {
          const { bytes, nextOffset } = await extentOf(lists);
          const batches = readExtent(bytes, directory(nextOffset), WHERE);
          const batch = batches[which % batches.length]?.bytes as Uint8Array;
          batch[at] = (batch[at] as number) ^ change;
          expect(refusal(() => readExtent(bytes, directory(nextOffset), WHERE))).toBe("data");
        },
      ),
      { numRuns: 500 },
    );
  });

  test("every cut is found, and bytes too many", async () => {
    const { bytes, nextOffset } = await extentOf([simple, simple, simple]);
    for (let length = 0; length < bytes.length; length++) {
      expect(() => readExtent(bytes.subarray(0, length), directory(nextOffset), WHERE), `cut to ${length}`).toThrow(
        CorruptionError,
      );
    }
    for (const more of [Buffer.alloc(1), Buffer.alloc(70), bytes.subarray(0, 70), bytes]) {
      expect(() => readExtent(Buffer.concat([bytes, more]), directory(nextOffset), WHERE)).toThrow(
        /bytes are left|due|reaches|magic/,
      );
    }
  });

  test("batches that the directory does not mean: offsets, epoch, order, a missing and a doubled one", async () => {
    const { bytes } = await extentOf([simple, simple, simple]);
    const size = bytes.length / 3;
    const [first, second, third] = [0, 1, 2].map((i) => bytes.subarray(i * size, (i + 1) * size)) as [
      Buffer,
      Buffer,
      Buffer,
    ];
    const read = (parts: Buffer[], change: Partial<Parameters<typeof readExtent>[1]> = {}): unknown =>
      readExtent(Buffer.concat(parts), { ...directory(103), ...change }, WHERE);
    expect(read([first, second, third])).toHaveLength(3);
    expect(() => read([first, third])).toThrow("offset 102 where 101 is due");
    expect(() => read([first, first, second, third])).toThrow("offset 100 where 101 is due");
    expect(() => read([second, first, third])).toThrow("offset 101 where 100 is due");
    expect(() => read([first, second])).toThrow("end at offset 102, their extent at 103");
    expect(() => read([first, second, third], { nextOffset: offset(102) })).toThrow("reaches to offset 103");
    expect(() => read([first, second, third], { epoch: epoch(4) })).toThrow("epoch 3 in an extent of epoch 4");
    expect(() => read([first, second, third], { baseOffset: offset(99) })).toThrow("offset 100 where 99 is due");
  });

  test("an extent that holds nothing", () => {
    expect(() => readExtent(Buffer.alloc(0), directory(100), WHERE)).toThrow("without bytes");
  });

  test("the error names the object and the position in it", async () => {
    const { bytes, nextOffset } = await extentOf([simple, simple]);
    const second = bytes.length / 2;
    bytes[bytes.length - 1] = 0x55;
    expect(() => readExtent(bytes, directory(nextOffset), WHERE)).toThrow(
      expect.objectContaining({ key: "data/object", position: WHERE.position + second, code: "TIERLOG_CORRUPTION" }),
    );
  });

  test("what is given is a view, not a copy", async () => {
    const { bytes, nextOffset } = await extentOf([simple]);
    const [batch] = readExtent(bytes, directory(nextOffset), WHERE);
    expect(batch?.bytes.buffer).toBe(bytes.buffer);
    const [record] = decodeRecords(batch?.bytes as Uint8Array, WHERE);
    expect(record?.value?.buffer).toBe(bytes.buffer);
  });
});

describe("verifyBatch", () => {
  test("any byte changed from the CRC on is found", async () => {
    await fc.assert(
      fc.asyncProperty(
        anyRecords,
        fc.constantFrom("none" as const, "lz4" as const),
        fc.nat(),
        fc.integer({ min: 1, max: 255 }),
        async (records, compression, at, change) => {
          const bytes = Buffer.from((await batchOf(records, { compression })).bytes);
          const position = 17 + (at % (bytes.length - 17));
          bytes[position] = (bytes[position] as number) ^ change;
          expect(refusal(() => verifyBatch(bytes, 0, WHERE))).toBe("data");
        },
      ),
      { numRuns: 1000 },
    );
  });

  test("a batch in the middle of a buffer", async () => {
    const { bytes } = await batchOf(simple, { baseOffset: 9 });
    const padded = Buffer.concat([Buffer.alloc(13, 7), bytes, Buffer.alloc(40, 7)]);
    expect(verifyBatch(padded, 13, WHERE)).toEqual(verifyBatch(bytes, 0, WHERE));
    expect(() => verifyBatch(padded, 13 + 70, WHERE)).toThrow(CorruptionError);
  });
});

describe("readBatchHeader", () => {
  const changed = async (change: (bytes: Buffer) => void): Promise<Buffer> => {
    const bytes = Buffer.from((await batchOf(simple)).bytes);
    change(bytes);
    return bytes;
  };

  test.each([
    ["a length below the header", (b: Buffer) => b.writeInt32BE(48, 8), CorruptionError],
    ["a negative length", (b: Buffer) => b.writeInt32BE(-1, 8), CorruptionError],
    ["the largest length", (b: Buffer) => b.writeInt32BE(0x7fff_ffff, 8), CorruptionError],
    ["a negative base offset", (b: Buffer) => b.writeBigInt64BE(-1n, 0), CorruptionError],
    ["a base offset beyond the safe integers", (b: Buffer) => b.writeBigInt64BE(2n ** 53n, 0), CorruptionError],
    ["a next offset beyond them", (b: Buffer) => b.writeBigInt64BE(2n ** 53n - 1n, 0), CorruptionError],
    ["no records", (b: Buffer) => b.writeInt32BE(0, 57), CorruptionError],
    ["records below zero", (b: Buffer) => b.writeInt32BE(-5, 57), CorruptionError],
    ["a gap of offsets", (b: Buffer) => b.writeInt32BE(1, 23), CorruptionError],
    [
      "more records than bytes",
      (b: Buffer) => (b.writeInt32BE(0x7fff_fffe, 23), b.writeInt32BE(0x7fff_ffff, 57)),
      CorruptionError,
    ],
    ["a base timestamp of −1", (b: Buffer) => b.writeBigInt64BE(-1n, 27), CorruptionError],
    ["a maximum timestamp beyond the safe integers", (b: Buffer) => b.writeBigInt64BE(2n ** 60n, 35), CorruptionError],
    ["magic 1", (b: Buffer) => b.writeUInt8(1, 16), UnsupportedVersionError],
    ["magic 3", (b: Buffer) => b.writeUInt8(3, 16), UnsupportedVersionError],
    ["gzip", (b: Buffer) => b.writeUInt16BE(1, 21), UnsupportedVersionError],
    ["snappy", (b: Buffer) => b.writeUInt16BE(2, 21), UnsupportedVersionError],
    ["zstd", (b: Buffer) => b.writeUInt16BE(4, 21), UnsupportedVersionError],
    ["log-append time", (b: Buffer) => b.writeUInt16BE(8, 21), UnsupportedVersionError],
    ["a transaction", (b: Buffer) => b.writeUInt16BE(16, 21), UnsupportedVersionError],
    ["a control batch", (b: Buffer) => b.writeUInt16BE(48, 21), UnsupportedVersionError],
    ["a delete horizon", (b: Buffer) => b.writeUInt16BE(64, 21), UnsupportedVersionError],
    ["an attribute nobody knows", (b: Buffer) => b.writeUInt16BE(0x8000, 21), UnsupportedVersionError],
  ])("%s is refused", async (_name, change, kind) => {
    const bytes = await changed(change);
    expect(() => readBatchHeader(bytes, 0, WHERE)).toThrow(kind);
    const invalid = kind === CorruptionError ? InvalidArgumentError : UnsupportedVersionError;
    const length = bytes.readInt32BE(8);
    bytes.writeUInt32BE(0, 17);
    const sealed = resealed(bytes);
    sealed.writeInt32BE(length, 8);
    expect(() => checkEncodedBatch(sealed, MIB)).toThrow(invalid);
  });

  test("a length below the header's is refused for what it is, whatever the codec", async () => {
    const bytes = await changed((b) => (b.writeInt32BE(48, 8), b.writeUInt16BE(3, 21)));
    expect(() => readBatchHeader(bytes, 0, WHERE)).toThrow("a batch of 60 bytes");
  });

  test("offsets up to the last safe integer", async () => {
    const bytes = await changed((b) => b.writeBigInt64BE(2n ** 53n - 2n, 0));
    expect(readBatchHeader(bytes, 0, WHERE).nextOffset).toBe(Number.MAX_SAFE_INTEGER);
  });
});

describe("patchBatch", () => {
  test("sets offset and epoch, and the CRC stays right", async () => {
    await fc.assert(
      fc.asyncProperty(
        anyRecords,
        fc.nat({ max: 2 ** 52 }),
        fc.nat({ max: 0x7fff_ffff }),
        async (records, base, turn) => {
          const { bytes } = await batchOf(records);
          checkEncodedBatch(bytes, MIB);
          patchBatch(bytes, offset(base), epoch(turn));
          expect(verifyBatch(bytes, 0, WHERE)).toMatchObject({ baseOffset: base, epoch: turn });
          expect(decodeRecords(bytes, WHERE).map(plain)).toEqual(expected(records, base));
        },
      ),
    );
  });
});

/** One batch around hand-made records. */
async function around(...records: readonly (readonly number[])[]): Promise<Buffer> {
  const bytes = reframe(
    (await batchOf(simple)).bytes,
    Buffer.concat(
      records.map((body) => {
        const length = Buffer.alloc(5);
        return Buffer.concat([length.subarray(0, writeVarint(length, 0, body.length)), Buffer.from(body)]);
      }),
    ),
    0,
  );
  bytes.writeInt32BE(records.length - 1, 23);
  bytes.writeInt32BE(records.length, 57);
  return resealed(bytes);
}

describe("records that a right CRC covers and that are wrong all the same", () => {
  // attributes, timestamp delta, offset delta, key length, value length, header count
  test("the hand-made record is a good one", async () => {
    const bytes = await around([0, 0, 0, 1, 1, 0], [0, 1, 2, 0, 2, 0x41, 0]);
    expect(checkEncodedBatch(bytes, MIB).recordCount).toBe(2);
    expect(decodeRecords(bytes, WHERE).map(plain)).toEqual([
      { offset: 0, timestampMs: 1, key: null, value: null, headers: [] },
      { offset: 1, timestampMs: 0, key: "", value: "41", headers: [] },
    ]);
  });

  test.each([
    [
      "an offset delta twice",
      [
        [0, 0, 0, 1, 1, 0],
        [0, 0, 0, 1, 1, 0],
      ],
      "offset delta 0 on record 1",
    ],
    ["a first offset delta of 1", [[0, 0, 2, 1, 1, 0]], "offset delta 1 on record 0"],
    ["a key length of −2", [[0, 0, 0, 3, 1, 0]], "a key of -2 bytes"],
    ["a value length of −2", [[0, 0, 0, 1, 3, 0]], "a value of -2 bytes"],
    [
      "a value beyond its record",
      [
        [0, 0, 0, 1, 40, 0],
        [0, 0, 2, 1, 1, 0],
      ],
      "a value has 20 bytes, but 1 are left",
    ],
    ["a value of 2 GiB", [[0, 0, 0, 1, 0xfe, 0xff, 0xff, 0xff, 0x0f, 0]], "a value has 2147483647 bytes"],
    ["2^31 − 1 headers", [[0, 0, 0, 1, 1, 0xfe, 0xff, 0xff, 0xff, 0x0f]], "2147483647 headers in 0 bytes"],
    ["−1 headers", [[0, 0, 0, 1, 1, 1]], "-1 headers"],
    ["a header key of null", [[0, 0, 0, 1, 1, 2, 1, 1]], "a header key has -1 bytes"],
    ["a header key that is not UTF-8", [[0, 0, 0, 1, 1, 2, 2, 0xff, 1]], "not UTF-8"],
    ["a header value cut off", [[0, 0, 0, 1, 1, 2, 0, 8]], "a header value has 4 bytes, but 0 are left"],
    ["bytes left over in a record", [[0, 0, 0, 1, 1, 0, 9]], "1 bytes are left over"],
    ["a timestamp below zero", [[0, 3, 0, 1, 1, 0]], "timestamp -1"],
    ["a timestamp delta of 2^62", [[0, ...Array<number>(8).fill(0x80), 0x80, 1, 0, 1, 1, 0]], "no safe integer"],
    ["a record of no bytes", [[]], "1 records cannot be in a batch"],
  ])("%s", async (_name, records, message) => {
    const bytes = await around(...records);
    expect(() => decodeRecords(bytes, WHERE)).toThrow(message);
    expect(() => checkEncodedBatch(bytes, MIB)).toThrow(message);
    expect(() => decodeRecords(bytes, WHERE)).toThrow(CorruptionError);
    expect(() => checkEncodedBatch(bytes, MIB)).toThrow(InvalidArgumentError);
  });

  test("a record too few, a byte too many, a negative record length", async () => {
    const one = await around([0, 0, 0, 1, 1, 0]);
    const longer = resealed(Buffer.concat([one, Buffer.alloc(9)]));
    expect(() => decodeRecords(longer, WHERE)).toThrow("9 bytes follow the last record");
    longer.writeInt32BE(1, 23);
    longer.writeInt32BE(2, 57);
    expect(() => decodeRecords(resealed(longer), WHERE)).toThrow(CorruptionError);
    const negative = Buffer.from(one);
    negative[BATCH_HEADER_BYTES] = 1;
    expect(() => decodeRecords(resealed(negative), WHERE)).toThrow("a record has -1 bytes");
  });

  test("any bytes for records end in records or in a CorruptionError", async () => {
    const { bytes } = await batchOf(simple);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), fc.nat({ max: 9 }), fc.boolean(), (payload, more, lz4) => {
        const batch = reframe(bytes, payload, lz4 ? 3 : 0);
        batch.writeInt32BE(more, 23);
        batch.writeInt32BE(more + 1, 57);
        resealed(batch);
        const records = unlessCorrupt(() => decodeRecords(batch, WHERE));
        expect([undefined, more + 1]).toContain(records?.length);
      }),
      { numRuns: 5000 },
    );
  });

  test("any bytes for a batch end in a batch or an error of kind data", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 150 }), (bytes) => {
        expect(refusal(() => verifyBatch(bytes, 0, WHERE))).toBe("data");
      }),
      { numRuns: 3000 },
    );
  });

  test("any one byte changed under a right CRC gives records or an error, and does not hang", async () => {
    await fc.assert(
      fc.asyncProperty(
        anyRecords,
        fc.constantFrom("none" as const, "lz4" as const),
        fc.nat(),
        fc.nat({ max: 255 }),
        async (records, compression, at, byte) => {
          const bytes = Buffer.from((await batchOf(records, { compression })).bytes);
          bytes[21 + (at % (bytes.length - 21))] = byte;
          resealed(bytes);
          expect([undefined, "data"]).toContain(refusal(() => decodeRecords(bytes, WHERE)));
          expect([undefined, "data", "invalid"]).toContain(refusal(() => checkEncodedBatch(bytes, MIB)));
        },
      ),
      { numRuns: 2000 },
    );
  });

  test("up to three bytes changed under a right CRC: read as another decoder reads them, or refused as there", async () => {
    const usual = fc.array(
      fc.record({
        key: fc.option(fc.uint8Array({ maxLength: 20 }), { nil: null }),
        value: fc.option(fc.uint8Array({ maxLength: 200 }), { nil: null }),
        timestampMs: fc.integer({ min: 1_000_000, max: 1_000_400 }),
      }),
      { minLength: 1, maxLength: 6 },
    );
    const change = fc.tuple(fc.nat(), fc.oneof(fc.nat({ max: 255 }), fc.constantFrom(0, 1, 2, 0x7f, 0x80, 0x81)));
    const read = { intact: 0, refused: 0 };
    await fc.assert(
      fc.asyncProperty(fc.oneof(usual, anyRecords), fc.array(change, { maxLength: 3 }), async (records, changes) => {
        const bytes = Buffer.from((await batchOf(records, { baseOffset: 7 })).bytes);
        for (const [at, byte] of changes) bytes[61 + (at % (bytes.length - 61))] = byte;
        resealed(bytes);
        const wanted = naiveRecords(bytes);
        read[wanted === undefined ? "refused" : "intact"]++;
        expect(unlessCorrupt(() => decodeRecords(bytes, WHERE).map(plain))).toEqual(wanted);
        expect(refusal(() => checkEncodedBatch(bytes, MIB))).toBe(wanted === undefined ? "invalid" : undefined);
      }),
      { numRuns: 4000 },
    );
    expect(Math.min(read.intact, read.refused)).toBeGreaterThan(500);
  });
});

describe("checkEncodedBatch", () => {
  test("more than one batch, less than one, none", async () => {
    const { bytes } = await batchOf(simple);
    expect(() => checkEncodedBatch(Buffer.concat([bytes, bytes]), MIB)).toThrow("one batch at a time");
    expect(() => checkEncodedBatch(bytes.subarray(0, -1), MIB)).toThrow(InvalidArgumentError);
    expect(() => checkEncodedBatch(new Uint8Array(0), MIB)).toThrow(InvalidArgumentError);
    expect(() => checkEncodedBatch("batch" as unknown as Uint8Array, MIB)).toThrow(
      expect.objectContaining({ argument: "encodedBatch", code: "TIERLOG_INVALID_ARGUMENT" }),
    );
  });

  test("a batch of the largest size, and one byte larger", async () => {
    const { bytes } = await batchOf(simple);
    expect(checkEncodedBatch(bytes, bytes.length).lengthBytes).toBe(bytes.length);
    expect(() => checkEncodedBatch(bytes, bytes.length - 1)).toThrow(RecordTooLargeError);
  });

  test("a wrong CRC is the caller's mistake, with the cause kept", async () => {
    const bytes = Buffer.from((await batchOf(simple)).bytes);
    bytes[20] = (bytes[20] as number) ^ 1;
    expect(() => checkEncodedBatch(bytes, MIB)).toThrow(
      expect.objectContaining({ argument: "encodedBatch", cause: expect.any(CorruptionError) as unknown }),
    );
  });

  test("leader epoch −1 and a producer id are left as they are", async () => {
    const bytes = Buffer.from((await batchOf(simple)).bytes);
    bytes.writeInt32BE(-1, 12);
    bytes.writeBigInt64BE(4711n, 43);
    const before = Buffer.from(resealed(bytes));
    expect(checkEncodedBatch(bytes, MIB).epoch).toBe(-1);
    expect(bytes.equals(before)).toBe(true);
  });
});
