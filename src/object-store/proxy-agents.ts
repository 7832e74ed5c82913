import type { ClientRequest } from "node:http";
import { Socket } from "node:net";

import { HttpProxyAgent } from "http-proxy-agent";
import { HttpsProxyAgent } from "https-proxy-agent";

import { systemClock } from "../runtime/clock.ts";
import { startAttempt } from "./attempt.ts";
import type { Proxy } from "./proxy.ts";
import { PLAIN_TLS, type TlsOptions } from "./tls-files.ts";

export interface ProxyAgentSettings {
  readonly proxy: Proxy;
  readonly maxSockets: number;
  readonly tls: TlsOptions;
  /** For the connection to the proxy, and its answer. */
  readonly connectTimeoutMs: number;
}

/** The proxy said no to a CONNECT: nothing was sent to the store. */
class ProxyRefusedError extends Error {
  readonly code: string;

  constructor(status: number) {
    super(`the proxy answered CONNECT with HTTP ${status}`);
    this.name = "ProxyRefusedError";
    this.code = `PROXY_HTTP_${status}`;
  }
}

/** Through a tunnel that the proxy opens (CONNECT): TLS goes from here to the store. */
export class TunnelAgent extends HttpsProxyAgent<string> {
  readonly #settings: ProxyAgentSettings;

  constructor(settings: ProxyAgentSettings) {
    super(settings.proxy.url.href, agentOptions(settings));
    this.#settings = settings;
  }

  /**
   * The base class looks for "https" in the stack of its caller. A connection that becomes free has another one, so it would be kept
   * under another name: never used again, and those who wait for a socket never told.
   */
  override isSecureEndpoint(): boolean {
    return true;
  }

  override connect(...[request, options]: Parameters<HttpsProxyAgent<string>["connect"]>): Promise<Socket> {
    const { tls, connectTimeoutMs } = this.#settings;
    return connected(request, connectTimeoutMs, async (signal) => {
      let status = 0;
      request.once("proxyConnect", (answer: { readonly statusCode: number }) => {
        status = answer.statusCode;
      });
      const socket = await super.connect.call(limited(this, signal), request, { ...options, ...tls });
      if (status === 200) return socket;
      socket.destroy();
      throw new ProxyRefusedError(status);
    });
  }
}

/** Plain HTTP: the proxy gets the request itself, with the whole URL. */
export class ForwardAgent extends HttpProxyAgent<string> {
  readonly #settings: ProxyAgentSettings;

  constructor(settings: ProxyAgentSettings) {
    super(settings.proxy.url.href, agentOptions(settings));
    this.#settings = settings;
  }

  override isSecureEndpoint(): boolean {
    return false;
  }

  override connect(...[request, options]: Parameters<HttpProxyAgent<string>["connect"]>): Promise<Socket> {
    return connected(request, this.#settings.connectTimeoutMs, (signal) =>
      super.connect.call(limited(this, signal), request, options),
    );
  }
}

/** The password is in a header, not in the address: that one the base classes show to whoever sets DEBUG. */
function agentOptions({ proxy: { authorization }, maxSockets }: ProxyAgentSettings) {
  const headers = (): Record<string, string> =>
    authorization === undefined ? {} : { "Proxy-Authorization": authorization };
  // For the link to a proxy of kind https.
  return { keepAlive: true, maxSockets, headers, ...PLAIN_TLS };
}

/**
 * What `open` opens, or a socket that breaks at once, with the reason. Never rejects: Node's pool wakes those who wait for a socket
 * when one closes, and does not hear of one that never was.
 */
async function connected(
  request: ClientRequest,
  timeoutMs: number,
  open: (signal: AbortSignal) => Promise<Socket>,
): Promise<Socket> {
  const attempt = startAttempt(systemClock, timeoutMs, undefined);
  try {
    // Given up while it waited for its turn.
    if (request.destroyed) return new BrokenSocket(neverSent(undefined));
    return await open(attempt.signal);
  } catch (error) {
    return new BrokenSocket(neverSent(error));
  } finally {
    attempt.end();
  }
}

/** Takes what is written, sends nothing, and fails as soon as its request holds it. */
class BrokenSocket extends Socket {
  constructor(reason: Error) {
    super();
    this.on("error", () => undefined);
    systemClock.schedule(0, () => this.destroy(reason));
  }

  override _write(): void {
    // Never done: the reason of the end is the one given, not that nobody is connected.
  }

  override _writev(): void {
    // As `_write`.
  }

  /** The base class would have the proxy's page read from here, as if the store had answered it. */
  override push(): boolean {
    return false;
  }
}

/**
 * `agent` for one connection, which `signal` ends. The base classes wait for the proxy without limit, and a request that gives up
 * meanwhile would leave its socket, and its place among `maxSockets`, behind for ever.
 */
function limited<Agent extends { readonly connectOpts: object }>(agent: Agent, signal: AbortSignal): Agent {
  return Object.create(agent, { connectOpts: { value: { ...agent.connectOpts, signal } } }) as Agent;
}

/** Whatever went wrong before the connection stood, the store heard nothing of it: "connect" says so. */
function neverSent(error: unknown): Error {
  if (error instanceof ProxyRefusedError) return error;
  const known = error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
  const code = known === undefined || known === "ABORT_ERR" ? "ETIMEDOUT" : known;
  return Object.assign(new Error(`no connection to the proxy: ${code}`), { code, syscall: "connect" });
}
