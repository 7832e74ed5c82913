import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { afterEach, beforeEach, expect, test } from "vitest";

const EXAMPLE = new URL("../../examples/embed.mjs", import.meta.url);
const README = readFileSync(new URL("../../README.md", import.meta.url), "utf8");

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "tierlog-example-"));
});

afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

function run(): string {
  return execFileSync(process.execPath, [fileURLToPath(EXAMPLE), directory], { encoding: "utf8" });
}

test("examples/embed.mjs runs, prints what README.md says, and goes on where it was", () => {
  const first = run();
  const blocks = [...README.matchAll(/```text\n([\s\S]*?)```/g)].map((match) => match[1]);
  expect(blocks).toContain(first);
  expect(run()).toContain("partition 0: offsets 1 … 1 uploaded, epoch 2");
});

test("the library example in README.md is examples/embed.mjs", () => {
  const code = readFileSync(EXAMPLE, "utf8").replace(/^(\/\/.*\n)+/, "");
  const blocks = [...README.matchAll(/```js\n([\s\S]*?)```/g)].map((match) => match[1]);
  expect(blocks).toContain(code);
});
