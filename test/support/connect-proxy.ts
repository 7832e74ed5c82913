import { createServer, request as httpRequest, type IncomingMessage } from "node:http";
import { connect, type AddressInfo, type Socket } from "node:net";

/** A proxy that knows one target, whatever name it is asked for: the names of a test need not resolve. */
export class ConnectProxy {
  /** Of each CONNECT, as in "store.test:443", and the whole URL of each forwarded request. */
  readonly asked: string[] = [];
  /** The Proxy-Authorization headers, in the same order. */
  readonly logins: (string | undefined)[] = [];
  /** Instead of a tunnel, this status. */
  refuses: number | undefined;
  /** Takes connections, and says nothing. */
  silent = false;
  readonly #targetPort: number;
  readonly #sockets = new Set<Socket>();
  readonly #server = createServer();
  #tunnelsMax = 0;

  constructor(targetUrl: string) {
    this.#targetPort = Number(new URL(targetUrl).port);
    this.#server.on("connection", (socket) => this.#track(socket));
    this.#server.on("connect", (request: IncomingMessage, socket: Socket) => this.#tunnel(request, socket));
    this.#server.on("request", (request, response) => {
      this.#note(request);
      const { method, headers } = request;
      const target = new URL(request.url ?? "");
      const path = target.pathname + target.search;
      const onward = httpRequest({ port: this.#targetPort, host: "127.0.0.1", method, path, headers }, (answer) => {
        response.writeHead(answer.statusCode ?? 0, answer.headers);
        answer.pipe(response);
      });
      request.pipe(onward);
    });
  }

  async start(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return this;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Tunnels that were open at the same time, at most. */
  get tunnelsMax(): number {
    return this.#tunnelsMax;
  }

  async openSockets(): Promise<number> {
    for (let i = 0; i < 50 && this.#sockets.size > 0; i++) await new Promise((resolve) => setTimeout(resolve, 10));
    return this.#sockets.size;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #tunnel(request: IncomingMessage, socket: Socket): void {
    this.#note(request);
    if (this.silent) {
      // Read, or it would not hear that the client has gone.
      socket.resume().on("end", () => socket.end());
      return;
    }
    if (this.refuses !== undefined) {
      const page = "<html>no</html>";
      socket.end(
        `HTTP/1.1 ${this.refuses} No\r\ncontent-type: text/html\r\ncontent-length: ${page.length}\r\n\r\n${page}`,
      );
      return;
    }
    const onward = connect(this.#targetPort, "127.0.0.1", () => {
      socket.write("HTTP/1.1 200 Connection established\r\n\r\n");
      socket.pipe(onward).pipe(socket);
      this.#tunnelsMax = Math.max(this.#tunnelsMax, this.#sockets.size);
    });
    onward.on("error", () => socket.destroy());
    socket.on("close", () => onward.destroy());
  }

  #note({ url, headers }: IncomingMessage): void {
    this.asked.push(url ?? "");
    this.logins.push(headers["proxy-authorization"]);
  }

  #track(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on("close", () => this.#sockets.delete(socket));
    socket.on("error", () => undefined);
  }
}
