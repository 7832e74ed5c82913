import type { Random } from "../../../src/runtime/random.ts";
import type { CephGateway } from "../../support/ceph-gateway.ts";
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

/** Ends with every process dead; throws if a promise was broken that a look at store and journal afterwards cannot find. */
export type Round = (context: RoundContext) => Promise<void>;

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
