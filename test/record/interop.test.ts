import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

import { checkEncodedBatch, decodeRecords, verifyBatch } from "../../src/record/batch.ts";
import type { LogRecord } from "../../src/record/record.ts";
import { decodeWithKafka, encodeWithKafka, KAFKA_LZ4, kafkaCrc32c, type KafkaMessage } from "./kafkajs.ts";
import { reframe } from "./reframe.ts";
import { anyRecords, batchOf, expected, hex, lz4Program, NOW_MS, plain, utf8, WHERE } from "./support.ts";

const lz4 = lz4Program();

/** KafkaJS gathers headers in an object: repeated keys become arrays, `__proto__` is lost there. */
function withPlainHeaders(records: LogRecord[]): LogRecord[] {
  return records.map((record) => ({
    ...record,
    headers: (record.headers ?? []).map((header, i) => ({ key: `${i}${header.key}`, value: header.value })),
  }));
}

describe("KafkaJS", () => {
  test.each(["none", "lz4"] as const)("reads what we write (%s)", async (compression) => {
    await fc.assert(
      fc.asyncProperty(anyRecords.map(withPlainHeaders), fc.nat({ max: 2 ** 45 }), async (records, baseOffset) => {
        const { bytes } = await batchOf(records, { baseOffset, epoch: 12, compression });
        const batch = await decodeWithKafka(bytes);
        const wanted = expected(records, baseOffset);
        expect(batch).toMatchObject({
          firstOffset: String(baseOffset),
          partitionLeaderEpoch: 12,
          lastOffsetDelta: records.length - 1,
          firstTimestamp: String(wanted[0]?.timestampMs),
          maxTimestamp: String(Math.max(...wanted.map((record) => record.timestampMs))),
          producerId: "-1",
          producerEpoch: -1,
          firstSequence: -1,
          inTransaction: false,
          isControlBatch: false,
          timestampType: 0,
        });
        expect(
          batch.records.map((record) => ({
            offset: Number(record.offset),
            timestampMs: Number(record.timestamp),
            key: hex(record.key),
            value: hex(record.value),
            headers: Object.fromEntries(
              Object.entries(record.headers).map(([key, value]) => [key, hex(value as Buffer | null)]),
            ),
          })),
        ).toEqual(wanted.map((record) => ({ ...record, headers: Object.fromEntries(record.headers) })));
        expect(kafkaCrc32c(Buffer.from(bytes.subarray(21)))).toBe(Buffer.from(bytes).readUInt32BE(17));
      }),
      { numRuns: 200 },
    );
  });

  const message = fc.record({
    key: fc.option(fc.uint8Array({ maxLength: 30 }).map((bytes) => Buffer.from(bytes))),
    value: fc.option(fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes))),
    timestampDelta: fc.nat({ max: 100_000 }),
    headers: fc.dictionary(
      fc.string({ maxLength: 8 }),
      fc.uint8Array({ maxLength: 9 }).map((bytes) => Buffer.from(bytes)),
      {
        maxKeys: 3,
      },
    ),
  });

  test.each([
    ["none", 0],
    ["lz4", KAFKA_LZ4],
  ] as const)("writes what we read (%s)", async (compression, codec) => {
    await fc.assert(
      fc.asyncProperty(fc.array(message, { minLength: 1, maxLength: 20 }), async (parts) => {
        const messages: KafkaMessage[] = parts.map((part, offsetDelta) => ({ ...part, offsetDelta }));
        const bytes = await encodeWithKafka(messages, {
          compression: codec,
          firstTimestamp: NOW_MS,
          maxTimestamp: NOW_MS + 100_000,
        });
        const header = checkEncodedBatch(bytes, 1024 * 1024);
        // kafkajs was told a maximum that no record has: what was found out stands instead.
        const maxTimestampMs = NOW_MS + Math.max(...parts.map(({ timestampDelta }) => timestampDelta));
        expect(header).toEqual({ ...verifyBatch(bytes, 0, WHERE), maxTimestampMs });
        expect(header).toMatchObject({ compression, recordCount: messages.length, baseOffset: 0 });
        expect(decodeRecords(bytes, WHERE).map(plain)).toEqual(
          messages.map((sent, i) => ({
            offset: i,
            timestampMs: NOW_MS + sent.timestampDelta,
            key: hex(sent.key),
            value: hex(sent.value),
            headers: Object.entries(sent.headers ?? {}).map(([key, value]) => [key, hex(value as Buffer)]),
          })),
        );
      }),
      { numRuns: 200 },
    );
  });
});

describe.skipIf(lz4 === undefined)("the lz4 program", () => {
  const line = (i: number): LogRecord => ({
    value: utf8(`{"level":"info","request":${i},"path":"/api/v1/items/${i % 17}"}`),
  });
  const program = (args: readonly string[], input: Uint8Array): Buffer => lz4?.(args, input) ?? Buffer.alloc(0);

  test.each([10, 500, 12_000])("reads the frame of a batch of %d records", async (count) => {
    const records = Array.from({ length: count }, (_, i) => line(i));
    const stored = await batchOf(records);
    const { bytes } = await batchOf(records, { compression: "lz4" });
    expect(verifyBatch(bytes, 0, WHERE).compression).toBe("lz4");
    expect(program(["-d"], bytes.subarray(61)).equals(stored.bytes.subarray(61))).toBe(true);
  });

  test.each([[["-1"]], [["-9", "--content-size", "-BD"]], [["-9", "-B4", "-BX"]], [["-1", "-B7", "--no-frame-crc"]]])(
    "writes frames that we read: %s",
    async (args) => {
      const records = Array.from({ length: 5000 }, (_, i) => line(i));
      const stored = await batchOf(records);
      const bytes = reframe(stored.bytes, program(args, stored.bytes.subarray(61)));
      expect(checkEncodedBatch(bytes, 1024 * 1024).compression).toBe("lz4");
      expect(decodeRecords(bytes, WHERE).map(plain)).toEqual(expected(records));
    },
  );
});
