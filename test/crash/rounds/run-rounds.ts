import { setTimeout as sleep } from "node:timers/promises";

import { seededRandom, type Random } from "../../../src/runtime/random.ts";
import type { CheckReport } from "../checker/check.ts";
import { Arena, type ArenaOptions } from "./arena.ts";
import type { Round, RoundContext } from "./kinds.ts";

export interface RunOptions {
  /** In an order that the seed chooses, each once before any comes again. */
  readonly kinds: readonly Round[];
  readonly rounds: number;
  readonly seed: number;
  readonly ackAfterUpload: boolean;
  readonly gateway?: RoundContext["gateway"];
  /** Where the stores of the run lie; asked once for each. */
  readonly s3?: () => ArenaOptions["s3"];
}

export interface RunReport {
  readonly rounds: number;
  readonly counts: ReadonlyMap<string, number>;
}

const PARTITIONS = 12;
/** Rounds on one store: each leaves the next something to recover. */
const ROUNDS_PER_STORE = 6;

/** Throws at the first broken promise, with what repeats the run; the directory is kept then. */
export async function runRounds(options: RunOptions): Promise<RunReport> {
  const { kinds, rounds, seed } = options;
  const random = seededRandom(seed);
  const counts = new Map<string, number>();
  const count = (what: string, by = 1): void => void counts.set(what, (counts.get(what) ?? 0) + by);
  let queue: Round[] = [];
  for (let first = 0; first < rounds; first += ROUNDS_PER_STORE) {
    const arena = await Arena.make({
      s3: options.s3?.(),
      partitions: PARTITIONS,
      compression: random.float() < 0.5 ? "none" : "lz4",
    });
    const { ackAfterUpload, gateway } = options;
    const context = { arena, random, ackAfterUpload, partitions: PARTITIONS, gateway, count };
    for (let round = first; round < Math.min(first + ROUNDS_PER_STORE, rounds); round++) {
      if (queue.length === 0) queue = shuffled(kinds, random);
      const kind = queue.pop()!;
      const before = arena.log.acks.size;
      try {
        await kind(context);
        const report = await arena.check();
        tally(report, count);
        if (!ackAfterUpload && random.float() < 0.5) await recoverTwice(context, report);
      } catch (error) {
        throw new Error(
          `round ${round} (${kind.name}) of seed ${seed}; the store and the journals are kept in ${arena.directory}: ${error instanceof Error ? error.message : String(error)}`,
          { cause: error },
        );
      }
      count(kind.name);
      count("acked records", arena.log.acks.size - before);
    }
    await arena.dispose();
  }
  return { rounds, counts };
}

function tally(report: CheckReport, count: (what: string, by: number) => void): void {
  const waiting = [...report.inJournal.keys()].filter((id) => !report.inChain.has(id));
  count("records found in a journal alone", waiting.length);
  count("rounds that left something in a journal", waiting.length > 0 ? 1 : 0);
}

/**
 * I7: a recovery that is killed at any time and made again gives what the journal and the chain said before it; one more changes
 * nothing at all.
 */
async function recoverTwice({ arena, random, count }: RoundContext, before: CheckReport): Promise<void> {
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
  for (const [id, was] of before.inChain) {
    const is = first.inChain.get(id);
    if (is?.offset !== was.offset || is.epoch !== was.epoch) throw new Error(`I7: ${id} moved`);
  }
  const second = await recovered(arena, settings);
  if (content(first) !== content(second)) throw new Error("I7: a second recovery gave something else than the first");
  count("recoveries made twice");
}

async function recovered(arena: Arena, settings: Parameters<Arena["recover"]>[0]): Promise<CheckReport> {
  const child = await arena.recover(settings);
  await child.exited();
  if (child.end !== "done") throw new Error(`the recovery ended with ${child.end}:\n${child.stderr.slice(-4000)}`);
  return await arena.check();
}

function content({ inChain, inJournal, inAside }: CheckReport): string {
  const texts = [inChain, inJournal, inAside].map((found) =>
    [...found].map(([id, { offset, epoch }]) => `${id} ${offset} ${epoch}`).sort(),
  );
  return JSON.stringify(texts);
}

function shuffled<T>(items: readonly T[], random: Random): T[] {
  const left = [...items];
  return items.map(() => left.splice(Math.floor(random.float() * left.length), 1)[0]!);
}
