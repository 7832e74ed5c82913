import { readFileSync } from "node:fs";

import { expect, test } from "vitest";

/** Each dump is its file from `from` up to `to` (default: to the end), in the order in which the page shows them. */
test.each([
  {
    page: "index-file-format.md",
    dumps: [{ file: "index-append.idx" }, { file: "index-data-objects.idx", from: 163, to: 445 }],
  },
  {
    page: "journal-format.md",
    dumps: [
      { file: "journal-frame.jrn", to: 253 },
      { file: "journal-frame.jrn", from: 512, to: 552 },
    ],
  },
  { page: "data-object-format.md", dumps: [{ file: "data-object.log" }, { file: "data-object-tail.bin" }] },
])("the annotated dumps in docs/$page are the golden files, byte for byte", ({ page, dumps }) => {
  const text = readFileSync(new URL(`../../docs/${page}`, import.meta.url), "utf8");
  const shown = [...text.matchAll(/```hexdump\n([\s\S]*?)```/g)].map(([, dump = ""]) => dump);
  expect(shown).toHaveLength(dumps.length);
  for (const [i, { file, from = 0, to }] of dumps.entries()) {
    let hex = "";
    for (const line of shown[i]?.trimEnd().split("\n") ?? []) {
      const [, offset, bytes = ""] = /^ *(\d+) {2}([0-9a-f]+(?: [0-9a-f]+)*)(?: {2}|$)/.exec(line) ?? [];
      expect(`${from + hex.length / 2}: ${line}`).toBe(`${offset}: ${line}`);
      hex += bytes.replaceAll(" ", "");
    }
    const golden = readFileSync(new URL(`../format/${file}`, import.meta.url));
    expect(hex).toBe(golden.subarray(from, to).toString("hex"));
  }
});
