import type { ObjectKey } from "../../src/domain.ts";
import { AbortedError, ObjectStoreError } from "../../src/errors.ts";
import { createMemoryStore } from "../../src/object-store/memory-store.ts";
import type {
  CallOptions,
  GetOptions,
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
  readonly #requests: Request[] = [];
  readonly #timers: Timer[] = [];
  #nowMs = 1_700_000_000_000;
  #faultsLeft: number;

  constructor(random: Random, seen: Map<string, number>, faults: number) {
    this.random = random;
    this.seen = seen;
    this.#faultsLeft = faults;
  }

  count(what: string): void {
    this.seen.set(what, (this.seen.get(what) ?? 0) + 1);
  }

  process(name: string): SimProcess {
    return new SimProcess(this, name);
  }

  /** No more faults: what is under way lands and is answered. */
  calm(): void {
    this.#faultsLeft = 0;
    for (const request of this.#requests) request.process.pausedSteps = 0;
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
    }
    if (this.#faultsLeft > 0 && this.random.float() < 0.12 && this.#fault()) {
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
      return true;
    }
    await choices[Math.floor(this.random.float() * choices.length)]?.();
    await settle();
    return true;
  }

  /** One fault, if there is something to break. */
  #fault(): boolean {
    const kind = Math.floor(this.random.float() * 5);
    const alive = this.#requests.filter((request) => request.wanted && request.process.alive);
    const request = alive[Math.floor(this.random.float() * alive.length)];
    if (kind === 4) {
      const timer = this.#timers.find((candidate) => candidate.process.alive);
      const victim = request?.process ?? timer?.process;
      if (victim === undefined || !victim.mayCrash) return false;
      const waiting = this.#requests.find((candidate) => candidate.wanted && candidate.process === victim);
      this.count("crash");
      this.count(waiting === undefined ? "crash at sleep" : `crash at ${waiting.point}, ${waiting.state}`);
      this.#crash(victim);
      return true;
    }
    if (request === undefined) return false;
    if (kind === 3) {
      this.count("pause");
      request.process.pausedSteps = 5 + Math.floor(this.random.float() * 60);
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
  onCrash: () => void = () => undefined;
  readonly #world: World;

  constructor(world: World, name: string) {
    this.#world = world;
    this.name = name;
  }

  get awake(): boolean {
    return this.alive && this.pausedSteps === 0;
  }

  get clock(): Clock {
    const world = this.#world;
    return {
      now: () => world.nowMs,
      monotonic: () => world.nowMs,
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
      get: (key: ObjectKey, options: GetOptions = {}): Promise<StoredObject | undefined> =>
        send("get", options, (server) => server.get(key, withoutSignal(options))),
      head: (key: ObjectKey, options?: CallOptions): Promise<ObjectInfo | undefined> =>
        send("head", options, (server) => server.head(key)),
      put: (key: ObjectKey, body: Uint8Array, options: PutOptions): Promise<PutOutcome> => {
        // Byte 0 of the first entry tells fences from appends; only used to name crash points.
        const copy = Uint8Array.from(body);
        return send(`put ${entryKind(body)}`, options, (server) =>
          server.put(key, copy, { condition: options.condition }),
        );
      },
      createMultipart: () => Promise.reject(new Error("the index chain makes no uploads")),
      list: (prefix: string) => this.#world.server.list(prefix),
      delete: (keys: readonly ObjectKey[], options?: CallOptions): Promise<void> =>
        send("delete", options, (server) => server.delete(keys)),
      close: () => Promise.resolve(),
    };
  }
}

function withoutSignal(options: GetOptions): GetOptions {
  return options.range === undefined ? {} : { range: options.range };
}

function entryKind(body: Uint8Array): string {
  const view = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  const writerIdBytes = view.readUInt16BE(64 + 32);
  const type = view.readUInt8(64 + 32 + 2 + writerIdBytes + 8 + 4);
  return type === 4 ? "fence" : "append";
}

function remove<T>(list: T[], item: T): void {
  const at = list.indexOf(item);
  if (at >= 0) list.splice(at, 1);
}

/** Lets every promise that can go on do so. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
