import { InvariantError } from "../errors.ts";

/** A body ended early, ran over, or was cut. `s3-outcome.ts` takes it, having no HTTP status, for a broken connection. */
class BrokenBodyError extends Error {
  readonly code = "BROKEN_BODY";
}

/**
 * All bytes of a response body in one buffer of exactly `length` bytes (undefined: however many come), which `into` gives. Rejects when
 * it is shorter or longer, and as soon as `signal` fires.
 */
export async function collectBody(
  body: unknown,
  length: number | undefined,
  signal: AbortSignal,
  into?: (bytes: number) => Uint8Array,
): Promise<Uint8Array> {
  if (!isNodeStream(body)) throw new InvariantError("the SDK gave a body that is not a Node stream");
  // The SDK destroys the socket, but a checksum stream that it puts before the socket would then wait for ever.
  const onAbort = (): void => body.destroy(new BrokenBodyError("cut"));
  if (signal.aborted) onAbort();
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    return length === undefined
      ? await collectAll(body)
      : await collectExactly(body, into?.(length) ?? new Uint8Array(length));
  } finally {
    signal.removeEventListener("abort", onAbort);
    body.destroy();
  }
}

async function collectExactly(body: NodeStream, bytes: Uint8Array): Promise<Uint8Array> {
  const { length } = bytes;
  let filled = 0;
  for await (const chunk of body) {
    if (filled + chunk.length > length) throw new BrokenBodyError(`more than the announced ${length} bytes`);
    bytes.set(chunk, filled);
    filled += chunk.length;
  }
  if (filled < length) throw new BrokenBodyError(`${filled} of the announced ${length} bytes`);
  return bytes;
}

async function collectAll(body: NodeStream): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return new Uint8Array(Buffer.concat(chunks));
}

interface NodeStream extends AsyncIterable<Uint8Array> {
  destroy(error?: Error): void;
}

function isNodeStream(body: unknown): body is NodeStream {
  return typeof body === "object" && body !== null && Symbol.asyncIterator in body && "destroy" in body;
}
