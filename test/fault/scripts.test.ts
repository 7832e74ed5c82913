import { expect, test } from "vitest";

import { FAULT_KINDS } from "../../src/testing/fault.ts";
import { runScript, type Progress, type ScriptReport } from "./script-run.ts";

const SCRIPTS = Number(process.env["TIERLOG_TEST_FAULT_SCRIPTS"] ?? 6);
const SEED = Number(process.env["TIERLOG_TEST_SEED"] ?? 1);
/** They wait most of the time: for timeouts, delays and backoff. */
const AT_ONCE = 6;
/** Alone it takes a second or five. */
const LIMIT_MS = 180_000;

/** A script that hangs says which it is, and where. */
async function inTime(seed: number): Promise<ScriptReport> {
  let timer: NodeJS.Timeout | undefined;
  const progress: Progress = { phase: "begin" };
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      const { phase, server } = progress;
      const held = `${server?.openSockets} open sockets, requests ${JSON.stringify(server?.requests)}`;
      reject(new Error(`seed ${seed}: still at "${phase}" after ${LIMIT_MS / 1000} s; ${held}`));
    }, LIMIT_MS);
  });
  try {
    return await Promise.race([runScript(seed, progress), late]);
  } finally {
    clearTimeout(timer);
  }
}

test(
  `${SCRIPTS} random fault scripts under produce and consume: nothing acked is lost, doubled or out of order`,
  async () => {
    const reports: ScriptReport[] = [];
    let next = SEED;
    const worker = async (): Promise<void> => {
      while (next < SEED + SCRIPTS) reports.push(await inTime(next++));
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));

    const sum = (of: (report: ScriptReport) => number): number => reports.reduce((total, one) => total + of(one), 0);
    const kinds = new Set(reports.flatMap((report) => [...report.kinds]));
    console.log(
      `fault scripts (seeds ${SEED} … ${SEED + SCRIPTS - 1}): ${sum((one) => one.faults)} faults of ${kinds.size} kinds, ` +
        `${sum((one) => one.acked)} records acked, ${sum((one) => one.unknown)} in doubt (${sum((one) => one.unknownStored)} of ` +
        `them stored), ${sum((one) => one.none)} refused, ${sum((one) => Number(one.takenOver))} take-overs, ` +
        `${sum((one) => one.dataObjects)} data objects`,
    );
    expect(sum((one) => one.acked)).toBeGreaterThan(SCRIPTS * 10);
    // A fault that never struck was not tested; a few scripts need not meet all.
    expect(kinds.size).toBeGreaterThan(SCRIPTS >= 30 ? FAULT_KINDS.length - 3 : 0);
  },
  SCRIPTS * 20_000,
);
