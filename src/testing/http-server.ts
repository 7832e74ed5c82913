import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";

import type { HttpAnswer, HttpBackend, HttpRequest } from "./http-exchange.ts";

/** A plain HTTP server on a free loopback port. */
export class HttpServer {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  constructor(backend: HttpBackend) {
    this.#server = createServer((request, response) => {
      void answerOne(backend, request, response);
    });
    this.#server.on("connection", (socket) => {
      this.#sockets.add(socket);
      socket.on("close", () => this.#sockets.delete(socket));
      socket.on("error", () => undefined);
    });
  }

  /** Resolves to the URL, as in "http://127.0.0.1:40123". */
  async start(): Promise<string> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(0, "127.0.0.1", resolve);
    });
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Cuts every connection. Safe to repeat. */
  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
    });
  }
}

async function answerOne(backend: HttpBackend, request: IncomingMessage, response: ServerResponse): Promise<void> {
  try {
    const answer = await backend(await readRequest(request));
    writeAnswer(response, answer);
  } catch {
    request.socket.destroy();
  }
}

async function readRequest(request: IncomingMessage): Promise<HttpRequest> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(request.headers)) {
    if (value !== undefined) headers[name] = Array.isArray(value) ? value.join(", ") : value;
  }
  return { method: request.method ?? "", url: request.url ?? "", headers, body: Buffer.concat(chunks) };
}

function writeAnswer(response: ServerResponse, { status, headers, body }: HttpAnswer): void {
  response.writeHead(status, { "content-length": body.length, ...headers });
  response.end(body);
}
