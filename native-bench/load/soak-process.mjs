/**
 * node soak-process.mjs DIRECTORY MILLISECONDS RATE: one engine under a steady load, in a process that does nothing else. Prints a line
 * of JSON for each sample of its memory, and one with the latencies at the end.
 */
import { JOURNALED, openTierlog } from "../contestants/tierlog.mjs";
import { openLoop } from "./open-loop.mjs";

const [directory, milliseconds, rate] = process.argv.slice(2);
const SAMPLES = 200;

const workspace = { directory, path: (name) => `${directory}/${name}` };
const flags = {
  ...JOURNALED,
  "system.journal.upload_interval": "1s",
  "system.merge.enabled": "true",
  "system.merge.check_interval": "1s",
  "system.segment.max_age": "30s",
  "system.index.checkpoint_every": "64",
};
process.stdin.on("end", () => process.exit(0)).resume();
const tierlog = await openTierlog(workspace, { store: "fs", flags, bytes: 1024, partitions: 16, fresh: true });
const began = performance.now();
const timer = setInterval(
  () => {
    const { rss, heapUsed, external } = process.memoryUsage();
    console.log(JSON.stringify({ seconds: (performance.now() - began) / 1000, rss, heapUsed, external }));
  },
  Number(milliseconds) / SAMPLES,
);
try {
  const { p50, p99, overloaded } = await openLoop(tierlog.append, Number(rate), Number(milliseconds));
  console.log(JSON.stringify({ p50, p99, overloaded }));
} finally {
  clearInterval(timer);
  await tierlog.close();
}
process.exit(0);
