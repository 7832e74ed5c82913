import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { expect, test } from "vitest";

import { PRICES } from "../../src/bench/prices.ts";
import { tierlog } from "../cli/tierlog.ts";

const PAGE = new URL("../../docs/cost.md", import.meta.url);
const page = readFileSync(PAGE, "utf8");
const BLOCK = /```console\n\$ tierlog (cost .*)\n([\s\S]*?)```\n/g;

/** Words of a command line as a shell has them, with double quotes. */
function words(line: string): string[] {
  return [...line.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? "");
}

test("every block of docs/cost.md is what its command prints", { timeout: 120_000 }, async () => {
  const printed = new Map<string, string>();
  for (const [, command = ""] of page.matchAll(BLOCK)) {
    const { exitCode, stdout, stderr } = await tierlog(tmpdir(), words(command));
    expect([command, exitCode, stderr]).toEqual([command, 0, ""]);
    printed.set(command, stdout);
  }
  expect(printed.size).toBeGreaterThan(4);
  const wanted = page.replaceAll(
    BLOCK,
    (_, command: string) => `\`\`\`console\n$ tierlog ${command}\n${printed.get(command)}\`\`\`\n`,
  );
  if (process.env["TIERLOG_TEST_WRITE_DOCS"] !== undefined) writeFileSync(PAGE, wanted);
  expect(readFileSync(PAGE, "utf8")).toBe(wanted);
});

test("docs/cost.md names every built-in price list, and its price file can be used", async () => {
  for (const { name } of PRICES) expect(page).toContain(`\`${name}\``);
  const json = /```json\n([\s\S]*?)```/.exec(page)?.[1] ?? "";
  const directory = mkdtempSync(join(tmpdir(), "tierlog-prices-"));
  try {
    writeFileSync(join(directory, "prices.json"), json);
    const argv = ["cost", "--bytes-per-second", "1MiB", "--prices", "prices.json", "--json"];
    const { stdout } = await tierlog(directory, argv);
    expect(Object.keys((JSON.parse(stdout) as { dollars: object }).dollars)).toEqual(["mine"]);
  } finally {
    rmSync(directory, { recursive: true });
  }
});
