import { Agent as HttpAgent } from "node:http";
import { Agent as HttpsAgent } from "node:https";

import { NodeHttpHandler } from "@smithy/node-http-handler";

import { ForwardAgent, TunnelAgent } from "./proxy-agents.ts";
import type { Proxy } from "./proxy.ts";
import { PLAIN_TLS, type TlsOptions } from "./tls-files.ts";

/** How the machines behind one endpoint are reached. */
export interface Link {
  /** Default: TLS from 1.2 on, with the authorities of Node. */
  readonly tls?: TlsOptions;
  /** Default: straight. */
  readonly proxy?: Proxy;
}

/** A TCP connection that takes longer is not coming; a whole `requestTimeoutMs` would be spent on a dead address. */
const CONNECT_TIMEOUT_MS = 3_000;

/** Else the handler writes to the console of whoever embeds us that requests wait for a socket; they are meant to. */
const SILENT = {
  trace: (): void => undefined,
  debug: (): void => undefined,
  info: (): void => undefined,
  warn: (): void => undefined,
  error: (): void => undefined,
};

/** Sockets of its own, kept alive, at most `maxSockets`, for a client of the SDK. `destroy` closes them. */
export function createHttpHandler(
  { tls = PLAIN_TLS, proxy }: Link,
  {
    maxSockets,
    requestTimeoutMs,
    connectTimeoutMs: wanted = CONNECT_TIMEOUT_MS,
  }: { readonly maxSockets: number; readonly requestTimeoutMs: number; readonly connectTimeoutMs?: number },
): NodeHttpHandler {
  const connectTimeoutMs = Math.min(wanted, requestTimeoutMs);
  const agents =
    proxy === undefined
      ? {
          httpAgent: new HttpAgent({ keepAlive: true, maxSockets }),
          httpsAgent: new HttpsAgent({ keepAlive: true, maxSockets, ...tls }),
        }
      : {
          httpAgent: new ForwardAgent({ proxy, maxSockets, tls, connectTimeoutMs }),
          httpsAgent: new TunnelAgent({ proxy, maxSockets, tls, connectTimeoutMs }) as unknown as HttpsAgent,
        };
  return new NodeHttpHandler({
    ...agents,
    connectionTimeout: connectTimeoutMs,
    // Our own deadline comes first; these end what it cannot see.
    requestTimeout: requestTimeoutMs,
    throwOnRequestTimeout: true,
    socketTimeout: requestTimeoutMs,
    logger: SILENT,
  });
}
