import { spawnSync } from "node:child_process";

import * as fc from "fast-check";

import type { Epoch, Offset } from "../../src/domain.ts";
import { CorruptionError } from "../../src/errors.ts";
import { BatchBuilder, type SealedBatch } from "../../src/record/batch-builder.ts";
import type { Where } from "../../src/record/batch.ts";
import type { Compression } from "../../src/record/compression.ts";
import type { LogRecord, StoredRecord } from "../../src/record/record.ts";

export const WHERE: Where = { key: "data/object", position: 1000 };
export const NOW_MS = 1_700_000_000_000;

export const offset = (value: number): Offset => value as Offset;
export const epoch = (value: number): Epoch => value as Epoch;
export const utf8 = (text: string): Buffer => Buffer.from(text, "utf8");

export function builder(options: { baseOffset?: number; epoch?: number; maxBytes?: number } = {}): BatchBuilder {
  return new BatchBuilder({
    baseOffset: offset(options.baseOffset ?? 0),
    epoch: epoch(options.epoch ?? 1),
    maxBytes: options.maxBytes ?? 1024 * 1024,
  });
}

export async function batchOf(
  records: readonly LogRecord[],
  options: { baseOffset?: number; epoch?: number; maxBytes?: number; compression?: Compression } = {},
): Promise<SealedBatch> {
  const open = builder(options);
  if (!open.tryAppend(records, 0, records.length, NOW_MS)) throw new Error("the records do not fit");
  return open.seal(options.compression ?? "none");
}

export interface PlainRecord {
  readonly offset: number;
  readonly timestampMs: number;
  readonly key: string | null;
  readonly value: string | null;
  readonly headers: readonly (readonly [string, string | null])[];
}

/** Comparable whatever the class of the buffers. */
export function plain(record: StoredRecord): PlainRecord {
  return {
    offset: record.offset,
    timestampMs: record.timestampMs,
    key: hex(record.key),
    value: hex(record.value),
    headers: record.headers.map(({ key, value }) => [key, hex(value)] as const),
  };
}

/** What `records` must read back as. */
export function expected(records: readonly LogRecord[], baseOffset = 0): PlainRecord[] {
  return records.map((record, i) => ({
    offset: baseOffset + i,
    timestampMs: record.timestampMs ?? NOW_MS,
    key: hex(record.key),
    value: hex(record.value),
    headers: (record.headers ?? []).map(({ key, value }) => [key, hex(value)] as const),
  }));
}

export function hex(bytes: Uint8Array | null | undefined): string | null {
  return bytes === null || bytes === undefined ? null : Buffer.from(bytes).toString("hex");
}

const bytes = (maxLength: number): fc.Arbitrary<Uint8Array> =>
  fc.oneof(
    { weight: 4, arbitrary: fc.uint8Array({ maxLength }) },
    // Text that repeats, so that LZ4 has something to find.
    { weight: 1, arbitrary: fc.nat({ max: 40 }).map((n) => utf8("tierlog ".repeat(n))) },
  );

export const anyRecord: fc.Arbitrary<LogRecord> = fc.record(
  {
    key: fc.option(bytes(40), { nil: null }),
    value: fc.option(bytes(200), { nil: null }),
    headers: fc.array(
      fc.record({
        key: fc.oneof(
          fc.string({ unit: "grapheme", maxLength: 12 }),
          fc.constantFrom("", "__proto__", "constructor", "\ufeffbom", "😀"),
        ),
        value: fc.option(bytes(20), { nil: null }),
      }),
      { maxLength: 4 },
    ),
    timestampMs: fc.oneof(
      fc.integer({ min: NOW_MS - 100_000, max: NOW_MS + 100_000 }),
      fc.maxSafeNat(),
      fc.constantFrom(0, 1, Number.MAX_SAFE_INTEGER),
    ),
  },
  { requiredKeys: ["value"] },
);

export const anyRecords: fc.Arbitrary<LogRecord[]> = fc.array(anyRecord, { minLength: 1, maxLength: 30 });

/** What `run` gives, or undefined where it finds damage; any other error is thrown on. */
export function unlessCorrupt<T>(run: () => T): T | undefined {
  try {
    return run();
  } catch (error) {
    if (error instanceof CorruptionError) return undefined;
    throw error;
  }
}

/** The `lz4` program; undefined where it is not installed, which only a developer's machine may be. */
export function lz4Program(): ((args: readonly string[], input: Uint8Array) => Buffer) | undefined {
  if (spawnSync("lz4", ["--version"]).error !== undefined) {
    if (process.env["CI"] === "true") throw new Error("the lz4 program is not installed: its tests must run in CI");
    console.warn("SKIPPED: the lz4 program is not installed, frames are not checked against it");
    return undefined;
  }
  return (args, input) => {
    const run = spawnSync("lz4", [...args, "-c"], { input, maxBuffer: 256 * 1024 * 1024 });
    if (run.status !== 0) throw new Error(`lz4 ${args.join(" ")}: ${run.stderr.toString()}`);
    return run.stdout;
  };
}
