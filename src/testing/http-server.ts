import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";

import { systemClock, type Clock } from "../runtime/clock.ts";
import type { FaultScript, Strike } from "./fault-script.ts";
import type { HttpAnswer, HttpBackend, HttpRequest } from "./http-exchange.ts";
import { LateLandings } from "./late-landings.ts";
import { playFault, type Stage } from "./play-fault.ts";
import { RequestCounts } from "./request-counts.ts";
import { S3Refusal } from "./s3/refusal.ts";
import { BodyTooLargeError, ClientGoneError, ServedRequest, resetSocket } from "./served-request.ts";

export interface HttpServerOptions {
  /** Default: nothing goes wrong. */
  readonly faults?: FaultScript;
  /** Default: that of `faults`, else the system's. */
  readonly clock?: Clock;
  /** A request with a larger body is answered 400 EntityTooLarge. Default: 128 MiB. */
  readonly maxBodyBytes?: number;
}

const MAX_BODY_BYTES = 128 * 1024 * 1024;

/** Failures beyond it are only counted. */
const FAILURES_MAX = 16;

/** A plain HTTP server on a free loopback port, in front of a backend, with faults played in between. */
export class HttpServer {
  readonly requests = new RequestCounts();
  readonly #backend: HttpBackend;
  readonly #faults: FaultScript | undefined;
  readonly #clock: Clock;
  readonly #maxBodyBytes: number;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** Connections that have not sent a request. */
  readonly #fresh = new WeakSet<Socket>();
  readonly #underWay = new Set<Promise<void>>();
  readonly #late: LateLandings;
  readonly #closing = new AbortController();
  readonly #failures: unknown[] = [];
  #port = 0;

  constructor(backend: HttpBackend, { faults, clock, maxBodyBytes = MAX_BODY_BYTES }: HttpServerOptions = {}) {
    this.#backend = backend;
    this.#faults = faults;
    this.#clock = clock ?? faults?.clock ?? systemClock;
    this.#maxBodyBytes = maxBodyBytes;
    this.#late = new LateLandings(this.#clock);
    // Node's own timeouts would be faults that no script knows of: idle connections closed, slow requests answered 408.
    this.#server = createServer({ keepAliveTimeout: 0, requestTimeout: 0, headersTimeout: 0 }, (request, response) => {
      void this.#track(this.#serve(request, response));
    });
    this.#server.on("connection", (socket) => this.#accept(socket));
  }

  /** Resolves to the URL, as in "http://127.0.0.1:40123". */
  async start(): Promise<string> {
    await this.#listen(0);
    this.#port = (this.#server.address() as AddressInfo).port;
    return `http://127.0.0.1:${this.#port}`;
  }

  /** Connections that neither side has closed. */
  get openSockets(): number {
    return this.#sockets.size;
  }

  /** Requests of the fault "late-landing" that have not yet landed. */
  get lateLandings(): number {
    return this.#late.waiting;
  }

  /** What the backend rejected with, the first 16; its clients saw a reset. */
  get failures(): readonly unknown[] {
    return this.#failures;
  }

  /** Lets all late requests land now, oldest first. */
  async landLate(): Promise<void> {
    await this.#late.landAll();
  }

  /** Cuts every connection and stops listening: from now on ECONNREFUSED. Requests under way go on in the backend. */
  async goDown(): Promise<void> {
    await this.#stopListening();
  }

  /** Listens again, on the same port. */
  async comeUp(): Promise<void> {
    await this.#listen(this.#port);
  }

  /**
   * Cuts every connection, drops what would have landed late, and waits for what the backend has begun: afterwards nothing
   * changes any more. Safe to repeat.
   */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#late.drop();
    await this.#stopListening();
    while (this.#underWay.size > 0) await Promise.all(this.#underWay);
    // A request that was being read meanwhile may have been put off.
    this.#late.drop();
  }

  async #listen(port: number): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(port, "127.0.0.1", () => {
        this.#server.off("error", reject);
        resolve();
      });
    });
  }

  async #stopListening(): Promise<void> {
    const cut = [...this.#sockets].map((socket) => {
      resetSocket(socket);
      return new Promise((resolve) => socket.once("close", resolve));
    });
    // An error says that it was not listening: fine.
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
    });
    await Promise.all(cut);
  }

  #accept(socket: Socket): void {
    if (!this.#server.listening) {
      // Accepted by the kernel before the server went down, handed over afterwards: left open it would keep `close` waiting.
      resetSocket(socket);
      return;
    }
    this.#sockets.add(socket);
    this.#fresh.add(socket);
    socket.on("close", () => this.#sockets.delete(socket));
    // The reset that we, or the client, meant.
    socket.on("error", () => undefined);
    if (this.#faults?.onConnection() !== undefined) resetSocket(socket);
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const served = new ServedRequest(request, response);
    const ended = this.requests.began(served.call.operation);
    const first = this.#fresh.delete(request.socket);
    const strike = this.#faults?.onRequest(served.call, first);
    const stage = this.#stageFor(served, strike?.entry ?? {});
    try {
      if (strike === undefined) await served.answer(await stage.commit(await stage.read()));
      else await playFault(strike, served, stage);
    } catch (error) {
      if (error instanceof BodyTooLargeError) await served.answer(tooLarge(served, this.#maxBodyBytes));
      // Reset, so that a failure of the backend is not taken for an answer.
      else served.reset();
      if (!isExpected(error, this.#closing.signal)) this.#note(error);
    } finally {
      ended(served.status ?? "none");
    }
  }

  #stageFor(served: ServedRequest, entry: Strike["entry"]): Stage {
    return {
      clock: this.#clock,
      closing: this.#closing.signal,
      read: () => served.read(this.#maxBodyBytes),
      commit: (request) => this.#commit(request, entry),
      commitLater: (request, delayMs) => {
        this.#late.hold(() => this.#track(this.#land(request, entry)), delayMs);
      },
    };
  }

  async #commit(request: HttpRequest, entry: Strike["entry"]): Promise<HttpAnswer> {
    this.#closing.signal.throwIfAborted();
    const answer = await this.#backend(request);
    entry.backendStatus = answer.status;
    return answer;
  }

  async #land(request: HttpRequest, entry: Strike["entry"]): Promise<void> {
    try {
      await this.#commit(request, entry);
    } catch (error) {
      if (!isExpected(error, this.#closing.signal)) this.#note(error);
    }
  }

  #track(work: Promise<void>): Promise<void> {
    this.#underWay.add(work);
    return work.finally(() => this.#underWay.delete(work));
  }

  #note(error: unknown): void {
    if (this.#failures.length < FAILURES_MAX) this.#failures.push(error);
  }
}

function tooLarge(served: ServedRequest, maxBodyBytes: number): HttpAnswer {
  const refusal = new S3Refusal("EntityTooLarge", { elements: { MaxSizeAllowed: String(maxBodyBytes) } });
  return served.refusal(refusal, "");
}

/** Not the backend's failure: the client's body, the client's leaving, or our own closing. */
function isExpected(error: unknown, closing: AbortSignal): boolean {
  return error instanceof BodyTooLargeError || error instanceof ClientGoneError || error === closing.reason;
}
