import { setTimeout as sleep } from "node:timers/promises";

import { end, launch, NODES, pick, type RoundContext } from "./round.ts";

/** The disk of the journal is gone: nothing that was uploaded is, and the next take-over names what may be. */
export async function lostJournal(context: RoundContext): Promise<void> {
  const { arena, count } = context;
  const journal = pick(context, NODES);
  await produceAndKill(context, journal);
  await arena.check();
  const known = new Set(arena.lost);
  const { chains } = await arena.loseJournal(journal);
  const lost = [...arena.lost].filter((id) => !known.has(id)).map((id) => arena.log.acks.get(id)!);
  count("acked records lost with a disk", lost.length);

  const child = await launch(context, { journal, lease: "off" });
  await child.until("an ack of each partition", () => child.partitions.size === context.partitions);
  await end(context, child);
  const named = new Map(child.reports.flatMap(namedOffsets));
  for (const { id, topicId, partition, offset } of lost) {
    const name = `${topicId}/${partition}`;
    const end = chains.find(({ ends }) => ends.has(name))?.ends.get(name) ?? 0;
    if (named.get(name) === end) continue;
    throw new Error(
      `I1: ${id} at ${name}:${offset} is lost with its disk; the chain ends at ${end}, ${named.get(name) ?? "nothing"} was named. Reports: ${JSON.stringify(child.reports)}`,
    );
  }
}

function namedOffsets(report: unknown): [name: string, offset: number][] {
  const { mayBeLost } = report as {
    mayBeLost?: readonly { topicId: string; partition: number; firstOffset: number }[];
  };
  return (mayBeLost ?? []).map(({ topicId, partition, firstOffset }) => [`${topicId}/${partition}`, firstOffset]);
}

/** A copy of the journal goes on elsewhere, then the original comes back: the records of both turns are in the log once, or set aside. */
export async function copiedJournal(context: RoundContext): Promise<void> {
  const { arena, random } = context;
  const journal = pick(context, NODES);
  const copy = `copy${Math.floor(random.float() * 2 ** 31)}`;
  await produceAndKill(context, journal);
  await arena.copyJournal(journal, copy);
  await produceAndKill(context, copy);
  await arena.check();
  await produceAndKill(context, journal);
}

/** `ack_after_upload` becomes true: what waits in the journal comes into the log all the same, before anything else does. */
export async function modeSwitch(context: RoundContext): Promise<void> {
  const { arena, count } = context;
  const journal = pick(context, NODES);
  const known = new Set(arena.log.acks.keys());
  await produceAndKill(context, journal);
  const journaled = [...arena.log.acks.values()].filter(({ id, level }) => level === "journaled" && !known.has(id));
  const child = await launch({ ...context, ackAfterUpload: true }, { journal, lease: "off" });
  await child.until("an ack of each partition", () => child.partitions.size === context.partitions);
  await end(context, child);
  const { inChain } = await arena.check();
  const missing = journaled.filter(({ id }) => !inChain.has(id));
  count("journaled records before a switch", journaled.length);
  if (missing.length > 0) {
    const { id, partition, offset } = missing[0]!;
    throw new Error(
      `I1: ${missing.length} journaled records are not in the chain after ack_after_upload became true; first ${id} at ${partition}:${offset}`,
    );
  }
}

async function produceAndKill(context: RoundContext, journal: string): Promise<void> {
  const child = await launch(context, { journal, lease: "off" });
  await child.until("its first ack", () => child.durable > 0);
  await sleep(context.random.float() * 400);
  await end(context, child);
}
