/**
 * How an object key is spelled as a path, one directory per slash, reversibly. The keys of tierlog itself stay as they are:
 * `index/0000/00000000000000000000.idx` is that very path, `FORMAT` becomes `FORMAT.~3f`.
 *
 * - `A-Z a-z 0-9 _ -` and the dot stand for themselves, every other byte is `%xx`: no `..`, no NUL, no second Unicode spelling.
 *   A leading dot is `%2e`, so names that begin with a dot are free for other uses. An empty segment is `%`.
 * - Key `a` and key `a/b` need a file and a directory of the same name: so every file name has a dot and no directory name has
 *   one. Directories escape theirs; a file without a dot gets `.~` behind it.
 * - File systems that ignore case must not confuse `Key` and `key`: a segment with capitals ends with `~` and a bit mask in hex,
 *   one bit for each letter, 1 for a capital.
 * - Longer than a file name may be: in pieces, each but the last a directory that ends with `+`. (Capitals are then escaped.)
 */

const PIECE_CHARS = 200;

/** Path segments below the root; the last one is the file. */
export function pathOfKey(key: string): string[] {
  const segments = key.split("/");
  const file = segments.pop() ?? "";
  return [...segments.flatMap((segment) => pieces(nameOf(segment, "directory"))), ...pieces(nameOf(file, "file"))];
}

/** Path segments of the directory that holds every key beginning with `prefix`, which is empty or ends with a slash. */
export function pathOfPrefix(prefix: string): string[] {
  return prefix
    .split("/")
    .slice(0, -1)
    .flatMap((segment) => pieces(nameOf(segment, "directory")));
}

/** Does the rest of a longer name follow inside this directory? */
export function isContinued(name: string): boolean {
  return name.endsWith("+");
}

/** The segment that `name` (its pieces joined) stands for; undefined for a name that no key has: a stray file is no object. */
export function segmentOfName(name: string, kind: "file" | "directory"): string | undefined {
  const base = name.replace(/\.?~[0-9a-f]*$/, "");
  const segment = unescape(base === "%" ? "" : base);
  // Only the one spelling that we write counts; anything else would be a second name for the same key.
  return segment !== undefined && nameOf(segment, kind) === name ? segment : undefined;
}

function nameOf(segment: string, kind: "file" | "directory"): string {
  const plain = escape(segment, kind, false);
  const hasCapital = /[A-Z]/.test(segment);
  const long = plain.length + Math.ceil(segment.length / 4) + 2 > PIECE_CHARS;
  const base = hasCapital && long ? escape(segment, kind, true) : plain;
  const mask = hasCapital && !long ? `~${capitalMask(segment)}` : "";
  if (kind === "directory") return base + mask;
  if (mask !== "") return `${base}.${mask}`;
  return base.includes(".") ? base : `${base}.~`;
}

function escape(segment: string, kind: "file" | "directory", capitals: boolean): string {
  if (segment === "") return "%";
  let name = "";
  for (const byte of Buffer.from(segment, "utf8")) {
    const char = String.fromCharCode(byte);
    const dot = char === "." && kind === "file" && name !== "";
    const stays = /[a-z0-9_-]/.test(char) || (!capitals && /[A-Z]/.test(char)) || dot;
    name += stays ? char : `%${byte.toString(16).padStart(2, "0")}`;
  }
  return name;
}

function unescape(base: string): string | undefined {
  const bytes: number[] = [];
  for (let i = 0; i < base.length; i++) {
    if (base[i] === "%") {
      const hex = base.slice(i + 1, i + 3);
      if (!/^[0-9a-f]{2}$/.test(hex)) return undefined;
      bytes.push(Number.parseInt(hex, 16));
      i += 2;
    } else {
      bytes.push(base.charCodeAt(i));
    }
  }
  return Buffer.from(bytes).toString("utf8");
}

/** First letter = highest bit, so that the mask of `FORMAT` is 3f and that of `aB` is 1. */
function capitalMask(segment: string): string {
  let mask = 0n;
  for (const letter of segment.match(/[A-Za-z]/g) ?? []) mask = (mask << 1n) | (letter <= "Z" ? 1n : 0n);
  return mask.toString(16);
}

function pieces(name: string): string[] {
  const found: string[] = [];
  let rest = name;
  // One character of room for the "+".
  for (; rest.length > PIECE_CHARS; rest = rest.slice(PIECE_CHARS - 1))
    found.push(`${rest.slice(0, PIECE_CHARS - 1)}+`);
  return [...found, rest];
}
