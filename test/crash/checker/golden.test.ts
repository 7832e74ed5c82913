import { readFileSync } from "node:fs";

import { expect, test } from "vitest";

import { decodeCheckpoint } from "./checkpoint.ts";
import { FoldState } from "./fold-state.ts";
import { decodeIndexFile } from "./index-file.ts";

const golden = (name: string): Buffer => readFileSync(`test/format/${name}`);

/** The seq that the header says. */
const decoded = (name: string): ReturnType<typeof decodeIndexFile> => {
  const bytes = golden(name);
  return decodeIndexFile(bytes, bytes.readUInt32BE(12), Number(bytes.readBigUInt64BE(16)));
};

test("the golden index files, by the checker's own decoder", () => {
  expect(decoded("index-trim.idx").entries).toMatchObject([
    {
      type: "trim",
      trims: [
        { partition: 0, oldStart: 0, newStart: 3 },
        { partition: 2, oldStart: 7, newStart: 4_294_967_300 },
        { partition: 0, oldStart: 100, newStart: 101 },
      ],
    },
  ]);
  expect(decoded("index-boundary.idx").entries.map(({ type }) => type)).toContain("boundary");
  const replace = decoded("index-replace.idx").entries.find(({ type }) => type === "replace");
  expect(replace).toMatchObject({ type: "replace", superseded: expect.stringMatching(/^[0-9a-f]{32}$/) as string });
});

test.each([
  ["checkpoint.ckpt", 2, 0, 0],
  ["checkpoint-2.ckpt", 3, 0, 2],
  ["checkpoint-3.ckpt", 4, 4, 0],
])("the golden %s", (name, seq, boundary, start) => {
  const checkpoint = decodeCheckpoint(golden(name), 0, seq);
  expect(checkpoint.boundary).toBe(boundary);
  expect([...checkpoint.partitions.values()].map((partition) => partition.start)).toEqual([start, 0]);
  expect(new FoldState(0, checkpoint).nextSeq).toBe(seq + 1);
});
