import { isDeepStrictEqual } from "node:util";

import { crc32c as nativeCrc32c } from "@node-rs/crc32";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

import { InvalidArgumentError, InvariantError, RecordTooLargeError } from "../../src/errors.ts";
import { checkRecords, type SealedBatch } from "../../src/record/batch-builder.ts";
import { BATCH_HEADER_BYTES, decodeRecords, verifyBatch } from "../../src/record/batch.ts";
import type { LogRecord } from "../../src/record/record.ts";
import { seededRandom } from "../../src/runtime/random.ts";
import { anyRecords, batchOf, builder, expected, NOW_MS, offset, plain, utf8, WHERE } from "./support.ts";

const value = (bytes: number, fill = 0x61): LogRecord => ({ value: Buffer.alloc(bytes, fill) });
const decoded = (batch: SealedBatch): unknown => decodeRecords(batch.bytes, WHERE).map(plain);
const sync = (batch: SealedBatch | Promise<SealedBatch>): SealedBatch => {
  if (batch instanceof Promise) throw new Error("expected an answer at once");
  return batch;
};

describe("round trip", () => {
  test.each(["none", "lz4"] as const)("any records come back as they were (%s)", async (compression) => {
    await fc.assert(
      fc.asyncProperty(anyRecords, fc.nat({ max: 2 ** 50 }), async (records, baseOffset) => {
        checkRecords(records, 1024 * 1024);
        const batch = await batchOf(records, { baseOffset, epoch: 7, compression });
        const header = verifyBatch(batch.bytes, 0, WHERE);
        const times = records.map((record) => record.timestampMs ?? NOW_MS);
        expect(decoded(batch)).toEqual(expected(records, baseOffset));
        expect(header).toMatchObject({
          baseOffset,
          epoch: 7,
          recordCount: records.length,
          nextOffset: baseOffset + records.length,
          lengthBytes: batch.bytes.length,
          baseTimestampMs: times[0],
          maxTimestampMs: Math.max(...times),
        });
        expect(batch).toMatchObject({
          baseOffset,
          nextOffset: header.nextOffset,
          recordCount: records.length,
          maxTimestampMs: header.maxTimestampMs,
        });
      }),
      { numRuns: 300 },
    );
  });

  test("records appended in any portions make the same bytes", async () => {
    await fc.assert(
      fc.asyncProperty(anyRecords, fc.array(fc.integer({ min: 1, max: 5 })), async (records, portions) => {
        const open = builder();
        let at = 0;
        for (const portion of portions) {
          const end = Math.min(records.length, at + portion);
          expect(open.tryAppend(records, at, end, NOW_MS)).toBe(true);
          at = end;
        }
        expect(open.appendSome(records, at, NOW_MS)).toBe(records.length - at);
        const whole = await batchOf(records);
        expect(open.sizeBytes).toBe(whole.bytes.length);
        expect(Buffer.compare(sync(open.seal("none")).bytes, whole.bytes)).toBe(0);
      }),
    );
  });

  test("a batch of many MiB", async () => {
    const records = [value(3 * 1024 * 1024), value(0), { value: null, key: Buffer.alloc(1024 * 1024, 1) }];
    for (const compression of ["none", "lz4"] as const) {
      const batch = await batchOf(records, { maxBytes: 8 * 1024 * 1024, compression });
      verifyBatch(batch.bytes, 0, WHERE);
      expect(decodeRecords(batch.bytes, WHERE).map((record) => [record.key?.length, record.value?.length])).toEqual([
        [undefined, 3 * 1024 * 1024],
        [undefined, 0],
        [1024 * 1024, undefined],
      ]);
    }
  });
});

describe("limits", () => {
  test("sizeBytes and nextOffset follow the records, the header included from the start", () => {
    const open = builder({ baseOffset: 40 });
    expect([open.sizeBytes, open.recordCount, open.nextOffset]).toEqual([BATCH_HEADER_BYTES, 0, 40]);
    expect(open.tryAppend([value(100)], 0, 1, NOW_MS)).toBe(true);
    expect([open.recordCount, open.nextOffset]).toEqual([1, 41]);
    const { sizeBytes } = open;
    expect(sync(open.seal("none")).bytes.length).toBe(sizeBytes);
  });

  test("all or none: what does not fit leaves the builder as it was", () => {
    fc.assert(
      fc.property(anyRecords, anyRecords, fc.integer({ min: 100, max: 4000 }), (first, second, maxBytes) => {
        const open = builder({ maxBytes });
        const taken = open.appendSome(first, 0, NOW_MS);
        const before = [open.sizeBytes, open.recordCount, open.nextOffset];
        const fitted = open.tryAppend(second, 0, second.length, NOW_MS);
        const after = [open.sizeBytes, open.recordCount, open.nextOffset];
        expect(fitted || isDeepStrictEqual(after, before)).toBe(true);
        expect(open.sizeBytes).toBeLessThanOrEqual(maxBytes);
        const kept = [...first.slice(0, taken), ...(fitted ? second : [])];
        if (kept.length === 0) return;
        const batch = sync(open.seal("none"));
        expect(batch.bytes.length).toBeLessThanOrEqual(maxBytes);
        const times = kept.map((record) => record.timestampMs ?? NOW_MS);
        expect(verifyBatch(batch.bytes, 0, WHERE).maxTimestampMs).toBe(Math.max(...times));
        expect(decoded(batch)).toEqual(expected(kept));
      }),
      { numRuns: 500 },
    );
  });

  test("after a refused first append the next one sets the base timestamp", () => {
    const open = builder({ maxBytes: 120 });
    expect(open.tryAppend([{ value: null, timestampMs: 5 }, value(100)], 0, 2, NOW_MS)).toBe(false);
    expect(open.tryAppend([{ value: null, timestampMs: 9 }], 0, 1, NOW_MS)).toBe(true);
    expect(verifyBatch(sync(open.seal("none")).bytes, 0, WHERE)).toMatchObject({
      baseTimestampMs: 9,
      maxTimestampMs: 9,
    });
  });

  test("filled to the last byte, and one byte more", () => {
    const exact = builder();
    exact.tryAppend([value(500)], 0, 1, NOW_MS);
    const maxBytes = exact.sizeBytes;
    expect(builder({ maxBytes }).tryAppend([value(500)], 0, 1, NOW_MS)).toBe(true);
    expect(builder({ maxBytes: maxBytes - 1 }).tryAppend([value(500)], 0, 1, NOW_MS)).toBe(false);
    expect(() => checkRecords([value(500)], maxBytes)).not.toThrow();
    expect(() => checkRecords([value(500)], maxBytes - 1)).toThrow(RecordTooLargeError);
  });

  test("what checkRecords lets through always fits an empty builder alone", () => {
    fc.assert(
      fc.property(anyRecords, fc.integer({ min: 62, max: 400 }), ([record], maxBytes) => {
        const records = [record as LogRecord];
        let passes = true;
        try {
          checkRecords(records, maxBytes);
        } catch {
          passes = false;
        }
        expect(builder({ maxBytes }).tryAppend(records, 0, 1, NOW_MS)).toBe(passes);
      }),
      { numRuns: 1000 },
    );
  });
});

describe("ownership", () => {
  test("the caller may overwrite its buffers as soon as the append returned", () => {
    const bytes = [Buffer.alloc(10, 1), Buffer.alloc(100, 2), Buffer.alloc(30, 3)] as const;
    const record: LogRecord = {
      key: bytes[0],
      value: bytes[1],
      headers: [{ key: "h", value: bytes[2] }],
      timestampMs: 1,
    };
    const wanted = expected([record]);
    const open = builder();
    open.tryAppend([record], 0, 1, NOW_MS);
    for (const buffer of bytes) buffer.fill(0xff);
    expect(decoded(sync(open.seal("none")))).toEqual(wanted);
  });

  test("a sealed batch pins no much larger buffer", async () => {
    for (const size of [1, 600, 1100, 5000, 70_000, 1_000_000]) {
      for (const compression of ["none", "lz4"] as const) {
        const { bytes } = await batchOf([value(size)], { compression });
        expect(bytes.buffer.byteLength).toBeLessThanOrEqual(bytes.length * 1.5 + 100);
      }
    }
  });

  test("a sealed builder takes nothing more", () => {
    const open = builder();
    expect(() => open.seal("none")).toThrow(InvariantError);
    open.tryAppend([value(1)], 0, 1, NOW_MS);
    const { bytes } = sync(open.seal("none"));
    const before = Buffer.from(bytes);
    expect(() => open.tryAppend([value(1)], 0, 1, NOW_MS)).toThrow(InvariantError);
    expect(() => open.appendSome([value(1)], 0, NOW_MS)).toThrow(InvariantError);
    expect(() => open.seal("none")).toThrow(InvariantError);
    expect(before.equals(bytes)).toBe(true);
  });
});

describe("compression", () => {
  test("small batches answer at once, large ones with a promise, both the same", async () => {
    const small = builder();
    small.tryAppend([value(20_000)], 0, 1, NOW_MS);
    const large = builder();
    large.tryAppend([value(200_000)], 0, 1, NOW_MS);
    const bytes = sync(small.seal("lz4")).bytes;
    expect(verifyBatch(bytes, 0, WHERE).compression).toBe("lz4");
    const pending = large.seal("lz4");
    expect(pending).toBeInstanceOf(Promise);
    const batch = await pending;
    expect(verifyBatch(batch.bytes, 0, WHERE).compression).toBe("lz4");
    expect(batch.bytes.length).toBeLessThan(2000);
    expect(decoded(batch)).toEqual(expected([value(200_000)]));
  });

  test("what LZ4 does not make smaller is stored as it is", async () => {
    const noise = seededRandom(1).bytes(100_000);
    for (const bytes of [noise.subarray(0, 10), noise.subarray(0, 5000), noise]) {
      const batch = await batchOf([{ value: bytes }], { compression: "lz4" });
      expect(verifyBatch(batch.bytes, 0, WHERE).compression).toBe("none");
      expect(decoded(batch)).toEqual(expected([{ value: bytes }]));
    }
  });

  test("the CRC lies over everything from the attributes on", async () => {
    const { bytes } = await batchOf([value(1000)], { compression: "lz4" });
    expect(Buffer.from(bytes).readUInt32BE(17)).toBe(nativeCrc32c(bytes.subarray(21)));
  });
});

describe("bad records", () => {
  const good: LogRecord = { value: utf8("v") };
  const check = (record: unknown): (() => void) => {
    return () => checkRecords([good, record as LogRecord], 1000);
  };

  test.each([
    ["a string for a value", { value: "text" }, "records[1].value"],
    ["a missing value", {}, "records[1].value"],
    ["an array for a value", { value: [1, 2] }, "records[1].value"],
    ["an ArrayBuffer for a value", { value: new ArrayBuffer(3) }, "records[1].value"],
    ["words of 16 bits", { value: new Uint16Array(3) }, "records[1].value"],
    ["a string for a key", { key: "k", value: null }, "records[1].key"],
    ["a negative time", { value: null, timestampMs: -1 }, "records[1].timestampMs"],
    ["no number for a time", { value: null, timestampMs: Number.NaN }, "records[1].timestampMs"],
    ["half a millisecond", { value: null, timestampMs: 1.5 }, "records[1].timestampMs"],
    ["a time beyond the safe integers", { value: null, timestampMs: 2 ** 53 }, "records[1].timestampMs"],
    ["a BigInt for a time", { value: null, timestampMs: 5n }, "records[1].timestampMs"],
    ["null for a time", { value: null, timestampMs: null }, "records[1].timestampMs"],
    ["an object for headers", { value: null, headers: { a: utf8("b") } }, "records[1].headers"],
    ["null among the headers", { value: null, headers: [null] }, "records[1].headers[0]"],
    ["a hole among the headers", { value: null, headers: Array(1) }, "records[1].headers[0]"],
    [
      "a Buffer for a header key",
      { value: null, headers: [{ key: utf8("k"), value: null }] },
      "records[1].headers[0].key",
    ],
    ["half a surrogate pair", { value: null, headers: [{ key: "a\ud800", value: null }] }, "records[1].headers[0].key"],
    ["the other half", { value: null, headers: [{ key: "\udc00a", value: null }] }, "records[1].headers[0].key"],
    ["a header without value", { value: null, headers: [{ key: "k" }] }, "records[1].headers[0].value"],
    ["null for a record", null, "records[1]"],
    ["no record", undefined, "records[1]"],
  ])("%s", (_name, record, argument) => {
    expect(check(record)).toThrow(InvalidArgumentError);
    expect(check(record)).toThrow(expect.objectContaining({ argument, kind: "invalid", effect: "none" }));
  });

  test("too large: a value, a key, headers", () => {
    const header = { key: "h", value: null };
    const large: LogRecord[] = [
      { value: Buffer.alloc(1000) },
      { key: Buffer.alloc(1000), value: null },
      { value: null, headers: [{ key: "h".repeat(1000), value: null }] },
      { value: null, headers: Array.from({ length: 400 }, () => header) },
    ];
    for (const record of large) {
      expect(check(record)).toThrow(RecordTooLargeError);
      expect(check(record)).toThrow(expect.objectContaining({ sizeBytesMax: 1000 }));
      expect(check(record)).toThrow("records[1]");
    }
  });

  test("no records, and what is no array", () => {
    expect(() => checkRecords([], 1000)).toThrow(expect.objectContaining({ argument: "records" }));
    expect(() => checkRecords("records" as unknown as LogRecord[], 1000)).toThrow(InvalidArgumentError);
  });

  test("the clock is checked like a timestamp", () => {
    for (const nowMs of [-1, 0.5, Number.NaN]) {
      expect(() => builder().tryAppend([good], 0, 1, nowMs)).toThrow(expect.objectContaining({ argument: "nowMs" }));
    }
  });

  test("a builder with impossible bounds is refused", () => {
    for (const maxBytes of [0, 61, 2 ** 31, 100.5, Number.NaN]) {
      expect(() => builder({ maxBytes })).toThrow(expect.objectContaining({ argument: "maxBytes" }));
    }
    for (const baseOffset of [-1, Number.MAX_SAFE_INTEGER, 0.5]) {
      expect(() => builder({ baseOffset: offset(baseOffset) })).toThrow(
        expect.objectContaining({ argument: "baseOffset" }),
      );
    }
  });
});
