import type { StoreVerdict } from "../probe/store-probe.ts";
import type { Severity, StoreCheck } from "./check.ts";

export interface Judgement {
  readonly verdict: StoreVerdict;
  /** The names of the checks that decided it; empty where it is "fenced". */
  readonly because: readonly string[];
}

/** A deciding check that could not be run counts as failed: "fenced" is said only of what was seen. */
export function judge(checks: readonly StoreCheck[]): Judgement {
  const required = deciding(checks, "required");
  if (required.length > 0) return { verdict: "unusable", because: required };
  const fencing = deciding(checks, "fencing");
  return { verdict: fencing.length > 0 ? "single-writer only" : "fenced", because: fencing };
}

/** Those that failed; where none did, those that were not run: mostly they were not because another failed. */
function deciding(checks: readonly StoreCheck[], severity: Severity): string[] {
  const ofIt = checks.filter((check) => check.severity === severity);
  const failed = ofIt.filter(({ ok }) => ok === false);
  return (failed.length > 0 ? failed : ofIt.filter(({ ok }) => ok === undefined)).map(({ name }) => name);
}
