import { readFileSync } from "node:fs";

import { expect, test } from "vitest";

import { COMMANDS } from "../../src/cli/commands/commands.ts";
import { CONFIG_KEYS } from "../../src/config/keys.ts";

const readme = readFileSync(new URL("../../README.md", import.meta.url), "utf8");

/** Rows of the table below a heading: the cells of each, without the two head rows. */
function table(heading: string): string[][] {
  const section = readme.split(`\n## ${heading}\n`)[1]?.split("\n## ")[0] ?? "";
  const rows = section.split("\n").filter((line) => line.startsWith("|"));
  return rows.slice(2).map((row) =>
    row
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

/** What stands in backticks, without quotes. */
function terms(cell: string | undefined): string[] {
  return [...(cell ?? "").matchAll(/`([^`]+)`/g)].map(([, term = ""]) => term.replaceAll('"', ""));
}

test("every config key that README.md names exists, with the default it says", () => {
  const rows = table("Configuration");
  expect(rows.length).toBeGreaterThan(8);
  for (const [names, value] of rows) {
    let group = "";
    const keys = terms(names).map((name) => {
      // "`storage.object.bucket`, `region`": the second stands in the same table as the first.
      const path = CONFIG_KEYS.some((key) => key.path === `system.${name}`) ? name : group + name;
      group = path.slice(0, path.lastIndexOf(".") + 1);
      return CONFIG_KEYS.find((key) => key.path === `system.${path}`);
    });
    expect([names, keys.includes(undefined)]).toEqual([names, false]);
    const defaults = terms(value).length > 0 ? terms(value) : (value?.match(/\d+/g) ?? []);
    for (const [i, said] of defaults.entries()) {
      const key = keys[i];
      const shown = key?.default === undefined ? undefined : key.type.show(key.default);
      expect([key?.path, key?.type.parseText(said)]).toEqual([key?.path, key?.type.parseText(shown ?? "")]);
    }
  }
});

test("README.md lists every command, and none that is not there", () => {
  const listed = table("The command line").flatMap(([cell]) => {
    const [first = "", ...others] = terms(cell).map((term) => term.replace(/^tierlog /, ""));
    // "`tierlog topics create`, `list`": the second belongs to the first's group.
    const group = first.split(" ")[0] ?? "";
    return [first.replace(/ [A-Z]+$/, ""), ...others.map((name) => `${group} ${name}`)];
  });
  expect(new Set(listed)).toEqual(new Set(COMMANDS.map(({ name }) => name)));
});
