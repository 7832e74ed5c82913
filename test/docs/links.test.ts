import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";

import { expect, test } from "vitest";

const pages = [
  "README.md",
  "CHANGELOG.md",
  "examples/README.md",
  ...readdirSync("docs")
    .filter((name) => name.endsWith(".md"))
    .map((name) => join("docs", name)),
];

function withoutCode(text: string): string {
  return text.replace(/^```[\s\S]*?^```/gm, "").replace(/`[^`\n]*`/g, "code");
}

/** The anchors of a page, made of its headings as GitHub makes them. */
function anchorsOf(page: string): Set<string> {
  const text = readFileSync(page, "utf8").replace(/^```[\s\S]*?^```/gm, "");
  const anchors = new Set<string>();
  for (const [, heading = ""] of text.matchAll(/^#+ +(.+)$/gm)) {
    const base = heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\p{M}_ -]/gu, "")
      .replaceAll(" ", "-");
    let anchor = base;
    for (let twin = 1; anchors.has(anchor); twin++) anchor = `${base}-${twin}`;
    anchors.add(anchor);
  }
  return anchors;
}

function problem(page: string, target: string): string | undefined {
  const [path = "", anchor] = target.split("#");
  const file = path === "" ? page : normalize(join(dirname(page), decodeURIComponent(path)));
  if (!existsSync(file)) return `${page}: ${target}: no such file`;
  if (anchor !== undefined && !anchorsOf(file).has(anchor)) return `${page}: ${target}: no such heading`;
  return undefined;
}

test.each(pages)("every relative link in %s leads somewhere", (page) => {
  const targets = [...withoutCode(readFileSync(page, "utf8")).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target]) => target);
  const relative = targets.filter((target) => target !== undefined && !/^[a-z]+:/.test(target));
  expect(relative.map((target) => problem(page, target ?? "")).filter((found) => found !== undefined)).toEqual([]);
});

test("the test sees a broken link", () => {
  expect(problem("README.md", "docs/nowhere.md")).toContain("no such file");
  expect(problem("README.md", "docs/errors.md#nowhere")).toContain("no such heading");
  expect(problem("README.md", "docs/errors.md#all-errors")).toBeUndefined();
});

/** Files that pages name in backticks, as in `src/errors.ts`: renamed files leave pages behind. */
test.each(pages)("every file that %s names exists", (page) => {
  const named = [...readFileSync(page, "utf8").matchAll(/`((?:src|test|docs|examples)\/[\w./-]+\.\w+)`/g)];
  const missing = named.map(([, path]) => path ?? "").filter((path) => !existsSync(path));
  expect(missing).toEqual([]);
});
