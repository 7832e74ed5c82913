import { setMaxListeners } from "node:events";

import type { ObjectKey } from "../../domain.ts";
import { AbortedError, isTierlogError, type ObjectStoreError } from "../../errors.ts";
import type { Clock } from "../../runtime/clock.ts";
import type { Logger } from "../../runtime/logger.ts";
import type { Random } from "../../runtime/random.ts";
import { probeRunPrefix } from "../object-names.ts";
import type { ObjectStore } from "../object-store.ts";
import { findProbeRecord, type ProbedServer } from "../probe/probe-record.ts";
import { raceOver } from "../probe/race-create.ts";
import type { S3Wire } from "../probe/s3-wire.ts";
import type { StoreVerdict } from "../probe/store-probe.ts";
import { settling } from "../settling.ts";
import { ACTION_CHECKS, CLOCK_CHECK, CONNECTION_CHECK } from "./access-checks.ts";
import type { CheckSpec, Finding, Lab, RawUpload, S3Action, StoreCheck, WireCheckSpec } from "./check.ts";
import { cleanUp } from "./clean-up.ts";
import { CONSISTENCY_CHECKS } from "./consistency-checks.ts";
import { CREATE_CHECKS, IF_MATCH_CHECK } from "./create-checks.ts";
import { endedBy, traced, type Traces } from "./lab-store.ts";
import { LATENCY_CHECK } from "./latency-check.ts";
import { LISTING_CHECKS } from "./listing-checks.ts";
import { MULTIPART_CHECKS } from "./multipart-checks.ts";
import { OBJECT_CHECKS } from "./object-checks.ts";
import { judge } from "./verdict.ts";
import { VERSIONS_CHECK } from "./versions-check.ts";
import { WIRE_CHECKS } from "./wire-checks.ts";
import { WIRE_MULTIPART_CHECKS } from "./wire-multipart-checks.ts";

export interface StoreDiagnosis {
  readonly verdict: StoreVerdict;
  /** Names of the checks that decided it; empty where it is "fenced". */
  readonly because: readonly string[];
  readonly checks: readonly StoreCheck[];
  /** Of a conditional PUT of 4 KiB; undefined where it could not be measured. */
  readonly latencyMs: { readonly p50: number; readonly p99: number } | undefined;
}

export interface Examination {
  /** Two handles on one store, over connections of their own; one attempt per call. The caller closes them. */
  readonly store: ObjectStore;
  readonly other: ObjectStore;
  /** Where single S3 requests can be looked at. */
  readonly openWire: ((signal: AbortSignal) => S3Wire) | undefined;
  /** Whose stored probe result is compared. */
  readonly server: ProbedServer | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Of one attempt of one request. */
  readonly requestTimeoutMs: number;
  /** Of all checks; the clean-up has its own time. */
  readonly deadlineMs: number;
  readonly signal: AbortSignal | undefined;
  /** Called after the clean-up, with what all keys of this run began with. */
  readonly afterwards?: (prefix: string) => Promise<void>;
  readonly onProgress:
    | ((progress: { readonly done: number; readonly total: number; readonly next: string }) => void)
    | undefined;
}

const CONCURRENCY = 32;
/** Of one small call with its retries: a check that takes longer has found its answer. */
const CALL_DEADLINE_MS = 5_000;
/** Of one call that carries 5 MiB, over a slow line. */
const BULK_DEADLINE_MS = 30_000;
const CLEAN_UP_MS = 30_000;

/**
 * Runs every check, one after the other, below a prefix of its own, and removes what they wrote; also when it is aborted, which it
 * answers with `AbortedError` afterwards. What a check meets is its finding, never an error of the whole.
 */
export async function examineStore(options: Examination): Promise<StoreDiagnosis> {
  const { clock, random, logger } = options;
  const run = new AbortController();
  // One listener per request under way: more than Node takes for normal.
  setMaxListeners(0, run.signal);
  const onAbort = (): void => run.abort(options.signal?.reason);
  if (isAborted(options.signal)) onAbort();
  options.signal?.addEventListener("abort", onAbort, { once: true });
  const timer = clock.schedule(options.deadlineMs, () => run.abort(new Error("the time of this run is over")));

  const prefix = probeRunPrefix("doctor", Buffer.from(random.bytes(8)).toString("hex"));
  const traces: Traces = { keys: new Set(), uploads: new Set() };
  const retrying = { clock, random, deadlineMs: CALL_DEADLINE_MS, requestTimeoutMs: options.requestTimeoutMs };
  const bare = traced(options.store, traces);
  const wire = options.openWire?.(run.signal);
  const once = endedBy(bare, run.signal);
  const lab: Lab = {
    store: endedBy(settling(bare, retrying), run.signal),
    bulk: endedBy(settling(bare, { ...retrying, deadlineMs: BULK_DEADLINE_MS }), run.signal),
    once,
    other: endedBy(settling(traced(options.other, traces), retrying), run.signal),
    race: wire?.race ?? raceOver(once),
    createHeader: wire?.createHeader ?? "If-None-Match",
    prefix,
    key(name) {
      const key = `${prefix}${name}` as ObjectKey;
      traces.keys.add(key);
      return key;
    },
    clock,
    random,
    concurrency: CONCURRENCY,
    denied: new Set<S3Action>(),
    uploads: new Set<RawUpload>(),
    latencyMs: undefined,
  };

  const checks: StoreCheck[] = [];
  try {
    const specs = allChecks(options, wire, checks);
    for (const [done, spec] of specs.entries()) {
      options.onProgress?.({ done, total: specs.length + 1, next: spec.name });
      checks.push(await runCheck(spec, lab, checks, run.signal));
      if (isAborted(options.signal)) break;
    }
    options.onProgress?.({ done: specs.length, total: specs.length + 1, next: CLEAN_UP });
  } finally {
    timer.cancel();
    options.signal?.removeEventListener("abort", onAbort);
    wire?.close();
    const cleaned = await cleanUpInTime(options, lab, prefix, traces, checks);
    checks.push({ name: CLEAN_UP, severity: "advice", ...withHint(cleaned, CLEAN_UP_HINT) });
    // The table that would say so is not shown then.
    if (isAborted(options.signal) && cleaned.ok === false) logger.warn(cleaned.detail);
  }
  if (isAborted(options.signal)) throw new AbortedError("doctor", { cause: options.signal?.reason });
  return { ...judge(checks), checks, latencyMs: lab.latencyMs };
}

const CLEAN_UP = "clean-up";
const CLEAN_UP_HINT = "delete it by hand, or let a lifecycle rule expire it: nothing reads it";

/** In the order of the table. */
function allChecks(
  options: Examination,
  wire: S3Wire | undefined,
  before: readonly StoreCheck[],
): readonly CheckSpec[] {
  const { server } = options;
  const over = ({ run, ...spec }: WireCheckSpec): CheckSpec[] =>
    wire === undefined ? [] : [{ ...spec, run: (lab) => run(wire, lab) }];
  return [
    ...over(CONNECTION_CHECK),
    ...over(CLOCK_CHECK),
    ...ACTION_CHECKS.flatMap(over),
    ...OBJECT_CHECKS,
    ...CREATE_CHECKS,
    ...CONSISTENCY_CHECKS,
    ...LISTING_CHECKS,
    ...MULTIPART_CHECKS,
    ...WIRE_MULTIPART_CHECKS.flatMap(over),
    ...(wire === undefined ? [IF_MATCH_CHECK] : []),
    ...WIRE_CHECKS.flatMap(over),
    LATENCY_CHECK,
    VERSIONS_CHECK,
    ...(server === undefined ? [] : [recordCheck(server, before)]),
  ];
}

/** Last but the clean-up: it compares with what the others found. */
function recordCheck(server: ProbedServer, before: readonly StoreCheck[]): CheckSpec {
  return {
    name: "stored probe result",
    severity: "advice",
    hint: "delete that object: the next engine that opens the store for writing then probes again",
    needs: ["s3:ListBucket", "s3:GetObject"],
    async run({ store }) {
      const found = await findProbeRecord(store, server);
      if (found === undefined) return { ok: true, detail: "none: the first engine that writes here probes the store" };
      const { key, record } = found;
      const said = `"${record.verdict}" since ${record.createdAt} (${key})`;
      const { verdict } = judge(before);
      if (record.verdict !== "fenced" || verdict === "fenced") return { ok: true, detail: said };
      return { ok: false, detail: `${said}, but the checks above say "${verdict}"` };
    },
  };
}

async function runCheck(
  spec: CheckSpec,
  lab: Lab,
  before: readonly StoreCheck[],
  signal: AbortSignal,
): Promise<StoreCheck> {
  const { name, severity } = spec;
  return { name, severity, ...withHint(await findingOf(spec, lab, before, signal), spec.hint) };
}

async function findingOf(
  spec: CheckSpec,
  lab: Lab,
  before: readonly StoreCheck[],
  signal: AbortSignal,
): Promise<Finding> {
  if (isUnreachable(before) && !WITHOUT_CONNECTION.includes(spec.name))
    return { ok: undefined, detail: "not run: no connection" };
  const denied = spec.needs.filter((action) => lab.denied.has(action));
  if (denied.length > 0) return { ok: undefined, detail: `not run: ${denied.join(" and ")} denied` };
  if (signal.aborted) return { ok: undefined, detail: "not run: the time of this run was over" };
  try {
    return await spec.run(lab);
  } catch (error) {
    if (signal.aborted) return { ok: undefined, detail: "not finished: the time of this run was over" };
    if (!isTierlogError(error) || error.kind === "internal") throw error;
    const { status } = error as Partial<ObjectStoreError>;
    const hint = status === 403 ? "look at the policy of these credentials" : undefined;
    // The random prefix is noise in a table.
    const detail = error.message.replaceAll(lab.prefix, "…/");
    return { ok: false, detail, ...(hint === undefined ? {} : { hint }) };
  }
}

const WITHOUT_CONNECTION = [CLOCK_CHECK.name, VERSIONS_CHECK.name];

function isUnreachable(checks: readonly StoreCheck[]): boolean {
  return checks.some(({ name, ok }) => name === CONNECTION_CHECK.name && ok !== true);
}

function isAborted(signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true;
}

function withHint({ ok, detail, hint }: Finding, standard: string): Pick<StoreCheck, "ok" | "detail" | "hint"> {
  const said = ok === false ? (hint ?? standard) : "";
  return { ok, detail, hint: said === "" ? undefined : said };
}

async function cleanUpInTime(
  options: Examination,
  lab: Lab,
  prefix: string,
  traces: Traces,
  checks: readonly StoreCheck[],
): Promise<Finding> {
  if (isUnreachable(checks)) return { ok: undefined, detail: "not run: nothing was written" };
  const { clock, random } = options;
  const time = new AbortController();
  setMaxListeners(0, time.signal);
  const timer = clock.schedule(CLEAN_UP_MS, () => time.abort(new Error("the time of the clean-up is over")));
  const wire = options.openWire?.(time.signal);
  const retrying = { clock, random, deadlineMs: CALL_DEADLINE_MS, requestTimeoutMs: options.requestTimeoutMs };
  const store = endedBy(settling(options.store, retrying), time.signal);
  try {
    const finding = await cleanUp({ store, wire, lab, prefix, traces });
    await options.afterwards?.(prefix);
    return finding;
  } finally {
    timer.cancel();
    wire?.close();
  }
}
