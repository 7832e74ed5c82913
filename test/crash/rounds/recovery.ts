import { setTimeout as sleep } from "node:timers/promises";

import type { CheckReport, Finding } from "../checker/check.ts";
import type { Arena, NodeSettings } from "./arena.ts";
import type { RoundContext } from "./round.ts";

/**
 * I7: a recovery that is killed at any time and made again gives what the journal and the chain said before it; one more changes
 * nothing at all.
 */
export async function recoverTwice({ arena, random, count }: RoundContext, before: CheckReport): Promise<void> {
  const settings = { journal: random.float() < 0.5 ? "a" : "b", ackAfterUpload: false, lease: "off" } as const;
  const killed = await arena.recover(settings);
  await killed.until("it is open", () => killed.opened || killed.end !== undefined);
  await sleep(random.float() * 60);
  await killed.kill();
  if (killed.end === undefined) count("recoveries killed");
  await arena.check();

  const first = await recovered(arena, settings);
  const path = arena.journalPath(settings.journal);
  const live = first.journals.filter((journal) => journal.path.startsWith(path)).flatMap(({ live }) => live);
  if (live.length > 0)
    throw new Error(`I7: ${live.length} frames are left in the journal by a recovery that ended well`);
  for (const [id, was] of before.inChain) expectAt(id, was, first.inChain.get(id), "moved");
  for (const record of before.waiting.filter(({ journal }) => journal.path.startsWith(path))) {
    const found = record.next === "replay" ? first.inChain : first.inAside;
    expectAt(record.id, record, found.get(record.id), `was not ${record.next === "replay" ? "replayed" : "set aside"}`);
  }
  const second = await recovered(arena, settings);
  if (content(first) !== content(second)) throw new Error("I7: a second recovery gave something else than the first");
  count("recoveries made twice");
}

function expectAt(id: string, was: Finding, is: Finding | undefined, what: string): void {
  if (is?.offset === was.offset && is.epoch === was.epoch) return;
  throw new Error(`I7: ${id}, partition ${was.partition}, offset ${was.offset}, epoch ${was.epoch} ${what}`);
}

/** A whole recovery by a node, and what there is after it. */
async function recovered(arena: Arena, settings: NodeSettings): Promise<CheckReport> {
  const child = await arena.recover(settings);
  await child.exited();
  if (child.end !== "done") throw new Error(`the recovery ended with ${child.end}: ${child.describe()}`);
  return await arena.check();
}

function content({ inChain, inJournal, inAside }: CheckReport): string {
  const texts = [inChain, inJournal, inAside].map((found) =>
    [...found].map(([id, { offset, epoch }]) => `${id} ${offset} ${epoch}`).sort(),
  );
  return JSON.stringify(texts);
}
