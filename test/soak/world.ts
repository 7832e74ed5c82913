import { setTimeout as sleep } from "node:timers/promises";

import type { Random } from "../../src/runtime/random.ts";
import type { FaultScript } from "../../src/testing/fault-script.ts";
import type { Arena, NodeSettings } from "../crash/rounds/arena.ts";
import type { Child } from "../crash/rounds/child.ts";
import { NODES } from "../crash/rounds/round.ts";
import type { CephGateway } from "../support/ceph-gateway.ts";
import type { Speaker, Story, Use } from "./story.ts";

export type Node = (typeof NODES)[number];

export interface Owner {
  readonly node: Node;
  readonly child: Child;
  readonly speaker: Speaker;
}

/** A server between the processes and which stands what is to go wrong. */
export interface Server {
  readonly gateway: CephGateway;
  readonly script: FaultScript;
}

/** The configuration of every process. `gc.grace` is the same in all, the lease is not above it. */
export const LEASE = "2s";
export const LEASE_MS = 2_000;
export const GRACE_MS = 2_000;
export const CHECKPOINT_EVERY = 16;
export const JOURNAL_BYTES_MAX = 48 * 2 ** 20;
export const TUNING = {
  journal: `
file_size = "16 MiB"
max_size = "${JOURNAL_BYTES_MAX} B"
upload_interval = "150ms"
`,
  sections: `
[system.flush]
linger = "10ms"
max_bytes = "16 MiB"
max_pending = "32 MiB"
max_wait = "2s"
[system.batch]
max_bytes = "256 KiB"
[system.index]
checkpoint_every = ${CHECKPOINT_EVERY}
[system.segment]
size = "1 MiB"
max_age = "1s"
[system.merge]
check_interval = "100ms"
max_bytes_per_second = "4 MiB"
[system.retention]
check_interval = "300ms"
[system.gc]
grace = "${GRACE_MS}ms"
interval = "300ms"
sweep_interval = "1s"
[system.cache]
tail_size = "8 MiB"
size = "16 MiB"
`,
};

/** One store, the process that owns its shards, one that reads, and what goes on between them. */
export class World {
  readonly arena: Arena;
  readonly story: Story;
  readonly random: Random;
  readonly server: Server | undefined;
  /** Of every producing process, one after the other; of the reader. */
  readonly producing: Use[][] = [];
  readonly reading: Use[] = [];
  #owner: Owner | undefined;
  #reader: { readonly child: Child; readonly speaker: Speaker } | undefined;
  #launched = 0;

  constructor(parts: { arena: Arena; story: Story; random: Random; server: Server | undefined }) {
    this.arena = parts.arena;
    this.story = parts.story;
    this.random = parts.random;
    this.server = parts.server;
  }

  get owner(): Owner {
    if (this.#owner === undefined) throw new Error("nobody owns the store");
    return this.#owner;
  }

  get reader(): Child {
    if (this.#reader === undefined) throw new Error("nobody reads");
    return this.#reader.child;
  }

  /** Milliseconds, drawn. */
  async pass(fromMs: number, toMs: number): Promise<void> {
    await sleep(fromMs + this.random.float() * (toMs - fromMs));
  }

  settings(node: Node): NodeSettings {
    return { journal: node, ackAfterUpload: false, lease: LEASE };
  }

  /** A process that takes the shards over with its first appends; whoever had them is not waited for. Resolves when it goes. */
  async own(node: Node): Promise<Owner> {
    const speaker = this.story.listen();
    this.producing.push(speaker.use);
    const child = await this.#start(
      "producer.mjs",
      node,
      speaker,
      `${String(this.#launched++).padStart(4, "0")}${node}`,
    );
    const owner = { node, child, speaker };
    this.#owner = owner;
    await goesOn(child, 20);
    return owner;
  }

  async read(): Promise<void> {
    const speaker = this.story.listen();
    const child = await this.#start("reader.mjs", "a", speaker, "reader");
    this.#reader = { child, speaker };
    await this.reads();
  }

  /** Until the reader has read a good deal more. */
  async reads(): Promise<void> {
    const read = (): number =>
      ["reads from the start", "reads from an offset", "reads by time"].reduce(
        (sum, what) => sum + (this.story.counts.get(what) ?? 0),
        0,
      );
    const before = read();
    await this.reader.until("more was read", () => read() > before + 3);
  }

  async kill(): Promise<void> {
    const { child, speaker } = this.owner;
    if (child.pending > 0) this.story.count("kills with appends on their way");
    await child.kill();
    if (speaker.merging) this.story.count("kills in a merge");
    if (child.end !== undefined) throw new Error(`the producer ended by itself with ${child.end}: ${child.describe()}`);
  }

  other(): Node {
    return this.owner.node === "a" ? "b" : "a";
  }

  /** Everybody leaves in peace; then what the journals of both nodes hold comes into the log, or is set aside. */
  async end(): Promise<void> {
    for (const child of [this.owner.child, this.reader]) {
      child.signal("SIGTERM");
      await child.until("it left", () => child.ended);
      if (child.end !== "done") throw new Error(`a process ended with ${child.end}: ${child.describe()}`);
    }
    if (this.#reader !== undefined) this.reading.push(...this.#reader.speaker.use);
    for (const node of NODES) {
      const child = await this.#start("settle.mjs", node, this.story.listen(), "settle");
      await child.until("merging has nothing to do", () => child.ended);
      if (child.end !== "done") throw new Error(`settling ended with ${child.end}: ${child.describe()}`);
    }
  }

  async #start(script: string, node: Node, { onLine }: Speaker, name: string): Promise<Child> {
    const { arena, random } = this;
    const config = await arena.configFile(this.settings(node));
    const argument = JSON.stringify({ config, process: name, seed: Math.floor(random.float() * 2 ** 31) });
    const url = new URL(script, import.meta.url);
    return arena.start({ script: url, argument, env: arena.env(), log: arena.log, onLine });
  }
}

/** Until a process has so many more acks that promise something. */
export async function goesOn(child: Child, acks: number): Promise<void> {
  const before = child.durable;
  await child.until("more acks", () => child.durable >= before + acks);
}
