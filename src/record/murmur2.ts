import { InvalidArgumentError } from "../errors.ts";

/**
 * MurmurHash2 of `key` as a signed 32-bit number, with the seed of Kafka's producers (`Utils.murmur2` there), so that a key
 * lands in the same partition whoever writes it.
 */
export function murmur2(key: Uint8Array): number {
  const length = key.length;
  const tail = length & ~3;
  let hash = 0x9747_b28c ^ length;
  // The accesses never miss: `tail` is at most `length`.
  for (let at = 0; at < tail; at += 4) {
    let word = key[at]! | (key[at + 1]! << 8) | (key[at + 2]! << 16) | (key[at + 3]! << 24);
    word = Math.imul(word, 0x5bd1_e995);
    word = Math.imul(word ^ (word >>> 24), 0x5bd1_e995);
    hash = Math.imul(hash, 0x5bd1_e995) ^ word;
  }
  if (tail < length) {
    for (let at = length - 1; at >= tail; at--) hash ^= key[at]! << (8 * (at - tail));
    hash = Math.imul(hash, 0x5bd1_e995);
  }
  hash = Math.imul(hash ^ (hash >>> 13), 0x5bd1_e995);
  return hash ^ (hash >>> 15);
}

/** Partition of a keyed record, 0 … `partitions` − 1, as Kafka's default partitioner chooses it. */
export function partitionForKey(key: Uint8Array, partitions: number): number {
  if (!Number.isSafeInteger(partitions) || partitions < 1) {
    throw new InvalidArgumentError("partitions", partitions, "must be an integer ≥ 1");
  }
  return (murmur2(key) & 0x7fff_ffff) % partitions;
}
