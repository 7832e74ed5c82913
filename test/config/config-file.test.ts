import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

import { parse } from "smol-toml";
import { expect, test } from "vitest";

import { CONFIG_KEYS } from "../../src/config/keys.ts";
import { loadConfig } from "../../src/config/load-config.ts";

const file = fileURLToPath(new URL("../../config.toml", import.meta.url));
const lines = (await readFile(file, "utf8")).split("\n");

/** The keys of the file, set or commented out, each with the comment above it. */
function documentedKeys(): Map<string, { line: string; comment: string; set: boolean }> {
  const found = new Map<string, { line: string; comment: string; set: boolean }>();
  let table = "";
  let comment: string[] = [];
  for (const line of lines) {
    const key = /^(# )?([a-z_]+) = /.exec(line);
    if (line.startsWith("[")) table = line.slice(1, -1);
    else if (key !== null) {
      found.set(`${table}.${key[2]}`, { line, comment: comment.join(" "), set: key[1] === undefined });
    } else if (line.startsWith("#")) {
      comment.push(line.slice(2));
      continue;
    }
    comment = [];
  }
  return found;
}

test("the shipped file documents every key and no other, in order", () => {
  expect([...documentedKeys().keys()]).toEqual(CONFIG_KEYS.map((key) => key.path));
});

test.each(CONFIG_KEYS)("$path: a sentence, and the default that the code has", ({ path, type, default: value }) => {
  const { comment = "", line = "", set } = documentedKeys().get(path) ?? {};
  const [, sentence, stated = ""] = /^(.+\.) Default: (.+)\.$/.exec(comment) ?? [];
  expect(sentence).toMatch(/^[A-Z"t].{20,}/);
  expect(set).toBe(value !== undefined);
  const derived = path.endsWith("force_path_style") ? "true where endpoint is set, else false" : "not set";
  const documented = set === true ? type.parse(parse(`x = ${stated}`)["x"]) : stated;
  expect(documented).toEqual(value === undefined ? derived : { ok: true, value });
  expect(set === false || line.endsWith(` = ${stated}`)).toBe(true);
});

test("the shipped file says exactly the defaults", async () => {
  const directory = fileURLToPath(new URL("../..", import.meta.url)).replace(/\/$/, "");
  const shipped = await loadConfig({ file, env: {}, cwd: "/" });
  const defaults = await loadConfig({ env: {}, cwd: directory });
  expect(shipped.config).toEqual(defaults.config);
});
