import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

import type { Config } from "../../src/config/config.ts";
import { Engine } from "../../src/engine/engine.ts";
import { openStore } from "../../src/engine/open-store.ts";
import { seededRandom } from "../../src/runtime/random.ts";
import { systemRuntime } from "../../src/runtime/runtime.ts";

export interface CrashReport {
  readonly rounds: number;
  /** Rounds in which the killed process held appends that were sent and not acknowledged. */
  readonly inFlight: number;
  readonly acked: number;
  /** Records that were stored without their ack: the kill came between. */
  readonly storedUnacked: number;
  readonly dataObjects: number;
}

interface Options {
  readonly configFile: string;
  readonly env: NodeJS.ProcessEnv;
  readonly config: Config;
  readonly partitions: number;
  /** "big": flushes outgrow a link and go through data objects. */
  readonly size: "small" | "big";
  readonly rounds: number;
  readonly seed: number;
}

interface Ack {
  readonly partition: number;
  readonly offset: number;
}

/**
 * Kills a producing process with SIGKILL, round after round on one store, and after each round compares every id ever
 * acknowledged with what a fresh read-only engine finds in the store alone. Throws on the first acked record that is lost,
 * doubled or out of order.
 */
export async function killRounds(options: Options): Promise<CrashReport> {
  const { configFile, env, config, partitions, size, rounds, seed } = options;
  const random = seededRandom(seed);
  const engine = await Engine.open(config);
  await engine.createTopic("crash", { partitions, compression: size === "big" ? "none" : "lz4" });
  await engine.close();

  const acks = new Map<string, Ack>();
  const sent = new Set<string>();
  let inFlight = 0;
  let storedUnacked = 0;
  for (let round = 0; round < rounds; round++) {
    const name = String(round).padStart(4, "0");
    const before = acks.size;
    const pending = await produceAndKill(configFile, env, [name, size], 20 + random.float() * 400, acks, sent);
    if (pending > 0) inFlight++;
    if (acks.size === before) throw new Error(`round ${round}: nothing was acknowledged before the kill`);
    storedUnacked = await verify(config, partitions, acks, sent);
  }
  return { rounds, inFlight, acked: acks.size, storedUnacked, dataObjects: await countDataObjects(config) };
}

/** Resolves to the number of ids sent and not acknowledged when the process died. */
async function produceAndKill(
  configFile: string,
  env: NodeJS.ProcessEnv,
  job: readonly [round: string, size: string],
  liveMs: number,
  acks: Map<string, Ack>,
  sent: Set<string>,
): Promise<number> {
  const script = new URL("producer.mjs", import.meta.url).pathname;
  const child = spawn(process.execPath, [script, configFile, ...job], { env, stdio: ["ignore", "pipe", "pipe"] });
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  let pending = 0;
  let killed = false;
  const exited = new Promise<string | null>((resolve) => child.on("close", (_, signal) => resolve(signal)));
  for await (const line of createInterface({ input: child.stdout })) {
    const [kind, id, partition, offset] = line.split(" ");
    if (id === undefined) continue;
    if (kind === "S") {
      sent.add(id);
      pending++;
    } else if (kind === "A" && offset !== undefined) {
      // A line cut by the kill is no ack that anybody received.
      acks.set(id, { partition: Number(partition), offset: Number(offset) });
      pending--;
      if (!killed) {
        killed = true;
        setTimeout(() => child.kill("SIGKILL"), liveMs);
      }
    }
  }
  const signal = await exited;
  if (signal !== "SIGKILL") throw new Error(`the producer ended by itself:\n${stderr}`);
  return pending;
}

async function verify(
  config: Config,
  partitions: number,
  acks: ReadonlyMap<string, Ack>,
  sent: ReadonlySet<string>,
): Promise<number> {
  const engine = await Engine.open(config, { readOnly: true });
  try {
    const topic = await engine.topic("crash");
    const found = new Map<string, Ack>();
    for (let partition = 0; partition < partitions; partition++) {
      let previous = "";
      let expected = 0;
      for await (const record of topic.partition(partition).records({ from: "earliest" })) {
        if (record.offset !== expected++)
          throw new Error(`I2: offset ${record.offset} of partition ${partition} where ${expected - 1} is due`);
        const id =
          Buffer.from(record.value ?? [])
            .toString("latin1")
            .split(" ")[0] ?? "";
        if (!sent.has(id)) throw new Error(`I2: ${id} was never sent`);
        if (found.has(id)) throw new Error(`I2: ${id} twice`);
        // Ids are given in the order of the calls, and appends to one partition keep that order.
        if (id <= previous) throw new Error(`I2: ${id} behind ${previous}`);
        previous = id;
        found.set(id, { partition, offset: record.offset });
      }
    }
    for (const [id, ack] of acks) {
      const stored = found.get(id);
      if (stored === undefined) throw new Error(`I1: acked ${id} is lost`);
      if (stored.partition !== ack.partition || stored.offset !== ack.offset) {
        throw new Error(
          `I1: ${id} was acked at ${ack.partition}/${ack.offset} and stands at ${stored.partition}/${stored.offset}`,
        );
      }
    }
    return found.size - acks.size;
  } finally {
    await engine.close();
  }
}

/** Named by the chain or left behind by a kill. */
async function countDataObjects(config: Config): Promise<number> {
  const store = await openStore(config, systemRuntime, true);
  let count = 0;
  for await (const _ of store.list("data/")) count++;
  await store.close();
  return count;
}
