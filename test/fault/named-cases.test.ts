import { readdirSync, readFileSync } from "node:fs";

import { expect, test } from "vitest";

/** All but F31, which is all of test/crash. */
const NUMBERS = Array.from({ length: 53 }, (_, i) => i + 1).filter((number) => number !== 31);

const texts = readdirSync("test", { recursive: true, encoding: "utf8" })
  .filter((path) => path.endsWith(".ts"))
  .map((path) => readFileSync(`test/${path}`, "utf8"));

test.each(NUMBERS.map((number) => `F${String(number).padStart(2, "0")}`))(
  "%s has a test that begins with it",
  (name) => {
    expect(
      texts.filter((text) => new RegExp(`(?:test|describe\\w*)\\(\\s*["'\`]${name} |\\[\\s*"${name} `).test(text)),
    ).not.toEqual([]);
  },
);
