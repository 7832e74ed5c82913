import { CorruptionError } from "../errors.ts";

/** Where bytes came from, for errors. */
export interface Where {
  /** Name of the object, or what stands for it ("encodedBatch"). */
  readonly key: string;
  /** Position of byte 0 of the passed buffer within that object. */
  readonly position: number;
}

/** Makes (does not throw) the error for a check that failed at `position` of the buffer at hand. */
export type Problem = (position: number, problem: string) => CorruptionError;

/** Problems at positions of a buffer that holds the object's own bytes. */
export function problemsAt(where: Where): Problem {
  return (position, problem) => new CorruptionError(where.key, where.position + position, problem);
}

/** Problems within bytes that exist nowhere in the object: they carry the position of the batch, and their own in the text. */
export function problemsInDecompressed(where: Where): Problem {
  return (position, problem) =>
    new CorruptionError(where.key, where.position, `byte ${position} of the decompressed records: ${problem}`);
}
