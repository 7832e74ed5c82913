import type { ClientRequest } from "node:http";

import { HttpProxyAgent } from "http-proxy-agent";
import { HttpsProxyAgent } from "https-proxy-agent";

import { systemClock } from "../runtime/clock.ts";
import { startAttempt } from "./attempt.ts";
import type { Proxy } from "./proxy.ts";
import type { TlsOptions } from "./tls-files.ts";

export interface ProxyAgentSettings {
  readonly proxy: Proxy;
  readonly maxSockets: number;
  readonly tls: TlsOptions;
  /** For the connection to the proxy, and its answer. */
  readonly connectTimeoutMs: number;
}

/** The proxy said no to a CONNECT: nothing was sent to the store. */
export class ProxyRefusedError extends Error {
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
    super(settings.proxy.url.href, {
      keepAlive: true,
      maxSockets: settings.maxSockets,
      headers: () => proxyHeaders(settings.proxy),
    });
    this.#settings = settings;
  }

  /**
   * The base class looks for "https" in the stack of its caller. A connection that becomes free has another one, so it would be kept
   * under another name: never used again, and those who wait for a socket never told.
   */
  override isSecureEndpoint(): boolean {
    return true;
  }

  override async connect(request: ClientRequest, options: Parameters<HttpsProxyAgent<string>["connect"]>[1]) {
    const { tls, connectTimeoutMs } = this.#settings;
    let status = 0;
    request.once("proxyConnect", (answer: { readonly statusCode: number }) => {
      status = answer.statusCode;
    });
    const time = startAttempt(systemClock, connectTimeoutMs, undefined);
    try {
      const socket = await super.connect.call(limited(this, time.signal), request, { ...options, ...tls });
      if (status === 200) return socket;
      // The base class hands out a stand-in that plays the proxy's page as if the store had answered it.
      socket.destroy();
      throw new ProxyRefusedError(status);
    } catch (error) {
      throw neverSent(error);
    } finally {
      time.end();
    }
  }
}

/** Plain HTTP: the proxy gets the request itself, with the whole URL. */
export class ForwardAgent extends HttpProxyAgent<string> {
  readonly #settings: ProxyAgentSettings;

  constructor(settings: ProxyAgentSettings) {
    super(settings.proxy.url.href, {
      keepAlive: true,
      maxSockets: settings.maxSockets,
      headers: () => proxyHeaders(settings.proxy),
    });
    this.#settings = settings;
  }

  override isSecureEndpoint(): boolean {
    return false;
  }

  override async connect(...[request, options]: Parameters<HttpProxyAgent<string>["connect"]>) {
    const time = startAttempt(systemClock, this.#settings.connectTimeoutMs, undefined);
    try {
      return await super.connect.call(limited(this, time.signal), request, options);
    } catch (error) {
      throw neverSent(error);
    } finally {
      time.end();
    }
  }
}

function proxyHeaders({ authorization }: Proxy): Record<string, string> {
  return authorization === undefined ? {} : { "Proxy-Authorization": authorization };
}

/**
 * `agent` for one connection, which `signal` ends. The base classes wait for the proxy without limit, and a request that gives up
 * meanwhile would leave its socket, and its place among `maxSockets`, behind for ever.
 */
function limited<Agent extends object>(agent: Agent, signal: AbortSignal): Agent {
  const { connectOpts } = agent as { readonly connectOpts?: object };
  return Object.create(agent, { connectOpts: { value: { ...connectOpts, signal } } }) as Agent;
}

/** Whatever went wrong before the tunnel stood, the store heard nothing of it. */
function neverSent(error: unknown): unknown {
  if (error instanceof ProxyRefusedError) return error;
  const code = error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "NO_TUNNEL";
  return Object.assign(new Error(`no connection to the proxy: ${code}`), { code, syscall: "connect" });
}
