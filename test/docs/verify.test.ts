import { readFileSync } from "node:fs";

import { expect, test } from "vitest";

import { FINDING_SEVERITY } from "../../src/engine/verify/finding.ts";

const page = readFileSync(new URL("../../docs/verify.md", import.meta.url), "utf8");

test("docs/verify.md has every code of the source once, with its severity, a meaning and what to do", () => {
  const section = page.split("\n## Findings\n")[1]?.split("\n## ")[0] ?? "";
  const rows = section
    .split("\n")
    .filter((line) => line.startsWith("| `"))
    .map((row) => row.split(" | ").map((cell) => cell.replaceAll(/^\| | \|$/g, "").trim()));
  expect(rows.map(([code, severity]) => [code?.replaceAll("`", ""), severity])).toEqual(
    Object.entries(FINDING_SEVERITY),
  );
  expect(rows.filter((cells) => cells.length !== 4 || cells.some((cell) => cell === ""))).toEqual([]);
});
