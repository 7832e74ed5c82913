import { JOURNALED, openTierlog } from "../contestants/tierlog.mjs";
import { ratios, summary } from "../harness/statistics.mjs";
import { openLoop } from "../load/open-loop.mjs";

const MIB = 1024 * 1024;
const RATE = 5000;
const FULL_MS = 600_000;
const QUICK_MS = 8000;

export const soak = {
  name: "soak",
  mode: `journaled, ${RATE.toLocaleString("en")} × 1 KiB per second for 10 minutes (quick: 8 s), uploads to a directory, merging on`,
  blindSpots: ["one turn, not five; the directory's files are in the page cache, which is not memory of the process"],
  async run(run) {
    const flags = {
      ...JOURNALED,
      "system.journal.upload_interval": "1s",
      "system.merge.enabled": "true",
      "system.merge.check_interval": "1s",
      "system.segment.max_age": "30s",
      "system.index.checkpoint_every": "64",
    };
    const tierlog = await openTierlog(run.workspace, { store: "fs", flags, bytes: 1024, partitions: 16 });
    const ms = run.full ? FULL_MS : QUICK_MS;
    const rss = [];
    const began = performance.now();
    const sample = () => {
      const seconds = (performance.now() - began) / 1000;
      const memory = process.memoryUsage();
      rss.push(memory.rss);
      run.addPoint("memory", "RSS", seconds, memory.rss / MIB);
      run.addPoint("memory", "JavaScript heap", seconds, memory.heapUsed / MIB);
      run.addPoint("memory", "buffers", seconds, memory.external / MIB);
      run.progress(`soak: ${Math.round(seconds)} of ${ms / 1000} s`);
    };
    const timer = setInterval(sample, ms / 200);
    let found;
    try {
      found = await openLoop(tierlog.append, RATE, ms);
    } finally {
      clearInterval(timer);
      await tierlog.close();
    }
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
    run.addRow({ id: "soak.p99", what: `soak, p99 from when it was due`, unit: "ms", value: summary([found.p99]), details: {} });
  },
};
