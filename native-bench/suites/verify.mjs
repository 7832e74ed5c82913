import { Engine, loadConfig, startVerifyWorkers, verifyStore } from "../../dist/index.js";
import { addRow, compare } from "../harness/compare.mjs";
import { payloads } from "../load/payload.mjs";

const MIB = 1024 * 1024;
const FLUSH_BYTES = 32 * MIB;
const PARTITIONS = 16;
const VALUE_BYTES = 1024;
const THREADS = [0, 1, 2];

export const verify = {
  name: "verify",
  onlyFull: true,
  mode: "verify --deep of a directory in the page cache: flushes of 32 MiB in data objects; 0 threads is the calling one alone; bytes as stored",
  blindSpots: ["verify: no disk and no network, only fetching, copying and checking"],
  async run(run) {
    const mib = run.full ? 512 : 64;
    for (const compression of ["lz4", "none"]) {
      const config = await filled(run, mib, compression);
      const contestants = Object.fromEntries(
        THREADS.map((threads) => [`threads${threads}`, verifier(config, threads)]),
      );
      const result = await compare(run, { name: `verify, ${compression}`, turnMs: run.turnMs, contestants });
      addRow(run, result, {
        id: `verify.${compression}.0`,
        what: `verify --deep, ${compression}`,
        unit: "B/s",
        own: ["threads0", "bytesPerSecond"],
      });
      for (const threads of THREADS.slice(1)) {
        addRow(run, result, {
          id: `verify.${compression}.${threads}`,
          what: `verify --deep, ${compression}, ${threads} thread${threads > 1 ? "s" : ""}`,
          unit: "B/s",
          own: [`threads${threads}`, "bytesPerSecond"],
          other: ["threads0", "bytesPerSecond", "the calling thread alone"],
        });
      }
    }
  },
};

async function filled(run, mib, compression) {
  const { config } = await loadConfig({
    env: {},
    cwd: run.workspace.directory,
    flags: {
      "system.path": run.workspace.path("verify"),
      "system.storage.kind": "fs",
      "system.flush.linger": "1m",
      "system.flush.max_bytes": "1 GiB",
      "system.flush.max_pending": "4 GiB",
    },
  });
  const engine = await Engine.open(config);
  await engine.createTopic("bench", { partitions: PARTITIONS, compression });
  const topic = await engine.topic("bench");
  const records = payloads(VALUE_BYTES, FLUSH_BYTES / PARTITIONS / VALUE_BYTES).map((value) => ({ value }));
  for (let written = 0; written < mib * MIB; written += FLUSH_BYTES) {
    const acks = Array.from({ length: PARTITIONS }, (_, i) => topic.partition(i).append(records));
    await engine.flush();
    await Promise.all(acks);
  }
  await engine.close();
  return config;
}

function verifier(config, threads) {
  return {
    open: async () => ({
      async turn() {
        const workers = threads === 0 ? undefined : await startVerifyWorkers(threads);
        try {
          const began = performance.now();
          const { clean, totals } = await verifyStore(config, {
            deep: true,
            ...(workers === undefined ? {} : { workers }),
          });
          const seconds = (performance.now() - began) / 1000;
          if (!clean) throw new Error("the store is damaged");
          return { bytesPerSecond: totals.checkedBytes / seconds };
        } finally {
          await workers?.close();
        }
      },
    }),
  };
}
