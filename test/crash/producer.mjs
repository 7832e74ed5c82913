// A producing process to be killed: appends records with unique ids to every partition for as long as it lives.
//   node producer.mjs CONFIG.toml ROUND small|big
// Prints "S id partition" before an append begins and "A id partition offset" when it is acknowledged.
import { writeSync } from "node:fs";

import { Engine, loadConfig } from "../../dist/index.js";

const [file, round, size] = process.argv.slice(2);
const { config } = await loadConfig({ file, env: process.env, cwd: process.cwd() });
const engine = await Engine.open(config);
const topic = await engine.topic("crash");
const { partitions } = topic.description;

/** What was printed has left the process before it goes on: a stream would queue it while the reader is slow, and die with it. */
function print(text) {
  for (let rest = Buffer.from(text); rest.length > 0;) {
    try {
      rest = rest.subarray(writeSync(1, rest));
    } catch (error) {
      if (error.code !== "EAGAIN") throw error;
    }
  }
}

const PRODUCERS = 24;
let next = 0;

async function produce(producer) {
  for (;;) {
    const partition = producer % partitions;
    const count = 1 + (next % 3);
    const ids = Array.from({ length: count }, () => `${round}.${String(next++).padStart(8, "0")}`);
    const padding = "x".repeat(size === "big" ? 100_000 + ((next * 7919) % 150_000) : next % 300);
    print(ids.map((id) => `S ${id} ${partition}\n`).join(""));
    const { firstOffset } = await topic
      .partition(partition)
      .append(ids.map((id) => ({ value: Buffer.from(`${id} ${padding}`) })));
    print(ids.map((id, i) => `A ${id} ${partition} ${firstOffset + i}\n`).join(""));
  }
}

try {
  await Promise.all(Array.from({ length: PRODUCERS }, (_, producer) => produce(producer)));
} catch (error) {
  process.stderr.write(`${error.stack}\n`);
  process.exit(error.exitCode ?? 70);
}
