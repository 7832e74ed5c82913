import type { ETag, ObjectKey } from "../../src/domain.ts";
import type { ObjectStore } from "../../src/object-store/object-store.ts";
import type { S3Credentials } from "../../src/object-store/s3-credentials.ts";
import { createS3Store, type S3StoreSettings } from "../../src/object-store/s3-store.ts";
import { settling } from "../../src/object-store/settling.ts";
import { systemRandom } from "../../src/runtime/random.ts";
import { systemRuntime } from "../../src/runtime/runtime.ts";
import type { FaultScript, FiredFault } from "../../src/testing/fault-script.ts";
import type { Fault } from "../../src/testing/fault.ts";
import type { HttpServer } from "../../src/testing/http-server.ts";
import type { S3Operation } from "../../src/testing/s3-call.ts";
import { HastyClock } from "../support/hasty-clock.ts";

/** An S3 server that plays a script, and how to reach it: with a prefix that nobody else uses. */
export interface FaultyServer {
  readonly server: Pick<
    HttpServer,
    "openSockets" | "landLate" | "requests" | "failures" | "goDown" | "comeUp" | "close"
  >;
  readonly settings: S3StoreSettings & { readonly credentials: S3Credentials };
}

/** No answer takes so long, however busy the machine is. Those that never come are not waited for: see `#expireSilences`. */
const REQUEST_TIMEOUT_MS = 20_000;

export type OpenFaultyServer = (faults: FaultScript) => Promise<FaultyServer>;

/** A delay from here on is longer than the client waits. */
export const GIVES_UP_MS = 100;

/** A fault, and what it costs. */
export interface FaultCase {
  readonly fault: Fault;
  /** How often the call is sent, the struck request included; undefined: that is up to the server. */
  readonly sent?: number;
}

export const named = <T extends { readonly fault: Fault }>(cases: readonly T[]): (T & { readonly name: string })[] =>
  cases.map((one) => ({ ...one, name: JSON.stringify(one.fault) }));

/** After each of these the call is sent once more, unless it was done after all. */
export const ANY_CALL: readonly FaultCase[] = [
  { fault: { kind: "lost-request" }, sent: 2 },
  { fault: { kind: "slow-down" }, sent: 2 },
  { fault: { kind: "internal-error" }, sent: 2 },
  { fault: { kind: "silence" }, sent: 2 },
  { fault: { kind: "delay", delayMs: 20 }, sent: 1 },
  // Whether it meets a connection or a request, and whether the next request meets a closed one, is up to the client.
  { fault: { kind: "refuse" } },
  { fault: { kind: "close-idle" } },
  { fault: { kind: "clock-skew" } },
  { fault: { kind: "clock-skew", offsetMs: -20 * 60_000 } },
  { fault: { kind: "clock-skew", refuse: false } },
  { fault: { kind: "duplicate-delivery" }, sent: 1 },
];

/** Done, but not answered so that one could tell. */
const DONE_UNTOLD: readonly Omit<FaultCase, "sent">[] = [
  { fault: { kind: "lost-answer" } },
  { fault: { kind: "slow-down-after-commit" } },
  { fault: { kind: "internal-error", committed: true } },
  { fault: { kind: "slow-loris", bytesPerSecond: 20 } },
  { fault: { kind: "silence", committed: true } },
  { fault: { kind: "truncated-answer" } },
  { fault: { kind: "short-answer" } },
];

/** Of a call that is looked at before it is sent again. */
export const SETTLED: readonly FaultCase[] = [...ANY_CALL, ...DONE_UNTOLD.map((one) => ({ ...one, sent: 1 }))];

/** Of a call that is simply sent again. */
export const REPEATED: readonly FaultCase[] = [...ANY_CALL, ...DONE_UNTOLD.map((one) => ({ ...one, sent: 2 }))];

/** A script, a server that plays it, and settled stores on it. */
export class FaultyStores {
  readonly script: FaultScript;
  readonly #faulty: FaultyServer;
  readonly #stores: ObjectStore[] = [];
  readonly #clock = new HastyClock(REQUEST_TIMEOUT_MS);
  #closed = false;

  private constructor(script: FaultScript, faulty: FaultyServer) {
    this.script = script;
    this.#faulty = faulty;
    void this.#expireSilences();
  }

  static async open(open: OpenFaultyServer, script: FaultScript): Promise<FaultyStores> {
    return new FaultyStores(script, await open(script));
  }

  get server(): FaultyServer["server"] {
    return this.#faulty.server;
  }

  store(deadlineMs = 60_000, more: Partial<S3StoreSettings> = {}): ObjectStore {
    // Random numbers that are all 0: no time between attempts.
    const runtime = { ...systemRuntime, clock: this.#clock, random: { ...systemRandom, float: () => 0 } };
    const settings = { ...this.#faulty.settings, requestTimeoutMs: REQUEST_TIMEOUT_MS, ...more };
    const store = settling(createS3Store(settings, runtime), { ...runtime, deadlineMs });
    this.#stores.push(store);
    return store;
  }

  /** Runs `look` with no faults in the way. */
  async inPeace<T>(look: (store: ObjectStore) => Promise<T>): Promise<T> {
    this.script.pause();
    try {
      return await look(this.store());
    } finally {
      this.script.resume();
    }
  }

  async stored(key: ObjectKey): Promise<Uint8Array | undefined> {
    return (await this.inPeace((store) => store.get(key)))?.body;
  }

  /** Of an object that is there. */
  async etagOf(key: ObjectKey): Promise<ETag> {
    const info = await this.inPeace((store) => store.head(key));
    if (info === undefined) throw new Error(`${key} is not there`);
    return info.etag;
  }

  async prepare(key: ObjectKey, body: Uint8Array): Promise<void> {
    await this.inPeace((store) => store.put(key, body, { condition: { kind: "none" } }));
  }

  /** Lets `fault` meet the next request of this operation, or the next connection. */
  strikeNext(fault: Fault, operation: S3Operation): void {
    this.script.add({ fault, match: fault.kind === "refuse" ? { times: 1 } : { operation, times: 1 } });
  }

  /** Sent since then. */
  counter(operation: S3Operation): () => number {
    const before = this.server.requests.count(operation);
    return () => this.server.requests.count(operation) - before;
  }

  /** Ends the time of a request as soon as the server has done all that it will do about it while the client waits. */
  async #expireSilences(): Promise<void> {
    for (let seen = 0; !this.#closed; await new Promise((resolve) => setTimeout(resolve, 1))) {
      for (; seen < this.script.fired.length; seen++) {
        const { fault, backendStatus } = this.script.fired[seen] as FiredFault;
        if (commits(fault) && backendStatus === undefined) break;
        if (isSilent(fault)) this.#clock.expire();
      }
    }
  }

  /** Waits for every socket that the stores opened to be closed by them, then ends the server. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const store of this.#stores) await store.close();
    while (this.server.openSockets > 0) await new Promise((resolve) => setTimeout(resolve, 2));
    await this.server.close();
    // A server that refuses a request before it has read all of it may break the connection, whoever sent the request.
    const failures = this.server.failures.filter((error) => !["EPIPE", "ECONNRESET"].includes(codeOf(error)));
    if (failures.length > 0) throw new AggregateError(failures, "the server failed");
  }
}

/** Of these the client hears nothing until its time is over. */
function isSilent(fault: Fault): boolean {
  if (fault.kind === "delay") return fault.delayMs >= GIVES_UP_MS;
  return (
    fault.kind === "silence" ||
    fault.kind === "slow-loris" ||
    (fault.kind === "late-landing" && fault.answer === "silence")
  );
}

function commits(fault: Fault): boolean {
  return fault.kind === "slow-loris" || (fault.kind === "silence" && fault.committed === true);
}

function codeOf(error: unknown): string {
  return String((error as NodeJS.ErrnoException).code);
}
