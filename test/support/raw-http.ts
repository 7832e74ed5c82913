import { connect } from "node:net";

export interface RawRequest {
  readonly method: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
}

/** What came over the wire, byte for byte. */
export interface RawAnswer {
  /** undefined: no whole head came. */
  readonly status: number | undefined;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
  /** "open": the whole answer came and the connection stays; "closed": in good order. */
  readonly ending: "open" | "closed" | "reset";
}

/** Sends one request over a connection of its own, without any of the mercy of an HTTP client. */
export async function rawRequest(
  url: string,
  { method, path, headers = {}, body = Buffer.alloc(0) }: RawRequest,
  untilClosed = false,
): Promise<RawAnswer> {
  const { hostname, port, host } = new URL(url);
  const socket = connect(Number(port), hostname);
  const chunks: Buffer[] = [];
  try {
    const ending = await new Promise<RawAnswer["ending"]>((resolve, reject) => {
      socket.on("data", (chunk) => {
        chunks.push(chunk);
        if (!untilClosed && isWhole(Buffer.concat(chunks), method)) resolve("open");
      });
      socket.on("end", () => resolve("closed"));
      socket.on("error", (error: NodeJS.ErrnoException) => {
        // EPIPE: the reset came before our request was out.
        if (error.code === "ECONNRESET" || error.code === "EPIPE") resolve("reset");
        else reject(error);
      });
      const own = Object.keys(headers).some((name) => name.toLowerCase() === "host") ? {} : { host };
      const all = Object.entries({ ...own, "content-length": String(body.length), ...headers });
      const lines = all.map(([name, value]) => `${name}: ${value}\r\n`);
      socket.write(`${method} ${path} HTTP/1.1\r\n${lines.join("")}\r\n`);
      socket.write(body);
    });
    return { ...parsed(Buffer.concat(chunks)), ending };
  } finally {
    socket.destroy();
  }
}

function isWhole(bytes: Buffer, method: string): boolean {
  const { status, headers, body } = parsed(bytes);
  if (status === undefined) return false;
  if (method === "HEAD" || status === 204) return true;
  return body.length >= Number(headers["content-length"]);
}

function parsed(bytes: Buffer): Omit<RawAnswer, "ending"> {
  const end = bytes.indexOf("\r\n\r\n");
  if (end === -1) return { status: undefined, headers: {}, body: bytes };
  const [first = "", ...lines] = bytes.subarray(0, end).toString("latin1").split("\r\n");
  const status = Number(first.split(" ")[1]);
  if (status === 100) return parsed(bytes.subarray(end + 4));
  const headers = Object.fromEntries(
    lines.map((line) => [line.slice(0, line.indexOf(":")).toLowerCase(), line.slice(line.indexOf(":") + 1).trim()]),
  );
  return { status, headers, body: bytes.subarray(end + 4) };
}
