import { randomBytes } from "node:crypto";

/** Randomness, injected: a simulator replays the same run from one seed. */
export interface Random {
  /** `size` fresh random bytes, owned by the caller. */
  bytes(size: number): Uint8Array;
  /** A number in [0, 1). */
  float(): number;
}

export const systemRandom: Random = {
  bytes: (size) => new Uint8Array(randomBytes(size)),
  float: () => Math.random(),
};

/**
 * A seeded generator for tests and generated load: the same seed gives the same sequence on every machine. Not for secrets.
 * Algorithm: mulberry32 (Tommy Ettinger, public domain).
 */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b_79f5) >>> 0;
    let word = Math.imul(state ^ (state >>> 15), state | 1);
    word ^= word + Math.imul(word ^ (word >>> 7), word | 61);
    return (word ^ (word >>> 14)) >>> 0;
  };
  return {
    bytes(size) {
      const bytes = new Uint8Array(size);
      for (let i = 0; i < size; i++) bytes[i] = next() & 0xff;
      return bytes;
    },
    float: () => next() / 0x1_0000_0000,
  };
}
