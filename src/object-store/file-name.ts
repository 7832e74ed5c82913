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
 * - Longer than a file name may be: in pieces, each but the last a directory that ends with `+`, each but the first beginning
 *   with one (a piece could be `..` else). Capitals are then escaped.
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

/**
 * The part of a longer name that one path segment holds; undefined for a name that cannot stand there. `first`: it does not lie
 * in the directory of an earlier piece.
 */
export function readPiece(
  name: string,
  first: boolean,
): { readonly text: string; readonly continued: boolean } | undefined {
  if (!first && !name.startsWith("+")) return undefined;
  const text = first ? name : name.slice(1);
  const continued = text.endsWith("+");
  return { text: continued ? text.slice(0, -1) : text, continued };
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
  if (name.length <= PIECE_CHARS) return [name];
  const found: string[] = [];
  // Two characters of room for the marks.
  const chars = PIECE_CHARS - 2;
  for (let at = 0; at < name.length; at += chars) {
    found.push((at === 0 ? "" : "+") + name.slice(at, at + chars) + (at + chars < name.length ? "+" : ""));
  }
  return found;
}
