import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { injected, underStrace, type SyscallFault } from "./faults.ts";
import { end, expectFenced, launch, NODES, pick, type RoundContext } from "./round.ts";

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
  expectFenced(owner);
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

/** Up to which call of its kind a thread gets before the fault: those of frames are frequent, those of manifests rare. */
const CALLS: readonly { readonly call: SyscallFault["call"]; readonly nthMax: number }[] = [
  { call: "pwrite64", nthMax: 40 },
  { call: "fdatasync", nthMax: 4 },
  { call: "fsync", nthMax: 2 },
  { call: "write", nthMax: 2 },
  { call: "rename", nthMax: 2 },
];

/** A write, sync or rename in the journal fails, once in each thread or from then on, or the process dies in the middle of it. */
export async function failingSyscall(context: RoundContext): Promise<void> {
  const { arena, random } = context;
  const journal = pick(context, NODES);
  const { call, nthMax } = pick(context, [CALLS[0]!, ...CALLS]);
  const fault: SyscallFault = {
    call,
    what: pick(context, ["error=EIO", "signal=SIGKILL"]),
    nth: 1 + Math.floor(random.float() * nthMax),
    onwards: random.float() < 0.4,
  };
  const log = join(arena.directory, "strace.log");
  const files = ["0000", "0001"].flatMap((shard) => {
    const slots = Array.from({ length: 16 }, (_, slot) => `${String(slot).padStart(4, "0")}.jrn`);
    return ["", "aside", "MANIFEST", "MANIFEST.tmp", ...slots].map((name) =>
      join(arena.journalPath(journal), shard, name),
    );
  });
  // Syncs of their own are rare where each write is synchronous.
  const fsync = call === "fdatasync" ? "interval" : "always";
  const child = await launch(context, { journal, lease: "off", fsync }, underStrace(fault, files, log));
  const until = Date.now() + 4000;
  while (!child.ended && Date.now() < until && !(await injected(log))) await sleep(50);
  await Promise.race([child.exited(), sleep(random.float() * 600)]);
  const killed = child.ended && child.end === undefined;
  await child.kill();
  if (child.end !== undefined && child.end !== "TIERLOG_STORAGE_IO") {
    throw new Error(`the producer ended by itself after ${fault.what} of ${call}: ${child.describe()}`);
  }
  const struck = fault.what === "error=EIO" ? await injected(log) : killed;
  context.count(
    struck ? `${call} ${fault.what}${fault.onwards ? " from then on" : ""}` : "faults that met no system call",
  );
}

/** A disk too small for the journal fills up, and has room again. */
export async function fullDisk(context: RoundContext): Promise<void> {
  const { arena, random } = context;
  const journal = `disk${Math.floor(random.float() * 2 ** 31)}`;
  const disk = await arena.tinyDisk(journal, 40);
  // Room to open the journal: without any, the engine does not open at all.
  await disk.fill(1 + Math.floor(random.float() * 8));
  const child = await launch(context, { journal, lease: "off" });
  await child.until("the disk is full", () => child.failed.has("TIERLOG_DISK_FULL"));
  await disk.free();
  child.partitions.clear();
  await child.until("acks of each partition with room again", () => child.partitions.size === context.partitions);
  context.count("full disks");
  await end(context, child);
}
