import type { Parsed } from "./quantity.ts";

/** Of AES-256. */
const KEY_BYTES = 32;
const WANTED = "is not a 256-bit key in base64, as openssl rand -base64 32 makes one";

/** The problem with a customer's key as text, if it has one; the rest of a sentence that begins with the value. */
export function customerKeyProblem(text: string): string | undefined {
  const bytes = Buffer.from(text, "base64");
  // The decoder skips what is not base64: a key with a typing error would be another key.
  return bytes.length === KEY_BYTES && bytes.toString("base64") === text ? undefined : WANTED;
}

/** A key file holds the base64 text, white space around it allowed, or the 32 bytes themselves. The key in base64. */
export function parseCustomerKeyFile(bytes: Uint8Array): Parsed<string> {
  const text = Buffer.from(bytes).toString("latin1").trim();
  if (customerKeyProblem(text) === undefined) return { ok: true, value: text };
  if (bytes.length === KEY_BYTES) return { ok: true, value: Buffer.from(bytes).toString("base64") };
  return { ok: false, problem: `${WANTED}, nor ${KEY_BYTES} bytes` };
}
