import { mkdir } from "node:fs/promises";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { ratios, summary } from "../harness/statistics.mjs";

const MIB = 1024 * 1024;
const RATE = 5000;
const FULL_MS = 600_000;
const QUICK_MS = 8000;
const SOAK = fileURLToPath(new URL("../load/soak-process.mjs", import.meta.url));

export const soak = {
  name: "soak",
  mode: `journaled, ${RATE.toLocaleString("en")} × 1 KiB per second for 10 minutes (quick: 8 s) in a process of its own, uploads to a directory, merging on`,
  blindSpots: [
    "soak: one turn, not five; the directory's files are in the page cache, which is not memory of the process",
  ],
  async run(run) {
    const ms = run.full ? FULL_MS : QUICK_MS;
    const directory = run.workspace.path("soak");
    await mkdir(directory);
    const child = run.workspace.spawn(process.execPath, [SOAK, directory, String(ms), String(RATE)]);
    const ended = new Promise((resolve) => child.once("exit", resolve));
    const rss = [];
    let latencies;
    for await (const line of createInterface({ input: child.stdout })) {
      const found = JSON.parse(line);
      if (found.seconds === undefined) latencies = found;
      else {
        rss.push(found.rss);
        run.addPoint("memory", "RSS", found.seconds, found.rss / MIB);
        run.addPoint("memory", "JavaScript heap", found.seconds, found.heapUsed / MIB);
        run.addPoint("memory", "buffers", found.seconds, found.external / MIB);
        run.progress(`soak: ${Math.round(found.seconds)} of ${ms / 1000} s`);
      }
    }
    const code = await ended;
    if (code !== 0 || latencies === undefined)
      throw new Error(`the soak ended with ${code} after ${rss.length} samples`);
    if (latencies.overloaded) throw new Error(`${RATE} appends per second are more than this machine takes`);
    const tenth = Math.floor(rss.length / 10);
    const [early, late] = [rss.slice(tenth, 2 * tenth), rss.slice(-tenth)];
    run.addRow({
      id: run.full ? "soak.rss" : "soak.rss.quick",
      what: `RSS at the end of ${ms / 1000} s`,
      unit: "bytes",
      value: summary(late),
      against: { title: "its second tenth", value: summary(early), ratio: ratios(late, early) },
      details: {},
    });
    run.addRow({
      id: "soak.p99",
      what: "soak, p99 from when it was due",
      unit: "ms",
      value: summary([latencies.p99]),
      details: {},
    });
  },
};
