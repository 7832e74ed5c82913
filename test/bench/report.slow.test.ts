import { execFile, execFileSync } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { FOUND } from "./found.ts";
import { coloursOf } from "./png.ts";

const run = promisify(execFile);
const BENCH = join(import.meta.dirname, "../../native-bench/main.mjs");
const chromium = ["chromium", "chromium-browser", "google-chrome"].find(isInstalled);

let directory = "";
let page = "";

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "tierlog-report-"));
  page = join(directory, "report.html");
  await writeFile(join(directory, "found.json"), JSON.stringify(FOUND));
  await run(process.execPath, [BENCH, "--from", join(directory, "found.json"), "--html", page]);
});

afterAll(async () => {
  await rm(directory, { recursive: true, force: true });
});

describe("the report", () => {
  it("is one file that fetches nothing and runs nothing", async () => {
    const html = await readFile(page, "utf8");

    expect(html).not.toMatch(/<script|<link|<img|<iframe|@import|url\(|\bhref=|\bsrc=|\bon[a-z]+=/i);
  });

  it("shows every plot, and the table with targets and verdicts", async () => {
    const html = await readFile(page, "utf8");

    expect(html.match(/<svg /g)).toHaveLength(5);
    expect(html).not.toContain("Not measured in this run");
    expect(html).toContain("1 of 2 measured targets met");
    expect(html).toContain(`<td class="met">✓ met</td>`);
    expect(html).toContain(`<td class="missed">✗ missed</td>`);
    expect(html).toContain("0.70–0.80");
    expect(html).toContain("lmdb: not installed");
  });

  it("takes texts for texts", async () => {
    const html = await readFile(page, "utf8");

    expect(html).toContain("&lt;b&gt;some&lt;/b&gt; processor");
    expect(html).not.toContain("<b>some");
  });

  it("draws no number that is not one", async () => {
    expect(await readFile(page, "utf8")).not.toMatch(/NaN|Infinity|undefined/);
  });
});

describe.skipIf(chromium === undefined)("the report in a browser (skipped: chromium is not installed)", () => {
  it.each([
    { theme: "light", flags: [], background: "#ffffff", line: "#1f63c4" },
    {
      theme: "dark",
      flags: ["--force-dark-mode", "--blink-settings=preferredColorScheme=0"],
      background: "#14171b",
      line: "#78aeff",
    },
  ])(
    "is drawn in $theme",
    async ({ theme, flags, background, line }) => {
      const picture = join(directory, `${theme}.png`);
      const profile = join(directory, `profile-${theme}`);
      await run(
        chromium ?? "",
        [
          "--headless",
          "--no-sandbox",
          "--disable-gpu",
          "--hide-scrollbars",
          `--user-data-dir=${profile}`,
          ...flags,
          "--window-size=1200,1400",
          `--screenshot=${picture}`,
          `file://${page}`,
        ],
        { timeout: 60_000 },
      );
      const colours = coloursOf(await readFile(picture));
      const [most] = Array.from(colours).toSorted(([, a], [, b]) => b - a);

      expect(most?.[0]).toBe(background);
      // Lines and marks of the first series, over five plots.
      expect(colours.get(line) ?? 0).toBeGreaterThan(1000);
    },
    90_000,
  );
});

describe("a run", () => {
  it("tells first what it measures on, then rows; leaves nothing behind", async () => {
    const temporary = await mkdtemp(join(directory, "tmp-"));
    const json = join(directory, "run.json");
    const { stdout, stderr } = await run(
      process.execPath,
      [BENCH, "--suite", "limits", "--suite", "load", "--turns", "1", "--turn-ms", "20", "--json", json],
      { env: { ...process.env, TMPDIR: temporary }, timeout: 100_000 },
    );
    const found = JSON.parse(await readFile(json, "utf8")) as typeof FOUND;

    expect(stdout.indexOf("machine ")).toBe(0);
    expect(stdout.indexOf("blind spots")).toBeLessThan(stdout.indexOf("PUT of 1 MiB"));
    expect(found.failures).toEqual([]);
    expect(found.rows.map(({ id }) => id)).toEqual(
      expect.arrayContaining(["limits.put.4KiB", "load.p99.0.8", "load.loop-delay"]),
    );
    expect(found.rows.every(({ value }) => Number.isFinite(value.median))).toBe(true);
    // Nobody watches a pipe.
    expect(stderr).toBe("");
    expect(await readdir(temporary)).toEqual([]);
  }, 120_000);

  it("refuses a suite that there is not", async () => {
    await expect(run(process.execPath, [BENCH, "--suite", "nonsense"])).rejects.toMatchObject({
      code: 2,
      stderr: expect.stringContaining("there are limits, micro, append") as string,
    });
  });
});

function isInstalled(command: string): boolean {
  try {
    execFileSync("which", [command], { stdio: "pipe" });
    return true;
  } catch {
    return false;
  }
}
