import type { Random } from "../runtime/random.ts";
import type { Fault, FaultKind } from "./fault.ts";

/** A fault of this kind with drawn fields: short times, so that a test with many faults stays quick. */
export function drawFault(kind: FaultKind, random: Random): Fault {
  const coin = (): boolean => random.float() < 0.5;
  const milliseconds = (max: number): number => 1 + Math.floor(random.float() * max);
  switch (kind) {
    case "late-landing":
      return { kind, delayMs: milliseconds(100), answer: coin() ? "reset" : "silence" };
    case "internal-error":
    case "ok-with-error":
    case "empty-ok":
    case "silence":
    case "no-such-upload":
      return { kind, committed: coin() };
    case "slow-loris":
      return { kind, bytesPerSecond: 1_000 * milliseconds(20) };
    case "clock-skew":
      return { kind, offsetMs: (coin() ? 20 : -20) * 60_000, refuse: coin() };
    case "expired-token":
      return { kind, status: coin() ? 400 : 403 };
    case "delay":
      return { kind, delayMs: milliseconds(50) };
    case "access-denied":
    case "bit-flip":
    case "close-idle":
    case "conflict":
    case "duplicate-delivery":
    case "empty-etag":
    case "lost-answer":
    case "lost-request":
    case "missing-etag":
    case "precondition-failed-though-own":
    case "refuse":
    case "reset-mid-body":
    case "short-answer":
    case "slow-down":
    case "slow-down-after-commit":
    case "truncated-answer":
    case "weak-etag":
      return { kind };
  }
}
