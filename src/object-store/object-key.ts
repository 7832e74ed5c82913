import type { ObjectKey } from "../domain.ts";
import { InvalidArgumentError } from "../errors.ts";

/** S3's own limit, in bytes of UTF-8. */
export const KEY_BYTES_MAX = 1024;

/**
 * U+0000 … U+001F, U+FFFE and U+FFFF have no spelling in XML 1.0 (or, as a carriage return, come back changed), and listings and
 * multi-deletes are XML: such an object could be written but never listed or swept. So every store refuses them, not only S3.
 */
// oxlint-disable-next-line no-control-regex -- control characters are what this looks for
const NOT_IN_XML = /[\u0000-\u001f\ufffe\uffff]/;

/** With the `u` flag a proper pair is one character above U+FFFF, so only halves match. */
const LONE_SURROGATE = /\p{Surrogate}/u;

/**
 * Throws `InvalidArgumentError` unless `key` can name an object in every store. `bytesMax` is less than 1024 where a store puts
 * a prefix of its own before it.
 */
export function checkKey(key: string, bytesMax: number = KEY_BYTES_MAX): asserts key is ObjectKey {
  const problem = keyProblem(key, bytesMax);
  if (problem !== undefined) throw new InvalidArgumentError("key", key, problem);
}

function keyProblem(key: string, bytesMax: number): string | undefined {
  if (key === "") return "an object key must not be empty";
  const bytes = Buffer.byteLength(key, "utf8");
  if (bytes > bytesMax) return `has ${bytes} bytes of UTF-8, the limit is ${bytesMax}`;
  // Would be sent as U+FFFD: two different keys would then name one object.
  if (LONE_SURROGATE.test(key)) return "holds half of a surrogate pair, which UTF-8 cannot carry";
  if (NOT_IN_XML.test(key)) return "holds a control character, which a listing cannot carry";
  return undefined;
}

/** Order of the UTF-8 bytes: negative when `a` comes first. Both well-formed. */
export function compareKeys(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const unitA = a.charCodeAt(i);
    const unitB = b.charCodeAt(i);
    if (unitA !== unitB) return utf8Rank(unitA) - utf8Rank(unitB);
  }
  return a.length - b.length;
}

/** JavaScript compares UTF-16 units, where surrogates (U+10000 and up) sort before U+E000 … U+FFFF; in UTF-8 they sort after. */
function utf8Rank(unit: number): number {
  return unit >= 0xd800 && unit <= 0xdfff ? unit + 0x1_0000 : unit;
}
