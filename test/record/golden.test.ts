import { readFileSync } from "node:fs";

import { expect, test } from "vitest";

import { decodeRecords, readExtent, verifyBatch } from "../../src/record/batch.ts";
import type { LogRecord } from "../../src/record/record.ts";
import { decodeWithKafka } from "./kafkajs.ts";
import { batchOf, epoch, expected, offset, plain, utf8, WHERE } from "./support.ts";

/**
 * Stored bytes outlive every release: these files were written once and must be read for ever. They are described in
 * test/format/record-batch.md. Never regenerate one to make a test pass.
 */
const BASE_OFFSET = 4_294_967_396;
const EPOCH = 7;

const records: LogRecord[] = [
  { key: utf8("user-1"), value: utf8("first"), timestampMs: 1_700_000_000_000 },
  { key: null, value: utf8("no key"), timestampMs: 1_700_000_000_250 },
  { key: utf8("user-1"), value: null, timestampMs: 1_699_999_999_000 },
  { key: new Uint8Array(0), value: new Uint8Array(0), timestampMs: 0 },
  {
    key: utf8("user-2"),
    value: utf8("with headers"),
    headers: [
      { key: "trace", value: utf8("abc") },
      { key: "trace", value: null },
      { key: "größe", value: new Uint8Array(0) },
      { key: "", value: Uint8Array.of(0, 255) },
      { key: "__proto__", value: utf8("x") },
    ],
    timestampMs: 4_102_444_800_000,
  },
  { value: utf8("tierlog ".repeat(40)), timestampMs: 1_700_000_000_001 },
];

const golden = (name: string): Buffer => readFileSync(new URL(`../format/record-batch-${name}.bin`, import.meta.url));

test.each(["none", "lz4"] as const)("the stored batch is read (%s)", async (compression) => {
  const bytes = golden(compression);
  expect(verifyBatch(bytes, 0, WHERE)).toEqual({
    baseOffset: BASE_OFFSET,
    lengthBytes: bytes.length,
    epoch: EPOCH,
    crc: bytes.readUInt32BE(17),
    compression,
    recordCount: records.length,
    lastOffsetDelta: records.length - 1,
    nextOffset: BASE_OFFSET + records.length,
    baseTimestampMs: 1_700_000_000_000,
    maxTimestampMs: 4_102_444_800_000,
  });
  expect(decodeRecords(bytes, WHERE).map(plain)).toEqual(expected(records, BASE_OFFSET));
  const directory = { baseOffset: offset(BASE_OFFSET), nextOffset: offset(BASE_OFFSET + 6), epoch: epoch(EPOCH) };
  expect(readExtent(bytes, directory, WHERE)).toHaveLength(1);
  const judged = await decodeWithKafka(bytes);
  expect(judged.records.map((record) => Number(record.offset))).toEqual(records.map((_, i) => BASE_OFFSET + i));
});

test("an uncompressed batch is still written byte for byte", async () => {
  const { bytes } = await batchOf(records, { baseOffset: BASE_OFFSET, epoch: EPOCH });
  expect(Buffer.from(bytes).toString("hex")).toBe(golden("none").toString("hex"));
});

// The frame's bytes are the compressor's choice and may change with it; its content may not.
test("a compressed batch still has the same content", async () => {
  const { bytes } = await batchOf(records, { baseOffset: BASE_OFFSET, epoch: EPOCH, compression: "lz4" });
  expect(verifyBatch(bytes, 0, WHERE).compression).toBe("lz4");
  expect(decodeRecords(bytes, WHERE)).toEqual(decodeRecords(golden("lz4"), WHERE));
});
