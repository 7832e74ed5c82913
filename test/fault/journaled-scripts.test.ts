import { expect, test } from "vitest";

import { runJournaledScript, type JournaledProgress, type JournaledReport } from "./journaled-run.ts";

const SCRIPTS = Number(process.env["TIERLOG_TEST_JOURNALED_SCRIPTS"] ?? 6);
const SEED = Number(process.env["TIERLOG_TEST_SEED"] ?? 1);

test(
  `${SCRIPTS} random scripts of the journaled mode: every ack keeps the promise of its level`,
  async () => {
    const reports: JournaledReport[] = [];
    const failed: string[] = [];
    const unhandled: unknown[] = [];
    const onUnhandled = (reason: unknown): void => void unhandled.push(reason);
    process.on("unhandledRejection", onUnhandled);
    for (let seed = SEED; seed < SEED + SCRIPTS; seed++) {
      const progress: JournaledProgress = { phase: "begin", events: [] };
      try {
        reports.push(await runJournaledScript(seed, progress));
        if (unhandled.length > 0) throw new Error("unhandled rejection", { cause: unhandled.splice(0)[0] });
      } catch (error) {
        const events = process.env["TIERLOG_TEST_VERBOSE"] === undefined ? "" : `\n${progress.events.join("\n")}`;
        failed.push(`seed ${seed} at "${progress.phase}": ${String((error as Error).stack)}${events}`);
      }
    }
    process.off("unhandledRejection", onUnhandled);
    const sum = (of: (report: JournaledReport) => number): number => reports.reduce((total, one) => total + of(one), 0);
    const struck = new Map<string, number>();
    for (const report of reports) {
      for (const [what, times] of report.struck) struck.set(what, (struck.get(what) ?? 0) + times);
    }
    console.log(
      `journaled scripts (seeds ${SEED} … ${SEED + SCRIPTS - 1}): acked ${sum((one) => one.buffered)} buffered, ` +
        `${sum((one) => one.journaled)} journaled, ${sum((one) => one.uploaded)} uploaded; ${sum((one) => one.unknown)} in doubt, ` +
        `${sum((one) => one.none)} refused, ${sum((one) => one.setAside)} set aside, ${sum((one) => one.reads)} read; ` +
        JSON.stringify(Object.fromEntries([...struck].sort(([a], [b]) => (a < b ? -1 : 1)))),
    );
    expect(failed.join("\n")).toBe("");
    expect(sum((one) => one.journaled)).toBeGreaterThan(SCRIPTS * 10);
  },
  SCRIPTS * 20_000,
);
