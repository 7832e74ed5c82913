import type { ObjectKey } from "../../domain.ts";

export function k(key: string): ObjectKey {
  return key as ObjectKey;
}

export function bytes(content: string): Uint8Array {
  return new TextEncoder().encode(content);
}

/** Bytes that differ from position to position, so that a shifted or repeated range shows. */
export function pattern(size: number): Uint8Array {
  return Uint8Array.from({ length: size }, (_, i) => (i * 31 + (i >> 8)) & 0xff);
}

/** Bytes that differ from word to word and from seed to seed, made quickly: for bodies of many MiB. */
export function filled(size: number, seed: number): Uint8Array {
  const words = new Uint32Array(Math.ceil(size / 4));
  let state = Math.imul(seed + 1, 0x9e37_79b1);
  for (let i = 0; i < words.length; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0;
    words[i] = state;
  }
  return new Uint8Array(words.buffer, 0, size);
}
