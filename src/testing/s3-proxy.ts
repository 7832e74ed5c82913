import { request as httpRequest, type IncomingMessage } from "node:http";

import { InvalidArgumentError } from "../errors.ts";
import type { HttpAnswer, HttpBackend, HttpRequest } from "./http-exchange.ts";
import { HttpServer, type HttpServerOptions } from "./http-server.ts";

export interface S3ProxyOptions extends HttpServerOptions {
  /** A plain HTTP server, as in "http://127.0.0.1:7480". */
  readonly target: string;
}

/**
 * Faults in front of a real S3 server: each request is read whole and passed on as it is, with the client's own Host header,
 * which its signature covers, then the answer is read whole and passed back. Only the framing between the two may differ.
 * Every request goes over a connection of its own, so that no idle connection breaks that no fault has broken.
 *
 * A target that cannot be reached shows as a reset, and in `failures`.
 */
export class S3Proxy extends HttpServer {
  #url = "";

  /** Throws `InvalidArgumentError` for a target that is not plain HTTP. */
  static async start({ target, ...options }: S3ProxyOptions): Promise<S3Proxy> {
    const proxy = new S3Proxy(forwarding(target), options);
    proxy.#url = await proxy.start();
    return proxy;
  }

  /** The endpoint for clients, as in "http://127.0.0.1:40123". */
  get url(): string {
    return this.#url;
  }
}

/** They belong to one connection, not to the request. "expect": the body is here. */
const NOT_PASSED_ON = new Set(["connection", "keep-alive", "proxy-connection", "te", "upgrade", "expect"]);

function forwarding(target: string): HttpBackend {
  const url = URL.canParse(target) ? new URL(target) : undefined;
  if (url?.protocol !== "http:" || url.pathname !== "/") {
    throw new InvalidArgumentError("target", target, 'must be a plain HTTP server, as in "http://127.0.0.1:7480"');
  }
  return async (request) => {
    const incoming = await new Promise<IncomingMessage>((resolve, reject) => {
      const outgoing = httpRequest(
        {
          host: url.hostname.replace(/^\[|\]$/g, ""),
          port: url.port === "" ? 80 : Number(url.port),
          method: request.method,
          path: request.url,
          headers: passedOn(request),
          agent: false,
        },
        resolve,
      );
      outgoing.on("error", reject);
      outgoing.end(request.body);
    });
    return readAnswer(incoming);
  };
}

/** Names and values in turn, which Node writes as they are. */
function passedOn({ rawHeaders = [] }: HttpRequest): string[] {
  const headers: string[] = [];
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] ?? "";
    if (!NOT_PASSED_ON.has(name.toLowerCase())) headers.push(name, rawHeaders[i + 1] ?? "");
  }
  return headers;
}

async function readAnswer(incoming: IncomingMessage): Promise<HttpAnswer> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk as Buffer);
  const headers: Record<string, string> = {};
  for (let i = 0; i + 1 < incoming.rawHeaders.length; i += 2) {
    const name = incoming.rawHeaders[i] ?? "";
    const value = incoming.rawHeaders[i + 1] ?? "";
    if (NOT_PASSED_ON.has(name.toLowerCase()) || name.toLowerCase() === "transfer-encoding") continue;
    headers[name] = headers[name] === undefined ? value : `${headers[name]}, ${value}`;
  }
  return { status: incoming.statusCode ?? 0, headers, body: Buffer.concat(chunks) };
}
