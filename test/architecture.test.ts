import { readdirSync, readFileSync } from "node:fs";

import { expect, test } from "vitest";

/** The rooms, left to right: a room imports only itself and rooms to its right. Type imports count. */
const ROOMS = [
  "index",
  "cli",
  "bench",
  "engine",
  "shard",
  "merge",
  "index-chain",
  "journal",
  "testing",
  "object-store",
  "record",
  "config",
  "runtime",
  "errors",
  "domain",
];

const files = readdirSync("src", { recursive: true, encoding: "utf8" })
  .filter((path) => path.endsWith(".ts"))
  .map((path) => ({ path, text: readFileSync(`src/${path}`, "utf8") }));

/** Every specifier of static and dynamic imports, re-exports and import types. */
function importsOf(text: string): string[] {
  return [...text.matchAll(/(?:\bfrom|\bimport\(?|\bnew URL\()\s*["']([^"']+)["']/g)].map((match) => match[1] ?? "");
}

function roomOf(path: string): string {
  return path.split("/")[0]?.replace(/\.ts$/, "") ?? path;
}

test("imports go one way, from left to right", () => {
  const wrong: string[] = [];
  for (const { path, text } of files) {
    const room = ROOMS.indexOf(roomOf(path));
    if (room < 0) wrong.push(`${path} is in no room`);
    for (const specifier of importsOf(text).filter((name) => name.startsWith("."))) {
      const target = new URL(specifier, `file:///${path}`).pathname.slice(1);
      const targetRoom = ROOMS.indexOf(roomOf(target));
      if (targetRoom < room || targetRoom < 0) wrong.push(`${path} -> ${target}`);
    }
  }
  expect(files.length).toBeGreaterThan(40);
  expect(wrong).toEqual([]);
});

test("the test sees an import that points up", () => {
  expect(importsOf('import type { A } from "../cli/up.ts";\nexport * from "./x.ts"; await import("../y.ts")')).toEqual([
    "../cli/up.ts",
    "./x.ts",
    "../y.ts",
  ]);
});

/** Time, randomness and the disk come in through runtime/, or the simulator cannot see them. */
const BANNED: readonly [RegExp, string][] = [
  [/\bDate\.now\b|\bnew Date\(\)|\bperformance\b|\bprocess\.hrtime\b/, "wall clock"],
  [/\bset(Timeout|Interval|Immediate)\b|node:timers/, "timers"],
  [/\bAbortSignal\.timeout\b/, "timers"],
  [/\bMath\.random\b|\brandomBytes\b|\brandomUUID\b|\bgetRandomValues\b/, "randomness"],
  [/["']node:fs(\/promises)?["']|\bfrom ["']fs(\/promises)?["']/, "the file system"],
  [/["']node:os["']|\bfrom ["']os["']/, "the machine"],
];

test("wall clock, timers, randomness and node:fs are used in runtime/ only", () => {
  const wrong = files
    .filter(({ path }) => roomOf(path) !== "runtime")
    .flatMap(({ path, text }) =>
      BANNED.filter(([pattern]) => pattern.test(withoutComments(text))).map(([, what]) => `${path} uses ${what}`),
    );
  expect(wrong).toEqual([]);
});

test("the test sees a banned call", () => {
  const uses = (text: string): string[] =>
    BANNED.filter(([pattern]) => pattern.test(withoutComments(text))).map(([, what]) => what);
  expect(uses("const t = Date.now();")).toEqual(["wall clock"]);
  expect(uses('import { open } from "node:fs/promises";')).toEqual(["the file system"]);
  expect(uses("// Date.now() is banned\n/* Math.random() */")).toEqual([]);
});

test("object names are made and read in one file", () => {
  const wrong = files
    .filter(({ path }) => path !== "object-store/object-names.ts")
    .filter(({ text }) => /["'`](index|catalog|checkpoint|data)\/|\.idx["'`]/.test(withoutComments(text)))
    .map(({ path }) => path);
  expect(wrong).toEqual([]);
});

function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/(^|\s)\/\/.*$/gm, "");
}
