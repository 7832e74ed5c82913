import { InvalidArgumentError } from "../errors.ts";
import { FAULTS, canStrike, type Fault } from "./fault.ts";
import type { S3Call, S3Operation } from "./s3-call.ts";

/**
 * Which requests a rule strikes. `operation`, `key` and `during` choose the requests that the rule counts, from 1; the other
 * fields choose among those. Absent fields choose all.
 */
export interface FaultMatch {
  readonly operation?: S3Operation | readonly S3Operation[];
  /** A string: the key starts with it. */
  readonly key?: string | RegExp;
  /** In milliseconds since the script was made, by its clock; `toMs` exclusive. */
  readonly during?: { readonly fromMs?: number; readonly toMs?: number };
  /** Only the nth request counted; several: each of these. */
  readonly nth?: number | readonly number[];
  /** Not the first `after` requests counted. */
  readonly after?: number;
  /** At most so often. */
  readonly times?: number;
  /** Of each request that is left, from 0 to 1; drawn from the script's seed. */
  readonly probability?: number;
}

export interface FaultRule {
  readonly match?: FaultMatch;
  readonly fault: Fault;
  /** A storm, or an outage: once the rule has struck, it strikes every request of its operation and key for so long. */
  readonly lastsMs?: number;
}

/** A rule and its counts. A "refuse" rule counts connections, and requests on connections that were there before. */
export class CountedRule {
  readonly rule: FaultRule;
  #counted = 0;
  #struck = 0;
  #stormUntilMs = Number.NEGATIVE_INFINITY;

  /** Throws `InvalidArgumentError` for a rule that can never strike, or not as it says. */
  constructor(rule: FaultRule) {
    checkRule(rule);
    this.rule = rule;
  }

  /** How often it has struck. */
  get struck(): number {
    return this.#struck;
  }

  /**
   * Counts one request at `nowMs` (since the script was made). Strikes it only if it is still `free`: not struck by another rule.
   * `draw` gives a number in [0, 1) for the nth request counted.
   */
  strikes(call: S3Call, nowMs: number, free: boolean, draw: (counted: number) => number): boolean {
    const { match = {}, lastsMs } = this.rule;
    if (!this.#isMeant(call)) return false;
    const storms = nowMs < this.#stormUntilMs;
    const { fromMs = Number.NEGATIVE_INFINITY, toMs = Number.POSITIVE_INFINITY } = match.during ?? {};
    const counts = nowMs >= fromMs && nowMs < toMs;
    if (counts) this.#counted += 1;
    if (!free || !(storms || (counts && this.#isChosen(match, draw)))) return false;
    this.#struck += 1;
    if (!storms && lastsMs !== undefined) this.#stormUntilMs = nowMs + lastsMs;
    return true;
  }

  #isMeant({ operation, key }: S3Call): boolean {
    const { match = {}, fault } = this.rule;
    if (!canStrike(fault.kind, operation)) return false;
    if (match.operation !== undefined && !listed(match.operation).includes(operation)) return false;
    if (match.key === undefined) return true;
    // Not `test`: a pattern with the flag g or y remembers where it was.
    return typeof match.key === "string" ? key.startsWith(match.key) : key.search(match.key) !== -1;
  }

  #isChosen(
    { nth, after = 0, times = Number.POSITIVE_INFINITY, probability }: FaultMatch,
    draw: (counted: number) => number,
  ): boolean {
    const counted = this.#counted;
    if (nth !== undefined && !listed(nth).includes(counted)) return false;
    if (counted <= after || this.#struck >= times) return false;
    return probability === undefined || draw(counted) < probability;
  }
}

function checkRule({ match = {}, fault, lastsMs }: FaultRule): void {
  if (!(fault.kind in FAULTS)) {
    throw new InvalidArgumentError("fault.kind", fault.kind, `is none of ${Object.keys(FAULTS).join(", ")}`);
  }
  const operations = match.operation === undefined ? [] : listed(match.operation);
  const immune = operations.filter((operation) => !canStrike(fault.kind, operation));
  if (immune.length > 0) {
    throw new InvalidArgumentError(
      "match.operation",
      immune,
      `"${fault.kind}" does not exist for ${immune.join(", ")}`,
    );
  }
  if (fault.kind === "refuse" && (match.operation !== undefined || match.key !== undefined)) {
    throw new InvalidArgumentError("match", match, '"refuse" meets connections: they have no operation and no key');
  }
  for (const n of match.nth === undefined ? [] : listed(match.nth)) checkCount("match.nth", n, 1);
  if (match.after !== undefined) checkCount("match.after", match.after, 0);
  if (match.times !== undefined) checkCount("match.times", match.times, 1);
  if (match.probability !== undefined) checkProbability("match.probability", match.probability);
  if (lastsMs !== undefined && !(lastsMs > 0)) throw new InvalidArgumentError("lastsMs", lastsMs, "must be above 0");
  if (fault.kind === "slow-loris" && fault.bytesPerSecond !== undefined && !(fault.bytesPerSecond > 0)) {
    throw new InvalidArgumentError(
      "fault.bytesPerSecond",
      fault.bytesPerSecond,
      'must be above 0; "silence" sends nothing',
    );
  }
}

function checkCount(name: string, value: number, min: number): void {
  if (!Number.isSafeInteger(value) || value < min) {
    throw new InvalidArgumentError(name, value, `must be an integer from ${min} up`);
  }
}

export function checkProbability(name: string, value: number): void {
  if (!(value >= 0 && value <= 1)) throw new InvalidArgumentError(name, value, "must be from 0 to 1");
}

function listed<T>(value: T | readonly T[]): readonly T[] {
  return Array.isArray(value) ? (value as readonly T[]) : [value as T];
}
