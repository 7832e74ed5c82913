import type { ObjectKey } from "../../src/domain.ts";
import { AbortedError, ObjectStoreError } from "../../src/errors.ts";
import { createMemoryStore } from "../../src/object-store/memory-store.ts";
import { parseCheckpointKey } from "../../src/object-store/object-names.ts";
import type {
  CallOptions,
  GetOptions,
  ListOptions,
  ObjectInfo,
  ObjectStore,
  PutOptions,
  PutOutcome,
  StoredObject,
} from "../../src/object-store/object-store.ts";
import type { Clock, ScheduledTask } from "../../src/runtime/clock.ts";
import type { Random } from "../../src/runtime/random.ts";

/**
 * A deterministic world for several processes on one store. Every request and every timer waits until the scheduler picks it, so
 * one seed decides the whole history: which request lands when, which answer is lost, who pauses, who dies and where.
 */
export class World {
  readonly random: Random;
  /** What happened, for "every kind of fault must have occurred". */
  readonly seen: Map<string, number>;
  readonly #server = createMemoryStore();
  /** Each link as it first landed: what the chain is, whatever was deleted or landed in its place since. */
  readonly chain = createMemoryStore();
  readonly #damaged = new Set<ObjectKey>();
  readonly #requests: Request[] = [];
  readonly #timers: Timer[] = [];
  #nowMs = 1_700_000_000_000;
  #faultsLeft: number;
  readonly #faultRate: number;
  /** Every checkpoint that ever landed, also those that were deleted or damaged since. */
  readonly landedCheckpoints: { readonly key: ObjectKey; readonly body: Uint8Array }[] = [];
  damagedCheckpoints = 0;

  /** At most `faults`, each step one with the probability `faultRate`. */
  constructor(random: Random, seen: Map<string, number>, faults: number, faultRate: number) {
    this.random = random;
    this.seen = seen;
    this.#faultsLeft = faults;
    this.#faultRate = faultRate;
  }

  count(what: string): void {
    this.seen.set(what, (this.seen.get(what) ?? 0) + 1);
  }

  process(name: string): SimProcess {
    return new SimProcess(this, name);
  }

  async linkLanded(key: ObjectKey, body: Uint8Array): Promise<void> {
    const outcome = await this.chain.put(key, body, { condition: { kind: "if-absent" } });
    if (outcome.kind !== "written") this.count("landing in a deleted slot");
  }

  /** No more faults: what is under way lands and is answered. */
  calm(): void {
    this.#faultsLeft = 0;
    for (const { process } of this.#requests) {
      process.pausedSteps = 0;
      process.resume();
    }
  }

  /** The store as it stands, past all faults. */
  get server(): ObjectStore {
    return this.#server;
  }

  schedule(process: SimProcess, delayMs: number, callback: () => void): ScheduledTask {
    const timer: Timer = { process, atMs: this.#nowMs + delayMs, callback };
    this.#timers.push(timer);
    return { cancel: () => remove(this.#timers, timer) };
  }

  get nowMs(): number {
    return this.#nowMs;
  }

  /** A request is on its way; it lands, and is answered, when the scheduler says so. The signal only stops the waiting for it. */
  send<T>(
    process: SimProcess,
    point: string,
    signal: AbortSignal | undefined,
    act: (server: ObjectStore) => Promise<T>,
  ): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const request: Request = {
        process,
        point,
        state: "sent",
        wanted: true,
        act,
        answer: undefined,
        resolve: resolve as (value: unknown) => void,
        reject,
      };
      this.#requests.push(request);
      signal?.addEventListener("abort", () => {
        if (!request.wanted || !this.#requests.includes(request)) return;
        this.count(`timeout of ${point}`);
        request.wanted = false;
        if (request.state === "landed") remove(this.#requests, request);
        reject(new AbortedError(point, { effect: "unknown" }));
      });
    });
  }

  /** Takes one step; false when nothing is left to do. */
  async step(): Promise<boolean> {
    for (const process of new Set([...this.#requests, ...this.#timers].map((waiting) => waiting.process))) {
      if (process.pausedSteps > 0) process.pausedSteps--;
      if (process.pausedSteps === 0) process.resume();
    }
    if (this.#faultsLeft > 0 && this.random.float() < this.#faultRate && (await this.#fault())) {
      this.#faultsLeft--;
      await settle();
      return true;
    }
    const choices: (() => Promise<void> | void)[] = [];
    for (const request of this.#requests) {
      if (request.state === "sent") choices.push(() => this.#land(request));
      else if (request.wanted && request.process.awake) choices.push(() => this.#answer(request));
    }
    const timer = this.#timers.filter((candidate) => candidate.process.awake).sort((a, b) => a.atMs - b.atMs)[0];
    // Time passes mostly when nothing else can happen; now and then a timeout overtakes an answer.
    if (timer !== undefined && (choices.length === 0 || this.random.float() < 0.05)) {
      choices.length = 0;
      choices.push(() => this.#fire(timer));
    }
    if (choices.length === 0) {
      const paused = this.#requests.find(
        (request) => request.wanted && request.process.alive && request.process.pausedSteps > 0,
      );
      if (paused === undefined) return false;
      paused.process.pausedSteps = 0;
      paused.process.resume();
      return true;
    }
    await choices[Math.floor(this.random.float() * choices.length)]?.();
    await settle();
    return true;
  }

  /** One fault, if there is something to break. */
  async #fault(): Promise<boolean> {
    const kind = Math.floor(this.random.float() * 6);
    if (kind === 5) return this.#damageNewestCheckpoint();
    const alive = this.#requests.filter((request) => request.wanted && request.process.alive);
    // Half of the faults go to what is rare on the wire, or it would hardly ever be hit.
    const rare = this.random.float() < 0.5 ? alive.filter(({ point }) => RARE.test(point)) : [];
    const among = rare.length > 0 ? rare : alive;
    const request = among[Math.floor(this.random.float() * among.length)];
    if (kind === 4) {
      const timer = this.#timers.find((candidate) => candidate.process.alive);
      const victim = request?.process ?? timer?.process;
      if (victim === undefined || !victim.mayCrash) return false;
      // With a checkpoint under way there may be two: a crash is at both.
      const waiting = this.#requests.filter((candidate) => candidate.wanted && candidate.process === victim);
      this.count("crash");
      if (waiting.length === 0) this.count("crash at sleep");
      for (const { point, state } of waiting) this.count(`crash at ${point}, ${state}`);
      this.#crash(victim);
      return true;
    }
    if (request === undefined) return false;
    if (kind === 3) {
      const long = this.random.float() < 0.5;
      this.count(long ? "long pause" : "pause");
      request.process.pausedSteps = (long ? 150 : 5) + Math.floor(this.random.float() * 60);
      // A machine that is suspended: one of its clocks stands still.
      if (long && this.random.float() < 0.5) request.process.suspend();
      return true;
    }
    const lost = new ObjectStoreError(
      "injected: no answer",
      { operation: "put", key: "", retryable: true },
      { effect: "unknown" },
    );
    if (request.state === "landed") {
      this.count(`lost answer of ${request.point}`);
      remove(this.#requests, request);
    } else if (kind === 0) {
      this.count(`lost request of ${request.point}`);
      remove(this.#requests, request);
    } else {
      // The client gives up; the request is still on its way and may land at any time, even after the client died.
      this.count(`late landing of ${request.point}`);
      request.wanted = false;
    }
    request.reject(lost);
    return true;
  }

  /** Bit rot, or a torn copy: what it held was right once. */
  async #damageNewestCheckpoint(): Promise<boolean> {
    const keys: ObjectKey[] = [];
    for await (const { key } of this.#server.list("checkpoint/")) keys.push(key);
    const [before, newest] = keys.slice(-2);
    // Of two, one stays: behind a boundary nothing else says what the links did. Of one, none: another may take its place unread.
    if (before === undefined || this.#damaged.has(before)) return false;
    const stored = newest === undefined ? undefined : await this.#server.get(newest);
    if (newest === undefined || stored === undefined) return false;
    const at = Math.floor(this.random.float() * stored.body.length);
    const cut = this.random.float() < 0.3;
    const damaged = cut ? stored.body.subarray(0, at) : Uint8Array.from(stored.body);
    if (!cut) damaged[at] = (damaged[at] ?? 0) ^ 0x10;
    await this.#server.put(newest, damaged, { condition: { kind: "none" } });
    this.#damaged.add(newest);
    this.damagedCheckpoints++;
    this.count(cut ? "cut checkpoint" : "damaged checkpoint");
    return true;
  }

  #crash(process: SimProcess): void {
    process.alive = false;
    for (const timer of this.#timers.filter((candidate) => candidate.process === process)) remove(this.#timers, timer);
    for (const request of this.#requests.filter((candidate) => candidate.process === process)) {
      if (request.state === "landed") remove(this.#requests, request);
      else if (request.wanted) {
        request.wanted = false;
        // Half of what was on the wire still arrives.
        if (this.random.float() < 0.5) remove(this.#requests, request);
        else this.count(`landing after death of ${request.point}`);
      }
    }
    process.onCrash();
  }

  async #land(request: Request): Promise<void> {
    request.answer = await request.act(this.#server);
    request.state = "landed";
    if (!request.wanted) remove(this.#requests, request);
  }

  #answer(request: Request): void {
    remove(this.#requests, request);
    request.resolve(request.answer);
  }

  #fire(timer: Timer): void {
    remove(this.#timers, timer);
    this.#nowMs = Math.max(this.#nowMs, timer.atMs);
    timer.callback();
  }
}

const RARE = /checkpoint|delete/;

interface Request {
  readonly process: SimProcess;
  readonly point: string;
  state: "sent" | "landed";
  /** Does anybody wait for the answer? */
  wanted: boolean;
  readonly act: (server: ObjectStore) => Promise<unknown>;
  answer: unknown;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

interface Timer {
  readonly process: SimProcess;
  readonly atMs: number;
  readonly callback: () => void;
}

/** One process of the world: its clock and its connection to the store stop when it dies. */
export class SimProcess {
  readonly name: string;
  alive = true;
  mayCrash = true;
  pausedSteps = 0;
  /** Did it look for the first link of the chain? One that starts from a checkpoint does not. */
  readFirstLink = false;
  onCrash: () => void = () => undefined;
  readonly #world: World;
  #suspendedAtMs: number | undefined;
  #lostMs = 0;

  constructor(world: World, name: string) {
    this.#world = world;
    this.name = name;
  }

  get awake(): boolean {
    return this.alive && this.pausedSteps === 0;
  }

  /** Its monotonic clock stands still until `resume`. */
  suspend(): void {
    this.#suspendedAtMs ??= this.#world.nowMs;
  }

  resume(): void {
    if (this.#suspendedAtMs !== undefined) this.#lostMs += this.#world.nowMs - this.#suspendedAtMs;
    this.#suspendedAtMs = undefined;
  }

  get clock(): Clock {
    const world = this.#world;
    return {
      now: () => world.nowMs,
      monotonic: () => (this.#suspendedAtMs ?? world.nowMs) - this.#lostMs,
      schedule: (delayMs, callback) => world.schedule(this, delayMs, callback),
    };
  }

  get store(): ObjectStore {
    const send = <T>(
      point: string,
      options: CallOptions | undefined,
      act: (server: ObjectStore) => Promise<T>,
    ): Promise<T> => this.#world.send(this, point, options?.signal, act);
    return {
      get: (key: ObjectKey, options: GetOptions = {}): Promise<StoredObject | undefined> => {
        if (key.endsWith("/00000000000000000000.idx")) this.readFirstLink = true;
        return send(`get ${kindOf(key)}`, options, (server) => server.get(key, withoutSignal(options)));
      },
      head: (key: ObjectKey, options?: CallOptions): Promise<ObjectInfo | undefined> =>
        send("head", options, (server) => server.head(key)),
      put: (key: ObjectKey, body: Uint8Array, options: PutOptions): Promise<PutOutcome> => {
        const kind = kindOf(key) === "link" ? entryKind(body) : kindOf(key);
        const copy = Uint8Array.from(body);
        return send(`put ${kind}`, options, async (server) => {
          const outcome = await server.put(key, copy, { condition: options.condition });
          if (outcome.kind === "written") {
            if (kind === "checkpoint") this.#world.landedCheckpoints.push({ key, body: copy });
            if (key.startsWith("index/")) await this.#world.linkLanded(key, copy);
          }
          return outcome;
        });
      },
      async *list(prefix: string, options?: ListOptions): AsyncGenerator<ObjectInfo> {
        yield* await send("list", options, async (server) => {
          const found: ObjectInfo[] = [];
          for await (const info of server.list(prefix)) found.push(info);
          return found;
        });
      },
      createMultipart: () => Promise.reject(new Error("the index chain makes no uploads")),
      delete: (keys: readonly ObjectKey[], options?: CallOptions): Promise<void> =>
        send("delete", options, (server) => server.delete(keys)),
      close: () => Promise.resolve(),
    };
  }
}

function withoutSignal(options: GetOptions): GetOptions {
  return options.range === undefined ? {} : { range: options.range };
}

function kindOf(key: ObjectKey): "link" | "checkpoint" | "data" {
  if (key.startsWith("data/")) return "data";
  return parseCheckpointKey(key) === undefined ? "link" : "checkpoint";
}

/** Byte 0 of the first entry tells fences, appends and trims apart; only used to name crash points. */
function entryKind(body: Uint8Array): string {
  const view = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  const writerIdBytes = view.readUInt16BE(64 + 32);
  const type = view.readUInt8(64 + 32 + 2 + writerIdBytes + 8 + 4);
  return (
    new Map([
      [2, "replace"],
      [3, "trim"],
      [4, "fence"],
      [7, "boundary"],
    ]).get(type) ?? "append"
  );
}

function remove<T>(list: T[], item: T): void {
  const at = list.indexOf(item);
  if (at >= 0) list.splice(at, 1);
}

/** Lets every promise that can go on do so. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
