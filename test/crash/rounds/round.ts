import type { Random } from "../../../src/runtime/random.ts";
import type { CephGateway } from "../../support/ceph-gateway.ts";
import type { CheckReport } from "../checker/check.ts";
import type { Arena, NodeSettings } from "./arena.ts";
import type { Child } from "./child.ts";

export interface RoundContext {
  readonly arena: Arena;
  readonly random: Random;
  /** `ack_after_upload` of the producers. */
  readonly ackAfterUpload: boolean;
  readonly partitions: number;
  readonly gateway: CephGateway | undefined;
  /** What rounds of this kind want to be counted over a run. */
  readonly count: (what: string, by?: number) => void;
}

/**
 * Ends with every process dead; throws if a promise was broken that a look at store and journal afterwards cannot find. What it gives back
 * is called with what that look found.
 */
export type Round = (context: RoundContext) => Promise<AfterCheck | void>;

export type AfterCheck = (report: CheckReport) => Promise<void>;

/** Two nodes that take the store from each other; each is the name of a journal. */
export const NODES = ["a", "b"] as const;

export async function end(context: RoundContext, child: Child): Promise<void> {
  if (child.pending > 0) context.count("appends without an answer");
  await child.kill();
  if (child.end !== undefined) throw new Error(`the producer ended by itself with ${child.end}: ${child.describe()}`);
}

export async function launch(
  { arena, random, ackAfterUpload }: RoundContext,
  settings: Omit<NodeSettings, "ackAfterUpload">,
  under?: readonly string[],
): Promise<Child> {
  return await arena.produce({ ...settings, ackAfterUpload }, Math.floor(random.float() * 2 ** 31), under);
}

export function pick<T>({ random }: RoundContext, choices: readonly T[]): T {
  return choices[Math.floor(random.float() * choices.length)]!;
}

/** I4: an owner that stood still across a take-over, and for longer than its lease, went on and ended without one more ack. */
export function expectFenced(owner: Child): void {
  if (owner.end !== "TIERLOG_FENCED")
    throw new Error(`I4: the former owner ended with ${owner.end}: ${owner.describe()}`);
  if (!owner.paused) throw new Error("the former owner did not notice that it had stood still");
  const late = owner.afterPause[0];
  if (late !== undefined) {
    throw new Error(
      `I4: ${owner.afterPause.length} acks after the take-over and the lease; first ${late.id}, ${late.level}, partition ${late.partition}, offset ${late.offset}`,
    );
  }
}
