import { InvalidArgumentError } from "../errors.ts";
import { systemClock, type Clock } from "../runtime/clock.ts";
import { seededRandom, type Random } from "../runtime/random.ts";
import { drawFault } from "./draw-fault.ts";
import { CountedRule, checkProbability, type FaultRule } from "./fault-rule.ts";
import { FAULTS, FAULT_KINDS, canStrike, type Fault, type FaultKind } from "./fault.ts";
import type { S3Call, S3Operation } from "./s3-call.ts";
import { sourceOf } from "./source-of.ts";

export interface RandomFaults {
  /** Part of the requests that a fault meets, from 0 to 1. */
  readonly rate: number;
  /** Default: all. */
  readonly kinds?: readonly FaultKind[];
}

export interface FaultScriptOptions {
  readonly rules?: readonly FaultRule[];
  /** Of everything drawn. Default: 1. */
  readonly seed?: number;
  /** For requests that no rule has struck. */
  readonly random?: RandomFaults;
  /** For `during` and `lastsMs`, and of the servers that play the script. Default: the system's. */
  readonly clock?: Clock;
}

/** A fault that met a request, or ("Connect") a connection. */
export interface FiredFault {
  /** Which request, or which connection, the script has seen, from 1. */
  readonly index: number;
  readonly operation: S3Operation | "Connect";
  readonly key: string;
  readonly fault: Fault;
  /** The rule, in the order they were added, from 0; "random": none. */
  readonly rule: number | "random";
  /** What the server itself answered to the request, whatever the client was told; absent: it was not asked, or not yet. */
  readonly backendStatus?: number;
}

/** What a server has to play. */
export interface Strike {
  readonly fault: Fault;
  readonly index: number;
  /** For what the fault leaves open; depends on seed and index only. */
  readonly random: Random;
  /** The entry in `fired`, for the server to complete. */
  readonly entry: { backendStatus?: number };
}

export interface AddedRule {
  /** How often it has struck. */
  readonly struck: number;
  /** Ends it. Safe to repeat. */
  remove(): void;
}

/** Faults beyond it push the oldest out of `fired`. */
const FIRED_MAX = 10_000;

/**
 * Which fault meets which request: the first rule that strikes, else a random draw. Every rule counts every request that it
 * means, whether an earlier rule struck that request or not. The same seed, rules and order of requests give the same faults,
 * so a test that wants to repeat a run sends its requests one after the other.
 *
 * One script may serve several servers; it then sees the requests of all.
 */
export class FaultScript {
  readonly clock: Clock;
  readonly seed: number;
  readonly #startedAtMs: number;
  #rules: { readonly number: number; readonly counted: CountedRule }[] = [];
  #rulesAdded = 0;
  #random: RandomFaults | undefined;
  #paused = false;
  #requests = 0;
  #connections = 0;
  #fired: FiredFault[] = [];
  #firedCount = 0;

  constructor({ rules = [], seed = 1, random, clock = systemClock }: FaultScriptOptions = {}) {
    if (!Number.isSafeInteger(seed)) throw new InvalidArgumentError("seed", seed, "must be an integer");
    if (random !== undefined) checkRandom(random);
    this.seed = seed;
    this.clock = clock;
    this.#random = random;
    this.#startedAtMs = clock.monotonic();
    for (const rule of rules) this.add(rule);
  }

  /** From the next request on, behind the rules that are there. Throws `InvalidArgumentError` for one that can never strike. */
  add(rule: FaultRule): AddedRule {
    const entry = { number: this.#rulesAdded, counted: new CountedRule(rule) };
    this.#rulesAdded += 1;
    this.#rules.push(entry);
    const remove = (): void => {
      this.#rules = this.#rules.filter((other) => other !== entry);
    };
    return {
      get struck() {
        return entry.counted.struck;
      },
      remove,
    };
  }

  /** Until `resume` every request passes, and no rule counts it. */
  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
  }

  /** Drops all rules and random faults, for good. `fired` stays. */
  clear(): void {
    this.#rules = [];
    this.#random = undefined;
  }

  /** The latest faults, at most 10,000, oldest first. */
  get fired(): readonly FiredFault[] {
    return this.#fired;
  }

  /** Of the script's whole life. */
  get firedCount(): number {
    return this.#firedCount;
  }

  /** An expression that makes a script with the same seed and the rules held now; for the message of a failed test. */
  describe(): string {
    const rules = this.#rules.map(({ counted }) => counted.rule);
    if (rules.length === 0 && this.#random !== undefined) {
      return `randomFaults(${sourceOf({ seed: this.seed, ...this.#random })})`;
    }
    const random = this.#random === undefined ? {} : { random: this.#random };
    return `new FaultScript(${sourceOf({ seed: this.seed, ...random, rules })})`;
  }

  /** For servers: the head of a request is here. `firstOnConnection`: `onConnection` has already asked the "refuse" rules. */
  onRequest(call: S3Call, firstOnConnection: boolean): Strike | undefined {
    this.#requests += 1;
    const index = this.#requests;
    if (this.#paused) return undefined;
    const random = this.#randomOf(1, index);
    const struck = this.#firstRule(call, (fault) => fault.kind !== "refuse" || !firstOnConnection);
    const found = struck ?? this.#draw(call.operation, random);
    return found && this.#fire({ index, operation: call.operation, key: call.key, ...found }, random);
  }

  /** For servers: a connection was accepted; to be reset if there is an answer. */
  onConnection(): Strike | undefined {
    this.#connections += 1;
    const index = this.#connections;
    if (this.#paused) return undefined;
    const random = this.#randomOf(2, index);
    const found = this.#firstRule(NO_CALL, (fault) => fault.kind === "refuse") ?? this.#drawRefusal(random);
    return found && this.#fire({ index, operation: "Connect", key: "", ...found }, random);
  }

  /** Lets all rules that `asked` admits count the call, also those behind the one that strikes. */
  #firstRule(call: S3Call, asked: (fault: Fault) => boolean): { fault: Fault; rule: number } | undefined {
    const nowMs = this.clock.monotonic() - this.#startedAtMs;
    let first: { fault: Fault; rule: number } | undefined;
    for (const { number, counted } of this.#rules) {
      const { fault } = counted.rule;
      if (!asked(fault)) continue;
      const draw = (n: number): number => this.#randomOf(3 + number, n).float();
      if (counted.strikes(call, nowMs, first === undefined, draw)) first = { fault, rule: number };
    }
    return first;
  }

  #draw(operation: S3Operation, random: Random): { fault: Fault; rule: "random" } | undefined {
    if (this.#random === undefined || random.float() >= this.#random.rate) return undefined;
    const kinds = (this.#random.kinds ?? FAULT_KINDS).filter((kind) => kind !== "refuse" && canStrike(kind, operation));
    const kind = kinds[Math.floor(random.float() * kinds.length)];
    return kind && { fault: drawFault(kind, random), rule: "random" };
  }

  /** Connections are refused as often as one other kind strikes. */
  #drawRefusal(random: Random): { fault: Fault; rule: "random" } | undefined {
    const kinds = this.#random?.kinds ?? FAULT_KINDS;
    if (this.#random === undefined || !kinds.includes("refuse")) return undefined;
    return random.float() < this.#random.rate / kinds.length
      ? { fault: { kind: "refuse" }, rule: "random" }
      : undefined;
  }

  #fire(fired: FiredFault & Strike["entry"], random: Random): Strike {
    this.#firedCount += 1;
    this.#fired.push(fired);
    if (this.#fired.length > FIRED_MAX) this.#fired.shift();
    return { fault: fired.fault, index: fired.index, random, entry: fired };
  }

  /** A generator for the nth event of a stream; what other streams or events draw does not move it. */
  #randomOf(stream: number, n: number): Random {
    const mixed = Math.imul(this.seed ^ Math.imul(stream, 0x9e37_79b1), 0x85eb_ca6b) ^ Math.imul(n, 0xc2b2_ae35);
    return seededRandom(mixed >>> 0);
  }
}

/** Faults drawn from all kinds (or `kinds`), for property tests: the same seed and order of requests give the same faults. */
export function randomFaults({
  seed,
  rate,
  kinds,
  clock,
}: RandomFaults & { seed: number; clock?: Clock }): FaultScript {
  const random = kinds === undefined ? { rate } : { rate, kinds };
  return new FaultScript({ seed, random, ...(clock === undefined ? {} : { clock }) });
}

const NO_CALL: S3Call = { operation: "Unknown", bucket: "", key: "", query: new URLSearchParams() };

function checkRandom({ rate, kinds = FAULT_KINDS }: RandomFaults): void {
  checkProbability("rate", rate);
  if (kinds.length === 0) throw new InvalidArgumentError("kinds", kinds, "holds no kind");
  for (const kind of kinds) {
    if (!(kind in FAULTS)) throw new InvalidArgumentError("kinds", kind, `is none of ${FAULT_KINDS.join(", ")}`);
  }
}
