import { setTimeout as sleep } from "node:timers/promises";

import type { Fault } from "../../src/testing/fault.ts";
import { expectFenced } from "../crash/rounds/round.ts";
import { goesOn, GRACE_MS, LEASE_MS, type Server, type World } from "./world.ts";

/** What happens to the processes of a soak while they go on with all that they do by themselves; ends with an owner that acknowledges. */
export type Event = (world: World) => Promise<void>;

/** Longer than what a process knows of its turn may count. */
const LONG_MS = Math.max(GRACE_MS, LEASE_MS);

async function calm(world: World): Promise<void> {
  await world.pass(500, 2_000);
  await goesOn(world.owner.child, 1);
}

/** kill -9 at any time, and a start on the same node: its journal is recovered. */
async function kill(world: World): Promise<void> {
  await world.pass(0, 1_500);
  const { node } = world.owner;
  await world.kill();
  await world.own(node);
}

async function killInMerge(world: World): Promise<void> {
  const { child, speaker, node } = world.owner;
  await child.until("a merge", () => speaker.merging);
  await world.pass(0, 40);
  await world.kill();
  await world.own(node);
}

/** The node is lost with what only its journal holds: the other one goes on. */
async function failOver(world: World): Promise<void> {
  await world.pass(0, 1_000);
  const other = world.other();
  await world.kill();
  await world.own(other);
}

/** The other node takes over while the owner goes on. */
async function takeOver(world: World): Promise<void> {
  const { child } = world.owner;
  await world.own(world.other());
  await child.until("it was fenced", () => child.ended);
  if (child.end !== "TIERLOG_FENCED")
    throw new Error(`I4: the former owner ended with ${child.end}: ${child.describe()}`);
}

/** The owner stands still while the other node takes over, merges and deletes; then it goes on, and must be silent. */
async function standStill(world: World): Promise<void> {
  const { child } = world.owner;
  child.forgetPause();
  child.signal("SIGSTOP");
  const stopped = Date.now();
  try {
    await world.own(world.other());
    await sleep(Math.max(0, stopped + LONG_MS + 1_500 - Date.now()));
  } finally {
    child.signal("SIGCONT");
  }
  await child.until("it was fenced", () => child.ended);
  expectFenced(child);
}

/** The owner stands still for longer than lease and grace, and nobody takes over: it goes on. */
async function pause(world: World): Promise<void> {
  const { child } = world.owner;
  child.signal("SIGSTOP");
  await world.pass(LONG_MS + 200, LONG_MS + 1_000);
  child.signal("SIGCONT");
  await goesOn(child, 20);
  child.forgetPause();
}

/** The reader stands still for longer than the grace, while what it knows of is deleted. */
async function readerPause(world: World): Promise<void> {
  world.reader.signal("SIGSTOP");
  await world.pass(GRACE_MS + 200, GRACE_MS + 1_500);
  world.reader.signal("SIGCONT");
  await world.reads();
}

/** The gateway dies and comes back. */
async function outage(world: World): Promise<void> {
  const { gateway } = serverOf(world);
  gateway.killGateway();
  try {
    await world.pass(200, 2_500);
  } finally {
    gateway.startGateway();
  }
  await uploadsAgain(world);
}

/** The store stops answering, and later carries out what it was asked. */
async function hungStore(world: World): Promise<void> {
  const { gateway } = serverOf(world);
  gateway.pauseOsd();
  try {
    await world.pass(500, 3_500);
  } finally {
    gateway.resumeOsd();
  }
  await uploadsAgain(world);
}

const FAULTS: readonly Fault[] = [
  { kind: "lost-answer" },
  { kind: "lost-request" },
  { kind: "reset-mid-body" },
  { kind: "late-landing", delayMs: 300 },
  { kind: "conflict" },
  { kind: "precondition-failed-though-own" },
  { kind: "slow-down" },
  { kind: "slow-down-after-commit" },
  { kind: "internal-error", committed: true },
  { kind: "internal-error" },
  { kind: "ok-with-error", committed: true },
  { kind: "truncated-answer" },
  { kind: "short-answer" },
  { kind: "duplicate-delivery" },
  { kind: "delay", delayMs: 200 },
  { kind: "refuse" },
  { kind: "close-idle" },
];

/** Requests of all kinds fail before and after they were carried out. */
async function faults(world: World): Promise<void> {
  const { script } = serverOf(world);
  const { random, story } = world;
  const before = script.firedCount;
  const rules = Array.from({ length: 4 }, () =>
    script.add({
      match: { probability: 0.02 + random.float() * 0.1 },
      fault: FAULTS[Math.floor(random.float() * FAULTS.length)]!,
    }),
  );
  await world.pass(1_000, 4_000);
  for (const rule of rules) rule.remove();
  story.count("requests met by a fault", script.firedCount - before);
  await uploadsAgain(world);
}

async function uploadsAgain(world: World): Promise<void> {
  const { child } = world.owner;
  const { uploaded } = child.acked;
  await child.until("uploads again", () => child.acked.uploaded > uploaded + 10);
  await world.reads();
}

function serverOf({ server }: World): Server {
  if (server === undefined) throw new Error("this needs a server");
  return server;
}

/** That no process dies of. */
export const HARMLESS: readonly Event[] = [calm, pause, readerPause];
export const HARMLESS_ON_SERVER: readonly Event[] = [...HARMLESS, outage, hungStore, faults];
export const HARMFUL: readonly Event[] = [kill, killInMerge, failOver, takeOver, standStill];
