import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import type { Random } from "../../../src/runtime/random.ts";
import type { CephGateway } from "../../support/ceph-gateway.ts";
import type { Arena, NodeSettings } from "./arena.ts";
import type { Child } from "./child.ts";
import { struck, underStrace, type SyscallFault } from "./faults.ts";

export interface RoundContext {
  readonly arena: Arena;
  readonly random: Random;
  /** `ack_after_upload` of the producers. */
  readonly ackAfterUpload: boolean;
  readonly partitions: number;
  readonly gateway: CephGateway | undefined;
  /** What rounds of this kind want to be counted over a run. */
  readonly count: (what: string) => void;
}

/** Ends with every process dead; throws if a promise was broken that a look at store and journal afterwards cannot find. */
export type Round = (context: RoundContext) => Promise<void>;

const NODES = ["a", "b"] as const;

/** kill -9 at any time. */
export async function kill(context: RoundContext): Promise<void> {
  const child = await launch(context, { journal: pick(context, NODES), lease: pick(context, ["off", "2s"]) });
  await child.until("its first ack", () => child.durable > 0);
  await sleep(20 + context.random.float() * 400);
  await end(context, child);
}

/** The owner stands still while another takes its shards over, for longer than its lease lasts. */
export async function takeOver(context: RoundContext): Promise<void> {
  const [mine, theirs] = context.random.float() < 0.5 ? NODES : (["b", "a"] as const);
  const owner = await launch(context, { journal: mine, lease: "2s" });
  await owner.until("an ack of each partition", () => owner.partitions.size === context.partitions);
  await sleep(context.random.float() * 300);
  owner.signal("SIGSTOP");
  const stopped = Date.now();
  const taker = await launch(context, { journal: theirs, lease: "2s" });
  try {
    await taker.until("an ack of each partition", () => taker.partitions.size === context.partitions);
    await sleep(Math.max(0, stopped + 2200 - Date.now()));
    owner.signal("SIGCONT");
    await owner.until("it was fenced", () => owner.end !== undefined);
  } finally {
    await taker.kill();
    await owner.kill();
  }
  if (owner.end !== "TIERLOG_FENCED") throw new Error(`I4: the former owner ended with ${owner.end}:\n${owner.stderr}`);
  if (!owner.paused) throw new Error("the former owner did not notice that it had stood still");
  const late = owner.afterPause[0];
  if (late !== undefined) {
    throw new Error(
      `I4: ${owner.afterPause.length} acks after the take-over and the lease; first ${late.id}, ${late.level}, partition ${late.partition}, offset ${late.offset}`,
    );
  }
  if (owner.pending > 0) context.count("appends without an answer at a take-over");
}

/** The gateway is killed and comes back, with producers going on. */
export async function outage(context: RoundContext): Promise<void> {
  const { gateway } = context;
  if (gateway === undefined) throw new Error("an outage needs a gateway of its own");
  const child = await launch(context, { journal: pick(context, NODES), lease: "off" });
  await child.until("an ack of each partition", () => child.partitions.size === context.partitions);
  gateway.killGateway();
  try {
    const { journaled } = child.acked;
    if (!context.ackAfterUpload) {
      // Without a lease the journal goes on without the store.
      await child.until("acks in the outage", () => child.acked.journaled > journaled + 50);
    } else await sleep(context.random.float() * 1500);
  } finally {
    gateway.startGateway();
  }
  const { uploaded } = child.acked;
  await child.until("acks after the outage", () => child.acked.uploaded > uploaded);
  await end(context, child);
}

/** A write or sync of the journal fails, once in each thread or from then on, or the process dies in the middle of it. */
export async function failingSyscall(context: RoundContext): Promise<void> {
  const { arena, random } = context;
  const journal = pick(context, NODES);
  const fault: SyscallFault = {
    call: pick(context, ["fdatasync", "pwrite64"]),
    what: pick(context, ["error=EIO", "signal=SIGKILL"]),
    nth: 1 + Math.floor(random.float() * 60),
    onwards: random.float() < 0.4,
  };
  const log = join(arena.directory, "strace.log");
  const files = ["0000", "0001"].flatMap((shard) =>
    [
      "MANIFEST",
      "MANIFEST.tmp",
      ...Array.from({ length: 16 }, (_, slot) => `${String(slot).padStart(4, "0")}.jrn`),
    ].map((name) => join(arena.journalPath(journal), shard, name)),
  );
  const child = await launch(context, { journal, lease: "off" }, underStrace(fault, files, log));
  const done = sleep(1200 + random.float() * 500).then(() => child.kill());
  await child.exited();
  await done;
  if (await struck(log)) context.count(`${fault.call} ${fault.what}${fault.onwards ? " from then on" : ""}`);
}

/** A disk too small for the journal fills up, and has room again. */
export async function fullDisk(context: RoundContext): Promise<void> {
  const { arena, random } = context;
  const journal = `disk${Math.floor(random.float() * 2 ** 31)}`;
  const disk = await arena.tinyDisk(journal, 40);
  await disk.fill(Math.floor(random.float() * 8));
  const child = await launch(context, { journal, lease: "off" });
  await child.until("the disk is full", () => child.failed.has("TIERLOG_DISK_FULL"));
  await disk.free();
  child.partitions.clear();
  await child.until("acks of each partition with room again", () => child.partitions.size === context.partitions);
  context.count("full disks");
  await end(context, child);
}

async function end(context: RoundContext, child: Child): Promise<void> {
  if (child.pending > 0) context.count("appends without an answer");
  await child.kill();
  if (child.end !== undefined)
    throw new Error(`the producer ended by itself with ${child.end}:\n${child.stderr.slice(-4000)}`);
}

async function launch(
  { arena, random, ackAfterUpload }: RoundContext,
  settings: Omit<NodeSettings, "ackAfterUpload">,
  under?: readonly string[],
): Promise<Child> {
  return await arena.produce({ ...settings, ackAfterUpload }, Math.floor(random.float() * 2 ** 31), under);
}

function pick<T>({ random }: RoundContext, choices: readonly T[]): T {
  return choices[Math.floor(random.float() * choices.length)]!;
}
