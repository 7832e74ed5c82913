import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";

import type { Clock } from "../../runtime/clock.ts";
import { PLAIN_TLS } from "../tls-files.ts";

export interface MetadataAnswer {
  readonly status: number;
  readonly text: string;
}

/** No answer came, or not all of it. */
export class NoMetadataError extends Error {
  /** Node's code, as in "ECONNREFUSED", or "too large". undefined: the time was over. */
  readonly code: string | undefined;
  /** Did somebody take the connection? */
  readonly connected: boolean;

  constructor(code: string | undefined, connected: boolean) {
    super(code ?? "timeout");
    this.code = code;
    this.connected = connected;
  }
}

/** Credentials in JSON have about 1 KiB. */
const ANSWER_BYTES_MAX = 64 * 1024;

/**
 * One request to an endpoint of the platform that gives out credentials, over a connection of its own, never through a proxy. It ends
 * within `timeoutMs`, whatever the endpoint does. Rejects with `NoMetadataError`.
 *
 * Not by the SDK's packages: their `timeout` is one of silence, only warned of on the console by one, and an answer that breaks off
 * is waited for for ever by another.
 */
export function askMetadata(
  url: URL,
  options: {
    readonly clock: Clock;
    readonly timeoutMs: number;
    readonly method?: "GET" | "PUT";
    readonly headers?: Readonly<Record<string, string>>;
  },
): Promise<MetadataAnswer> {
  return new Promise((resolve, reject) => {
    let connected = false;
    const { method = "GET", headers = {} } = options;
    const request = { agent: false, method, headers } as const;
    const asked =
      url.protocol === "https:" ? httpsRequest(url, { ...request, ...PLAIN_TLS }) : httpRequest(url, request);
    const end = (settle: () => void): void => {
      timer.cancel();
      asked.destroy();
      settle();
    };
    const fail = (code: string | undefined): void => end(() => reject(new NoMetadataError(code, connected)));
    const timer = options.clock.schedule(options.timeoutMs, () => fail(undefined));
    asked.on("socket", (socket) => {
      socket.once("connect", () => {
        connected = true;
      });
    });
    asked.on("error", (error: NodeJS.ErrnoException) => fail(error.code ?? "ECONNRESET"));
    asked.on("response", (response) => {
      const chunks: Buffer[] = [];
      let sizeBytes = 0;
      response.on("data", (chunk: Buffer) => {
        sizeBytes += chunk.length;
        chunks.push(chunk);
        if (sizeBytes > ANSWER_BYTES_MAX) fail("too large");
      });
      response.on("error", () => fail("ECONNRESET"));
      response.on("end", () => {
        const text = Buffer.concat(chunks).toString("utf8");
        end(() => resolve({ status: response.statusCode ?? 0, text }));
      });
    });
    asked.end();
  });
}
