import { readFileSync } from "node:fs";

import { expect, test } from "vitest";

test("the annotated dump in docs/index-file-format.md is test/format/index-append.idx, byte for byte", () => {
  const page = readFileSync(new URL("../../docs/index-file-format.md", import.meta.url), "utf8");
  const dump = /```hexdump\n([\s\S]*?)```/.exec(page)?.[1] ?? "";
  let hex = "";
  for (const line of dump.trimEnd().split("\n")) {
    const [, offset, bytes = ""] = /^ *(\d+) {2}([0-9a-f]+(?: [0-9a-f]+)*)(?: {2}|$)/.exec(line) ?? [];
    expect(`${hex.length / 2}: ${line}`).toBe(`${offset}: ${line}`);
    hex += bytes.replaceAll(" ", "");
  }
  expect(hex).toBe(readFileSync(new URL("../format/index-append.idx", import.meta.url)).toString("hex"));
});
