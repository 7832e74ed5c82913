import { STATUS_CODES, type IncomingMessage, type ServerResponse } from "node:http";
import type { Socket } from "node:net";

import { sleep, type Clock } from "../runtime/clock.ts";
import { wireHeaders, withoutBody, type HttpAnswer, type HttpRequest } from "./http-exchange.ts";
import { pathOf, readS3Call, type S3Call } from "./s3-call.ts";
import { refusalAnswer } from "./s3/answer.ts";
import type { S3Refusal } from "./s3/refusal.ts";

/** Time for a client to read what was sent. */
const READ_MS = 5;

/** The request body is larger than the server takes. */
export class BodyTooLargeError extends Error {}

/** The client went away before its request was whole, so the request never was one. */
export class ClientGoneError extends Error {}

/** One request on its connection: read once, then answered, or cut, in one of the ways below. */
export class ServedRequest {
  readonly call: S3Call;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  /** What the client was told; undefined: no answer was begun. */
  status: number | undefined;
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #gone = new AbortController();

  constructor(request: IncomingMessage, response: ServerResponse) {
    this.#request = request;
    this.#response = response;
    this.method = request.method ?? "";
    this.headers = joinedHeaders(request);
    this.call = readS3Call(this.#whole(Buffer.alloc(0)));
    response.once("close", () => this.#gone.abort());
  }

  /** The whole request. Throws `ClientGoneError`, and `BodyTooLargeError` once all of a larger body was read and dropped. */
  async read(bodyBytesMax: number): Promise<HttpRequest> {
    const chunks: Buffer[] = [];
    let sizeBytes = 0;
    await this.#readChunks((chunk) => {
      sizeBytes += chunk.length;
      // Read on: an answer sent against unread bytes would be lost in the reset that the kernel sends.
      if (sizeBytes > bodyBytesMax) chunks.length = 0;
      else chunks.push(chunk);
      return true;
    });
    if (sizeBytes > bodyBytesMax) throw new BodyTooLargeError(`more than ${bodyBytesMax} bytes`);
    return this.#whole(Buffer.concat(chunks));
  }

  /** Resets the connection once `bytes` of the body have come (undefined: half of it), or all of a shorter one. */
  async resetWithin(bytes: number | undefined): Promise<void> {
    const limit = bytes ?? Math.floor(Number(this.headers["content-length"] ?? 0) / 2);
    let sizeBytes = 0;
    await this.#readChunks((chunk) => {
      sizeBytes += chunk.length;
      return sizeBytes < limit;
    });
    this.reset();
  }

  /** The answer that says `refusal` to this request. */
  refusal(refusal: S3Refusal, requestId: string): HttpAnswer {
    const answer = refusalAnswer(refusal, pathOf(this.#request.url ?? ""), requestId);
    return this.method === "HEAD" ? withoutBody(answer) : answer;
  }

  /** Resolves when the answer was handed to the kernel, or the client has gone. */
  async answer(answer: HttpAnswer): Promise<void> {
    if (this.#gone.signal.aborted) return;
    this.status = answer.status;
    const done = new Promise<void>((resolve) => {
      this.#response.once("finish", resolve).once("close", resolve);
    });
    this.#response.writeHead(answer.status, wireHeaders(answer));
    this.#response.end(answer.body);
    await done;
  }

  /** The first half of the answer's body (without one: of its head), then a reset or an orderly close. */
  async answerHalf(answer: HttpAnswer, ending: "reset" | "close", clock: Clock): Promise<void> {
    const { head, body } = this.#onWire(answer);
    const begun =
      body.length > 0
        ? Buffer.concat([head, body.subarray(0, Math.floor(body.length / 2))])
        : head.subarray(0, Math.floor(head.length / 2));
    this.status = answer.status;
    await this.#write(begun);
    if (ending === "close") return this.end();
    // A client that has not read yet would see the reset only as an early end. Twice: a timer that is late runs before the
    // reads of its turn, so one alone would leave a client in this process no turn of its own.
    await sleep(clock, READ_MS);
    await sleep(clock, READ_MS);
    return this.reset();
  }

  /** Head and body at `bytesPerSecond`, until the client has enough of it; then an orderly close. */
  async answerSlowly(answer: HttpAnswer, bytesPerSecond: number, clock: Clock): Promise<void> {
    const { head, body } = this.#onWire(answer);
    const bytes = Buffer.concat([head, body]);
    const stepMs = Math.max(50, 1000 / bytesPerSecond);
    const stepBytes = Math.max(1, Math.round((bytesPerSecond * stepMs) / 1000));
    this.status = answer.status;
    for (let at = 0; at < bytes.length && !this.#gone.signal.aborted; at += stepBytes) {
      await this.#write(bytes.subarray(at, at + stepBytes));
      // Rejects when the client has gone, which the loop sees as well.
      await sleep(clock, stepMs, this.#gone.signal).catch(() => undefined);
    }
    this.end();
  }

  /** A TCP reset: what is on its way in either direction is lost. */
  reset(): void {
    resetSocket(this.#request.socket);
  }

  /** An orderly close of our side. */
  end(): void {
    this.#request.socket.end();
  }

  async #readChunks(take: (chunk: Buffer) => boolean): Promise<void> {
    try {
      // Destroying would close the connection where a reset is to follow.
      for await (const chunk of this.#request.iterator({ destroyOnReturn: false })) {
        if (!take(chunk as Buffer)) return;
      }
    } catch (error) {
      throw new ClientGoneError("the connection ended within the request", { cause: error });
    }
  }

  async #write(bytes: Uint8Array): Promise<void> {
    const { socket } = this.#request;
    await new Promise<void>((resolve) => {
      // A write to a connection that is gone ends with an error here; `#gone` says the same.
      socket.write(bytes, () => resolve());
    });
  }

  #onWire(answer: HttpAnswer): { head: Buffer; body: Uint8Array } {
    const headers = Object.entries(wireHeaders(answer)).map(([name, value]) => `${name}: ${value}\r\n`);
    const first = `HTTP/1.1 ${answer.status} ${STATUS_CODES[answer.status] ?? ""}\r\n`;
    const head = Buffer.from(`${first}${headers.join("")}connection: close\r\n\r\n`, "latin1");
    return { head, body: this.method === "HEAD" ? Buffer.alloc(0) : answer.body };
  }

  #whole(body: Uint8Array): HttpRequest {
    const { url = "", rawHeaders } = this.#request;
    return { method: this.method, url, headers: this.headers, rawHeaders, body };
  }
}

/**
 * A reset and nothing before it: alone, `resetAndDestroy` first sends a FIN, which the other side takes for an orderly end.
 * Where our side was ended already, it is closed: while our FIN is on its way libuv refuses the reset (EINVAL), and
 * Node then neither frees the handle nor tells of a "close", for which whoever waits would wait for ever.
 */
export function resetSocket(socket: Socket): void {
  if (!socket.writableEnded) socket.resetAndDestroy();
  socket.destroy();
}

function joinedHeaders(request: IncomingMessage): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(request.headers)) {
    if (value !== undefined) headers[name] = Array.isArray(value) ? value.join(", ") : value;
  }
  return headers;
}
