// A process that only reads: follows every lasting partition, and reads again from the start, from any offset, by time.
// Leaves at SIGTERM.
//   node reader.mjs '{"config":"c.toml","seed":7}'
import { setTimeout as sleep } from "node:timers/promises";

import { Engine, loadConfig } from "../../dist/index.js";
import { endWith, print, seeded } from "../crash/rounds/child-lines.mjs";
import { printError, printUse } from "./lines.mjs";
import { afterError, follow, readRun } from "./reading.mjs";

const job = JSON.parse(process.argv[2]);
print(`P ${process.pid}\n`);
const random = seeded(job.seed);
printUse();

let engine;
const turn = { leaving: false };
const KIND = "G";
const RUN_RECORDS = 400;

/** From the start, or an offset in between, to the end or for a while. */
async function readAgain(partition, topic) {
  const { start, uploaded } = await partition.watermarks();
  const fromStart = random() < 0.4;
  const from = fromStart ? start : start + Math.floor(random() * (uploaded - start));
  const { next, atEnd } = await readRun(partition, topic, { kind: KIND, from, limit: RUN_RECORDS });
  if (atEnd && next < uploaded)
    print(
      `B ${topic.id}/${partition.number} was uploaded to ${uploaded}; a reader from ${from} came to its end at ${next}\n`,
    );
  print(`Y reads from ${fromStart ? "the start" : "an offset"}\n`);
}

/** The first record that is as late as asked: it is, and the one before it is not. */
async function readByTime(partition, topic) {
  const { start, uploaded } = await partition.watermarks();
  if (uploaded - start < 2) return;
  const somewhere = start + Math.floor(random() * (uploaded - start));
  const at = await timestampAt(partition, somewhere);
  if (at === undefined) return;
  const found = await partition.offsetAt(at);
  if (found === undefined || found.timestampMs < at || found.offset > somewhere) {
    const { start: now } = await partition.watermarks();
    // The record that was there may have been trimmed meanwhile.
    if (somewhere >= now)
      print(
        `B ${topic.id}/${partition.number}: ${somewhere} has timestamp ${at}, the first with it: ${JSON.stringify(found)}\n`,
      );
    return;
  }
  if (found.offset > start) {
    const before = await timestampAt(partition, found.offset - 1);
    if (before !== undefined && before >= at)
      print(
        `B ${topic.id}/${partition.number}: ${found.offset - 1} has timestamp ${before}, ${at} was found behind it\n`,
      );
  }
  print("Y reads by time\n");
}

async function timestampAt(partition, offset) {
  try {
    for await (const record of partition.records({ from: offset })) return record.timestampMs;
    return undefined;
  } catch (error) {
    error.at = offset;
    throw error;
  }
}

async function wander() {
  while (!turn.leaving) {
    let topic;
    try {
      const topics = await engine.listTopics();
      const { name } = topics[Math.floor(random() * topics.length)];
      topic = await engine.topic(name);
    } catch (error) {
      printError("looking for topics", error);
      await sleep(100);
      continue;
    }
    const { id, partitions } = topic.description;
    const partition = topic.partition(Math.floor(random() * partitions));
    try {
      await (random() < 0.35 ? readByTime(partition, { id }) : readAgain(partition, { id }));
    } catch (error) {
      await afterError(partition, { id }, { error });
    }
    await sleep(random() * 60);
  }
}

process.once("SIGTERM", () => (turn.leaving = true));
try {
  const { config } = await loadConfig({ file: job.config, env: process.env, cwd: process.cwd() });
  engine = await Engine.open(config, { readOnly: true });
  print("O\n");
  const followers = [];
  for (const { name, partitions, id } of await engine.listTopics()) {
    if (name.startsWith("temp-")) continue;
    const topic = await engine.topic(name);
    for (let number = 0; number < partitions; number++)
      followers.push(follow(topic.partition(number), { id }, { kind: KIND, isOver: () => turn.leaving }));
  }
  await Promise.all([...followers, wander(), wander()]);
  await engine.close();
  print("C done\n");
  process.exit(0);
} catch (error) {
  endWith(error);
}
