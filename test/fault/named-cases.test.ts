import { readdirSync, readFileSync } from "node:fs";

import { expect, test } from "vitest";

/** Cases of everything between the engine and the store; those of disks and processes come with the parts that they are about. */
const NUMBERS = [...Array.from({ length: 30 }, (_, i) => i + 1), 44, 51, 52];

const texts = readdirSync("test", { recursive: true, encoding: "utf8" })
  .filter((path) => path.endsWith(".ts") && path !== "fault/todo.test.ts")
  .map((path) => readFileSync(`test/${path}`, "utf8"));

test.each(NUMBERS.map((number) => `F${String(number).padStart(2, "0")}`))(
  "%s has a test that begins with it",
  (name) => {
    expect(
      texts.filter((text) => new RegExp(`(?:test|describe\\w*)\\(\\s*["'\`]${name} |\\[\\s*"${name} `).test(text)),
    ).not.toEqual([]);
  },
);
