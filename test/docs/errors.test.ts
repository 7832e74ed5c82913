import { readdirSync, readFileSync } from "node:fs";

import { expect, test } from "vitest";

import * as errors from "../../src/errors.ts";

const page = readFileSync(new URL("../../docs/errors.md", import.meta.url), "utf8");
const source = readFileSync(new URL("../../src/errors.ts", import.meta.url), "utf8");

/** Cells of each row of the table below a heading, without the two head rows. */
function table(heading: string): string[][] {
  const section = page.split(`\n## ${heading}\n`)[1]?.split("\n## ")[0] ?? "";
  const rows = section.split("\n").filter((line) => line.startsWith("|"));
  return rows.slice(2).map((row) =>
    row
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

/** As declared: the class bodies are the only place where a kind and a code stand together. */
function declarations(text: string): { kind: string | undefined; code: string | undefined }[] {
  const found = text.matchAll(/readonly kind = "([^"]+)";\s+readonly code = "(TIERLOG_[A-Z_]+)"/g);
  return [...found].map(([, kind, code]) => ({ kind, code }));
}

const declared = declarations(source);

test("docs/errors.md names every code of src/errors.ts once, with its kind", () => {
  const listed = table("All errors").map(([code, kind]) => ({ kind, code: code?.replaceAll("`", "") }));
  expect(declared.length).toBeGreaterThan(10);
  expect(new Set(listed.map(({ code }) => code)).size).toBe(listed.length);
  expect(listed).toHaveLength(declared.length);
  expect(listed).toEqual(expect.arrayContaining(declared));
});

test("docs/errors.md names the codes that only the command line has", () => {
  const files = readdirSync("src", { recursive: true, encoding: "utf8" }).filter((path) => path.endsWith(".ts"));
  const others = files.filter((path) => path !== "errors.ts").map((path) => readFileSync(`src/${path}`, "utf8"));
  const listed = table("Only the command line").map(([code, kind]) => ({ kind, code: code?.replaceAll("`", "") }));
  const found = others.flatMap(declarations);
  expect(listed).toHaveLength(found.length);
  expect(listed).toEqual(expect.arrayContaining(found));
});

test("exit codes are those of the code", () => {
  const samples = new Map<string, number>();
  for (const error of [
    new errors.InvalidArgumentError("a", 1, "p"),
    new errors.ConfigError([{ path: "a", problem: "p" }]),
    new errors.OffsetOutOfRangeError(3, 0, 2),
    new errors.RecordTooLargeError("a", 2, 1),
    new errors.NotFoundError("a", "b"),
    new errors.ObjectStoreError("a", { operation: "get", key: "k", retryable: true }),
    new errors.UnsupportedProviderError("s", ["p"], true),
    new errors.OverloadedError(1, 1, 1),
    new errors.FencedError(0, 1, 2, "o"),
    new errors.CorruptionError("k", 0, "p"),
    new errors.UnsupportedVersionError("f", 2, 1),
    new errors.MissingObjectError("k", "r"),
    new errors.DiskFullError("p", "w"),
    new errors.StorageIoError("write", "p"),
    new errors.LockHeldError("p", { pid: 1, host: "h" }),
    new errors.ClosedError("a"),
    new errors.AbortedError("a"),
    new errors.InvariantError("a"),
  ]) {
    samples.set(error.code, error.exitCode);
  }
  expect(new Set(samples.keys())).toEqual(new Set(declared.map(({ code }) => code)));
  for (const [code, , , exitCode] of table("All errors")) {
    expect([code, Number(exitCode)]).toEqual([code, samples.get(code?.replaceAll("`", "") ?? "")]);
  }
});

test("every kind is there", () => {
  const kinds = table("Kinds").map(([kind]) => kind?.replaceAll("`", ""));
  expect(new Set(kinds)).toEqual(new Set(declared.map(({ kind }) => kind)));
});
