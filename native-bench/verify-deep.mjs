// Question: what do worker threads bring to `tierlog verify --deep`, and where do they not pay?
//   npm run build && node native-bench/verify-deep.mjs [none|lz4] [MIB] [VALUE_BYTES] [PARTS|INLINE] [ROUNDS]
// The store is a directory, read from the page cache: what is timed is fetching, copying and checking, not a disk or a network.
// "parts" puts flushes of 32 MiB into data objects, "inline" flushes of 256 KiB into index files. Thread counts take turns, round by
// round; 0 is the calling thread alone. MB/s counts stored bytes; "cpu" is the time on a core of all threads, "main" that of the calling
// one (Linux): on a machine that has nothing else to do the wall time comes near the longest of any thread.
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";

import { Engine, loadConfig, startVerifyWorkers, verifyStore } from "../dist/index.js";

const [compression = "none", mib = "512", valueBytes = "1024", place = "parts", rounds = "3"] = process.argv.slice(2);
const MIB = 1024 * 1024;
const VALUE_BYTES = Number(valueBytes);
const FLUSH_BYTES = place === "inline" ? MIB / 4 : 32 * MIB;
const PARTITIONS = 16;
const THREADS = [0, 1, 2];

/** Milliseconds that the main thread has run on a core; NaN where the system does not tell. */
function mainMs() {
  try {
    return Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, "latin1").split(" ")[0]) / 1e6;
  } catch {
    return Number.NaN;
  }
}

/** Values that compress about as far as logs do. */
function makeValue(i) {
  let text = "";
  for (let j = 0; text.length < VALUE_BYTES; j++)
    text += `{"id":${i * 400 + j},"level":"info","took":${(i * j) % 977}}`;
  return Buffer.from(text.slice(0, VALUE_BYTES));
}

const directory = await mkdtemp(join(tmpdir(), "tierlog-bench-"));
try {
  const { config } = await loadConfig({
    env: {},
    cwd: directory,
    flags: {
      "system.storage.kind": "fs",
      "system.flush.linger": "1m",
      "system.flush.max_bytes": "1 GiB",
      "system.flush.max_pending": "4 GiB",
    },
  });
  const engine = await Engine.open(config);
  await engine.createTopic("bench", { partitions: PARTITIONS, compression });
  const topic = await engine.topic("bench");
  const values = Array.from({ length: 1000 }, (_, i) => ({ value: makeValue(i) }));
  let n = 0;
  for (let written = 0; written < Number(mib) * MIB; written += FLUSH_BYTES) {
    const acks = [];
    for (let partition = 0; partition < PARTITIONS; partition++) {
      const count = Math.max(1, Math.floor(FLUSH_BYTES / PARTITIONS / VALUE_BYTES));
      const records = Array.from({ length: count }, () => values[n++ % values.length]);
      acks.push(topic.partition(partition).append(records));
    }
    await engine.flush();
    await Promise.all(acks);
  }
  await engine.close();

  const runs = new Map(THREADS.map((threads) => [threads, []]));
  for (let round = 0; round < Number(rounds); round++) {
    for (const threads of THREADS) {
      const workers = threads === 0 ? undefined : await startVerifyWorkers(threads);
      const [start, cpu, main] = [performance.now(), process.cpuUsage(), mainMs()];
      const { clean, totals } = await verifyStore(config, { deep: true, workers });
      const [ms, mainCpu] = [performance.now() - start, mainMs() - main];
      const { user, system } = process.cpuUsage(cpu);
      await workers?.close();
      if (!clean) throw new Error("the store is damaged");
      runs.get(threads).push({
        ms,
        mainCpu,
        cpu: (user + system) / 1000,
        bytes: totals.checkedBytes,
        batches: totals.checkedBatches,
      });
    }
  }
  const [{ bytes, batches }] = runs.get(0);
  console.log(`node ${process.version}, ${cpus().length} × ${cpus()[0]?.model}`);
  console.log(
    `codec ${compression}, ${(bytes / MIB).toFixed(0)} MiB stored in ${batches} batches, values of ${VALUE_BYTES} B, ${place}; median of ${rounds}`,
  );
  for (const [threads, all] of runs) {
    const { ms, cpu, mainCpu } = all.sort((a, b) => a.ms - b.ms)[Math.floor(all.length / 2)];
    const rate = (bytes / 1e6 / (ms / 1000)).toFixed(0);
    const [time, used, main] = [ms, cpu, mainCpu].map((value) => `${value.toFixed(0).padStart(8)} ms`);
    console.log(`${threads} threads ${time} ${rate.padStart(8)} MB/s ${used} cpu ${main} main`);
  }
} finally {
  await rm(directory, { recursive: true, force: true });
}
