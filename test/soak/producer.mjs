// Does everything at once that an owner does, until it is killed, fenced or told to leave (SIGTERM): appends to all
// topics at mixed levels and sizes, follows what it wrote, trims, makes and deletes topics; merging, retention and GC run beside it.
//   node producer.mjs '{"config":"c.toml","process":"0003a","seed":7}'
// What it prints stands in test/crash/rounds/child.ts and lines.mjs.
import { setTimeout as sleep } from "node:timers/promises";

import { Engine, loadConfig } from "../../dist/index.js";
import { endWith, print, printGaps, seeded } from "../crash/rounds/child-lines.mjs";
import { printError, printUse } from "./lines.mjs";
import { follow } from "./reading.mjs";
import { valueOf } from "./values.mjs";

const job = JSON.parse(process.argv[2]);
print(`P ${process.pid}\n`);
const random = seeded(job.seed);
const pick = (choices) => choices[Math.floor(random() * choices.length)];
printGaps();
printUse();

let engine;
let next = 0;
/** How often we were told that a shard is not ours any more, and whether we are to leave. */
const turn = { fenced: 0, leaving: false };
/** Of the newest ack, by topic and partition. */
const epochs = new Map();
const isTemporary = (name) => name.startsWith("temp-");
/** Topics made by somebody, appended to by us until they are deleted. */
const temporary = new Map();

/** The levels that appends to a topic ask for; undefined: what the topic says. */
const LEVELS = [undefined, undefined, undefined, undefined, "uploaded", "journaled", "buffered"];

async function append(topic, number, { count, bytes }) {
  const { id: topicId } = topic.description;
  const ids = Array.from({ length: count }, () => `${job.process}.${String(next++).padStart(8, "0")}`);
  const records = ids.map((id) => {
    const value = valueOf(id, Math.floor(bytes * (0.5 + random() / 2)));
    // Producers' clocks differ.
    return random() < 0.5 ? { value } : { value, timestampMs: Date.now() - Math.floor(random() * 500) };
  });
  const ack = pick(LEVELS);
  print(ids.map((id) => `S ${id} ${topicId} ${number}\n`).join(""));
  try {
    const receipt = await topic.partition(number).append(records, ack === undefined ? {} : { ack });
    const { firstOffset, level, epoch } = receipt;
    epochs.set(`${topicId} ${number}`, epoch);
    print(ids.map((id, i) => `A ${id} ${topicId} ${number} ${level} ${firstOffset + i} ${epoch}\n`).join(""));
    return "acked";
  } catch (error) {
    print(ids.map((id) => `F ${id} ${error.effect ?? "unknown"} ${error.code ?? error.name}\n`).join(""));
    if (error.code === "TIERLOG_FENCED") {
      turn.fenced++;
      return "over";
    }
    if (error.code === "TIERLOG_NOT_FOUND" && isTemporary(topic.description.name)) return "over";
    printError("appending", error);
    await sleep(20 + random() * 80);
    return "failed";
  }
}

async function produce(topic, number, { pauseMs, runOf }) {
  while (!turn.leaving) {
    if ((await append(topic, number, runOf())) === "over") return;
    // Who was fenced anywhere hears it everywhere soon.
    for (let left = random() * pauseMs; left > 0 && turn.fenced === 0 && !turn.leaving; left -= 100)
      await sleep(Math.min(left, 100));
  }
}

const small = () => ({ count: 1 + Math.floor(random() * 3), bytes: pick([100, 600, 600, 5_000, 20_000]) });
const tiny = () => ({ count: 1 + Math.floor(random() * 3), bytes: 200 });
/** More than a link takes: the flush becomes a data object. */
const large = () => ({ count: 36, bytes: 220_000 });

async function use(name) {
  const topic = await engine.topic(name);
  const { id, partitions, shards } = topic.description;
  print(`N ${id} ${name} ${partitions} ${shards.join(" ")}\n`);
  return topic;
}

/** All partitions of a topic, each with its producers, and a follower for the first. */
async function inhabit(name, style, producers = 1) {
  const topic = await use(name);
  const { partitions, ack, id } = topic.description;
  const isOver = () => turn.leaving || turn.fenced > 0 || (isTemporary(name) && !temporary.has(name));
  const kind = ack === "uploaded" ? "G" : "J";
  const ownEpoch = kind === "G" ? undefined : () => epochs.get(`${id} 0`) ?? 0;
  const following = follow(topic.partition(0), { id }, { kind, isOver, ownEpoch });
  await Promise.all(Array.from({ length: producers * partitions }, (_, i) => produce(topic, i % partitions, style)));
  await following;
}

function inhabitTemporary(name) {
  const living = inhabit(name, { pauseMs: 60, runOf: small }).catch((error) => {
    if (error.code !== "TIERLOG_NOT_FOUND") printError(`using ${name}`, error);
  });
  temporary.set(name, living);
}

/** A topic made, or one deleted that is in use; or a part of a partition trimmed. */
async function change() {
  const names = [...temporary.keys()];
  if (random() < 0.6) {
    const topic = await engine.topic("trim");
    const partition = topic.partition(Math.floor(random() * topic.description.partitions));
    const { start, uploaded } = await partition.watermarks();
    const before = start + Math.floor((uploaded - start) * random());
    if (before <= start) return;
    print(`T ${topic.description.id} ${partition.number} ${before}\n`);
    const now = await partition.trim({ before });
    if (now < before) print(`B trimmed to ${before}, the log begins at ${now}\n`);
    print("Y trim\n");
  } else if (names.length < 2) {
    const name = `temp-${job.process}-${next++}`;
    const ack = pick(["journaled", "uploaded"]);
    await engine.createTopic(name, { partitions: 2, compression: pick(["none", "lz4"]), ack });
    inhabitTemporary(name);
    print("Y create\n");
  } else {
    const [name] = names;
    const living = temporary.get(name);
    print(`D ${(await engine.describeTopic(name)).id}\n`);
    await engine.deleteTopic(name);
    temporary.delete(name);
    print("Y delete\n");
    await living;
  }
}

async function changeOnAndOn() {
  while (!turn.leaving && turn.fenced === 0) {
    await sleep(200 + random() * 500);
    try {
      await change();
    } catch (error) {
      if (error.code === "TIERLOG_FENCED") return;
      // Another owner may have deleted it.
      for (const name of temporary.keys()) if (error.code === "TIERLOG_NOT_FOUND") temporary.delete(name);
      printError("changing", error);
    }
  }
}

/** The merges under way as they change, and now and then what merging, retention and GC have done. */
function printProgress() {
  let running = 0;
  setInterval(() => {
    const { merge } = engine.metrics();
    if (merge.running !== running) print(`M ${(running = merge.running)}\n`);
  }, 3);
  let told = {};
  setInterval(() => {
    const { merge, gc, checkpointsWritten } = engine.metrics();
    const now = {
      merges: merge.merges,
      "links deleted": gc.linksDeleted,
      "objects deleted": gc.objectsDeleted,
      "uploads aborted": gc.uploadsAborted,
      "damaged extents": merge.damaged,
      checkpoints: checkpointsWritten,
    };
    const grown = Object.fromEntries(Object.entries(now).map(([name, count]) => [name, count - (told[name] ?? 0)]));
    print(`V ${JSON.stringify(grown)}\n`);
    told = now;
  }, 200);
}

process.once("SIGTERM", () => (turn.leaving = true));
try {
  const { config } = await loadConfig({ file: job.config, env: process.env, cwd: process.cwd() });
  engine = await Engine.open(config);
  printProgress();
  print("O\n");
  for (const { name } of await engine.listTopics()) if (isTemporary(name)) inhabitTemporary(name);
  await Promise.all([
    inhabit("keep", { pauseMs: 100, runOf: tiny }),
    inhabit("trim", { pauseMs: 30, runOf: small }),
    inhabit("retain", { pauseMs: 30, runOf: small }, 2),
    inhabit("large", { pauseMs: 4_000, runOf: large }),
    changeOnAndOn(),
  ]);
  await Promise.all(temporary.values());
  if (turn.fenced === 0) print(`L ${JSON.stringify(await engine.close())}\n`);
  print(turn.fenced === 0 ? "C done\n" : `C TIERLOG_FENCED ${turn.fenced}\n`);
  process.exit(0);
} catch (error) {
  endWith(error);
}
