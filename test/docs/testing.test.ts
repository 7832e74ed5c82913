import { readFileSync } from "node:fs";

import { expect, test } from "vitest";

import { FAULT_KINDS, FAULTS, type FaultKind } from "../../src/testing/fault.ts";

const page = readFileSync(new URL("../../docs/testing.md", import.meta.url), "utf8");
const example = readFileSync(new URL("../../examples/test-with-faults.mjs", import.meta.url), "utf8");

/** The rows of the table of faults as the code has them; a test that fails prints those that belong there. */
function rowOf(kind: FaultKind): string {
  const { does, commits, operations, seenIn } = FAULTS[kind];
  return `| \`${kind}\` | ${does} | ${commits} | ${operations?.join(", ") ?? "every request"} | ${seenIn} |`;
}

test("the table of faults is that of the code", () => {
  const section = page.split("\n## Faults\n")[1]?.split("\n## ")[0] ?? "";
  const rows = section.split("\n").filter((line) => line.startsWith("| `"));
  expect(rows).toEqual(FAULT_KINDS.map(rowOf));
});

test("the example is examples/test-with-faults.mjs", () => {
  const code = example.replace(/^(\/\/.*\n)+/, "");
  const blocks = [...page.matchAll(/```js\n([\s\S]*?)```/g)].map((match) => match[1]);
  expect(blocks).toContain(code);
});
