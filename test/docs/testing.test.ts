import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { expect, test } from "vitest";

import { multipartConformance } from "../../src/testing/conformance/multipart.ts";
import { objectStoreConformance } from "../../src/testing/conformance/object-store.ts";
import { FAULT_KINDS, FAULTS, type FaultKind } from "../../src/testing/fault.ts";
import { S3_PROVIDERS, S3_TRAITS } from "../../src/testing/s3/character.ts";

const page = readFileSync(new URL("../../docs/testing.md", import.meta.url), "utf8");
const EXAMPLE = new URL("../../examples/test-with-faults.mjs", import.meta.url);
const example = readFileSync(EXAMPLE, "utf8");

/** The rows of the table of faults as the code has them; a test that fails prints those that belong there. */
function rowOf(kind: FaultKind): string {
  const { does, commits, operations, seenIn } = FAULTS[kind];
  return `| \`${kind}\` | ${does} | ${commits} | ${operations?.join(", ") ?? "every request"} | ${seenIn} |`;
}

function section(heading: string): string {
  return page.split(`\n## ${heading}\n`)[1]?.split("\n## ")[0] ?? "";
}

/** Of all its tables. */
function rows(heading: string): string[] {
  return section(heading)
    .split("\n")
    .filter((line) => line.startsWith("| `"));
}

test("the table of faults is that of the code", () => {
  expect(rows("Faults")).toEqual(FAULT_KINDS.map(rowOf));
});

test("the tables of providers and traits are those of the code", () => {
  const providers = Object.entries(S3_PROVIDERS).map(([name, traits]) => {
    const names = traits.map((trait) => `\`${trait}\``);
    return `| \`${name}\` | ${names.length === 0 ? "none" : names.join(", ")} |`;
  });
  const traits = Object.entries(S3_TRAITS).map(([name, does]) => `| \`${name}\` | ${does} |`);
  expect(rows("Characters")).toEqual([...providers, ...traits]);
});

test("the example is examples/test-with-faults.mjs", () => {
  const code = example.replace(/^(\/\/.*\n)+/, "");
  const blocks = [...page.matchAll(/```js\n([\s\S]*?)```/g)].map((match) => match[1]);
  expect(blocks).toContain(code);
});

/** What `node:test` counts, of tests that run as somebody else's would: the built package, by its public names. */
function counts(...argv: string[]): Record<string, string | undefined> {
  const output = execFileSync(process.execPath, argv, { encoding: "utf8" });
  return Object.fromEntries([...output.matchAll(/^(?:#|ℹ) (tests|pass|fail) (\d+)$/gm)].map((found) => found.slice(1)));
}

test("the example runs", () => {
  expect(counts("--test", fileURLToPath(EXAMPLE))).toEqual({ tests: "1", pass: "1", fail: "0" });
});

test("the tests of a store of your own run, as the page has them", () => {
  const [, code = ""] = /```js\n([\s\S]*?)```/.exec(section("Stores of your own")) ?? [];
  const makeStore = (): Promise<never> => Promise.reject(new Error("only counted"));
  const tests = String(objectStoreConformance(makeStore).length + multipartConformance(makeStore).length);
  expect(counts("--input-type=module", "--eval", code)).toEqual({ tests, pass: tests, fail: "0" });
});
