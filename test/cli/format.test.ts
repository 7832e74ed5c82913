import { expect, test } from "vitest";

import { formatBytes, formatCount, formatMilliseconds } from "../../src/cli/numbers.ts";
import { recordJson } from "../../src/cli/record-json.ts";
import { formatFields, formatTable } from "../../src/cli/table.ts";
import type { Offset } from "../../src/domain.ts";

test.each([
  [0, "0"],
  [999, "999"],
  [1000, "1,000"],
  [1_234_567, "1,234,567"],
])("count %d", (count, text) => {
  expect(formatCount(count)).toBe(text);
});

test.each([
  [0, "0 B"],
  [1023, "1023 B"],
  [1024, "1.0 KiB"],
  [12_897_485, "12.3 MiB"],
  [500 * 1024 ** 3, "500 GiB"],
  [5000 * 1024 ** 4, "5,000 TiB"],
])("bytes %d", (bytes, text) => {
  expect(formatBytes(bytes)).toBe(text);
});

test("milliseconds", () => {
  expect([formatMilliseconds(1.26), formatMilliseconds(1234.5)]).toEqual(["1.3 ms", "1,235 ms"]);
});

test("a table: texts to the left, numbers to the right, nothing at the ends of lines", () => {
  const rows = [
    ["events", "1,000", "lz4"],
    ["a", "16", ""],
  ];
  expect(formatTable(["TOPIC", "PARTITIONS", "CODEC"], rows).split("\n")).toEqual([
    "TOPIC   PARTITIONS  CODEC",
    "events       1,000  lz4",
    "a               16",
  ]);
  expect(formatTable(["TOPIC"], [])).toBe("TOPIC");
});

test("fields", () => {
  expect(
    formatFields([
      ["a", "1"],
      ["long", ""],
    ]),
  ).toBe("a     1\nlong");
});

test("a record as JSON: text as it is, other bytes as Base64, never both", () => {
  const record = { offset: 7 as Offset, timestampMs: 1, key: null, value: Buffer.from("\ufeffä"), headers: [] };
  expect(recordJson(3, record)).toEqual({ partition: 3, offset: 7, timestampMs: 1, key: null, value: "\ufeffä" });
  const binary = {
    ...record,
    key: Buffer.from("k"),
    value: Buffer.from([0xff, 0x00]),
    headers: [
      { key: "h", value: Buffer.from([0x80]) },
      { key: "n", value: null },
    ],
  };
  expect(recordJson(3, binary)).toEqual({
    partition: 3,
    offset: 7,
    timestampMs: 1,
    key: "k",
    valueBase64: "/wA=",
    headers: [
      { key: "h", valueBase64: "gA==" },
      { key: "n", value: null },
    ],
  });
});
