// A producing process to be killed: appends records with unique ids to every partition for as long as it lives.
//   node producer.mjs CONFIG.toml ROUND
// Prints "S id partition" when an append begins and "A id partition offset" when it is acknowledged. Pipes are written
// synchronously: what was printed has left the process before it goes on.
import { Engine, loadConfig } from "../../dist/index.js";

const [file, round] = process.argv.slice(2);
const { config } = await loadConfig({ file, env: process.env, cwd: process.cwd() });
const engine = await Engine.open(config);
const topic = await engine.topic("crash");
const { partitions } = topic.description;
const PRODUCERS = 24;
let next = 0;

async function produce(producer) {
  for (;;) {
    const partition = producer % partitions;
    const count = 1 + (next % 3);
    const ids = Array.from({ length: count }, () => `${round}.${String(next++).padStart(8, "0")}`);
    // Now and then a large one, so that a flush is cut into several links.
    const padding = next % 40 === 0 ? "x".repeat(100_000) : "x".repeat(next % 300);
    for (const id of ids) process.stdout.write(`S ${id} ${partition}\n`);
    const { firstOffset } = await topic
      .partition(partition)
      .append(ids.map((id) => ({ value: Buffer.from(`${id} ${padding}`) })));
    for (const [i, id] of ids.entries()) process.stdout.write(`A ${id} ${partition} ${firstOffset + i}\n`);
  }
}

try {
  await Promise.all(Array.from({ length: PRODUCERS }, (_, producer) => produce(producer)));
} catch (error) {
  process.stderr.write(`${error.stack}\n`);
  process.exit(error.exitCode ?? 70);
}
