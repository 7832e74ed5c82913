import type { HttpRequest } from "../http-exchange.ts";
import { S3Refusal } from "./refusal.ts";
import { chunkSignature, trailerSignature, type Signer } from "./signature.ts";

/** The four ways of "Signature Calculations for … Transferring Payload in Multiple Chunks", HMAC only. */
const KINDS: Readonly<Record<string, { readonly signed: boolean; readonly trailer: boolean }>> = {
  "STREAMING-UNSIGNED-PAYLOAD-TRAILER": { signed: false, trailer: true },
  "STREAMING-AWS4-HMAC-SHA256-PAYLOAD": { signed: true, trailer: false },
  "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER": { signed: true, trailer: true },
};

interface ChunkedBody {
  readonly bytes: Uint8Array;
  /** Names in lower case. */
  readonly trailer: Readonly<Record<string, string>>;
}

/**
 * Takes the framing off an aws-chunked body: `<hex size>[;chunk-signature=…]\r\n<bytes>\r\n` …, a chunk of size 0, the trailer.
 * Signatures are verified where the kind has them. Throws `IncompleteBody` where framing or decoded length are wrong.
 */
export function readChunkedBody({ headers, body }: HttpRequest, kind: string, signer: Signer): ChunkedBody {
  const how = KINDS[kind];
  if (how === undefined) throw new S3Refusal("NotImplemented", { message: `This endpoint does not take ${kind}` });
  const lines = new Lines(body);
  const chunks: Uint8Array[] = [];
  let signature = signer.signature;
  for (;;) {
    const [, hex = "", sent] = /^([0-9a-fA-F]{1,8})(?:;chunk-signature=([0-9a-f]{64}))?$/.exec(lines.next()) ?? [];
    const size = Number.parseInt(hex, 16);
    if (Number.isNaN(size)) throw new S3Refusal("IncompleteBody");
    const chunk = lines.take(size);
    if (how.signed) {
      signature = chunkSignature(signer, signature, chunk);
      if (sent !== signature) throw new S3Refusal("SignatureDoesNotMatch");
    }
    if (size === 0) break;
    if (lines.next() !== "") throw new S3Refusal("IncompleteBody");
    chunks.push(chunk);
  }
  const trailer = how.trailer ? readTrailer(lines, how.signed ? { signer, signature } : undefined) : {};
  const bytes = new Uint8Array(Buffer.concat(chunks));
  if (headers["x-amz-decoded-content-length"] !== String(bytes.length)) throw new S3Refusal("IncompleteBody");
  return { bytes, trailer };
}

function readTrailer(
  lines: Lines,
  signed: { readonly signer: Signer; readonly signature: string } | undefined,
): Record<string, string> {
  const fields: [string, string][] = [];
  for (let line = lines.next(); line !== ""; line = lines.next()) {
    const colon = line.indexOf(":");
    if (colon < 1) throw new S3Refusal("IncompleteBody");
    fields.push([line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()]);
  }
  const trailer = Object.fromEntries(fields.filter(([name]) => name !== "x-amz-trailer-signature"));
  if (signed !== undefined) {
    const text = Object.entries(trailer)
      .map(([name, value]) => `${name}:${value}\n`)
      .join("");
    const expected = trailerSignature(signed.signer, signed.signature, text);
    const sent = fields.find(([name]) => name === "x-amz-trailer-signature")?.[1];
    if (sent !== expected) throw new S3Refusal("SignatureDoesNotMatch");
  }
  return trailer;
}

class Lines {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Up to the next CR LF; a body may end without its last one. */
  next(): string {
    if (this.#at >= this.#bytes.length) return "";
    const end = this.#bytes.indexOf("\r\n", this.#at, "latin1");
    const line = this.#bytes.toString("latin1", this.#at, end === -1 ? this.#bytes.length : end);
    this.#at = end === -1 ? this.#bytes.length : end + 2;
    return line;
  }

  take(size: number): Uint8Array {
    if (this.#at + size > this.#bytes.length) throw new S3Refusal("IncompleteBody");
    this.#at += size;
    return this.#bytes.subarray(this.#at - size, this.#at);
  }
}
