import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { parse } from "smol-toml";
import { expect, test } from "vitest";

import { loadConfig } from "../../src/config/load-config.ts";
import { PROVIDER_PRESETS } from "../../src/config/provider-presets.ts";
import { providerTable } from "../support/provider-table.ts";

const PAGE = new URL("../../docs/providers.md", import.meta.url);
const MARKED = /(<!-- table: [^\n]* -->\n)([\s\S]*?)(<!-- end of table -->\n)/;

/** `npm run docs:providers` writes the table; everybody else compares it. */
if (process.env["TIERLOG_TEST_WRITE_DOCS"] === "1") {
  writeFileSync(
    PAGE,
    readFileSync(PAGE, "utf8").replace(MARKED, (_, before, __, after) => before + providerTable() + after),
  );
}
const page = readFileSync(PAGE, "utf8");

function blocks(text: string, language: string): string[] {
  return [...text.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, "gm"))].map(
    ([, block = ""]) => block,
  );
}

function section(heading: string): string {
  return page.split(`\n### ${heading}\n`)[1]?.split(/\n##/)[0] ?? "";
}

test("the table is the one of the presets; else: npm run docs:providers", () => {
  expect(MARKED.exec(page)?.[2]).toBe(providerTable());
});

test("every preset has its section, in the order of the table", () => {
  const titles = [...(page.split("\n## One by one\n")[1]?.split("\n## ")[0] ?? "").matchAll(/^### (.+)$/gm)];
  expect(titles.map(([, title]) => title)).toEqual(PROVIDER_PRESETS.map(({ title }) => title));
});

test.each(blocks(page, "toml"))("a config on the page is complete and right: %s", async (text) => {
  const { config } = await loadConfig({
    file: "page.toml",
    env: {},
    cwd: "/nowhere",
    readText: () => Promise.resolve(text),
    fileSystem: { stat: () => Promise.reject(Object.assign(new Error("no"), { code: "ENOENT" })) },
  });
  expect(config.storage.kind).toBe("object");
  expect(config.storage.object.provider).toBeDefined();
});

test.each(PROVIDER_PRESETS)(
  "$title: one config, no word more than its preset leaves open",
  ({ title, name, facts, endpoint }) => {
    const [text = "", ...others] = blocks(section(title), "toml");
    expect(others).toEqual([]);
    const { system } = parse(text) as { system: { storage: { object: Record<string, unknown> } } };
    const { object } = system.storage;
    expect(object["provider"]).toBe(name);
    expect(object["endpoint"] === undefined).toBe(endpoint !== undefined);
    expect(object["fencing"]).toBe(facts.fencing === "single-writer only" ? "external" : undefined);
    for (const filled of ["force_path_style", "payload_signing", "create_if_absent"])
      expect(object[filled]).toBeUndefined();
  },
);

test.each(PROVIDER_PRESETS)(
  "$title: what is said to be tested by us is said so on the page, and nothing else",
  (preset) => {
    expect(/\*\*Tested by us\*\*/.test(section(preset.title))).toBe(preset.facts.evidence === "tested here");
  },
);

test.each(PROVIDER_PRESETS.filter(({ facts }) => facts.evidence === "none"))(
  "$title: nobody knows, and the page says what to do about it",
  ({ title }) => {
    expect(section(title)).toMatch(/nothing found[^.]*\. Run tierlog\s+doctor/);
  },
);

test("every policy and rule on the page is JSON, and asks for no more than known actions", () => {
  const documents = blocks(page, "json").map((text) => JSON.parse(text) as Record<string, unknown>);
  expect(documents).toHaveLength(5);
  const actions = documents
    .flatMap(({ Statement = [] }) => Statement as { Effect: string; Action: string | string[] }[])
    .filter(({ Effect }) => Effect === "Allow")
    .flatMap(({ Action }) => Action);
  expect(new Set(actions)).toEqual(
    new Set([
      "s3:GetObject",
      "s3:PutObject",
      "s3:DeleteObject",
      "s3:AbortMultipartUpload",
      "s3:ListMultipartUploadParts",
      "s3:ListBucket",
      "s3:ListBucketMultipartUploads",
    ]),
  );
});

/** All source text; where a message names the header that was tried, the one of most stores. */
function source(): string {
  const files = readdirSync("src", { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".ts"));
  return files
    .map((name) => readFileSync(join("src", name), "utf8"))
    .join("\n")
    .replaceAll("${header}", "If-None-Match");
}

test("every message under Troubleshooting is one that the code prints", () => {
  const rows = [
    ...(page.split("\n## Troubleshooting\n")[1] ?? "").matchAll(/^\| `(TIERLOG_[A-Z_]+)`(?: "([^"]+)")?/gm),
  ];
  expect(rows.length).toBeGreaterThan(15);
  const text = source();
  for (const [, code = "", message = ""] of rows) {
    expect([code, text.includes(`"${code}"`)]).toEqual([code, true]);
    expect([message, text.includes(message)]).toEqual([message, true]);
  }
});
