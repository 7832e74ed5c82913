import type { Offset, TopicId } from "../../domain.ts";

export type Severity = "damage" | "notice";

/**
 * Every kind of finding, worst first within its part of the store. The codes are a promise to programs; docs/verify.md says of each
 * what it means and what to do.
 */
export const FINDING_SEVERITY = {
  "missing-format": "damage",
  "damaged-format": "damage",
  "unsupported-version": "damage",
  "missing-catalog": "damage",
  "damaged-catalog": "damage",
  "missing-index-file": "damage",
  "damaged-index-file": "damage",
  "misplaced-index-file": "damage",
  "offset-gap": "damage",
  "offset-overlap": "damage",
  "epoch-backwards": "damage",
  "damaged-checkpoint": "damage",
  "misplaced-checkpoint": "damage",
  "checkpoint-differs": "damage",
  "missing-checkpoint": "damage",
  "boundary-too-high": "damage",
  "missing-data-object": "damage",
  "data-object-size": "damage",
  "replaced-data-object": "damage",
  "damaged-footer": "damage",
  "footer-differs": "damage",
  "damaged-batch": "damage",
  "misplaced-batch": "damage",
  "wrong-max-timestamp": "damage",
  "foreign-object": "notice",
} as const satisfies Record<string, Severity>;

export type FindingCode = keyof typeof FINDING_SEVERITY;

/** Offsets of one partition that a finding is about. */
export interface ConcernedOffsets {
  /** undefined: no topic of the newest catalog has this id. */
  readonly topic: string | undefined;
  readonly topicId: TopicId;
  readonly partition: number;
  readonly firstOffset: Offset;
  /** Behind the last one. */
  readonly nextOffset: Offset;
}

export interface Finding {
  readonly code: FindingCode;
  readonly severity: Severity;
  /** Of the object; with a slash at its end a directory. */
  readonly key: string;
  /** Byte within the object, where one is known. */
  readonly position: number | undefined;
  /** What is lost or in doubt, as far as it is known: the first 100 ranges. */
  readonly offsets: readonly ConcernedOffsets[];
  /** Ranges beyond those. */
  readonly offsetsLeftOut: number;
  /** One sentence. */
  readonly problem: string;
}

/** Of one finding: a data object may hold a thousand partitions. */
const OFFSETS_MAX = 100;
/** Of each code: a lost directory must not fill memory with what is said about it. */
const KEPT_PER_CODE = 1000;

export interface FoundRange {
  readonly topicId: TopicId;
  readonly partition: number;
  readonly baseOffset: Offset;
  readonly nextOffset: Offset;
}

export interface NewFinding {
  readonly code: FindingCode;
  readonly key: string;
  readonly position?: number | undefined;
  readonly ranges?: readonly FoundRange[];
  readonly problem: string;
}

/** What was found so far: bounded, with exact counts. */
export class Findings {
  readonly #kept: Finding[] = [];
  readonly #counts = new Map<FindingCode, number>();
  #topicNames: ReadonlyMap<TopicId, string> = new Map();

  /** Names for what is added from now on. */
  nameTopics(names: ReadonlyMap<TopicId, string>): void {
    this.#topicNames = names;
  }

  add({ code, key, position, ranges = [], problem }: NewFinding): void {
    const count = (this.#counts.get(code) ?? 0) + 1;
    this.#counts.set(code, count);
    if (count > KEPT_PER_CODE) return;
    const joined = joinRanges(ranges);
    this.#kept.push({
      code,
      severity: FINDING_SEVERITY[code],
      key,
      position,
      offsets: joined.slice(0, OFFSETS_MAX).map(({ topicId, partition, baseOffset, nextOffset }) => ({
        topic: this.#topicNames.get(topicId),
        topicId,
        partition,
        firstOffset: baseOffset,
        nextOffset,
      })),
      offsetsLeftOut: Math.max(0, joined.length - OFFSETS_MAX),
      problem,
    });
  }

  list(): readonly Finding[] {
    return this.#kept;
  }

  /** Of each code that was found, also of findings that were not kept. */
  counts(): Readonly<Partial<Record<FindingCode, number>>> {
    return Object.fromEntries(this.#counts);
  }

  get damaged(): boolean {
    return [...this.#counts.keys()].some((code) => FINDING_SEVERITY[code] === "damage");
  }
}

/** Ranges that follow each other become one. */
function joinRanges(ranges: readonly FoundRange[]): FoundRange[] {
  const joined: FoundRange[] = [];
  for (const range of ranges) {
    const last = joined.at(-1);
    const follows =
      last?.topicId === range.topicId && last.partition === range.partition && last.nextOffset === range.baseOffset;
    if (follows) joined[joined.length - 1] = { ...last, nextOffset: range.nextOffset };
    else joined.push(range);
  }
  return joined;
}
