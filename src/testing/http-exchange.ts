/** One request, read whole. */
export interface HttpRequest {
  readonly method: string;
  /** Path and query as received, still escaped: signatures cover these bytes. */
  readonly url: string;
  /** Names in lower case; of a repeated header the values joined with ", ". */
  readonly headers: Readonly<Record<string, string>>;
  /** Names and values in turn, as received; what a proxy passes on. */
  readonly rawHeaders?: readonly string[];
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

/** `answer` with one header set, or removed (undefined), whatever the case of its name. */
export function withHeader(answer: HttpAnswer, name: string, value: string | undefined): HttpAnswer {
  const others = Object.entries(answer.headers).filter(([other]) => other.toLowerCase() !== name.toLowerCase());
  return { ...answer, headers: Object.fromEntries(value === undefined ? others : [...others, [name, value]]) };
}

/** What HEAD is answered where GET is answered `answer`: Content-Length is still that of the body. */
export function withoutBody({ status, headers, body }: HttpAnswer): HttpAnswer {
  return { status, headers: { "content-length": String(body.length), ...headers }, body: new Uint8Array(0) };
}

/** What goes on the wire: with the Content-Length that the body gives, where the backend set none and the status allows one. */
export function wireHeaders({ status, headers, body }: HttpAnswer): Record<string, string> {
  const isSet = Object.keys(headers).some((name) => name.toLowerCase() === "content-length");
  if (isSet || status === 204 || status === 304) return { ...headers };
  return { ...headers, "content-length": String(body.length) };
}
