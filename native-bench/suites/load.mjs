import { JOURNALED, openTierlog } from "../contestants/tierlog.mjs";
import { addRow, compare } from "../harness/compare.mjs";
import { median } from "../harness/statistics.mjs";
import { closedLoop } from "../load/closed-loop.mjs";
import { openLoop } from "../load/open-loop.mjs";

const SHARES = [0.1, 0.2, 0.4, 0.6, 0.8, 0.9];
const QUICK_SHARES = [0.2, 0.5, 0.8];

export const load = {
  name: "load",
  mode: "journaled, 1 KiB, fsync always: an open loop at shares of the peak that a closed loop of 256 producers found in the same turn",
  blindSpots: ["the schedule is looked at by a timer of 1 ms: latencies below that cannot be told apart"],
  async run(run) {
    const shares = run.full ? SHARES : QUICK_SHARES;
    const tierlog = await openTierlog(run.workspace, { bytes: 1024, flags: JOURNALED });
    try {
      let peak = 0;
      const contestants = {
        peak: {
          open: async () => ({
            async turn(ms) {
              const found = await closedLoop(tierlog.append, 256, ms);
              peak = found.rate;
              return found;
            },
          }),
        },
      };
      for (const share of shares)
        contestants[share] = { open: async () => ({ turn: (ms) => openLoop(tierlog.append, peak * share, ms) }) };
      const result = await compare(run, {
        name: "journaled, offered load",
        turnMs: Math.max(300, run.turnMs),
        contestants,
      });
      for (const share of shares) {
        const at = `at ${share * 100} % of the peak`;
        addRow(run, result, {
          id: `load.p99.${share}`,
          what: `journaled ${at}, p99 from when it was due`,
          unit: "ms",
          own: [String(share), "p99"],
        });
        for (const metric of ["p50", "p99", "p999"]) {
          const values = result.of(String(share), metric);
          if (values !== undefined)
            run.addPoint("latency", metric === "p999" ? "p99.9" : metric, share, median(values));
        }
      }
      addRow(run, result, {
        id: "load.loop-delay",
        what: "event-loop delay at 80 % of the peak, p99",
        unit: "ms",
        own: ["0.8", "loopDelayP99"],
      });
    } finally {
      await tierlog.close();
    }
  },
};
