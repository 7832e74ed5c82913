import type { Random } from "../runtime/random.ts";

/**
 * 16 random bytes as 32 hex digits: one per (seq, bytes) of an index file. Nothing but the writeId decides what is ours:
 * two processes may share a writerId, a host and an epoch they computed, never a writeId.
 */
export type WriteId = string & { readonly __writeId: true };

export const WRITE_ID_BYTES = 16;

/** `prev` of the first link of a chain. */
export const NO_WRITE_ID = "0".repeat(2 * WRITE_ID_BYTES) as WriteId;

export function newWriteId(random: Random): WriteId {
  return Buffer.from(random.bytes(WRITE_ID_BYTES)).toString("hex") as WriteId;
}
