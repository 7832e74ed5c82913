import { seededRandom, type Random } from "../../../src/runtime/random.ts";
import type { CheckReport } from "../checker/check.ts";
import { Arena, type ArenaOptions } from "./arena.ts";
import { sweep } from "./merge-kinds.ts";
import { recoverTwice } from "./recovery.ts";
import type { Round, RoundContext } from "./round.ts";

export interface RunOptions {
  /** In an order that the seed chooses, each once before any comes again. */
  readonly kinds: readonly Round[];
  readonly rounds: number;
  readonly seed: number;
  readonly ackAfterUpload: boolean;
  readonly gateway?: RoundContext["gateway"];
  /** See `ArenaOptions`; then what the rounds left behind in a store is swept after the last one. */
  readonly frees?: boolean;
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
    const compression = random.float() < 0.5 ? "none" : "lz4";
    const arena = await Arena.make({
      s3: options.s3?.(),
      createTopics: async (engine) => {
        await engine.createTopic("crash", { partitions: PARTITIONS, compression });
      },
      frees: options.frees === true,
    });
    const { ackAfterUpload, gateway } = options;
    const context = { arena, random, ackAfterUpload, partitions: PARTITIONS, gateway, count };
    const end = Math.min(first + ROUNDS_PER_STORE, rounds);
    for (let round = first; round < end; round++) {
      if (queue.length === 0) queue = shuffled(kinds, random);
      const kind = queue.pop()!;
      const before = arena.log.acks.size;
      try {
        const after = await kind(context);
        const report = await arena.check();
        await after?.(report);
        tally(report, count);
        if (!ackAfterUpload && random.float() < 0.5) await recoverTwice(context, report);
        if (options.frees === true && round === end - 1) await sweep(context);
      } catch (error) {
        await arena.keep();
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
  const { waiting } = report;
  const replay = waiting.filter(({ next }) => next === "replay").length;
  count("records to replay", replay);
  count("records to set aside", waiting.length - replay);
  count("rounds that left something to replay", replay > 0 ? 1 : 0);
}

export function shuffled<T>(items: readonly T[], random: Random): T[] {
  const left = [...items];
  return items.map(() => left.splice(Math.floor(random.float() * left.length), 1)[0]!);
}
