import { readFileSync } from "node:fs";

import { describe, expect, test } from "vitest";

import { decodeCatalog, encodeCatalog } from "../../src/engine/catalog-file.ts";
import { CorruptionError, UnsupportedVersionError } from "../../src/errors.ts";
import { catalogKey } from "../../src/object-store/object-names.ts";

type Json = Record<string, unknown> & { topics: Record<string, unknown>[] };

const golden = (format: number): Buffer => readFileSync(new URL(`../format/catalog-${format}.golden`, import.meta.url));
const parsed = (format: number): Json => JSON.parse(golden(format).toString()) as Json;
const decode = (value: unknown, version: number): ReturnType<typeof decodeCatalog> =>
  decodeCatalog(Buffer.from(JSON.stringify(value)), catalogKey(version), version);

describe.each([
  [1, "without an ack level is format 1, which every version reads"],
  [2, "with one is format 2"],
  [3, "with retention is format 3"],
])("format %d", (format, which) => {
  test(`golden file: a catalog ${which}, byte for byte, and reads back`, () => {
    const { writeId, writerId, createdAt, version } = parsed(format) as Json & Record<string, string>;
    const file = decodeCatalog(golden(format), catalogKey(format), format);
    expect(file).toEqual({ version, topics: parsed(format).topics });
    const fields = { writeId: String(writeId), writerId: String(writerId), createdAt: String(createdAt) };
    expect(
      Buffer.from(
        encodeCatalog({ version: file.version, topics: parsed(format).topics as never, ...fields }),
      ).toString(),
    ).toEqual(golden(format).toString());
  });
});

test("format 2 whose topics all leave the level open is read, and written as format 1 again", () => {
  const { topics } = decode({ ...parsed(1), format: 2 }, 1);
  expect(topics).toEqual(parsed(1).topics);
  const fields = { version: 1, writeId: "w", writerId: "n", createdAt: "2026-11-21T08:15:02.000Z" };
  expect(JSON.parse(Buffer.from(encodeCatalog({ topics, ...fields })).toString())).toMatchObject({ format: 1 });
});

test.each([0, 4, 77])("format %d is refused as unsupported, whatever else it holds", (format) => {
  expect(() => decode({ format, surprise: true }, 1)).toThrow(UnsupportedVersionError);
});

test.each([
  ["an ack level in format 1, which has none", { ...parsed(2), format: 1 }, /ack/],
  ["a level that nobody can ask for", withAck("buffered"), /ack/],
  ["a level of a wrong type", withAck(1), /ack/],
  ["retention in format 2, which has none", { ...parsed(3), version: 2, format: 2 }, /retention/],
  [
    "a limit that keeps nothing",
    { ...parsed(3), version: 2, topics: [{ ...parsed(3).topics[0], retentionMs: 0 }] },
    /retention/,
  ],
  ["a field that is not known", { ...parsed(2), more: 1 }, /more/],
  ["a format that is no number", { ...parsed(2), format: "2" }, /format/],
])("%s is corruption, not ignored", (_, value, problem) => {
  expect(() => decode(value, 2)).toThrow(CorruptionError);
  expect(() => decode(value, 2)).toThrow(problem);
});

function withAck(ack: unknown): Json {
  return { ...parsed(2), topics: parsed(2).topics.map((topic) => ({ ...topic, ack })) };
}
