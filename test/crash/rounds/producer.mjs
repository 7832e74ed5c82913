// A producing process to be killed, stopped or starved: appends records with unique ids to every partition for as long as it lives.
//   node producer.mjs '{"config":"c.toml","process":"0003a","seed":7,"levels":["journaled","uploaded"],"bytes":300,"pauseMs":4}'
// `levels` empty: no level is asked for. What it prints stands in child.ts.
import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

import { Engine, loadConfig } from "../../../dist/index.js";
import { endWith, print, printGaps, seeded } from "./child-lines.mjs";

const job = JSON.parse(process.argv[2]);

print(`P ${process.pid}\n`);
const random = seeded(job.seed);
printGaps();

let engine;
let told = 0;
/** Of shards that were taken over: said before the first ack of such a shard is. */
function printReports() {
  const reports = engine.recoveryReports();
  for (; told < reports.length; told++) print(`R ${JSON.stringify(reports[told])}\n`);
}

const noise = randomBytes(1 << 20);
let next = 0;
let fenced = 0;

async function produce(topic, topicId, partition) {
  for (;;) {
    const count = 1 + Math.floor(random() * 3);
    const ids = Array.from({ length: count }, () => `${job.process}.${String(next++).padStart(8, "0")}`);
    const level = job.levels[Math.floor(random() * job.levels.length)];
    const records = ids.map((id) => {
      const start = Math.floor(random() * (noise.length - job.bytes));
      return { value: Buffer.concat([Buffer.from(`${id} `), noise.subarray(start, start + random() * job.bytes)]) };
    });
    print(ids.map((id) => `S ${id} ${topicId} ${partition}\n`).join(""));
    try {
      const options = level === undefined ? undefined : { ack: level };
      const receipt = await topic.partition(partition).append(records, options);
      printReports();
      const { firstOffset, level: reached, epoch } = receipt;
      print(ids.map((id, i) => `A ${id} ${topicId} ${partition} ${reached} ${firstOffset + i} ${epoch}\n`).join(""));
    } catch (error) {
      print(ids.map((id) => `F ${id} ${error.effect ?? "unknown"} ${error.code ?? error.name}\n`).join(""));
      if (error.code === "TIERLOG_FENCED") {
        fenced++;
        return;
      }
      if (error.code === undefined || error.code === "TIERLOG_INVARIANT") throw error;
      await sleep(20 + random() * 80);
    }
    await sleep(random() * job.pauseMs);
  }
}

try {
  const { config } = await loadConfig({ file: job.config, env: process.env, cwd: process.cwd() });
  engine = await Engine.open(config);
  const topic = await engine.topic("crash");
  const { partitions, id } = topic.description;
  print("O\n");
  await Promise.all(Array.from({ length: 2 * partitions }, (_, i) => produce(topic, id, i % partitions)));
  print(`C TIERLOG_FENCED ${fenced}\n`);
  process.exit(0);
} catch (error) {
  endWith(error);
}
