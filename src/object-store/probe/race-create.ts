import type { ObjectKey } from "../../domain.ts";
import { isTierlogError, type ObjectStoreError, type TierlogError } from "../../errors.ts";
import type { Random } from "../../runtime/random.ts";
import type { ObjectStore } from "../object-store.ts";

/** What one of several racing creates was answered. */
export type CreateAnswer =
  | { readonly kind: "written" }
  /** 412: somebody else was first. */
  | { readonly kind: "refused" }
  /** The store does not take such requests at all. */
  | { readonly kind: "unsupported"; readonly error: TierlogError }
  /** 409, 5xx, no answer: it may have been stored. */
  | { readonly kind: "unclear"; readonly error: TierlogError };

/**
 * Sends a create-if-absent of `key` for each of `bodies`, all at one moment and once each. Rejects where the store cannot be
 * used at all: no such bucket, no permission, no credentials.
 */
export type RaceCreate = (key: ObjectKey, bodies: readonly Uint8Array[]) => Promise<readonly CreateAnswer[]>;

/** A race over the calls of any store that makes one attempt each. */
export function raceOver(store: ObjectStore, signal?: AbortSignal): RaceCreate {
  return (key, bodies) =>
    settleAll(
      bodies.map(async (body): Promise<CreateAnswer> => {
        const options = { condition: { kind: "if-absent" } as const, ...(signal === undefined ? {} : { signal }) };
        try {
          const outcome = await store.put(key, body, options);
          return { kind: outcome.kind === "written" ? "written" : "refused" };
        } catch (error) {
          return answerOf(error);
        }
      }),
    );
}

/** Waits for all, so that none still writes when the first rejection comes out. */
export async function settleAll<T>(tasks: readonly Promise<T>[]): Promise<T[]> {
  await Promise.allSettled(tasks);
  return Promise.all(tasks);
}

/** Throws what is no answer about the condition. */
export function answerOf(error: unknown): CreateAnswer {
  if (!isTierlogError(error) || !(error.code === "TIERLOG_OBJECT_STORE" && "retryable" in error)) throw error;
  const { status, retryable } = error as ObjectStoreError;
  if (retryable) return { kind: "unclear", error };
  // Not about the condition: an unconditional put would be answered so too.
  if (status === undefined || status === 401 || status === 403 || status === 404) throw error;
  return { kind: "unsupported", error };
}

export interface CreateRace {
  readonly race: RaceCreate;
  /** By which it asks to create, for messages. */
  readonly header: string;
  /** The bytes stored under a key, or undefined. */
  readonly read: (key: ObjectKey) => Promise<Uint8Array | undefined>;
  readonly key: (round: number) => ObjectKey;
  readonly random: Random;
  readonly writers: number;
  readonly rounds: number;
  /**
   * Size of each body, by round. Larger ones take longer to arrive, which widens the gap between check and write of a store
   * that checks first; small ones are what the engine sends most.
   */
  readonly bodyBytes: (round: number) => number;
}

/**
 * - "atomic": exactly one writer won each round, and its bytes are stored.
 * - "ignored": all writers of a round were told that they won.
 * - "racy": some rounds had more than one winner, or hold bytes of a writer that was told it lost.
 * - "refused": the store does not take a create-if-absent.
 * - "unclear": too few rounds were answered to tell; `error` is one of the failures.
 */
export type CreateFinding = "atomic" | "ignored" | "racy" | "refused" | "unclear";

export interface CreateRaceReport {
  readonly finding: CreateFinding;
  /** For people, one line. */
  readonly detail: string;
  readonly error: TierlogError | undefined;
  /** Rounds whose only winner could not be read right afterwards: the answers count, the store is stale. */
  readonly unread: number;
}

type RoundKind = "one" | "unread" | "several" | "all" | "other-bytes" | "nobody" | "unclear";

/** At least so much of the rounds must have a winner before "atomic" is said. */
const CLEAR_ROUNDS_SHARE = 0.5;

const IDENTITY_BYTES = 16;

/** Several writers, round after round, for a key that does not exist. Stops at the first round that is answered "unsupported". */
export async function runCreateRace(options: CreateRace): Promise<CreateRaceReport> {
  const { writers, rounds } = options;
  const kinds = new Map<RoundKind, number>();
  /** How losers were answered other than by 412. */
  const oddAnswers = new Map<string, number>();
  let error: TierlogError | undefined;
  for (let round = 0; round < rounds; round++) {
    const key = options.key(round);
    const bodies = Array.from({ length: writers }, () => identified(options.random, options.bodyBytes(round)));
    const answers = await options.race(key, bodies);
    const unsupported = answers.find((answer) => answer.kind === "unsupported");
    if (unsupported !== undefined) {
      return {
        finding: "refused",
        detail: refusal(options.header, unsupported.error),
        error: unsupported.error,
        unread: 0,
      };
    }
    for (const answer of answers) {
      if (answer.kind !== "unclear") continue;
      error ??= answer.error;
      const name = statusOf(answer.error);
      oddAnswers.set(name, (oddAnswers.get(name) ?? 0) + 1);
    }
    const kind = judge(answers, bodies, await options.read(key));
    kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
  }
  const count = (kind: RoundKind): number => kinds.get(kind) ?? 0;
  const odd = [...oddAnswers].map(([name, times]) => `${times} × ${name}`).join(", ");
  const aside = odd === "" ? "" : `; losers were also answered ${odd}`;
  const of = `of ${rounds} rounds with ${writers} writers each`;
  const report = (finding: CreateFinding, detail: string): CreateRaceReport => ({
    finding,
    detail: detail + aside,
    error,
    unread: count("unread"),
  });

  if (count("all") > 0) {
    const several = count("several") === 0 ? "" : `, several in ${count("several")} more`;
    return report("ignored", `every writer was told that it won in ${count("all")} ${of}${several}`);
  }
  if (count("several") + count("other-bytes") + count("nobody") > 0) {
    const parts = [
      count("several") > 0 ? `more than one winner in ${count("several")}` : "",
      count("other-bytes") > 0 ? `bytes of a loser stored in ${count("other-bytes")}` : "",
      count("nobody") > 0 ? `all refused and nothing stored in ${count("nobody")}` : "",
    ].filter((part) => part !== "");
    return report("racy", `${parts.join(", ")} ${of}`);
  }
  const good = count("one") + count("unread");
  if (good < rounds * CLEAR_ROUNDS_SHARE) {
    return report("unclear", `only ${good} ${of} had a winner and a loser; the others had no clear answer`);
  }
  const unread = count("unread") === 0 ? "" : `, in ${count("unread")} of them it could not be read back`;
  const without = count("unclear") === 0 ? "" : `, ${count("unclear")} more without a clear answer`;
  return report("atomic", `exactly one winner, and its bytes stored, in ${good} ${of}${unread}${without}`);
}

/** One round. An answer that says nothing is settled by what is stored. */
function judge(
  answers: readonly CreateAnswer[],
  bodies: readonly Uint8Array[],
  stored: Uint8Array | undefined,
): RoundKind {
  const winners = answers.filter(({ kind }) => kind === "written").length;
  if (winners > 1) return winners === answers.length ? "all" : "several";
  const owner = stored === undefined ? -1 : bodies.findIndex((body) => Buffer.compare(body, stored) === 0);
  const ofOwner = answers[owner]?.kind;
  // Of writers that came one by one nothing can be learned: a store that checks first and writes later passes as well.
  const raced = answers.some((answer, i) => i !== owner && answer.kind !== "written" && !wasTurnedAway(answer));
  if (winners === 1 && !raced) return "unclear";
  if (winners === 1 && stored === undefined) return "unread";
  if (winners === 1) return ofOwner === "written" ? "one" : "other-bytes";
  if (ofOwner === "unclear") return raced ? "one" : "unclear";
  if (stored !== undefined) return "other-bytes";
  return answers.every(({ kind }) => kind === "refused") ? "nobody" : "unclear";
}

/** Before the store looked at the key: it is busy, or nobody knows whether it got the request. */
function wasTurnedAway(answer: CreateAnswer): boolean {
  if (answer.kind !== "unclear") return false;
  const { status } = answer.error as Partial<ObjectStoreError>;
  return status === undefined || status === 429 || status === 503;
}

/** Bytes that no other writer sends. */
function identified(random: Random, sizeBytes: number): Uint8Array {
  const body = new Uint8Array(Math.max(IDENTITY_BYTES, sizeBytes));
  body.set(random.bytes(IDENTITY_BYTES));
  return body;
}

function refusal(header: string, error: TierlogError): string {
  return `the store refuses a PUT with ${header}: ${statusOf(error)}`;
}

/** As in "HTTP 409", or what stood for an answer. */
export function statusOf(error: TierlogError): string {
  const { status } = error as Partial<ObjectStoreError>;
  return status === undefined ? "no answer" : `HTTP ${status}`;
}
