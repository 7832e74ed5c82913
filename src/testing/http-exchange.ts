/** One request, read whole. */
export interface HttpRequest {
  readonly method: string;
  /** Path and query as received, still escaped: signatures cover these bytes. */
  readonly url: string;
  /** Names in lower case; of a repeated header the values joined with ", ". */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** Of an answer to HEAD: empty; its Content-Length stands in `headers`. */
  readonly body: Uint8Array;
}

/**
 * Does what one request asks and says what it answers. When it resolves, the effect of the request is visible to every other
 * request ("committed"), whether the answer reaches the client or not. Rejects only for a failure of its own, never for what a
 * client sent.
 */
export type HttpBackend = (request: HttpRequest) => Promise<HttpAnswer>;
